"""Bad input and broken set-ups against every verb: what each got, how long it took, and whether that was right.

    python perf/robustness.py [--only PATTERN] [--jobs 1] [--table FILE] [--verbose]

Every case of the folder ``robust`` gets a folder of its own and one command or several, as a user would type them.
What a command did is judged here and not by eye:

- never a traceback, never a signal, never a process left behind, never longer than 5 s;
- *refused*: exit 1 or 2, and the message names the place and the mend;
- *recorded*: exit 0, the loss is on file and said; *owed*: the same, with exit 1, since the same command tries again;
- *works*: exit 0 and the right figure; *either*: one of the two, but not silence.

Importing torch and the training libraries takes seconds that no command can help. So this process imports them once and
forks for each command; the child calls ``main()`` as the entry point does, and its time is the command's own. What needs a
process from scratch (an environment, a pipe, a working directory) is started by a shell, and the time that the imports
took here is subtracted; so is the time that a command stood ready while others had the processor. Endpoints are one real HTTP server on loopback, in a process of its own, whose mood is in the URL.
"""

import argparse
import contextlib
import encodings.utf_8_sig  # noqa: F401 – what another user's fork may not read later
import importlib
import multiprocessing
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from robust.case import EXITS, Case, Step

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S, STOP_S, KILL_S, PREPARES_S, LOOK_S = 5.0, 3.0, 10.0, 180.0, 0.25
"""Most seconds of a command, from Ctrl-C to its end, until it is killed for good, for what only prepares a case, and between looks at who waits."""
FORK = multiprocessing.get_context("fork")
GENERATES = (
    "torch", "transformers", "drp.cli.app", "drp.cli.tables", "drp.api", "drp.pipeline", "drp.planning", "drp.engines.openai_engine",
    "drp.engines.transformers_engine",
)  # fmt: skip
HEAVY = (
    "trl", "peft", "datasets", "accelerate", "pyarrow.parquet", "drp.reporting.write", "drp.engines.batch_engine",
    "drp.training.sft", "drp.training.saving", "drp.training.rollouts", "drp.training.checkpoints", "drp.training.grpo",
)  # fmt: skip
"""What commands import when they run; imported once, before the first fork."""


@dataclass(frozen=True)
class Got:
    """What a command did."""

    code: int | None
    """Exit status; negative: the signal; ``None``: it had to be killed."""
    out: str
    err: str
    seconds: float
    left: int = 0
    """Processes it left behind."""


@dataclass(frozen=True)
class Bench:
    """What the cases share."""

    work: Path
    start_s: float
    """Seconds that importing what a generation needs took."""
    names: Mapping[str, str]


def _child(step: Step, argv: list[str], folder: Path, bench: Bench, env: Mapping[str, str]) -> None:
    """Be the command: what a console script does, in a process that has the libraries loaded."""
    os.setsid()
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
    sys.stdout, sys.stderr = (open(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))  # noqa: SIM115
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder / step.cwd)
    if step.largest:
        resource.setrlimit(resource.RLIMIT_FSIZE, (step.largest, step.largest))
    if step.user and not os.getuid():
        os.setuid(step.user)
    script = bench.work / "bin" / "drp"
    sys.argv, sys.path[0], sys.modules["__main__"].__file__ = ["drp", *argv], str(script.parent), str(script)
    from drp.cli.app import main

    main()


def _in_group(group: int) -> list[int]:
    """Return the living processes of a process group."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def _started(step: Step, folder: Path, bench: Bench) -> tuple[int, Callable[[], int | None]]:
    """Start a step's command; return its process group and what asks for its exit status."""
    env = {**os.environ, "PATH": f"{bench.work / 'bin'}:{os.environ['PATH']}"}
    for name, value in step.env.items():
        env.pop(name, None)
        if value is not None:
            env[name] = value
    typed = Template(step.argv).substitute(bench.names)
    if step.shell:
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            command = ["bash", "-c", f"set -o pipefail; drp {typed}"]
            popen = subprocess.Popen(
                command, cwd=folder / step.cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )  # fmt: skip
        return popen.pid, popen.poll
    child = FORK.Process(target=_child, args=(step, shlex.split(typed), folder, bench, env))
    child.start()
    assert child.pid
    return child.pid, lambda: child.exitcode


def _waits(group: int) -> dict[int, float]:
    """Return the seconds that each process of a group stood ready while others had the processor."""
    found: dict[int, float] = {}
    for process in _in_group(group):
        try:
            found[process] = int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9
        except (OSError, IndexError):
            continue
    return found


