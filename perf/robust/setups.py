"""Broken set-ups: run folders, disks, signals, and what surrounds a command."""

# One case a line reads as a table.
# fmt: off

import fcntl
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drp.engines.identity import resolve_model
from drp.runs import layout
from robust.case import GOOD, QUICK, TEACHER, Case, Step, absent, broken, case, gone, lines, lines_of

# Run folders.

def _middle(data: bytes) -> bytes:
    return b'{"id": 3}\n' + data.partition(b"\n")[2]


def _torn(data: bytes) -> bytes:
    return data[:-40]


WHOLE = (lines("run/generate/records.jsonl", 8),)


def _learnt(folder: Path) -> str:
    steps = [json.loads(line) for line in (folder / "run/train/records.jsonl").read_text().splitlines()]
    return "" if any(step["learning_rate"] > 0 for step in steps) else "no step had a learning rate"


def _in_use(folder: Path) -> Any:
    (folder / "out").mkdir()
    lock = (folder / "out" / ".lock").open("w")
    lock.write("process 1 on here")
    lock.flush()
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _run_cases() -> Iterator[Case]:
    generate = f"generate $mini {QUICK} --out "
    yield case("out: is a file", generate + "good.jsonl", r"good\.jsonl", r"--out")
    yield case("out: under a file", generate + "good.jsonl/run", r"good\.jsonl", r"--out")
    yield case("out: in /proc", generate + "/proc/run", r"/proc", r"--out")
    yield case("out: may not be written", generate + "shut", r"shut", r"--out|mend", user=65534, files={"shut/x": b""},
               before=lambda folder: (folder / "shut").chmod(0o555))
    for verb in ("generate", "run", "prune"):
        argv = "prune --traces good.jsonl --out out" if verb == "prune" else f"{verb} $mini {QUICK} --out out"
        yield case(f"{verb}: folder in use", argv, r"out is in use by process 1 on here", r"wait|choose", before=_in_use)
    for path, verb, argv in (
        ("generate/manifest.json", "generate", "generate run"), ("generate/manifest.json", "report", "report run"), ("prune/manifest.json", "train", "train run"),
        ("evaluate/distilled/manifest.json", "compare", "compare run run"), (layout.RECIPE, "report", "report run"), (layout.RECIPE, "run", "run run"),
        ("train/manifest.json", "evaluate", "evaluate run"),
    ):
        name = path.rpartition("/")[2]
        yield case(f"{verb}: {path} damaged", argv, name.replace(".", r"\."), before=broken("run/" + path, lambda data: data[:30]))
    yield case("generate: manifest missing", "generate run", r"run/generate", r"move|choose", before=gone("run/generate/manifest.json"))
    later = broken("run/generate/manifest.json", lambda data: data.replace(b"{", b'{"added_later": 1,', 1))
    yield case("generate: manifest of a later version", "generate run", r"manifest\.json", want="either", said="8 of 8 done", before=later)
    for path, verb, argv in (
        ("generate", "generate", "generate run"), ("generate", "prune", "prune run"), ("generate", "report", "report run"), ("prune", "train", "train run"),
        (layout.EVALUATE_DISTILLED, "compare", "compare run run"), (layout.EVALUATE_BASE, "evaluate", "evaluate run"),
    ):
        yield case(f"{verb}: {path}/records.jsonl damaged", argv, r"records\.jsonl, line 1", r"mend or remove", before=broken(f"run/{path}/records.jsonl", _middle))
    yield case("prune: errors.jsonl damaged", "prune run", r"errors\.jsonl, line 1", r"mend or remove",
               before=lambda folder: (folder / "run/prune/errors.jsonl").write_bytes(b"{}\n" * 2))
    for name, change in (("torn last line", _torn), ("last record without line feed", bytes.rstrip)):
        yield case(f"generate: {name}", "generate run", want="works", said="8 of 8 done", before=broken("run/generate/records.jsonl", change), checks=WHOLE)
        yield case(f"prune: {name} of generate", "prune run", r"generate.*1 of 8", want="either", said="prune",
                   before=broken("run/generate/records.jsonl", change))
    yield case("report: torn last line", "report run", want="works", said="report", before=broken("run/prune/records.jsonl", _torn))
    yield case("compare: torn last line", "compare run run", r"records\.jsonl", want="either", said=r"\b3\b",
               before=broken("run/evaluate/distilled/records.jsonl", _torn))
    yield case("prune: folder of another recipe", f"prune $mini {QUICK} generate.seed=9 --out run", r"generate", r"drp generate", run=True)
    yield case("generate: folder of another recipe", f"generate $mini {QUICK} generate.seed=9 --out run", want="works", run=True,
               said=r"settings changed.*superseded.*4 of 4 done")
    yield case("train: nothing pruned yet", f"train $mini {QUICK} --out out", r"out", r"drp generate|drp prune")
    yield case("train: learning rate 1e38", "train run train.learning_rate=1e38 train.effective_batch=2 train.epochs=3", r"train", r"learning_rate", checks=(absent("run/train/model"),))
    yield case("train: a single step", "train run train.rank=2 train.epochs=1", want="works", said=r"1 steps", checks=(_learnt,))
    yield case("train: no example fits", "train run train.max_length=16", r"train\.max_length=16", r"raise|drop")
    yield case("train: every trace was refused", "train run prune.checks.max_length_ratio=0.01", r"prune", r"drp prune|records\.jsonl")
    yield case("train: full disk", "train run train.rank=2", r"run/train", r"make room", largest=100_000)
    many = f"generate $mini {QUICK} problems.0.count=16 generate.engine.batch_size=4 --out out"
    yield case("generate: full disk", many, r"records\.jsonl", r"make room", largest=6_000,
               then=(Step(many, said="16 of 16 done", checks=(lines("out/generate/records.jsonl", 16),)),))
    yield case("grade: full disk", "grade x.jsonl --out y.jsonl", r"y\.jsonl", r"make room", largest=2_000, files={"x.jsonl": GOOD + GOOD.replace(b"day", b"night")})
    yield case("report: full disk", "report run", r"report", r"make room", largest=20_000)
    yield case("report: empty folder", "report folder", r"folder", r"no stage|drp run", files={"folder/.keep": b""})
    yield case("report: no such folder", "report nowhere", r"nowhere", r"no such|not a run folder|does not exist")
    yield case("compare: folder without evaluation", "compare run run", r"run has no evaluation", r"drp evaluate", before=gone("run/evaluate"))
    yield case("compare: no such run", "compare run nowhere", r"nowhere", r"no such|does not exist|drp evaluate")
    yield case("evaluate: weights of the trained model gone", "evaluate run evaluate.seed=7", r"run/train/model", before=gone("run/train/model/model.safetensors"))
    yield case("evaluate: no trained model", "evaluate run evaluate.seed=7", want="works", said="no trained model", before=gone("run/train"))
    adapter = "run/train/adapter/adapter_"
    yield case("merge: no adapter", "merge run", r"run has no train/adapter", r"drp train", before=gone("run/train/adapter"))
    yield case("merge: no such run", "merge nowhere", r"nowhere", r"drp train|no such")
    for name, change in (("adapter cut off", lambda data: data[:-100]), ("adapter is text", lambda _: b"<html>")):
        yield case(f"merge: {name}", "merge run --out m", r"run/train/adapter", r"drp train", before=broken(adapter + "model.safetensors", change), checks=(absent("m"),))
    yield case("merge: adapter_config.json broken", "merge run --out m", r"run/train/adapter", r"drp train", before=broken(adapter + "config.json", lambda _: b"{"))
    yield case("merge: student moved away", "merge run --out m", r"no-such-student", before=broken(adapter + "config.json", lambda data: json.dumps(
        json.loads(data) | {"base_model_name_or_path": "/no-such-student"}).encode()))
    yield case("merge: out exists", "merge run --out good.jsonl", r"good\.jsonl", r"--out")
    yield case("merge: adapter scale -1", "merge run --adapter-scale -1", r"--adapter-scale", r"range|greater")
    yield case("merge: adapter scale nan", "merge run --adapter-scale nan --out m", r"adapter-scale", checks=(absent("m"),))
    yield case("merge: adapter scale inf", "merge run --adapter-scale inf --out m", r"adapter-scale", checks=(absent("m"),))
    long = f"generate $mini {QUICK} problems.0.count=60 generate.sampling.max_new_tokens=200 generate.engine.batch_size=5 --out out"
    whole = Step(long, "prepares", said="60 of 60 done", checks=(lines("out/generate/records.jsonl", 60),))
    yield case("Ctrl-C while generating", long, want="stopped", kill=signal.SIGINT, said="the same command continues", then=(whole,))
    yield case("SIGTERM while generating", long, want="killed", kill=signal.SIGTERM, then=(whole,))
    yield case("SIGKILL while generating", long, want="killed", kill=signal.SIGKILL, then=(whole,))
    yield case("Ctrl-C while a teacher is asked", f"prune {TEACHER} prune.teacher.endpoint.base_url=$url/slow/v1", want="stopped", kill=signal.SIGINT, when="out/teacher_replies.jsonl",
               then=(Step(f"prune {TEACHER} prune.teacher.endpoint.base_url=$url/good/v1", said="4 of 4 done"),))


