"""Profile a mini student: accuracy, tokens, long tail and unclosed share on every tier.

python -m mini_student.profile CHECKPOINT --problems 500 [--json FILE]
"""

import argparse
import json
import re
import statistics
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from drp.benchmarks.mini_world import TIERS, load
from drp.engines.base import Sampling
from drp.engines.decoding import decode


def profile(path: Path, problems: int, batch: int, cutoff: int) -> list[dict[str, object]]:
    """Return one row of figures per tier, sampled at temperature 0.6 and top-p 0.95."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).to(device).eval()
    rows: list[dict[str, object]] = []
    for tier in TIERS:
        began, outputs = time.time(), []
        records = load(tier, "test", problems)
        prompts = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": p.question}], add_generation_prompt=True, return_dict=False
            )
            for p in records
        ]
        for start in range(0, problems, batch):
            outputs += decode(
                model, prompts[start : start + batch], list(range(start, min(start + batch, problems))),
                Sampling(temperature=0.6, top_p=0.95, max_new_tokens=cutoff), [tokenizer.eos_token_id],
            )  # fmt: skip
        texts = [tokenizer.decode(o, skip_special_tokens=False) for o in outputs]
        boxed = [re.findall(r"\\boxed\{(-?\d+)\}", t.partition("</think>")[2]) for t in texts]
        right = [bool(b) and b[-1] == p.gold for b, p in zip(boxed, records, strict=True)]
        lengths = sorted(len(o) for o in outputs)
        rows.append({
            "tier": tier, "n": problems, "accuracy": sum(right) / problems,
            "mean": statistics.mean(lengths), "median": statistics.median(lengths),
            "p95": lengths[int(0.95 * problems)], "p99": lengths[int(0.99 * problems)],
            "unclosed": sum("</think>" not in t for t in texts) / problems,
            "tokens_per_second": sum(lengths) / (time.time() - began),
        })  # fmt: skip
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
    print(texts[0])
    return rows


def main() -> None:
    """Parse arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--cutoff", type=int, default=1200)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = profile(args.checkpoint, args.problems, args.batch, args.cutoff)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
