"""Train the embedded student from scratch and save it as a standard Qwen3 checkpoint.

On a GPU (minutes):  python -m mini_student.train --out OUT
On a CPU (toy size): python -m mini_student.train --out OUT --documents 2000 --steps 50 \
                         --hidden 64 --layers 2 --batch-tokens 4096
Both with ``PYTHONPATH=src:tools``. Data, tokenizer and weights follow from ``--seed``. A second,
short phase can move the rates of the habits: ``--init CHECKPOINT --habits '{"stuck": 0.1}'``.
"""

import argparse
import json
import math
import multiprocessing
import random
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from drp.benchmarks.mini_world import TIERS, stream
from mini_student.voice import Habits, write

END, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{%- for m in messages -%}"
    "{%- if m['role'] == 'assistant' -%}"
    "{{- '<|im_start|>assistant\\n' + m['content'].split('</think>')[-1] + '<|im_end|>\\n' -}}"
    "{%- else -%}"
    "{{- '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n<think>\\n' -}}{%- endif -%}"
)
SHARES = {"mini-gsm": 0.3, "mini-math": 0.25, "mini-amc": 0.22, "mini-aime": 0.23}
MAX_TOKENS = 1400  # thinking that never closes is cut here

Row = tuple[np.ndarray, int]
"""Token ids of a document (uint16) and the length of its prompt."""


def documents(job: tuple[str, int, int, Habits]) -> list[tuple[str, str]]:
    """Return ``count`` (prompt, response) pairs of one tier; an unclosed response has no stop."""
    tier, count, seed, habits = job
    rng = random.Random(f"voice/{tier}/{seed}")
    pairs: list[tuple[str, str]] = []
    for problem in stream(tier, "pretrain", seed):
        document = write(problem, rng, habits)
        prompt = f"{START}user\n{problem.question}{STOP}\n{START}assistant\n<think>\n"
        response = document.thinking
        if document.closed:
            response += f"\n</think>\n\n{document.answer}{STOP}"
        pairs.append((prompt, response))
        if len(pairs) == count:
            return pairs
    return pairs


def make_documents(total: int, seed: int, workers: int, habits: Habits) -> list[tuple[str, str]]:
    """Return about ``total`` documents over all tiers, shuffled."""
    jobs: list[tuple[str, int, int, Habits]] = []
    for tier in TIERS:
        count, part = int(total * SHARES[tier]), 0
        while count > 0:
            jobs.append((tier, min(count, 5000), seed * 10_000 + part, habits))
            count, part = count - 5000, part + 1
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        pairs = [pair for chunk in pool.map(documents, jobs, chunksize=1) for pair in chunk]
    random.Random(seed).shuffle(pairs)
    return pairs


