"""Writing ``report/``: figures as JSON, a Markdown page, and an HTML page that needs no network."""

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from drp.pruning.apply import apply_script
from drp.records import PrunedTrace
from drp.reporting import text
from drp.reporting.histogram import histogram_html
from drp.reporting.refused import refused_page, unusable
from drp.reporting.standing import evaluated
from drp.reporting.summary import RunSummary, benchmark_order, by_benchmark, summarise, without_texts
from drp.runs import layout
from drp.runs.journal import write_atomically
from drp.runs.reader import RunReader
from drp.text.units import split_units

SHOWN = 10


def write_report(run: Path, name: str) -> Path:
    """Write ``report.md``, ``report.html`` and ``summary.json``; return the HTML's path."""
    summary = summarise(run, name)
    folder = run / layout.REPORT
    folder.mkdir(exist_ok=True)
    write_atomically(folder / layout.SUMMARY, summary.model_dump_json(indent=1) + "\n")
    write_atomically(folder / layout.REPORT_MARKDOWN, report_markdown(summary))
    reader = RunReader(run, _ignore)
    if page := refused_page(_pruned(reader), unusable(reader)):
        write_atomically(folder / layout.REFUSED, page)
    else:
        (folder / layout.REFUSED).unlink(missing_ok=True)
    write_atomically(folder / layout.REPORT_HTML, _html(reader, summary))
    return folder / layout.REPORT_HTML


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


def _pruned(run: RunReader) -> Iterator[PrunedTrace]:
    """Yield the pruned traces that the last command wanted, one in memory at a time."""
    wanted = run.wanted(layout.PRUNE)
    among = None if wanted is None else set(wanted)
    return (p for p in run.records(layout.PRUNE, PrunedTrace) if among is None or p.id in among)


def _ignore(_: str) -> None:
    """Say nothing of a newer version's fields: the summary's notes do."""


def _shown_traces(run: RunReader) -> list[dict[str, Any]]:
    """Return the first accepted traces, then dropped ones, as coloured steps."""
    ranked = run.stage(layout.PRUNE).wanted_records(PrunedTrace, without_texts)
    chosen = [p.id for p in sorted(ranked, key=lambda p: not p.accepted)[:SHOWN]]
    whole = {p.id: p for p in run.records(layout.PRUNE, PrunedTrace) if p.id in chosen}
    shown: list[dict[str, Any]] = []
    for trace in (whole[identity] for identity in chosen):
        units = split_units(trace.original_thinking)
        steps = [
            {
                "action": edit.action,
                "skills": " + ".join(edit.skills),
                "before": "".join(units[edit.first : edit.last + 1]),
                "after": edit.text,
                "reason": edit.reason,
            }
            for edit in trace.script.edits
        ]
        shown.append({"trace": trace, "steps": steps, "pruned": apply_script(units, trace.script)})
    return shown


def _first_example(run: RunReader) -> str | None:
    """Return the first training example as it was written before training, if there was one."""
    file = run.path / layout.TRAIN / layout.FIRST_EXAMPLE
    return file.read_text(encoding="utf-8") if file.is_file() else None


def _html(run: RunReader, summary: RunSummary) -> str:
    environment = Environment(
        loader=PackageLoader("drp.reporting"), autoescape=select_autoescape(["html", "jinja"])
    )
    before, after = (by_benchmark(evaluated(run, which)) for which in (layout.BASE, summary.outcome))
    chart = histogram_html(before, after, summary.outcome, sorted(before, key=benchmark_order))
    return environment.get_template("report.html.jinja").render(
        summary=summary,
        protocol=protocol_line(summary),
        tables=text.tables(summary),
        chart=chart,
        first_example=_first_example(run),
        traces=_shown_traces(run),
        made_with=_made_with(summary),
    )
