"""Append-only JSONL files that survive being killed at any byte."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self, TypeVar

from pydantic import BaseModel, ValidationError

from drp.errors import RunFolderError
from drp.records import Record

R = TypeVar("R", bound=BaseModel)


def read_records(path: Path, kind: type[R]) -> Iterator[R]:
    """Yield the records of a JSONL file; a torn last line is passed over.

    Raises:
        RunFolderError: A line other than the last does not parse.
    """
    if not path.exists():
        return
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield kind.model_validate_json(line)
        except ValidationError as error:
            if number == len(lines):  # no line feed behind it: torn by a crash
                return
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "the line"
            raise RunFolderError(
                f"{path}, line {number}: not a {kind.__name__} record ({where}: {problem['msg']}). "
                "Mend or remove that line, or delete the stage folder to start it over."
            ) from error


class Journal:
    """One JSONL file open for appending; a torn last line is cut off when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._cut_torn_line()
        self._file: IO[bytes] = path.open("ab")

    def _cut_torn_line(self) -> None:
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with self.path.open("r+b") as file:
                file.truncate(whole)

    def append(self, *records: Record) -> None:
        """Write records, one line each, and hand them to the operating system before returning."""
        self._file.write(b"".join(r.model_dump_json().encode() + b"\n" for r in records))
        self._file.flush()

    def close(self) -> None:
        """Flush to disk and close."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that readers see the old or the new content, never half of it."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