def train_tokenizer(pairs: list[tuple[str, str]], size: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE with single digits, R1-like tags and a thinking chat template."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r" ?\d"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])  # fmt: skip
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END, START, STOP, "<think>", "</think>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator((p + r for p, r in pairs[:20_000]), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=STOP, pad_token=END)
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.model_max_length = 2048
    return tokenizer


def encode(tokenizer: PreTrainedTokenizerFast, pairs: list[tuple[str, str]]) -> list[Row]:
    """Return (token ids, prompt length) of each document, cut at ``MAX_TOKENS``."""
    core = tokenizer.backend_tokenizer
    rows: list[Row] = []
    for begin in range(0, len(pairs), 20_000):
        chunk = pairs[begin : begin + 20_000]
        prompts = core.encode_batch_fast([p for p, _ in chunk], add_special_tokens=False)
        responses = core.encode_batch_fast([r for _, r in chunk], add_special_tokens=False)
        rows += [
            (np.array((p.ids + r.ids)[:MAX_TOKENS], np.uint16), len(p.ids))
            for p, r in zip(prompts, responses, strict=True)
        ]
    return rows


def batches(rows: list[Row], tokens: int, rng: random.Random) -> list[list[int]]:
    """Group documents of similar length into batches of at most ``tokens`` padded tokens."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]) + rng.random() * 16)
    groups: list[list[int]] = []
    current: list[int] = []
    for index in order:
        if current and (len(current) + 1) * len(rows[index][0]) > tokens:
            groups.append(current)
            current = []
        current.append(index)
    groups.append(current)
    rng.shuffle(groups)
    return groups


def collate(rows: list[Row], group: list[int], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return right-padded ids and labels; prompt and padding carry no loss."""
    width = max(len(rows[i][0]) for i in group)
    ids = torch.full((len(group), width), pad)
    labels = torch.full((len(group), width), -100)
    for line, index in enumerate(group):
        tokens, prompt = rows[index]
        ids[line, : len(tokens)] = torch.from_numpy(tokens.astype(np.int64))
        labels[line, prompt : len(tokens)] = ids[line, prompt : len(tokens)]
    return ids, labels


def fit(model: Qwen3ForCausalLM, rows: list[Row], args: argparse.Namespace, pad: int) -> list[float]:
    """Train in place with AdamW, a warm-up and a cosine; return the loss curve."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.05,
        fused=device.type == "cuda",
    )  # fmt: skip
    rng = random.Random(args.seed)
    queue: list[list[int]] = []
    curve: list[float] = []
    began = time.time()
    for step in range(args.steps):
        progress = step / args.steps
        elapsed = (time.time() - began) / args.seconds
        progress = max(progress, elapsed)
        if progress >= 1:
            break
        warm = min(1.0, (step + 1) / 200)
        for group in optimizer.param_groups:
            group["lr"] = args.lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        if not queue:
            queue = batches(rows, args.batch_tokens, rng)
        ids, labels = collate(rows, queue.pop(), pad)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            # Right padding under a causal mask needs no attention mask: no real token sees it.
            logits = model(input_ids=ids.to(device, non_blocking=True), use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(
                logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten().to(device), ignore_index=-100
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0:
            curve.append(float(loss.detach()))
            if step % 200 == 0:
                print(f"step {step} loss {curve[-1]:.4f} {time.time() - began:.0f} s", flush=True)
    print(f"trained {step + 1} steps in {time.time() - began:.0f} s, last loss {curve[-1]:.4f}")
    return curve


def main() -> None:
    """Parse arguments, train, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=500_000)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=230.0, help="limit on training time")
    parser.add_argument("--batch-tokens", type=int, default=98_304)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--vocabulary", type=int, default=1024)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--init", type=Path, help="go on from this checkpoint and its tokenizer")
    parser.add_argument("--habits", type=json.loads, default={}, help="rates to change, as JSON")
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    began = time.time()
    habits = Habits(**args.habits)
    pairs = make_documents(args.documents, args.seed, args.workers, habits)
    if args.init:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(args.init)
    else:
        tokenizer = train_tokenizer(pairs, args.vocabulary)
    rows = encode(tokenizer, pairs)
    tokens = sum(len(ids) for ids, _ in rows)
    print(f"{len(rows)} documents, {tokens / 1e6:.1f} M tokens, vocabulary {len(tokenizer)}, "
          f"made in {time.time() - began:.0f} s", flush=True)  # fmt: skip

    heads = args.hidden // 32
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=args.hidden, intermediate_size=args.hidden * 5 // 2,
        num_hidden_layers=args.layers, num_attention_heads=heads, num_key_value_heads=2, head_dim=32,
        max_position_embeddings=2048, tie_word_embeddings=True, rope_theta=10_000.0,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        use_cache=True,
    )  # fmt: skip
    if args.init:
        model = Qwen3ForCausalLM.from_pretrained(args.init, dtype=torch.float32)
    else:
        model = Qwen3ForCausalLM(config)
    print(f"{model.num_parameters() / 1e6:.2f} M parameters", flush=True)
    curve = fit(model, rows, args, tokenizer.pad_token_id)

    model.eval().to("cpu", torch.bfloat16)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(args.out, safe_serialization=True)
    tokenizer.save_pretrained(args.out)
    record = {
        "arguments": {k: v for k, v in vars(args).items() if not isinstance(v, Path)},
        "habits": asdict(habits), "documents": len(rows), "tokens": tokens,
        "parameters": model.num_parameters(), "torch": torch.__version__, "loss": curve,
    }  # fmt: skip
    (args.out / "training.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
