"""The tokenizer of R1-Distill-Qwen and Qwen2.5 for counting tokens where the hub cannot be reached.

    pip install dashscope tiktoken && python tools/qwen_tokenizer.py OUT

The PyPI package ``dashscope`` ships Qwen's merges, which those models share; chat templates and the special tokens that
follow the vocabulary are not part of it, so this is for counting (`--tokenizer OUT`), not for training.
"""

import importlib.metadata
import sys
from pathlib import Path

from tokenizers import normalizers
from transformers.convert_slow_tokenizer import TikTokenConverter

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
KNOWN = ("Hello world", [9707, 1879])
"""A text and its ids in Qwen2.5."""


def main() -> None:
    """Write tokenizer.json."""
    out = Path(sys.argv[1])
    files = importlib.metadata.files("dashscope") or []
    merges = next(file for file in files if file.name == "qwen.tiktoken")
    tokenizer = TikTokenConverter(str(merges.locate()), PATTERN).converted()
    tokenizer.normalizer = normalizers.NFC()
    found = tokenizer.encode(KNOWN[0], add_special_tokens=False).ids
    if found != KNOWN[1]:
        sys.exit(f"{KNOWN[0]!r} became {found}, not {KNOWN[1]}: the package's vocabulary has changed")
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"))
    print(f"{out / 'tokenizer.json'}: {tokenizer.get_vocab_size():,} tokens")


if __name__ == "__main__":
    main()
