"""The rows of a JSONL or Parquet file; what is no such file is said in one sentence, with the mend."""

import codecs
import importlib
import json
import re
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

from drp.errors import DataError, MissingExtraError
from drp.runs.reading import reading
from drp.runs.stage import Say, silent
from drp.text.surrogates import without_lone_surrogates

Row = tuple[int, dict[str, Any]]
"""The number of a line or row, from 1, and its fields."""

MOST_BYTES = 256 << 20
"""Longest line; a longer one is no record, and would fill the memory."""

# The escape of a surrogate, whole pairs included: "\ud83d" and "\uDE00", not "\u00b0".
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_EXPECTED = "expected one JSON object a line, in UTF-8"
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "compressed by gzip", "unpack it first: gunzip -k {}"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "unpack it first: unzstd {}"),
    (b"\xfd7zXZ\x00", "compressed by xz", "unpack it first: unxz -k {}"),
    (b"BZh", "compressed by bzip2", "unpack it first: bunzip2 -k {}"),
    (b"PK\x03\x04", "a zip archive", "unpack it first: unzip {}"),
    (codecs.BOM_UTF32_LE, "UTF-32", "write it in UTF-8: iconv -f UTF-32 -t UTF-8 {} > utf8.jsonl"),
    (codecs.BOM_UTF16_LE, "UTF-16", "write it in UTF-8: iconv -f UTF-16 -t UTF-8 {} > utf8.jsonl"),
    (codecs.BOM_UTF16_BE, "UTF-16", "write it in UTF-8: iconv -f UTF-16 -t UTF-8 {} > utf8.jsonl"),
    (b"{\x00", "UTF-16", "write it in UTF-8: iconv -f UTF-16LE -t UTF-8 {} > utf8.jsonl"),
    (b"\x00{", "UTF-16", "write it in UTF-8: iconv -f UTF-16BE -t UTF-8 {} > utf8.jsonl"),
)
"""How files begin that people give for JSONL, what they are, and the mend. UTF-32 stands before UTF-16, whose mark it begins with."""


def read_rows(path: Path, say: Say = silent) -> Iterator[Row]:
    """Yield the rows of a JSONL or Parquet file with their line or row numbers, from 1.

    Args:
        path: The file; a pipe works, too.
        say: Told in one line how many lines held half a character, which reads as U+FFFD.

    Raises:
        DataError: The file cannot be read, or is something else; names the line.
        MissingExtraError: Parquet needs pyarrow.
    """
    with reading(path, DataError) as file:
        head = file.peek(8)[:8]
        if path.suffix == ".parquet" or head.startswith(b"PAR1"):
            yield from _parquet_rows(path)
            return
        for begins, what, mend in _KINDS:
            if head.startswith(begins):
                raise DataError(f"{path} is {what}; {_EXPECTED}; {mend.format(path)}")
        yield from _json_rows(file, path, say)


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtraError("pyarrow", "train") from error
    try:
        table = parquet.read_table(path)
    except Exception as error:  # the library raises many kinds for what is not Parquet
        raise DataError(f"{path} is not a Parquet file: {error}") from error
    try:
        rows = table.to_pylist()
    except Exception as error:  # and for values that Python has no type for
        raise DataError(f"{path} holds values that cannot be read: {error}") from error
    yield from enumerate(rows, 1)


def _json_rows(file: BufferedReader, path: Path, say: Say) -> Iterator[Row]:
    number = broken = 0
    # `readline` with a limit, since iterating would take a line of any length into memory.
    while line := file.readline(MOST_BYTES + 1):
        number += 1
        place = f"{path}, line {number}"
        if len(line) > MOST_BYTES:
            raise DataError(f"{place}: longer than {MOST_BYTES >> 20} MiB; {_EXPECTED}")
        line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if not line.strip():
            continue
        row, mended = _row(line, place)
        broken += mended
        yield number, row
    if broken:
        say(
            f"{path}: {broken} line{'s' if broken > 1 else ''} held half of a character that was cut in two "
            "(a lone surrogate); each reads as U+FFFD (�)"
        )


def _row(line: bytes, place: str) -> tuple[dict[str, Any], bool]:
    """Return the object of a line, and whether half a character in it had to be replaced."""
    try:
        row: object = json.loads(line.decode("utf-8"))
        # Only an escape can bring a lone surrogate in; the row written out again shows it wherever it stands.
        text = json.dumps(row, ensure_ascii=False) if _SURROGATE.search(line) else ""
        whole = without_lone_surrogates(text)
        row = json.loads(whole) if whole != text else row
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: not UTF-8 ({error.reason} at byte {error.start}); {_EXPECTED}") from error
    except RecursionError as error:
        raise DataError(f"{place}: nested too deeply; {_EXPECTED}, with plain fields") from error
    except ValueError as error:
        if line.lstrip().startswith(b"["):
            raise DataError(_array(place)) from error
        if b"\x00" in line:
            raise DataError(
                f"{place}: holds NUL bytes: the file is damaged, or no text; {_EXPECTED}"
            ) from error
        raise DataError(f"{place}: not JSON ({error}); {_EXPECTED}") from error
    if isinstance(row, list):
        raise DataError(_array(place))
    if not isinstance(row, dict):
        raise DataError(f"{place}: expected a JSON object, not {json.dumps(row)[:40]}; {_EXPECTED}")
    return cast("dict[str, Any]", row), whole != text


def _array(place: str) -> str:
    return f"{place}: a JSON array; {_EXPECTED}, a JSON object each: jq -c '.[]' FILE > FILE.jsonl"