def run_step(step: Step, folder: Path, bench: Bench) -> Got:
    """Run one command to its end, or kill it."""
    held = step.before(folder) if step.before else None
    group, status = _started(step, folder, bench)
    watched, sent = folder / step.when, not step.kill
    limit = PREPARES_S if step.want == "prepares" else KILL_S
    waits: dict[int, float] = {}
    began, foreign = time.monotonic(), bench.start_s if step.torch else 0.0
    looked = began
    while (code := status()) is None and (now := time.monotonic()) - began - foreign < limit:
        if now - looked > LOOK_S:
            waits |= _waits(group)
            looked, foreign = now, max(waits.values(), default=0.0) + (bench.start_s if step.torch else 0.0)
        if not sent and watched.exists() and watched.stat().st_size:
            (os.killpg if step.kill == signal.SIGINT else os.kill)(group, step.kill)
            sent, began, foreign = True, now, 0.0
        time.sleep(0.01)
    seconds = max(0.0, time.monotonic() - began - foreign)
    time.sleep(0.05 if code is None or _in_group(group) else 0)  # the kernel takes a moment to reap
    left = [pid for pid in _in_group(group) if pid != group]
    for pid in {*left, *([group] if code is None else [])}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    del held
    return Got(code, _read(folder / "stdout"), _read(folder / "stderr"), seconds, len(left))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _one_line(text: str) -> str:
    """Return printed text without line breaks and the boxes that usage errors stand in."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


def judge(step: Step, got: Got, folder: Path) -> list[str]:
    """Return everything that is wrong with what a command did."""
    wrong: list[str] = []
    err, both = _one_line(got.err), _one_line(got.out + " " + got.err)
    if got.code is None:
        return [f"still running after {KILL_S:g} s"]
    if "Traceback (most recent call last)" in both or "Exception ignored" in both:
        wrong.append("traceback")
    if got.code not in EXITS[step.want]:
        wrong.append(f"exit {got.code} where {'/'.join(map(str, EXITS[step.want]))} was due")
    if step.want in ("refused", "owed", "either") and got.code:
        plain = re.sub(r"\S*/\S*", " ", err)  # `run` in a path is no advice
        wrong += [] if re.search(step.place, err, re.IGNORECASE) else [f"no place (/{step.place}/)"]
        wrong += [] if re.search(step.mend, plain, re.IGNORECASE) else [f"no mend (/{step.mend[:60]}/)"]
    if (not got.code or step.want not in ("refused", "either")) and not re.search(
        step.said, both, re.IGNORECASE
    ):
        wrong.append(f"does not say /{step.said}/")
    if not got.code or step.want != "either":
        wrong += [found for check in step.checks if (found := check(folder))]
    if got.left and step.want != "killed":
        wrong.append(f"{got.left} processes left behind")
    limit = STOP_S if step.kill else LIMIT_S
    if got.seconds > limit and step.want != "prepares":
        wrong.append(f"{got.seconds:.1f} s, limit {limit:g} s")
    return wrong


def summary(step: Step, got: Got) -> str:
    """Return what a command said, in one short line: its error, what it had to say, or its last words."""
    lines = [
        line.strip() for line in [*got.out.splitlines(), *got.err.splitlines()] if line.strip(" │╭╮╰╯─\n")
    ]
    errors = [i for i, line in enumerate(lines) if line.lower().startswith(("error:", "usage:"))]
    right = [
        line for line in lines if not got.code and step.said and re.search(step.said, line, re.IGNORECASE)
    ]
    told = " ".join(lines[errors[-1] :]) if errors else [*right, *lines[-1:], "nothing"][0]
    return f"exit {got.code}: {_one_line(told)}"


@dataclass(frozen=True)
class Row:
    """One case's outcome."""

    name: str
    verb: str
    got: str
    seconds: float
    wrong: str
    printed: str = ""
    skipped: bool = False

    @property
    def verdict(self) -> str:
        """Return one word."""
        return "skipped" if self.skipped else "FAIL" if self.wrong else "ok"


_SHARED: dict[str, Any] = {}
"""The cases by name and the bench; forked workers find them here."""


def run_case(name: str) -> Row:
    """Run all commands of a case in a folder of its own; the first that went wrong ends it."""
    case: Case = _SHARED["cases"][name]
    bench: Bench = _SHARED["bench"]
    verb = re.sub(r"^\S*/", "", case.steps[-1].argv.split()[0]) if case.steps else ""
    if case.skip:
        return Row(name, verb, case.skip, 0.0, "", skipped=True)
    folder = Path(tempfile.mkdtemp(dir=bench.work))
    folder.chmod(0o777)
    if case.run:
        shutil.copytree(bench.work / "finished", folder / "run")
    for path, content in {**_SHARED["given"], **case.files}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    said: list[str] = []
    printed: list[str] = []
    slowest, wrong = 0.0, ""
    for number, step in enumerate(case.steps, 1):
        got = run_step(step, folder, bench)
        if step.want != "prepares" or len(case.steps) == 1:
            slowest = max(slowest, got.seconds)
            said.append(summary(step, got).replace(str(folder) + "/", ""))
        printed.append(f"$ drp {step.argv}\n{got.out[-3000:]}{got.err[-3000:]}")
        if found := judge(step, got, folder):
            wrong = (f"command {number}: " if len(case.steps) > 1 else "") + "; ".join(found)
            break
    shutil.rmtree(folder, ignore_errors=True)
    return Row(name, verb, " → ".join(said), slowest, wrong, "\n".join(printed))


