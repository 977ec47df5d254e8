"""What a case of robustness.py is, what it may look at, and the words that cases are written with."""

import json
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from drp.engines.identity import resolve_model

Want = Literal["refused", "recorded", "owed", "works", "either", "stopped", "killed", "prepares"]
EXITS: dict[Want, tuple[int, ...]] = {
    "refused": (1, 2), "recorded": (0,), "owed": (1,), "works": (0,), "either": (0, 1, 2), "stopped": (130,),
    "killed": (-signal.SIGKILL, -signal.SIGTERM), "prepares": (0,),
}  # fmt: skip
MEND = (
    r"(?<!\w)(set|give|name an?|choose|remove|delete|move|mend|`drp \w+`|expected|write|raise|lower|install|did you mean|known here|"
    r"should be|must be|needs?|put|look|wait for|make room|is it running|try|tries|greater than|less than|save|unpack|such as)(?!\w)"
)
"""Words that tell what to do; a case that needs a certain mend says which."""

Check = Callable[[Path], str]
"""Looks at a case's folder after a command; returns what is wrong, or nothing."""


@dataclass(frozen=True)
class Step:
    """One command of a case, and what it should come to."""

    argv: str
    """As typed after ``drp``; ``$names`` are those of :func:`names_of`."""
    want: Want = "works"
    place: str = ""
    """Pattern of the place that a refusal must name."""
    mend: str = MEND
    """Pattern of the mend that a refusal must name."""
    said: str = ""
    """Pattern that must stand in what was printed if the command did not refuse."""
    checks: tuple[Check, ...] = ()
    env: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    """Changes to the environment; ``None`` removes."""
    cwd: str = "."
    before: Callable[[Path], Any] | None = None
    """Breaks what stands in the folder; what it returns lives until the command ended."""
    shell: bool = False
    """Whether a shell starts a process from scratch; redirections and pipes then work."""
    torch: bool = False
    """Whether that process has to import torch, the time of which does not count."""
    kill: int = 0
    """Signal to send when ``when`` holds bytes."""
    when: str = "out/generate/records.jsonl"
    largest: int = 0
    """Most bytes a file may have, as on a full disk; 0: any."""
    user: int = 0
    """User id to run as; only root can, and for root no file is unreadable."""


@dataclass(frozen=True)
class Case:
    """A kind of bad input or broken set-up."""

    name: str
    steps: tuple[Step, ...]
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    run: bool = False
    """Whether the folder holds a copy of a finished run, as ``run``."""
    skip: str = ""
    """Why it cannot be tried on this machine."""


TRACE = {
    "gold": "72", "answer": "The answer is \\boxed{72}.",
    "thinking": "Okay, let me see. Tom has 3 times as many, so 3 * 24 = 72.\n\nWait, let me verify. 24 + 24 + 24 = 72. "
    "Yes, that's right.\n\nSo the answer is 72.",
}  # fmt: skip
ROWS = [
    {"question": f"Mia has 24 shells. Tom has 3 times as many. How many has Tom, day {n}?"} | TRACE
    for n in range(4)
]
"""Rows that every verb reads: problems, traces and completions at once."""


def lines_of(*rows: object) -> bytes:
    """Return rows as JSONL."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


GOOD = lines_of(*ROWS)
"""What lies as ``good.jsonl`` in every case's folder."""
QUICK = (
    "problems.0.count=4 'evaluate.benchmarks=[{benchmark: mini-gsm, count: 4}]' train.epochs=1 "
    "generate.sampling.max_new_tokens=64 evaluate.sampling.max_new_tokens=64"
)
TEACHER = "--traces good.jsonl --out out prune.teacher=edit_script prune.teacher.model=m prune.teacher.endpoint.max_retries=1"


# What is looked at after a command.


def lines(path: str, count: int) -> Check:
    """A file holds so many records, each whole, none twice."""

    def check(folder: Path) -> str:
        try:
            ids = [json.loads(line)["id"] for line in (folder / path).read_text().split("\n") if line]
        except (OSError, ValueError) as error:
            return f"{path}: {error}"
        return "" if len(ids) == len(set(ids)) == count else f"{path} holds {len(ids)} of {count} records"

    return check


def accounted(stage: str, count: int, pattern: str = "") -> Check:
    """Every item has a record or an error on file, and one of them says ``pattern``."""

    def check(folder: Path) -> str:
        rows = [p.read_text() for p in (folder / stage).glob("*.jsonl")]
        ids = {json.loads(line)["id"] for text in rows for line in text.split("\n") if line}
        if len(ids) != count:
            return f"{stage} accounts for {len(ids)} of {count} items"
        return "" if pattern in "".join(rows) else f"{stage} has no {pattern!r} on file"

    return check


def absent(path: str) -> Check:
    """Nothing stands there, or an empty file."""

    def check(folder: Path) -> str:
        there = folder / path
        return f"{path} was made" if there.is_dir() or (there.exists() and there.stat().st_size) else ""

    return check


# How cases are written.


def case(name: str, argv: str, place: str = "", mend: str = MEND, *, files: Mapping[str, bytes | str] | None = None,
         run: bool = False, skip: str = "", then: tuple[Step, ...] = (), **step: Any) -> Case:  # fmt: skip
    """Return a case; refused unless ``want`` says otherwise."""
    step.setdefault("want", "refused")
    made = {path: text.encode() if isinstance(text, str) else text for path, text in (files or {}).items()}
    first = Step(argv, place=place, mend=mend, **step)
    return Case(name, (first, *then), made, run or argv.split()[1:2] == ["run"] or " run" in argv, skip)


def broken(path: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Return what rewrites a file of the case's folder."""
    return lambda folder: (folder / path).write_bytes(change((folder / path).read_bytes())) and None


def gone(*paths: str) -> Callable[[Path], None]:
    """Return what removes files or folders."""

    def remove(folder: Path) -> None:
        for path in paths:
            shutil.rmtree(folder / path) if (folder / path).is_dir() else (folder / path).unlink()

    return remove


def student_with(**files: bytes | None) -> Callable[[Path], None]:
    """Return what copies the embedded student to ``student``, with files replaced or, by ``None``, left out."""

    def make(folder: Path) -> None:
        shutil.copytree(resolve_model("mini"), folder / "student")
        for name, content in files.items():
            path = folder / "student" / name.replace("__", ".")
            path.unlink() if content is None else path.write_bytes(content)

    return make
