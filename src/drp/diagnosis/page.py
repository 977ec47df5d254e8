"""A diagnosis as one HTML page that needs no network and runs no script."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup, escape

from drp.diagnosis.records import Diagnosis, SkillShare
from drp.diagnosis.tables import SMALL, by_skill, tables
from drp.reporting.page.document import asset
from drp.reporting.page.embedding import policy, visible
from drp.reporting.page.svg import Axis, tag
from drp.reporting.text import Table
from drp.runs.journal import write_atomically
from drp.runs.manifest import installed_versions

JSON, HTML = "diagnosis.json", "diagnosis.html"


def write_diagnosis(found: Diagnosis, folder: Path) -> Path:
    """Write a diagnosis as JSON and as a page into a folder, which is made; return the page.

    Raises:
        DiskError: It cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / JSON, found.model_dump_json(indent=1) + "\n")
    write_atomically(folder / HTML, page(found))
    return folder / HTML


def page(found: Diagnosis) -> str:
    """Return the page."""
    environment = Environment(
        loader=PackageLoader("drp.diagnosis", "assets"),
        autoescape=select_autoescape(["jinja"]),
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    own = (files("drp.diagnosis") / "assets" / "diagnosis.css").read_text(encoding="utf-8")
    style = asset("page.css") + own
    skills = by_skill(found)
    overall, *others = [table for table in tables(found) if table != skills]
    return environment.get_template("diagnosis.html.jinja").render(
        title=overall.title,
        lead=_lead(found),
        policy=policy([], [style]),
        style=Markup(style),
        found=found,
        skills=skills,
        skill_bars=skill_bars(found.skills),
        others=[Table("All figures", overall.head, overall.rows, overall.note), *others],
        table=_table,
        version=installed_versions().get("drp-reasoning", ""),
    )


def _lead(found: Diagnosis) -> str:
    thought = found.thinking_completions
    return (
        f"{found.completions:,} completions of {found.problems:,} problems, {thought:,} with thinking. "
        "Where their tokens go, what comes after the answer, and what might be saved."
    )


def _shown(value: object) -> str:
    return value if isinstance(value, Markup) else visible(str(value))


def _table(table: Table) -> Markup:
    """Return a table as markup; its note below."""
    head = tag("tr", *(tag("th", escape(name), scope="col") for name in table.head))
    rows = [
        tag("tr", tag("th", escape(visible(row[0])), scope="row"), *(tag("td", escape(v)) for v in row[1:]))
        for row in table.rows
    ]
    drawn = tag("table", tag("thead", head), tag("tbody", *rows))
    note = tag("p", escape(table.note), class_="note") if table.note else Markup("")
    return (
        tag("div", drawn, class_="scroll", tabindex="0", role="region", aria_label=escape(table.title)) + note
    )


def skill_bars(skills: Sequence[SkillShare], title: str = "") -> Markup:
    """Return what each skill takes, as bars: until the answer is reached, and after it."""
    shown = [s for s in skills if s.share.value >= SMALL]
    if not shown:
        return Markup("")
    longest = max(s.share.value for s in shown)
    axis = Axis(0, longest, 170, 560)
    top = 28
    marks: list[Markup] = [_key(170, top - 10)]
    for number, s in enumerate(shown):
        y = top + 6 + 21 * number
        marks.append(tag("text", escape(s.skill), x=162, y=y + 12, class_="skill-name end"))
        marks += _bar(axis, s, y)
    words = ", ".join(f"{s.skill} {100 * s.share.value:.0f} %" for s in shown)
    height = top + 14 + 21 * len(shown)
    return tag(
        "svg",
        tag("title", escape(f"{title or 'Where the thinking goes'}: {words}")),
        *marks,
        class_="plot",
        role="img",
        viewBox=f"0 0 640 {height}",
    )


def _key(x: float, y: float) -> Markup:
    return tag(
        "g",
        tag("rect", x=x, y=y - 9, width=10, height=10, class_="skill-until"),
        tag("text", "until the answer is reached", x=x + 15, y=y),
        tag("rect", x=x + 180, y=y - 9, width=10, height=10, class_="skill-behind"),
        tag("text", "after it", x=x + 195, y=y),
        tag("rect", x=x + 260, y=y - 9, width=10, height=10, class_="skill-unknown"),
        tag("text", "never reached", x=x + 275, y=y),
    )


def _bar(axis: Axis, s: SkillShare, y: float) -> list[Markup]:
    """Return one bar in three parts, and its figure."""
    x, marks = axis.start, list[Markup]()
    parts = zip((s.until_part, s.after_part, s.unknown_part), ("until", "behind", "unknown"), strict=True)
    for part, kind in parts:
        width = axis(part) - axis.start
        if width > 0.3:
            marks.append(tag("rect", x=x, y=y, width=width, height=15, class_=f"skill-{kind}"))
            x += width
    marks.append(tag("text", f"{100 * s.share.value:.1f} %", x=x + 6, y=y + 12))
    return marks
