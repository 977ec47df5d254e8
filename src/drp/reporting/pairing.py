"""Runs and files of completions, each paired problem by problem with the first of them."""

import re
from collections.abc import Sequence
from pathlib import Path

from drp.benchmarks.completions import read_completions
from drp.errors import DataError, RunFolderError
from drp.evaluation.comparison import MARGIN
from drp.evaluation.graded import counter
from drp.evaluation.metrics import measured_part
from drp.evaluation.verdicts import graded_again, verdicts
from drp.grading import VERSION
from drp.grading.grader import Grader
from drp.records import Record, Trace
from drp.reporting.standing import evaluated, outcome, superseded
from drp.reporting.summary import BenchmarkSummary, benchmark_order, by_benchmark, summarise_benchmark
from drp.reporting.write import protocol_of
from drp.runs import layout
from drp.runs.reader import RunReader


class ComparedRun(Record):
    """A run beside the base, on the benchmarks both have."""

    name: str
    benchmarks: tuple[BenchmarkSummary, ...]
    """In each, ``base`` is the base and ``after`` the run."""


class ComparedRuns(Record):
    """Several runs against one base."""

    base: str
    """Its name."""
    runs: tuple[ComparedRun, ...]
    margin: float
    """A loss of accuracy below this share is "not less accurate"."""
    protocols: dict[str, tuple[str, ...]]
    """Who was evaluated how: each protocol, which begins with the model it is of, and the names of its runs."""

    @property
    def one_protocol(self) -> bool:
        """Whether all were evaluated alike, whichever of a run's models it was."""
        return (
            len({re.sub(r"^(base|distilled|prompted)\. ", "", protocol) for protocol in self.protocols}) == 1
        )


def compare_runs(paths: Sequence[Path], margin: float = MARGIN, tokenizer: str | None = None) -> ComparedRuns:
    """Compare run folders or files of completions with the first of them.

    Args:
        paths: Two or more; the first is the base.
        margin: A loss of accuracy below this share is "not less accurate".
        tokenizer: Folder or hub id; counts tokens where a file has no counts.

    Raises:
        RunFolderError: One has no evaluation, or shares no benchmark with the first.
        DataError: There is nothing to compare with, or a file is not in a documented format.
    """
    if len(paths) < 2:
        raise DataError("name two or more run folders or files")
    names = [path.stem if path.is_file() else path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    protocols: dict[str, tuple[str, ...]] = {}

    def load(path: Path, name: str) -> dict[str, list[Trace]]:
        traces, protocol = evaluated_at(path, tokenizer)
        protocols[protocol] = (*protocols.get(protocol, ()), name)
        return by_benchmark(traces)

    first, base = paths[0], load(paths[0], names[0])
    runs: list[ComparedRun] = []
    for path, name in zip(paths[1:], names[1:], strict=True):
        found = load(path, name)
        if len(base) == len(found) == 1 and first.is_file() and path.is_file():
            found = dict(zip(base, found.values(), strict=True))  # files are named as they like
        shared = sorted(set(base) & set(found), key=benchmark_order)
        if not shared:
            raise RunFolderError(f"{first} and {path} were evaluated on no common benchmark")
        try:
            benchmarks = tuple(summarise_benchmark(b, base[b], found[b], margin) for b in shared)
        except DataError as error:
            raise RunFolderError(f"{first} and {path} cannot be compared: {error}") from error
        runs.append(ComparedRun(name=name, benchmarks=benchmarks))
    return ComparedRuns(base=names[0], runs=tuple(runs), margin=margin, protocols=protocols)


def evaluated_at(path: Path, tokenizer: str | None = None) -> tuple[list[Trace], str]:
    """Return the graded traces of a run folder's last model, or of a file of completions, and their protocol.

    They come without the text that no figure is made of; a ``tokenizer`` counts their tokens where they have no count.

    Raises:
        RunFolderError: The folder has no evaluation, or one of a model that is not there any more.
    """
    count = counter(tokenizer)

    def keep(trace: Trace) -> Trace:
        return measured_part(count(trace))

    if path.is_file():
        return [keep(t) for t in verdicts(read_completions(path))], "protocol: as it was made elsewhere"
    newer: list[str] = []
    run = RunReader(path, newer.append)
    if said := superseded(run):
        raise RunFolderError(f"{path}: {said}")
    for which in (outcome(run), layout.BASE):
        traces, manifest = evaluated(run, which, keep), run.manifest(layout.evaluation(which))
        if traces and manifest:
            runs = 1 + max(t.sample for t in traces)
            protocol = f"{which}. {protocol_of(manifest.settings, runs)}"
            if manifest.graded_by != VERSION:
                with Grader() as grader:
                    traces = graded_again(traces, grader)
                protocol += " Graded here by this version; the folder's own verdicts are an earlier one's."
            return traces, " ".join([protocol, *newer])
    if not path.exists():
        raise RunFolderError(f"{path} does not exist; name a run folder or a file of completions")
    raise RunFolderError(f"{path} has no evaluation; run `drp evaluate` on its recipe first")
