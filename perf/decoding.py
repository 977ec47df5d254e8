"""Useful tokens per second of our decoding loop against ``generate``, side by side in one run.

    python perf/decoding.py [--problems 96] [--rounds 2]

Same student, same prompts in one batch, same sampling settings; the long tail is the student's own. Both count the
tokens of finished and cut rows alike, padding left out.
"""

import argparse
import time
from collections.abc import Callable

import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from drp.benchmarks.mini_world import load
from drp.cli.tables import print_table
from drp.engines.decoding import decode
from drp.engines.identity import resolve_model
from drp.report.text import Table

LIMIT = 1200


def main() -> None:
    """Parse arguments, time both in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--problems", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    path = resolve_model("mini")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).to(device).eval()
    texts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": p.question}], add_generation_prompt=True, tokenize=False
        )
        for p in load("mini-gsm", "test", args.problems)
    ]
    prompts = tokenizer(texts, add_special_tokens=False)["input_ids"]

    def ours(seed: int) -> int:
        rows = decode(
            model, prompts, [seed * 10_000 + i for i in range(len(prompts))], temperature=0.6, top_p=0.95,
            max_new_tokens=LIMIT, stop_ids=[tokenizer.eos_token_id], pad_id=tokenizer.pad_token_id,
        )  # fmt: skip
        return sum(map(len, rows))

    def generate(seed: int) -> int:
        torch.manual_seed(seed)
        batch = tokenizer(texts, add_special_tokens=False, return_tensors="pt", padding=True).to(device)
        with torch.inference_mode():
            output = model.generate(
                **batch, max_new_tokens=LIMIT, do_sample=True, temperature=0.6, top_p=0.95, top_k=0
            )
        new = output[:, batch["input_ids"].shape[1] :]
        return int((new != tokenizer.pad_token_id).sum())

    rates: dict[str, list[float]] = {"decode": [], "generate": []}
    contenders: list[tuple[str, Callable[[int], int]]] = [("decode", ours), ("generate", generate)]
    for seed in range(args.rounds):
        for name, run in contenders:
            began = time.perf_counter()
            rates[name].append(run(seed) / (time.perf_counter() - began))
    mean = {name: sum(values) / len(values) for name, values in rates.items()}
    rows = tuple(
        (name, ", ".join(f"{r:,.0f}" for r in values), f"{mean[name] / mean['generate']:.2f}×")
        for name, values in rates.items()
    )
    title = f"Useful tokens per second, {args.problems} problems in one batch, {device}, {torch.get_num_threads()} threads"
    print_table(Console(width=110), Table(title, ("loop", "each round", "against generate"), rows))


if __name__ == "__main__":
    main()
