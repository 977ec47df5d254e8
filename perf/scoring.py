"""Cost of the student teacher's scoring: prefixes shared and hopeless stretches given up, against a forward pass for each candidate.

    python perf/scoring.py [--config mini|1.5b|7b|toy] [--traces 64] [--lengths FILE.jsonl] [--json FILE]

Walks of many traces are run at once, as the stage ``prune`` runs them, over random tokens: which stretches go, and how soon the
others are given up, is drawn as often as it was measured on 110 traces of the embedded student (``WALK``). Lengths are those of
the traces in FILE (``thinking``, four characters a token) or else drawn from a log-normal of mean 1,029, at most 4,000 (``--mean``).
The baseline is what the same candidates cost as whole texts in padded batches with logits of the continuation only
(:func:`drp.training.learnability.summed_nll`), timed on ``--sample`` of them in the same run. Weights are random but for ``mini``.
"""

import argparse
import asyncio
import json
import os
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from drp.engines.identity import resolve_model
from drp.engines.prefix_scoring import PrefixCore
from drp.engines.scoring import Bound, Continuation, Scorer
from drp.engines.transformers_engine import load_model, pick_device, pick_dtype
from drp.training.examples import Example
from drp.training.learnability import summed_nll
from real_shapes import SHAPES


@dataclass(frozen=True)
class Measured:
    """How a walk goes, on average."""

    rejected: float = 2.3
    """Candidates that are given up, for each position the walk comes to."""
    at_once: float = 0.56
    """Share of these that the first token refuses, which costs nothing."""
    exit: float = 13.0
    """After how many tokens the others are given up."""
    deletions: float = 0.31
    """Stretches that go, for each position."""
    stretch: float = 3.1
    """Units in one."""
    unit: int = 12
    """Tokens in a unit."""


WALK = Measured()
PROMPT, ANSWER = 120, 60


