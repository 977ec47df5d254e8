"""Opening files to read: whatever the system has against it is one sentence, and nothing waits for ever."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from drp.errors import DrpError


@contextmanager
def reading(path: Path, kind: type[DrpError], what: str = "file") -> Generator[BufferedReader]:
    """Open a file to read its bytes.

    A pipe works while something writes to it, as in ``drp grade <(zcat x.jsonl.gz)``. It is opened without
    waiting: one that nobody writes to is empty at once, where a plain ``open`` would wait for a writer for ever.

    Args:
        path: The file.
        kind: The error to raise.
        what: What the file is, for "no such …".

    Raises:
        DrpError: Of the given kind: it is not there, is a folder, or may not be read.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            os.set_blocking(file.fileno(), True)
            yield file
    except FileNotFoundError as error:
        raise kind(f"no such {what}: {path}") from error
    except IsADirectoryError as error:
        raise kind(f"{path} is a folder; name a {what} in it") from error
    except OSError as error:
        raise kind(f"cannot read {path}: {error.strerror or error}") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
