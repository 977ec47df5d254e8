"""Writing ``report/``: figures as JSON, a Markdown page, and an HTML page that needs no network."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from drp.errors import RunFolderError
from drp.reporting import text
from drp.reporting.page.document import write_page
from drp.reporting.page.overview import PageRun
from drp.reporting.refused import refused_page, unusable, wanted_traces
from drp.reporting.summary import RunSummary, summarise
from drp.runs import layout
from drp.runs.journal import write_atomically
from drp.runs.reader import RunReader


def write_report(run: Path, name: str) -> Path:
    """Write ``report.md``, ``report.html`` and ``summary.json``; return the HTML's path."""
    summary = summarise(run, name)
    folder = run / layout.REPORT
    folder.mkdir(exist_ok=True)
    write_atomically(folder / layout.SUMMARY, summary.model_dump_json(indent=1) + "\n")
    write_atomically(folder / layout.REPORT_MARKDOWN, report_markdown(summary))
    reader = RunReader(run, _ignore)
    if page := refused_page(wanted_traces(reader), unusable(reader)):
        write_atomically(folder / layout.REFUSED, page)
    else:
        (folder / layout.REFUSED).unlink(missing_ok=True)
    return write_page(folder / layout.REPORT_HTML, [PageRun(reader, summary, protocol_line(summary), name)])


def write_view(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write one page of some runs; return its path.

    Args:
        runs: Run folders.
        out: The page; left out: the report's own page of a single run, a page beside it of the first of several.

    Raises:
        RunFolderError: In one of them no stage has run, or a file of it cannot be read.
        DiskError: The page cannot be written.
    """
    names = [name_of(path) for path in runs]
    if len(set(names)) < len(names):
        names = [path.resolve().name for path in runs]
    if len(set(names)) < len(names):
        names = [f"{number} {path}" for number, path in enumerate(runs, 1)]
    shown: list[PageRun] = []
    for name, path in zip(names, runs, strict=True):
        summary = summarise(path, name)
        shown.append(PageRun(RunReader(path, _ignore), summary, protocol_line(summary), name))
    if out is None:
        out = runs[0] / layout.REPORT / (layout.REPORT_HTML if len(runs) == 1 else layout.VIEW)
        out.parent.mkdir(exist_ok=True)
    return write_page(out, shown)


def name_of(run: Path) -> str:
    """Return what a run is called: as its recipe says, or else as its folder.

    Raises:
        RunFolderError: It is no run folder, or its recipe cannot be read.
    """
    reader = RunReader(run)
    if not reader.began:
        what = "no stage has run there" if run.is_dir() else "there is no such folder"
        again = f"Name one, or make it with `drp run RECIPE --out {run}`"
        raise RunFolderError(f"{run} is not a run folder: {what}. {again}")
    return reader.recipe_name or run.name


def read_summary(run: Path) -> RunSummary:
    """Return the figures of a report that :func:`write_report` has written, with its page."""
    folder = run / layout.REPORT
    figures = RunSummary.model_validate_json((folder / layout.SUMMARY).read_bytes())
    return figures.model_copy(update={"page": folder / layout.REPORT_HTML})


def protocol_line(summary: RunSummary) -> str:
    """Return the evaluation protocol, and the versions of what decided, so that no figure stands without them."""
    runs = max((result.base.runs for result in summary.benchmarks), default=1)
    evaluated = summary.protocol.get("evaluate")
    said = protocol_of(summary.protocol, runs) if evaluated else "No evaluation yet."
    stages: dict[str, list[str]] = {}
    for stage, versions in summary.decided_by.items():
        stages.setdefault(", ".join(f"{what} {n}" for what, n in versions.items()), []).append(stage)
    decided = "; ".join(f"{versions} ({', '.join(names)})" for versions, names in stages.items())
    return f"{said} Versions of what decided: {decided}." if decided else said


def protocol_of(recorded: Mapping[str, object], runs: int) -> str:
    """Return the protocol that an evaluation's manifest records, in one line."""
    settings: Any = recorded["evaluate"]
    sampling = settings["sampling"]
    prompt: Any = recorded.get("prompt") or {}
    template = str(prompt.get("template", "{question}"))
    asked = "" if template == "{question}" else f" with the template {template!r}"
    given: dict[str, object] = prompt.get("template_arguments") or {}
    asked += f" ({', '.join(f'{name}={value}' for name, value in given.items())})" if given else ""
    weights = recorded.get("dtype", "auto")
    held = "" if weights == "auto" else f", weights in {weights}"
    filters = (("top-k", "top_k"), ("min-p", "min_p"), ("repetition penalty", "repetition_penalty"))
    drawn = "".join(f", {said} {sampling[name]}" for said, name in filters if name in sampling)
    engine: Any = settings.get("engine") or {}
    served = ", served by an endpoint" if engine.get("kind") == "openai" else ""
    return (
        f"Protocol: {runs} run{'s' if runs > 1 else ''} a problem, temperature {sampling['temperature']}, top-p "
        f"{sampling['top_p']}{drawn}, cut-off {sampling['max_new_tokens']} tokens, first seed {settings['seed']}, prompt by the "
        f"student's chat template{asked}{held}{served}."
    )


def report_markdown(summary: RunSummary) -> str:
    """Return the report as Markdown."""
    notes = [
        f"**Note:** {escape(note, quote=False)}" for note in summary.notes
    ]  # what failed is quoted there
    parts = [f"# {summary.name}", *notes, protocol_line(summary)]
    parts += [text.markdown(table) for table in text.tables(summary)]
    return "\n\n".join([*parts, _made_with(summary)]) + "\n"


def _made_with(summary: RunSummary) -> str:
    return "Made with " + ", ".join(f"{k} {v}" for k, v in summary.versions.items()) + "."


def _ignore(_: str) -> None:
    """Say nothing of a newer version's fields: the summary's notes do."""