def build(name: str, device: str) -> Any:
    """Return a model: the embedded student, or one of random weights."""
    if name == "mini":
        return load_model(resolve_model("mini"), device, "auto")
    torch.manual_seed(0)
    config = Qwen2Config(**SHAPES[name], max_position_embeddings=131_072, tie_word_embeddings=False)
    with torch.device(pick_device(device)):
        dtype = getattr(torch, pick_dtype(device, "auto"))
        return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def lengths(options: argparse.Namespace, most: int) -> list[int]:
    """Return the tokens of each trace's thinking."""
    if options.lengths:
        rows = Path(options.lengths).read_text(encoding="utf-8").splitlines()
        found = [len(json.loads(row)["thinking"]) // 4 for row in rows]
        return [min(most, max(WALK.unit, n)) for n in found][: options.traces]
    draw = np.random.default_rng(0)
    sigma = 0.7
    drawn = draw.lognormal(np.log(options.mean) - sigma**2 / 2, sigma, options.traces)
    return [int(min(most, 4000, max(WALK.unit, n))) for n in drawn]


def bound(count: int, end: int) -> Bound:
    """Return a bound that no tokens break before number ``end``, and any do there."""
    floors = np.full(count, -np.inf)
    if end < count:
        floors[end] = np.inf
    return Bound(np.zeros(count), floors)


async def walk(
    scorer: Scorer, length: int, seed: int, vocabulary: int, log: list[tuple[int, int, int]]
) -> None:
    """Ask what a walk through one trace asks; log start, length and computed tokens of each continuation."""
    draw = random.Random(seed)
    units = max(1, length // WALK.unit)
    ids = [draw.randrange(5, vocabulary) for _ in range(PROMPT + units * WALK.unit + ANSWER)]
    kept = ids[-ANSWER:]
    async with scorer.open(ids) as passage:
        at = units

        async def ask(start: int, end: int) -> None:
            found = await scorer.score(passage, Continuation(start, kept, (bound(len(kept), end),)))
            log.append((start, len(kept), len(found)))

        while at > 0:
            start = PROMPT + (at - 1) * WALK.unit
            for _ in range(int(WALK.rejected + draw.random())):
                end = 0 if draw.random() < WALK.at_once else 1 + int(draw.expovariate(1 / WALK.exit))
                await ask(start, min(end, len(kept) - 1))
            if draw.random() < WALK.deletions:
                gone = min(at, 1 + int(draw.expovariate(1 / (WALK.stretch - 0.5))))
                at -= gone
                await ask(max(1, PROMPT + at * WALK.unit), len(kept))
            else:
                kept = [*ids[start : start + WALK.unit], *kept]
                at -= 1


def plain(model: Any, log: list[tuple[int, int, int]], sample: int, vocabulary: int) -> float:
    """Return the tokens a second of whole forward passes over some of the candidates."""
    draw = random.Random(1)
    chosen = draw.sample(log, min(sample, len(log)))
    examples = [
        Example("", [draw.randrange(5, vocabulary) for _ in range(start + count)], start)
        for start, count, _ in chosen
    ]
    summed_nll(model, examples[:8])
    began = time.perf_counter()
    summed_nll(model, examples)
    return sum(len(e.input_ids) for e in examples) / (time.perf_counter() - began)


def main() -> None:
    """Run it and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", choices=["mini", *SHAPES], default="mini")
    parser.add_argument("--traces", type=int, default=64)
    parser.add_argument("--mean", type=float, default=1029)
    parser.add_argument("--lengths", help="JSONL file with a field `thinking`")
    parser.add_argument("--sample", type=int, default=128, help="candidates of the baseline")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--json", help="where to write the figures; default $OUT/scoring.CONFIG.json where $OUT is set"
    )
    options = parser.parse_args()
    model = build(options.config, options.device)
    vocabulary = int(model.config.vocab_size)
    core = PrefixCore(model, [2])
    counts = lengths(options, core.context - PROMPT - ANSWER - WALK.unit)

    busy = {"extend": 0.0, "_losses": 0.0, "_begin": 0.0, "read": 0.0}

    def timed(name: str) -> None:
        inner = getattr(core, name)

        def outer(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return inner(*arguments)
            finally:
                busy[name] += time.perf_counter() - began

        setattr(core, name, outer)

    for name in busy:
        timed(name)

    async def walks(chosen: list[int], log: list[tuple[int, int, int]]) -> float:
        scorer, began = Scorer(core), time.perf_counter()
        await asyncio.gather(*(walk(scorer, n, seed, vocabulary, log) for seed, n in enumerate(chosen)))
        return time.perf_counter() - began

    asyncio.run(walks(counts[:4], []))  # warm
    core.computed = core.passes = 0
    busy.update(dict.fromkeys(busy, 0.0))
    log: list[tuple[int, int, int]] = []
    seconds = asyncio.run(walks(counts, log))
    speed = plain(model, log, options.sample, vocabulary)
    asked = sum(start + count for start, count, _ in log)
    device = (
        torch.cuda.get_device_name()
        if model.device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads"
    )
    figures = {
        "device": device,
        "config": options.config,
        "traces": len(counts),
        "mean thinking tokens": round(sum(counts) / len(counts)),
        "candidates": len(log),
        "candidate tokens as whole texts": asked,
        "tokens computed": core.computed,
        "passes": core.passes,
        "seconds": round(seconds, 2),
        "of these": {name: round(value, 2) for name, value in busy.items()},
        "seconds a trace": round(seconds / len(counts), 4),
        "tokens computed a second": round(core.computed / seconds),
        "candidate tokens a second": round(asked / seconds),
        "plain forward, tokens a second": round(speed),
        "times a plain forward": round(asked / seconds / speed, 1),
        "hours for 7,473 such traces": round(seconds / len(counts) * 7473 / 3600, 2),
        "peak GiB": round(torch.cuda.max_memory_allocated() / 2**30, 1)
        if model.device.type == "cuda"
        else None,
        "walk": asdict(WALK),
    }
    out = options.json or (
        f"{os.environ['OUT']}/scoring.{options.config}.json" if os.environ.get("OUT") else None
    )
    if out:
        Path(out).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    for name, value in figures.items():
        if name != "walk":
            print(f"{name:<36} {value:,}" if isinstance(value, int | float) else f"{name:<36} {value}")


if __name__ == "__main__":
    main()
