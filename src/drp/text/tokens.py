"""Counting tokens with a named tokenizer; needs no torch."""

from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer

from drp.errors import DataError


class TokenCounter(Protocol):
    """Counts the tokens of a text."""

    def __call__(self, text: str) -> int:
        """Return the number of tokens."""
        ...


class FileTokenCounter:
    """Counts with a ``tokenizer.json``, from a folder or from the hub."""

    def __init__(self, source: str) -> None:
        path = Path(source)
        file = path / "tokenizer.json" if path.is_dir() else path
        try:
            if file.is_file():
                self._tokenizer = Tokenizer.from_file(str(file))
            else:
                self._tokenizer = Tokenizer.from_pretrained(source)
        except Exception as error:  # the library raises bare Exception for files and hub alike
            raise DataError(
                f"cannot load a tokenizer from {source!r}: {error}. Give a folder with a tokenizer.json or a hub id."
            ) from error

    def __call__(self, text: str) -> int:
        """Return the number of tokens, special tokens not added."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)
