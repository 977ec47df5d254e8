"""Writing the page: one file with its styles, its script and every text in it."""

import os
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import IO

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from drp.pruning.checks import CHECK_MEANING
from drp.reporting.page import plots
from drp.reporting.page.columns import Columns, Names
from drp.reporting.page.completions import completion_rows
from drp.reporting.page.embedding import Texts, packed, policy, visible
from drp.reporting.page.overview import PageRun, measured_models, overview
from drp.reporting.page.pruned import ACTIONS, Replies, pruned_rows
from drp.reporting.page.skills import SkillTable
from drp.reporting.refused import wanted_traces
from drp.runs import layout
from drp.runs.journal import writing
from drp.runs.manifest import installed_versions
from drp.runs.reader import RunReader
from drp.teachers.replies import StoredReply, read_replies

SCRIPTS = ("texts.js", "words.js", "place.js", "list.js", "diff.js", "pair.js", "main.js")
"""Parts of the page's script, in order; together they are one function, so that they share names and nothing else does."""


def write_page(target: Path, runs: Sequence[PageRun]) -> Path:
    """Write a page that shows these runs; return its path.

    Traces are read one at a time, and their texts wait in a temporary file, so that 20,000 of them take little memory.

    Raises:
        RunFolderError: A file of a run cannot be read.
        DiskError: The page cannot be written.
    """
    names = Names()
    temporary = target.with_name(target.name + ".tmp")
    with Texts() as texts, writing(target):
        skills = [SkillTable() for _ in runs]
        rows: list[tuple[Columns, Columns]] = [
            (
                pruned_rows(wanted_traces(run.reader), texts, names, table, raw_replies(run.reader)),
                completion_rows(run.reader, texts, names),
            )
            for run, table in zip(runs, skills, strict=True)
        ]
        with temporary.open("w", encoding="utf-8", errors="replace") as out:
            out.write(_head(runs, skills, rows))
            _data(out, runs, rows, names, texts)
            out.write("</body>\n</html>\n")
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(target)
    return target


def raw_replies(run: RunReader) -> Replies:
    """Return what the teacher wrote, by the identity of the reply."""
    path = run.path / layout.REPLIES
    return {r.id: r.completion.answer for r in read_replies(path) if isinstance(r, StoredReply)}


def _data(
    out: IO[str], runs: Sequence[PageRun], rows: Sequence[tuple[Columns, Columns]], names: Names, texts: Texts
) -> None:
    """Write the page's data: what there is, the rows by which it is found, then the texts."""
    about = {
        "runs": [
            {
                "name": run.name,
                "outcome": run.summary.outcome,
                "traces": len(traces),
                "completions": len(pairs),
            }
            for run, (traces, pairs) in zip(runs, rows, strict=True)
        ],
        "starts": texts.close_parts(),
        "leftOut": texts.left_out,
        "names": {"benchmark": [], "skill": [], "check": [], **names.lists()},
        "actions": ACTIONS,
        "meanings": CHECK_MEANING,
    }
    out.write(packed("about", about))
    for number, (traces, pairs) in enumerate(rows):
        out.write(packed(f"traces-{number}", traces.values))
        out.write(packed(f"completions-{number}", pairs.values))
    texts.copy_to(out)


def _head(
    runs: Sequence[PageRun], skills: Sequence[SkillTable], rows: Sequence[tuple[Columns, Columns]]
) -> str:
    """Return the page up to its data."""
    environment = Environment(
        loader=PackageLoader("drp.reporting.page", "assets"),
        autoescape=select_autoescape(["jinja"]),
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    style, formulas, script = asset("page.css"), asset("temml.min.js"), page_script()
    measured = [model for run in runs for model in measured_models(run)]
    return environment.get_template("page.html.jinja").render(
        title=" · ".join(run.name for run in runs),
        policy=policy([script, formulas], [style]),
        style=Markup(style),
        script=Markup(script),
        formulas=Markup(formulas),
        runs=[overview(run, table) for run, table in zip(runs, skills, strict=True)],
        traces=sum(len(traces) for traces, _ in rows),
        completions=sum(len(pairs) for _, pairs in rows),
        frontiers=plots.frontiers(measured),
        papers=plots.papers_frontiers(),
        actions=ACTIONS,
        version=installed_versions().get("drp-reasoning", ""),
    )


def _shown(value: object) -> str:
    return value if isinstance(value, Markup) else visible(str(value))


@cache
def asset(name: str) -> str:
    """Return a file of the page as text."""
    return (files("drp.reporting.page") / "assets" / name).read_text(encoding="utf-8")


@cache
def page_script() -> str:
    """Return the page's own script."""
    return "(() => {\n'use strict';\n" + "".join(map(asset, SCRIPTS)) + "})();\n"
