"""Decoding of real shapes with random weights on one GPU: share of the bandwidth limit, the draw alone, a long-tailed load.

    python perf/shapes.py [--config toy|1.5b|7b ...] [--batches 1 64 256] [--tail 384] [--lengths FILE] [--json FILE]

"before" is the same decoder over whole rooms, with the library's forward pass and a draw that sorts the vocabulary; both
run in turn in one process. The limit is the time that reading all weights but the embedding, and all keys and values that
a step attends to, takes at the card's bandwidth. ``--config toy`` runs on a CPU in seconds, to try the script.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Qwen2Config

from drp.engines import nucleus, sampling, slots
from drp.engines.base import Sampling
from drp.engines.rooms import token_bytes
from drp.engines.slots import SlotDecoder

SHAPES: dict[str, dict[str, int]] = {
    "toy": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": 5000},
    "1.5b": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
             "num_key_value_heads": 2, "vocab_size": 151_936},
    "7b": {"hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28, "num_attention_heads": 28,
           "num_key_value_heads": 4, "vocab_size": 152_064},
}  # fmt: skip
BANDWIDTH = {"H200": 4.8e12, "H100": 3.35e12, "A100": 2.0e12}
HOW = Sampling(temperature=0.6, top_p=0.95, max_new_tokens=1024)
Draw = Callable[..., Tensor]
CUDA = torch.cuda.is_available()


def sorted_draw(
    logits: Tensor, seeds: Tensor, step: Tensor, how: Sampling, seen: Tensor | None = None
) -> Tensor:
    """Draw as a small vocabulary is drawn from, whatever its size: by a stable sort."""
    before, sampling.SORTED = sampling.SORTED, 1 << 30
    try:
        return sampling.sample(logits, seeds, step, how, seen)
    finally:
        sampling.SORTED = before


def decoder_of(model: Any, count: int, new: bool) -> SlotDecoder:
    """Return a decoder as it is now, or as it was before."""
    slots.sample = sampling.sample if new else sorted_draw
    return SlotDecoder(model, [], count, paged=None if new else False, fused=new)


def now() -> float:
    """Return the time once the device has done what it was asked."""
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter()


def free() -> None:
    """Give memory back."""
    gc.collect()
    if CUDA:
        torch.cuda.empty_cache()


def steady(model: Any, rows: int, prompt: int, tokens: int, new: bool, bandwidth: float) -> dict[str, float]:
    """Time rows that all have the same length; the second of two calls counts, whose graphs are there."""
    decoder = decoder_of(model, rows, new)
    how = HOW.model_copy(update={"max_new_tokens": tokens})
    rng = np.random.default_rng(0)
    prompts = rng.integers(10, 1000, (rows, prompt)).tolist()
    for last in (False, True):
        if not last:
            # As many steps as capture every graph of the call that counts, but no more than needed for a short warm-up.
            list(decoder.decode(prompts, range(rows), how))
            continue
        began = now()
        first = list(decoder.decode(prompts, range(rows), how.model_copy(update={"max_new_tokens": 16})))
        prefill = now() - began
        began = now()
        done = list(decoder.decode(prompts, range(rows), how))
        seconds = now() - began - prefill
    steps = tokens - len(first[0][1])
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    tied = model.config.tie_word_embeddings
    weights -= 0 if tied else model.get_input_embeddings().weight.nbytes
    least = (weights + rows * (prompt + tokens / 2) * token_bytes(model)) / bandwidth
    figures = {
        "ms_a_step": 1e3 * seconds / steps,
        "tokens_per_s": rows * steps / seconds,
        "limit_ms": 1e3 * least,
        "share": least * steps / seconds,
        "rows_done": len(done),
    }
    del decoder
    free()
    return figures


def draws(vocabulary: int, rows: int) -> dict[str, float]:
    """Time the draw alone, in ms; logits of a student that is sure, and of random weights."""
    device = "cuda" if CUDA else "cpu"
    generator = torch.Generator(device).manual_seed(0)
    flat = torch.randn((rows, vocabulary), generator=generator, device=device)
    found: dict[str, float] = {}
    for name, scores in (("flat", flat), ("peaked", flat * 3)):
        logits = scores.to(torch.bfloat16)
        seeds, step = torch.arange(rows, device=device), torch.zeros(rows, dtype=torch.long, device=device)
        for label, draw in (("before", sorted_draw), ("now", sampling.sample)):
            draw(logits, seeds, step, HOW)
            graph, times = None, 20 if CUDA else 2
            if CUDA:
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    draw(logits, seeds, step, HOW)
            began = now()
            for _ in range(times):
                graph.replay() if graph else draw(logits, seeds, step, HOW)
            found[f"{name}, {label}"] = 1e3 * (now() - began) / times
            del graph
        # Kernel and tensor operations take the same random numbers: they differ where sums round differently.
        uniforms = sampling.uniform(seeds, 0)
        kernel = nucleus.draw(logits, uniforms, HOW)
        share = 1e-7 + (1 - HOW.top_p) / vocabulary
        gap = HOW.temperature * (3 - float(np.log(share)))
        plain = nucleus._draw(logits, nucleus.single(uniforms), HOW, gap, 16)
        found[f"{name}, rows as by tensor operations"] = float((kernel == plain).float().mean())
    return found


def long_tail(model: Any, lengths: list[int], limit: int, new: bool, wanted: int) -> dict[str, float]:
    """Decode rows of given lengths in batches as the engine plans them; before, four times the slots, now sixteen."""
    decoder = decoder_of(model, wanted, new)
    how = HOW.model_copy(update={"max_new_tokens": limit})
    rng = np.random.default_rng(1)
    prompts = rng.integers(10, 1000, (len(lengths), 128)).tolist()
    batch = wanted * (16 if new else 4)
    began = now()
    for start in range(0, len(lengths), batch):
        part = slice(start, start + batch)
        list(decoder.decode(prompts[part], range(len(prompts[part])), how, lengths[part]))
    seconds = now() - began
    used = decoder.used
    figures = {
        "seconds": seconds, "useful_tokens_per_s": used.tokens / seconds, "slots": decoder.slots,
        "idle_share": 1 - used.tokens / used.slot_steps, "set_back": used.set_back, "most_rows": used.most_rows,
        "graphs": len(decoder.graphs),
    }  # fmt: skip
    del decoder
    free()
    return figures


def lengths_of(path: Path | None, count: int, limit: int) -> list[int]:
    """Return lengths of traces: drawn from a file's (a list of numbers), or log-normal, as R1's are on MATH."""
    rng = np.random.default_rng(2)
    if path is None:
        found = rng.lognormal(np.log(2000 if limit > 1000 else limit / 6), 0.9, count)
    else:
        found = rng.choice(json.loads(path.read_text()), count)
    return [int(x) for x in np.clip(found, 16, limit)]


def main() -> None:
    """Parse arguments, run all in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--config", nargs="+", choices=list(SHAPES), default=["1.5b", "7b"] if CUDA else ["toy"]
    )
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 64, 256])
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--long", type=int, default=4096, help="a long prompt, at batch 64")
    parser.add_argument("--tail", type=int, default=384, help="rows of the long-tailed load; 0 leaves it out")
    parser.add_argument("--tail-slots", type=int, default=256)
    parser.add_argument("--limit", type=int, default=12_000)
    parser.add_argument("--only", choices=["before", "now"])
    parser.add_argument("--lengths", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    name = torch.cuda.get_device_name() if CUDA else "CPU"
    bandwidth = next((b for key, b in BANDWIDTH.items() if key in name), 20e9)
    record: dict[str, Any] = {"device": name, "bandwidth": bandwidth, "torch": torch.__version__}

    def keep() -> None:
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(record, indent=1) + "\n")

    record["draw_ms"] = draws(SHAPES[args.config[0]]["vocab_size"], 256 if CUDA else 4)
    print("draw, ms:", {k: round(v, 3) for k, v in record["draw_ms"].items()}, flush=True)
    keep()
    for shape in args.config:
        config = Qwen2Config(
            **SHAPES[shape], max_position_embeddings=131_072, tie_word_embeddings=shape == "1.5b",
            attn_implementation="sdpa",
        )  # fmt: skip
        torch.manual_seed(0)
        kind = torch.bfloat16 if CUDA else torch.float32
        with torch.device("cuda" if CUDA else "cpu"):
            model = AutoModelForCausalLM.from_config(config, dtype=kind).eval()
        found = record[shape] = {}
        loads = [(rows, args.prompt, args.tokens) for rows in args.batches]
        loads += [(64, args.long, args.tokens // 2)] if args.long else []
        for new in (False, True):  # what is new joins weights, so it comes last
            if args.only and args.only != ("now" if new else "before"):
                continue
            for rows, prompt, tokens in loads:
                label = f"{'now' if new else 'before'}, {rows} rows, {prompt} + {tokens}"
                figures = found[label] = steady(model, rows, prompt, tokens, new, bandwidth)
                print(shape, label, {k: round(v, 3) for k, v in figures.items()}, flush=True)
                keep()
            if args.tail and shape != "7b":
                lengths = lengths_of(args.lengths, args.tail, args.limit)
                label = f"{'now' if new else 'before'}, long tail"
                found["lengths"] = {
                    "rows": len(lengths),
                    "mean": float(np.mean(lengths)),
                    "most": max(lengths),
                }
                figures = found[label] = long_tail(model, lengths, args.limit, new, args.tail_slots)
                print(shape, label, {k: round(v, 3) for k, v in figures.items()}, flush=True)
                keep()
        del model
        free()


if __name__ == "__main__":
    main()
