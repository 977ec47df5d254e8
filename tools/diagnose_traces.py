"""``drp diagnose`` on public traces of several models: a table, and one picture for the README.

    python tools/diagnose_traces.py TRACES OUT --tokenizer FOLDER

TRACES is a folder of JSONL files. Writes one JSON a file, table.md and picture.svg into OUT; texts are not copied.
"""

import argparse
from pathlib import Path

import drp
from drp.diagnosis.advice import advice
from drp.diagnosis.figures import Figure
from drp.diagnosis.records import Diagnosis
from drp.diagnosis.tables import number, percent
from drp.reporting.page.svg import tag
from drp.reporting.text import Table, markdown

FAMILIES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("calculating", "#4477aa", ("arithmetic", "algebraic manipulation", "equation formulation")),
    ("reading, planning", "#66a5c9", ("reading given quantities", "restating the goal", "planning")),
    ("checking, doubting", "#cc6677", ("verification", "reflection", "backtracking", "alternative approach")),
    ("stating the answer", "#b8a03c", ("stating the answer",)),
    ("other", "#999999", ()),
)
"""Skills in families, so that a bar has few colours; each is told by its place too."""


def main() -> None:
    """Diagnose every file and write what it came to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("traces", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer")
    parser.add_argument("--again", action="store_true", help="only draw anew what lies in OUT")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    found: list[Diagnosis] = []
    for file in sorted(given.traces.glob("*.jsonl")):
        kept = given.out / f"{file.stem}.json"
        if given.again:
            one = Diagnosis.model_validate_json(kept.read_text())
            said = advice(one.conclusion, one.saving, one.unclosed, one.looping, one.cut, one.remedies)
        else:
            one = drp.diagnose(file, tokenizer=given.tokenizer, pruned=200)
            said = one.advice
        plain = {"counted": "the tokenizer of Qwen2.5", "next_command": "", "advice": said}
        found.append(one.model_copy(update=plain))
        kept.write_text(found[-1].model_dump_json(indent=1) + "\n")
        print(f"{file.name}: after the answer {percent(one.conclusion.after)} %", flush=True)
    found.sort(key=lambda d: -(d.thinking.value if d.thinking else 0))
    (given.out / "table.md").write_text(markdown(table(found)) + "\n\n" + markdown(where(found)) + "\n")
    (given.out / "picture.svg").write_text(picture(found))


def table(found: list[Diagnosis]) -> Table:
    """Return one row a file: how long, how much after the answer, what pruning and cutting save."""
    rows = [
        (
            d.source, str(d.completions), percent(d.accuracy), number(d.thinking), percent(d.conclusion.found),
            percent(d.conclusion.after), percent(d.conclusion.after_settled), percent(d.conclusion.mean),
            percent(d.saving.accepted if d.saving else None), percent(d.saving.deleted if d.saving else None),
            percent(d.saving.overall if d.saving else None),
        )
        for d in found
    ]  # fmt: skip
    head = ("file", "n", "right, %", "thinking, tokens", "reach the answer, %", "thinking after it, %", "after it is settled, %",
            "mean of completions, %", "pruned and accepted, %", "deleted from those, %", "of all right ones, %")  # fmt: skip
    return Table("What comes after the answer, and what pruning by rules saves", head, tuple(rows))


def family(d: Diagnosis, number_of: int) -> float:
    """Return what a family of skills takes of a file's thinking."""
    known = {skill for _, _, skills in FAMILIES for skill in skills}
    wanted = FAMILIES[number_of][2]
    return sum(s.share.value for s in d.skills if (s.skill in wanted if wanted else s.skill not in known))


def where(found: list[Diagnosis]) -> Table:
    """Return where the thinking goes, by families of skills."""
    thought = [d for d in found if d.thinking_completions]
    rows = [(d.source, *(f"{100 * family(d, n):.0f}" for n in range(len(FAMILIES)))) for d in thought]
    return Table(
        "Where the thinking goes, % of its tokens", ("file", *(name for name, _, _ in FAMILIES)), tuple(rows)
    )


def picture(found: list[Diagnosis]) -> str:
    """Return the picture: one bar of skills a model, and below it where the answer is reached."""
    thought = [d for d in found if d.thinking_completions]
    left, width, top, row = 196, 430, 62, 50
    style = (
        "text{font:12px system-ui,sans-serif;fill:#24292f}.soft{fill:#59636e;font-size:11px}.bg{fill:#fff}"
        ".until{fill:#d0d7de}.behind{fill:#24292f}.band{stroke:#cc6677;stroke-width:3}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#9198a1}.bg{fill:#0d1117}.until{fill:#3d444d}.behind{fill:#e6edf3}}"
    )
    marks = [tag("style", style), tag("rect", width=720, height=top + row * len(thought), class_="bg")]
    x = 166.0
    for name, colour, _ in FAMILIES:
        marks += [tag("rect", x=x, y=12, width=11, height=11, fill=colour), tag("text", name, x=x + 16, y=22)]
        x += 26 + 6.1 * len(name)
    marks.append(tag("text", "Where the thinking goes", x=8, y=22, font_weight="bold"))
    marks.append(
        tag(
            "text",
            "upper bar: thinking tokens by skill · lower bar: how many come after the answer is first reached, with the 95 % interval",
            x=8,
            y=42,
            class_="soft",
        )
    )
    for number_of, d in enumerate(thought):
        marks += _row(d, left, width, top + row * number_of)
    words = "; ".join(f"{d.model}: {percent(d.conclusion.after)} % after the answer" for d in thought)
    marks.insert(0, tag("title", f"Where the thinking goes. {words}"))
    return (
        str(
            tag(
                "svg",
                *marks,
                xmlns="http://www.w3.org/2000/svg",
                viewBox=f"0 0 720 {top + row * len(thought)}",
                role="img",
            )
        )
        + "\n"
    )


def _row(d: Diagnosis, left: int, width: int, y: int) -> list[str]:
    name = d.model.replace("DeepSeek-", "").replace("-Thinking-2507", "-Thinking")
    benchmark = d.source.rsplit(".", 1)[-1].replace("_", " ")
    marks = [
        tag("text", name, x=8, y=y + 13),
        tag(
            "text",
            f"{benchmark}, {d.thinking.value if d.thinking else 0:,.0f} tokens, n {d.completions}",
            x=8,
            y=y + 28,
            class_="soft",
        ),
    ]
    x = float(left)
    for n, (_, colour, _) in enumerate(FAMILIES):
        part = width * family(d, n)
        marks.append(tag("rect", x=x, y=y, width=part, height=18, fill=colour))
        x += part
    after: Figure | None = d.conclusion.after
    if after:
        at, low, high = (
            left + width * (1 - v) for v in (after.value, after.interval.high, after.interval.low)
        )
        below = y + 21
        marks.append(tag("rect", x=left, y=below, width=at - left, height=7, class_="until"))
        marks.append(tag("rect", x=at, y=below, width=left + width - at, height=7, class_="behind"))
        marks.append(tag("line", x1=low, x2=high, y1=below + 3.5, y2=below + 3.5, class_="band"))
        marks.append(tag("text", f"{100 * after.value:.0f} % after", x=left + width + 8, y=below + 8))
    return marks


if __name__ == "__main__":
    main()