# What surrounds the command.


def _surroundings() -> Iterator[Case]:
    fresh: dict[str, Any] = {"shell": True, "want": "works"}
    shadows = {f"{name}.py": b"" for name in ("random", "json", "torch", "typing", "socket")}
    algebra = lines_of({"question": "q", "gold": "x^2+2x+1", "completion": "<think>t</think>\\boxed{(x+1)^2}"})
    yield case("empty json.py and random.py here: grade", "grade x.jsonl", said=r" 100\.0", files=shadows | {"x.jsonl": algebra}, **fresh)
    yield case("empty json.py and random.py here: prune", f"prune {TEACHER} prune.teacher.endpoint.base_url=$url/good/v1", said=r"accepted\s+4", files=shadows, torch=True, **fresh)
    yield case("empty json.py and random.py here: report", "report run", said="report", files=shadows, **fresh)
    yield case("HOME unset", "prune --traces good.jsonl --out out", said="4 of 4 done", env={"HOME": None, "XDG_CACHE_HOME": None}, **fresh)
    latin = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    yield case("LC_ALL=C", "report run", said="report", env={"LC_ALL": "C"}, **fresh)
    yield case("a locale that is not UTF-8", "report run", said="report", env=latin, **fresh)
    yield case("a locale that is not UTF-8: generate", f"generate $mini {QUICK} --out out", said="4 of 4 done", env=latin, torch=True, **fresh)
    yield case("a terminal of Latin-1", "report run", said="report", env={"PYTHONIOENCODING": "latin-1"}, **fresh)
    yield case("no TERM", "grade good.jsonl", said=r" 100\.0", env={"TERM": None, "COLUMNS": None}, **fresh)
    yield case("output piped into head", "report run | head -1", said="Pruning", shell=True, want="either", mend="")
    yield case("output closed", "grade good.jsonl --out y.jsonl >&-", shell=True, want="either", place="", mend="", checks=(
        lambda folder: "" if (folder / "y.jsonl").exists() else "y.jsonl was not written",))
    yield case("output is full", "report run >/dev/full", r"", r"", shell=True)
    yield case("input closed", "grade good.jsonl <&-", said=r" 100\.0", **fresh)
    yield case("completions from /dev/stdin", "grade /dev/stdin <good.jsonl", said=r" 100\.0", **fresh)
    yield case("working folder that may not be written", "generate $mini problems.0.count=2", r"runs", r"--out", cwd="/proc")
    twice = f"generate $mini {QUICK} problems.0.count=24 --out out"
    yield case("two processes at once", f"{twice} & drp {twice}; a=$$?; wait $$!; echo codes $$a $$?", want="prepares", shell=True,
               said=r"codes (0 1|1 0).*in use by process", checks=(lines("out/generate/records.jsonl", 24),))
    yield case("student in a folder with blanks and umlauts", f"generate $mini {QUICK} student.model='stu dent/ü' --out 'o ut'", want="works", said="4 of 4 done",
               before=lambda folder: shutil.copytree(resolve_model("mini"), folder / "stu dent" / "ü"))


CASES: list[Case] = [*_run_cases(), *_surroundings()]
