"""Useful tokens per second of our decoding against ``generate``, side by side in one run.

    python perf/decoding.py [--problems 96] [--rounds 2] [--slots 2048] [--json FILE]

Same student, same prompts in one batch, same sampling settings; the long tail is the student's own. All count the
tokens of finished and cut rows alike, padding left out. Then: are greedy outputs identical, and do sampled ones agree
in accuracy and length? (float32, so that the order of a reduction seldom decides a token.)
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from drp.benchmarks.mini_world import load
from drp.engines.base import Sampling
from drp.engines.decoding import decode
from drp.engines.identity import resolve_model
from drp.engines.slots import SlotDecoder
from drp.evaluation.statistics import mean_interval
from drp.reporting.terminal import print_table
from drp.reporting.text import Table
from drp.text.answers import boxed

LIMIT = 1200
Rows = list[list[int]]


def drawing(limit: int, temperature: float) -> Sampling:
    """Return how all decoders draw."""
    return Sampling(temperature=temperature, top_p=0.95 if temperature else 1.0, max_new_tokens=limit)


def main() -> None:
    """Parse arguments, time all in turn, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--problems", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--slots", type=int, default=2048)
    parser.add_argument("--greedy", type=int, default=64, help="problems decoded greedily for identity")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    path = resolve_model("mini")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).to(device).eval()
    problems = load("mini-gsm", "test", args.problems)
    texts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": p.question}], add_generation_prompt=True, tokenize=False
        )
        for p in problems
    ]
    prompts = tokenizer(texts, add_special_tokens=False)["input_ids"]
    stop = tokenizer.eos_token_id
    slots = SlotDecoder(model, [stop], args.slots, fused=True)

    def in_slots(seed: int, count: int, limit: int, temperature: float = 0.6) -> Rows:
        seeds = [seed * 10_000 + i for i in range(count)]
        found = dict(slots.decode(prompts[:count], seeds, drawing(limit, temperature)))
        return [found[i] for i in range(count)]

    def in_loop(seed: int, count: int, limit: int, temperature: float = 0.6) -> Rows:
        seeds = [seed * 10_000 + i for i in range(count)]
        return decode(model, prompts[:count], seeds, drawing(limit, temperature), [stop])

    def by_generate(seed: int, count: int, limit: int, temperature: float = 0.6) -> Rows:
        torch.manual_seed(seed)
        batch = tokenizer(texts[:count], add_special_tokens=False, return_tensors="pt", padding=True)
        how = (
            {"do_sample": True, "temperature": temperature, "top_p": 0.95, "top_k": 0} if temperature else {}
        )
        with torch.inference_mode():
            output = model.generate(**batch.to(device), max_new_tokens=limit, **(how or {"do_sample": False}))
        rows = output[:, batch["input_ids"].shape[1] :].tolist()
        return [r[: r.index(stop) + 1] if stop in r else r for r in rows]

    contenders: list[tuple[str, Callable[..., Rows]]] = [
        ("slots", in_slots), ("dynamic loop", in_loop), ("generate", by_generate),
    ]  # fmt: skip
    rates: dict[str, list[float]] = {name: [] for name, _ in contenders}
    sampled: dict[str, Rows] = {}
    warm: dict[str, float] = {}
    for name, run in contenders:  # the first call pays for kernels and graphs
        began = time.perf_counter()
        run(99, min(64, args.problems) if name != "slots" else args.problems, LIMIT)
        warm[name] = time.perf_counter() - began
    for seed in range(args.rounds):
        for name, run in contenders:
            began = time.perf_counter()
            sampled[name] = run(seed, args.problems, LIMIT)
            rates[name].append(sum(map(len, sampled[name])) / (time.perf_counter() - began))
    mean = {name: sum(values) / len(values) for name, values in rates.items()}
    figures: dict[str, dict[str, object]] = {}
    for name, rows in sampled.items():
        right = np.array(
            [boxed(tokenizer.decode(r).partition("</think>")[2]) == p.gold for r, p in zip(rows, problems, strict=True)], float
        )  # fmt: skip
        lengths = np.array([len(r) for r in rows], float)
        accuracy, tokens = mean_interval(right), mean_interval(lengths)
        figures[name] = {
            "tokens_per_s": rates[name], "warm_up_s": round(warm[name], 1),
            "accuracy": [right.mean(), accuracy.low, accuracy.high], "tokens": [lengths.mean(), tokens.low, tokens.high],
        }  # fmt: skip
    head = (
        "decoding",
        "useful tokens/s, each round",
        "against generate",
        "accuracy, %",
        "tokens",
        "warm-up, s",
    )
    body = tuple(
        (
            name, ", ".join(f"{r:,.0f}" for r in rates[name]), f"{mean[name] / mean['generate']:.1f}×",
            "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * x for x in f["accuracy"])),
            "{:.0f} [{:.0f}, {:.0f}]".format(*f["tokens"]), f"{f['warm_up_s']}",
        )
        for name, f in figures.items()
    )  # fmt: skip
    count = min(args.greedy, args.problems)
    greedy = [run(0, count, 400, 0) for _, run in contenders]
    same = sum(a == b for a, b in zip(greedy[0], greedy[2], strict=True))
    where = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    note = f"Greedy outputs of slots identical to generate's: {same} of {count}."
    print_table(
        Console(width=130), Table(f"{args.problems} problems in one batch, {where}", head, body, note)
    )
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "device": where,
            "problems": args.problems,
            "slots": slots.slots,
            "paged": slots.paged,
            "fused": slots.fused is not None,
            "greedy_same": [same, count],
        }
        args.json.write_text(json.dumps(record | figures, indent=1, default=float) + "\n")


if __name__ == "__main__":
    main()
