"""What must not leave this machine: its paths, keys, and settings of loading that only hold here."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

KEYS = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{35}|gh[pousr]_[A-Za-z0-9]{30,})"
)
"""Keys as providers spell them. Takes ``hf_`` or ``sk-`` and what looks drawn by lot; leaves ``hf_hub_download``."""
KEY_VARIABLE = re.compile(r"(?:TOKEN|API_KEY|ENDPOINT_KEY|SECRET)$")
"""Environment variables that hold keys: takes ``HF_TOKEN``, ``OPENAI_API_KEY``; leaves ``TOKENIZERS_PARALLELISM``."""
SHORTEST_KEY = 8
"""Characters from which the value of such a variable is looked for: ``1`` or ``EMPTY`` is in any text."""
COMMON = {"/", "/root", "/home", "/tmp", "/work", "/data", "/mnt", "/srv", "/opt"}
"""Folders whose names say nothing about anybody, and which a solution may well hold, as 3/data does."""


def public_name(name: str) -> str:
    """Return what a model, file or teacher is called where its path must not be said.

    The folder of a run's model is called as its run: ``runs/self/train/model`` is ``self``. Hub ids stay.
    """
    if "/" not in name or not (Path(name).expanduser().exists() or name.startswith(("/", "~", "./", "../"))):
        return name
    folder = Path(name).expanduser().resolve()
    parts = folder.parts
    return parts[-3] if len(parts) > 3 and parts[-2] == "train" else folder.name


class Private:
    """Finds what must not leave this machine in texts.

    Args:
        paths: Folders of this machine that texts might name, besides the working and the home folder.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        folders = {str(p.expanduser().absolute()) for p in (*paths, Path.cwd(), Path.home())}
        self._paths = sorted(folders - COMMON, key=len, reverse=True)
        self._values = [
            value
            for name, value in os.environ.items()
            if KEY_VARIABLE.search(name) and len(value) >= SHORTEST_KEY
        ]

    def found(self, text: str) -> str | None:
        """Return what of this machine a text holds, without quoting a key; ``None`` where it holds nothing."""
        if KEYS.search(text) or any(value in text for value in self._values):
            return "something like a key"
        return next((f"the path {path}" for path in self._paths if path in text), None)
