"""Problems and traces from files: JSONL, or Parquet."""

import importlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from drp.errors import DataError, MissingExtraError
from drp.records import Problem, Trace, content_id

Row = tuple[int, dict[str, Any]]


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a JSONL or Parquet file with their line or row numbers, from 1.

    Raises:
        DataError: The file is missing or malformed.
        MissingExtraError: Parquet needs pyarrow.
    """
    if not path.exists():
        raise DataError(f"no such file: {path}")
    yield from _parquet_rows(path) if path.suffix == ".parquet" else _json_rows(path)


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtraError("pyarrow", "train") from error
    try:
        rows = parquet.read_table(path).to_pylist()
    except Exception as error:  # the library raises many kinds for what is not Parquet
        raise DataError(f"{path} is not a Parquet file: {error}") from error
    yield from enumerate(rows, 1)


def _json_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:  # neither JSON nor, perhaps, UTF-8
                raise DataError(
                    f"{path}, line {number}: not JSON ({error}); expected one object a line, in UTF-8"
                ) from error
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {number}: expected a JSON object")
            yield number, row


def _text(row: dict[str, Any], key: str, path: Path | str, number: int) -> str:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        has = ", ".join(sorted(row)) or "none"
        raise DataError(f"{path}, line {number}: field {key!r} is missing or not text; the line has: {has}")
    return str(value)


_SEPARATED = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")


def normalise_gold(text: str) -> str:
    """Return the final answer of a gold field: what follows ``####``, without separators or an idle ``.0``."""
    gold = text.rpartition("####")[2].strip()
    if _SEPARATED.fullmatch(gold):
        gold = gold.replace(",", "")
    return re.sub(r"^([-+]?\d+)\.0+$", r"\1", gold)


def problems_from(
    rows: Iterable[Row],
    source: Path | str,
    question: str | None,
    gold: str | None,
    name: str,
    split: str = "",
) -> list[Problem]:
    """Make problems of rows; fields left out are `question` or `problem`, and `gold` or `answer`.

    Problems with the same question and gold answer count once.

    Raises:
        DataError: A row lacks a field.
    """
    problems: dict[str, Problem] = {}
    for number, row in rows:
        asked = question or ("question" if "question" in row or "problem" not in row else "problem")
        known = gold or ("gold" if "gold" in row or "answer" not in row else "answer")
        problem = Problem(
            question=_text(row, asked, source, number),
            gold=normalise_gold(_text(row, known, source, number)),
            benchmark=name,
            split=split,
        )
        problems.setdefault(problem.id, problem)
    return list(problems.values())


def read_problems(
    path: Path, *, question: str | None = None, gold: str | None = None, name: str = "", split: str = ""
) -> list[Problem]:
    """Read problems from a file; ``question`` and ``gold`` name the fields.

    Raises:
        DataError: A line is not a JSON object with both fields.
    """
    return problems_from(read_rows(path), path, question, gold, name or path.stem, split)


def read_traces(path: Path) -> list[Trace]:
    """Read traces made elsewhere: ``question, gold, thinking, answer`` and, optionally, ``closed, id, model``.

    The identity of a trace is its content; the file's own ``id`` is kept as ``source_id``.

    Raises:
        DataError: A line lacks one of the four fields.
    """
    traces: dict[str, Trace] = {}
    for number, row in read_rows(path):
        parts = {key: _text(row, key, path, number) for key in ("question", "gold", "thinking", "answer")}
        identity = content_id("trace", *parts.values())
        traces.setdefault(
            identity,
            Trace(
                id=identity,
                problem_id=Problem(question=parts["question"], gold=parts["gold"]).id,
                question=parts["question"],
                gold=parts["gold"],
                thinking=parts["thinking"],
                answer=parts["answer"],
                benchmark=str(row.get("dataset", path.stem)),
                split=str(row.get("split", "")),
                model=str(row.get("model", "")),
                closed=bool(row.get("closed", True)),
                source_id=str(row["id"]) if "id" in row else None,
            ),
        )
    return list(traces.values())