def shown(row: Row, width: int) -> tuple[str, ...]:
    """Return a row as the tables show it."""
    got = f"{row.wrong} · {row.got}" if row.wrong else row.got
    return (
        row.name,
        row.verb,
        got if len(got) <= width else got[: width - 1] + "…",
        f"{row.seconds:.1f}",
        row.verdict,
    )


def as_markdown(rows: list[Row]) -> str:
    """Return the table for the results folder."""
    head = f"{_counted(rows)}\n\n| case | verb | what it got | s | verdict |\n|---|---|---|--:|---|\n"
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in shown(row, 160)] for row in rows]
    return head + "".join(f"| {' | '.join(row)} |\n" for row in cells)


def _counted(rows: list[Row]) -> str:
    failed, skipped = sum(bool(r.wrong) for r in rows), sum(r.skipped for r in rows)
    slowest = max((r.seconds for r in rows), default=0.0)
    return f"{len(rows)} cases, {failed} failed, {skipped} skipped; the slowest command took {slowest:.1f} s."


def prepare(work: Path) -> None:
    """Load the libraries, start the endpoints, and make a finished run for cases to break."""
    os.environ.update(
        OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", COLUMNS="200",
        NO_COLOR="1", TERM="dumb", XDG_CACHE_HOME=str(work / "cache"),
    )  # fmt: skip
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        del os.environ[name]
    import drp
    from robust import endpoints, inputs, setups
    from robust.case import GOOD, QUICK

    os.environ["PYTHONPATH"] = str(Path(drp.__file__).parent.parent)
    urls = endpoints.serve(FORK)  # before anything heavy, so that its process is a light one
    began = time.monotonic()
    for name in GENERATES:
        importlib.import_module(name)
    start_s = time.monotonic() - began
    for name in HEAVY:
        importlib.import_module(name)
    script = work / "bin" / "drp"
    script.parent.mkdir()
    script.write_text(
        f"#!{sys.executable}\nfrom drp.cli.app import main\nif __name__ == '__main__':\n    main()\n"
    )
    script.chmod(0o755)
    work.chmod(0o777)
    bench = Bench(work, start_s, {"mini": str(ROOT / "recipes" / "mini.yaml"), **urls})
    typed = f"run $mini {QUICK} problems.0.count=8 generate.sampling.max_new_tokens=400 --out finished"
    made = run_step(Step(typed, "prepares"), work, bench)
    if made.code != 0 or not (work / "finished" / "train" / "model").exists():
        sys.exit(f"the run that cases break could not be made:\n{made.out}{made.err}")
    cases = [*inputs.CASES, *setups.CASES, *endpoints.CASES]
    _SHARED.update(bench=bench, cases={case.name: case for case in cases}, given={"good.jsonl": GOOD})
    assert len(_SHARED["cases"]) == len(cases), "two cases share a name"


def main() -> None:
    """Parse arguments, run, print, and exit with 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", help="pattern of the names of cases")
    parser.add_argument("--jobs", type=int, default=1, help="cases at once")
    parser.add_argument(
        "--table", type=Path, help="where the table goes; results/robustness/table.md for all cases"
    )
    parser.add_argument("--verbose", action="store_true", help="print all that the commands printed")
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="robust-"))
    rows: list[Row] = []
    try:
        prepare(work)
        names = [name for name in _SHARED["cases"] if re.search(args.only, name, re.IGNORECASE)]
        with ProcessPoolExecutor(args.jobs, FORK) as pool:
            for row in pool.map(run_case, names):
                rows.append(row)
                name, verb, got, seconds, verdict = shown(row, 150)
                print(f"{verdict:<7} {seconds:>5} s  {verb:<9} {name:<44} {got}", flush=True)
                if args.verbose or row.wrong:
                    print(
                        "".join(f"        {line}\n" for line in row.printed.splitlines() if args.verbose),
                        end="",
                    )
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(_counted(rows))
    table = args.table or (None if args.only else ROOT / "results" / "robustness" / "table.md")
    if table:
        table.write_text(as_markdown(rows).replace(f"{ROOT}/", ""))  # wherever the checkout lies
    sys.exit(any(row.wrong for row in rows))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # the scripted teacher and the replies of endpoints are the tests'
    main()
