"""Writing ``report/``: figures as JSON, a Markdown page, and an HTML page that needs no network."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from drp.pruning.apply import apply_script
from drp.records import PrunedTrace
from drp.reporting import text
from drp.reporting.histogram import histogram_html
from drp.reporting.standing import evaluated, stage_of
from drp.reporting.summary import RunSummary, by_benchmark, summarise, tier_order
from drp.runs.journal import write_atomically
from drp.text.units import split_units

SHOWN = 10


def write_report(run: Path, name: str) -> Path:
    """Write ``report.md``, ``report.html`` and ``summary.json``; return the HTML's path."""
    summary = summarise(run, name)
    folder = run / "report"
    folder.mkdir(exist_ok=True)
    write_atomically(folder / "summary.json", summary.model_dump_json(indent=1) + "\n")
    write_atomically(folder / "report.md", report_markdown(summary))
    write_atomically(folder / "report.html", _html(run, summary))
    return folder / "report.html"


def read_summary(run: Path) -> RunSummary:
    """Return the figures of a report that :func:`write_report` has written, with its page."""
    folder = run / "report"
    figures = RunSummary.model_validate_json((folder / "summary.json").read_bytes())
    return figures.model_copy(update={"page": folder / "report.html"})


def protocol_line(summary: RunSummary) -> str:
    """Return the evaluation protocol, and the versions of what decided, so that no figure stands without them."""
    runs = max((tier.base.runs for tier in summary.tiers), default=1)
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
    weights = recorded.get("dtype", "auto")
    held = "" if weights == "auto" else f", weights in {weights}"
    return (
        f"Protocol: {runs} run{'s' if runs > 1 else ''} a problem, temperature {sampling['temperature']}, top-p {sampling['top_p']}, cut-off "
        f"{sampling['max_new_tokens']} tokens, first seed {settings['seed']}, prompt by the student's chat template{asked}{held}."
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


def _shown_traces(run: Path) -> list[dict[str, Any]]:
    """Return the first accepted traces, then dropped ones, as coloured steps."""
    pruned = stage_of(run, "prune").wanted_records(PrunedTrace)
    ranked = [p for p in pruned if p.accepted] + [p for p in pruned if not p.accepted]
    shown: list[dict[str, Any]] = []
    for trace in ranked[:SHOWN]:
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


def _html(run: Path, summary: RunSummary) -> str:
    environment = Environment(
        loader=PackageLoader("drp.reporting"), autoescape=select_autoescape(["html", "jinja"])
    )
    before, after = (by_benchmark(evaluated(run, which)) for which in ("base", "distilled"))
    chart = histogram_html(before, after, sorted(before, key=tier_order))
    return environment.get_template("report.html.jinja").render(
        summary=summary,
        protocol=protocol_line(summary),
        tables=text.tables(summary),
        chart=chart,
        traces=_shown_traces(run),
        made_with=_made_with(summary),
    )
