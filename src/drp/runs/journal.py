"""Append-only JSONL files that survive being killed at any byte."""

import errno
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Self, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from drp.errors import DiskError, RunFolderError
from drp.records import Record
from drp.runs.reading import reading
from drp.runs.schema import FIRST, SCHEMA, Schema, left_out_note, read_record, schema_of, too_new, warn

R = TypeVar("R", bound=BaseModel)

Place = tuple[int, int]
"""Where a record lies in its file: its first byte and its length, line feed included."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_BARRED = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EIO,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
)

_BLOCK = 1 << 16
"""Bytes first looked at from the end of a file."""


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Turn what a disk refuses while something is written to ``path`` into one sentence.

    Raises:
        DiskError: The disk is full, or may not be written to.
    """
    try:
        yield
    except Exception as error:  # libraries wrap what the system says in errors of their own
        number = error.errno if isinstance(error, OSError) else None
        if number in _FULL or any(os.strerror(full) in str(error) for full in _FULL):
            why = "the disk is full"
        elif number in _BARRED:
            why = f"cannot write ({os.strerror(number or 0)})"
        else:
            raise
        raise DiskError(
            f"{path}: {why}. Make room, or mend the folder, and run the same command again; what was written before "
            "stays as it is"
        ) from error


def read_records(
    path: Path, kind: type[R], schema: Schema = FIRST, say: Callable[[str], None] = warn
) -> Iterator[R]:
    """Yield the records of a JSONL file, one line in memory at a time; a torn last line is passed over.

    Args:
        path: The file; none is a file without records.
        kind: The type of its records.
        schema: What they were written in; lines that say their own schema need none.
        say: Told at the end, in one sentence, which fields of a newer version were left out.

    Raises:
        RunFolderError: The file cannot be read, or a whole line is no record of the kind.
    """
    return (record for _, record in read_placed(path, kind, schema, say))


def read_placed(
    path: Path, kind: type[R], schema: Schema = FIRST, say: Callable[[str], None] = warn
) -> Iterator[tuple[Place, R]]:
    """Yield the same, each with the place it lies at; arguments and errors are those of :func:`read_records`."""
    if not path.exists():
        return
    left_out: set[str] = set()
    newest, end = schema, 0
    with reading(path, RunFolderError) as file:
        for number, line in enumerate(file, 1):
            start, end = end, end + len(line)
            if not line.strip():
                continue
            known = len(left_out)
            try:
                record = read_record(kind, line, schema, left_out)
            except ValidationError as error:
                if not line.endswith(b"\n") and _torn(line):
                    break
                raise _no_record(path, number, line, kind, schema, error) from error
            if len(left_out) > known:
                newest = max(newest, schema_of(line))
            yield (start, len(line)), record
    if left_out:
        say(left_out_note(path, newest, left_out))


def _no_record(
    path: Path, number: int, line: bytes, kind: type[BaseModel], schema: Schema, error: ValidationError
) -> RunFolderError:
    written = max(schema, schema_of(line))
    if written > SCHEMA:
        return too_new(f"{path}, line {number}", written)
    problem = error.errors()[0]
    where = ".".join(map(str, problem["loc"])) or "the line"
    return RunFolderError(
        f"{path}, line {number}: not a {kind.__name__} record ({where}: {problem['msg']}). "
        "Mend or remove that line, or delete the stage folder to start it over."
    )


def _torn(last: bytes) -> bool:
    """Return whether what follows the last line feed is the start of a record that a crash cut off.

    An object lacks its last brace at every cut, so what parses is whole: `{"id":"a"}` is, `{"id":"a"` is not.
    """
    try:
        from_json(last)
    except ValueError:
        return True
    return False


def _last_line(file: BinaryIO) -> tuple[int, bytes]:
    """Return where the text after the last line feed starts, and that text, reading no more of the file than it takes."""
    end = file.seek(0, os.SEEK_END)
    start, tail = end, b""
    while start and b"\n" not in tail:
        start = max(0, end - max(_BLOCK, 2 * len(tail)))
        file.seek(start)
        tail = file.read(end - start)
    behind = tail.rfind(b"\n") + 1
    return start + behind, tail[behind:]


class Journal:
    """One JSONL file open for appending; a torn last line is cut off when it is opened, a whole one ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                self._end_last_line()
            self._file: IO[bytes] = path.open("ab", buffering=0)

    def _end_last_line(self) -> None:
        """Cut off a torn last line, and end a whole one, so that what is appended starts a line."""
        with self.path.open("r+b") as file:
            start, last = _last_line(file)
            if last and _torn(last):
                file.truncate(start)
            elif last:
                file.seek(0, os.SEEK_END)
                file.write(b"\n")

    def append(self, *records: Record) -> Place:
        """Write records, one line each, and hand them to the operating system before returning; return where they lie."""
        data = b"".join(r.model_dump_json().encode() + b"\n" for r in records)
        place = (self._file.seek(0, os.SEEK_END), len(data))
        with writing(self.path):
            while data:
                data = data[self._file.write(data) :]  # an almost full disk takes a part
        return place

    def sync(self) -> None:
        """Return when the disk has what was written, so that not even a power cut takes it."""
        with writing(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush to disk and close."""
        if not self._file.closed:
            self.sync()
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_atomically(path: Path, text: str | Iterable[str]) -> None:
    """Write a file so that readers see the old or the new content, never half of it; large texts come in parts."""
    temporary = path.with_name(path.name + ".tmp")
    if not path.parent.exists():
        raise DiskError(f"{path}: there is no folder {path.parent}; make it, or name another")
    with writing(path):
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines([text] if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
