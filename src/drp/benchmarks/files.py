"""Problems and traces from files: JSONL, or Parquet."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from drp.benchmarks.exchanges import exchange_of
from drp.benchmarks.rows import Row, read_rows
from drp.benchmarks.values import needed_text, truth
from drp.errors import DataError
from drp.records import Problem, Trace, content_id
from drp.runs.on_demand import spooled
from drp.runs.stage import Say, silent
from drp.tasks.base import task_of

_SEPARATED = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")


def normalise_gold(text: str) -> str:
    """Return the final answer of a gold field: what follows ``####``, without separators or an idle ``.0``."""
    gold = text.rpartition("####")[2].strip()
    if _SEPARATED.fullmatch(gold):
        gold = gold.replace(",", "")
    return re.sub(r"^([-+]?\d+)\.0+$", r"\1", gold)


def known_gold(text: str, key: str, place: str) -> str:
    """Return the final answer of a gold field.

    Raises:
        DataError: There is none, as after a bare ``####``.
    """
    gold = normalise_gold(text)
    if not gold:
        raise DataError(f"{place}: field {key!r} is empty, or ends on ####; fill it in, or remove the line")
    return gold


def problems_from(
    rows: Iterable[Row],
    source: Path | str,
    question: str | None,
    gold: str | None,
    name: str,
    split: str = "",
    say: Say = silent,
    task: str = "maths",
) -> list[Problem]:
    """Make problems of rows; fields left out are `question` or `problem`, and `gold` or `answer`.

    Options that a row lists beside its question, as `choices` or `options`, are the task's to show.

    Problems with the same question and gold answer count once; ``say`` is told how many did not count.

    Raises:
        DataError: There is no row, or one lacks a field.
    """
    problems: dict[str, Problem] = {}
    seen = 0
    for number, row in rows:
        seen += 1
        place = f"{source}, line {number}"
        asked = question or ("question" if "question" in row or "problem" not in row else "problem")
        known = gold or ("gold" if "gold" in row or "answer" not in row else "answer")
        text, answer = task_of(task).posed(
            needed_text(row, asked, place),
            known_gold(needed_text(row, known, place), known, place),
            options_of(row),
        )
        problem = Problem(
            question=text,
            gold=answer,
            benchmark=name,
            split=split,
            task=task,
        )
        problems.setdefault(problem.id, problem)
    if not problems:
        raise DataError(f"{source} holds no problems: it has no rows")
    _say_dropped(say, source, seen, len(problems), "problems", "question and gold answer")
    return list(problems.values())


def options_of(row: Mapping[str, object]) -> list[str]:
    """Return the options that a row lists beside its question, as `choices` or `options`; empty where there are none."""
    listed = row.get("choices") or row.get("options")
    if isinstance(listed, dict):  # as AI2's ARC has them: {"label": ["A", …], "text": ["…", …]}
        listed = cast("dict[str, object]", listed).get("text")
    return [str(option) for option in cast("list[object]", listed)] if isinstance(listed, list) else []


def _say_dropped(say: Say, source: Path | str, seen: int, kept: int, what: str, same: str) -> None:
    if seen > kept:
        say(f"{source}: {seen - kept} of {seen} {what} repeat another one ({same}) and count once with it")


def read_problems(
    path: Path,
    *,
    question: str | None = None,
    gold: str | None = None,
    name: str = "",
    split: str = "",
    say: Say = silent,
    task: str = "maths",
) -> list[Problem]:
    """Read problems from a file; ``question`` and ``gold`` name the fields.

    Raises:
        DataError: A line is not a JSON object with both fields.
    """
    return problems_from(read_rows(path, say), path, question, gold, name or path.stem, split, say, task)


def read_traces(path: Path, say: Say = silent) -> Sequence[Trace]:
    """Read traces made elsewhere: ``question, gold, thinking, answer`` and, optionally, ``closed, id, model``.

    Chats and pairs are read, too: ``messages``, ``conversations`` or ``prompt`` and ``completion`` beside ``gold``, with
    the thinking between its tags in the reply; see :func:`drp.benchmarks.exchanges.exchange_of`.
    The identity of a trace is its content; the file's own ``id`` is kept as ``source_id``. Traces with the
    same content count once; ``say`` is told how many did not count.

    Returns:
        The traces, put away in a temporary file; each is parsed when it is asked for.

    Raises:
        DataError: There is no trace, or a line lacks one of the four fields.
    """
    seen = 0

    def each() -> Iterator[Trace]:
        nonlocal seen
        known: set[str] = set()
        for number, row in read_rows(path, say):
            seen += 1
            trace = _trace(row, path, f"{path}, line {number}")
            if trace.id not in known:
                known.add(trace.id)
                yield trace

    traces = spooled(each(), Trace)
    if not traces:
        raise DataError(f"{path} holds no traces: it has no rows")
    _say_dropped(say, path, seen, len(traces), "traces", "question, gold, thinking and answer")
    return traces


def _trace(row: dict[str, object], path: Path, place: str) -> Trace:
    closed = truth(row, "closed", place)
    exchange = None if "thinking" in row else exchange_of(row)
    if exchange is None:
        question, gold = (needed_text(row, key, place) for key in ("question", "gold"))
        thinking, answer = (needed_text(row, key, place, blank=True) for key in ("thinking", "answer"))
    else:
        question = exchange.question or needed_text(row, "question", place)
        known = "gold" if "gold" in row or "answer" not in row else "answer"
        gold = known_gold(needed_text(row, known, place), known, place)
        thinking, answer, shut = exchange.split()
        closed = shut if closed is None else closed
    return Trace(
        id=content_id("trace", question, gold, thinking, answer),
        problem_id=Problem(question=question, gold=gold).id,
        question=question,
        gold=gold,
        thinking=thinking,
        answer=answer,
        benchmark=str(row.get("dataset") or path.stem),
        split=str(row.get("split") or ""),
        task=str(row.get("task") or "maths"),
        model=str(row.get("model") or ""),
        closed=closed is not False,
        source_id=source_id(row),
    )


def source_id(row: dict[str, object]) -> str | None:
    """Return the identifier that a row has in its own file, if it has one."""
    return None if row.get("id") is None else str(row["id"])
