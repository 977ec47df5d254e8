"""Problems and traces from JSONL files."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drp.errors import DataError
from drp.records import Problem, Trace, content_id


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if not path.exists():
        raise DataError(f"no such file: {path}")
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


def _text(row: dict[str, Any], key: str, path: Path, number: int) -> str:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        has = ", ".join(sorted(row)) or "none"
        raise DataError(f"{path}, line {number}: field {key!r} is missing or not text; the line has: {has}")
    return str(value)


def read_problems(
    path: Path, *, question: str = "question", gold: str = "gold", name: str = ""
) -> list[Problem]:
    """Read problems; ``question`` and ``gold`` name the fields. Repeated problems count once.

    Raises:
        DataError: A line is not a JSON object with both fields.
    """
    problems: dict[str, Problem] = {}
    for number, row in _rows(path):
        problem = Problem(
            question=_text(row, question, path, number),
            gold=_text(row, gold, path, number).rpartition("####")[2].strip(),
            benchmark=name or path.stem,
        )
        problems.setdefault(problem.id, problem)
    return list(problems.values())


def read_traces(path: Path) -> list[Trace]:
    """Read traces made elsewhere: ``question, gold, thinking, answer`` and, optionally, ``closed, id, model``.

    The identity of a trace is its content; the file's own ``id`` is kept as ``source_id``.

    Raises:
        DataError: A line lacks one of the four fields.
    """
    traces: dict[str, Trace] = {}
    for number, row in _rows(path):
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
