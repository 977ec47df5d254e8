"""The line format of edit scripts: numbered units out, one compact line a step back.

Parsing is tolerant, because a paid reply with a stray remark is still worth its edits, but never
inventive: what is not covered is reported, so that it can be asked for again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from drp.records import Action, Edit

BREAK, PARAGRAPH = "⏎", "¶"
_LINE = re.compile(
    r"^\s*(?:[-*•]\s+)?(?P<first>\d{1,5})(?:\s*(?:-|–|—|\.\.|to)\s*(?P<last>\d{1,5}))?(?:\s*[:.|])?\s+"
    r"(?P<action>K|D|R|M|keep|delete|rewrite|merge)\b\s*(?P<rest>.*)$",
    re.IGNORECASE,
)
_ANSWER = re.compile(r"^\s*A\s*:\s*(?P<text>\S.*)$")
_ACTIONS: dict[str, Action] = {"k": "keep", "d": "delete", "r": "rewrite", "m": "merge"}
_COMMANDS = re.compile(
    r"\\n(?!(?:eq?|u|abla|ot|otin|i|mid|eg|earrow|warrow|exists|ewline|onumber|ormalsize|leq|geq|subseteq|cong"
    r"|atural|parallel)(?![a-z]))"
)
"""A written ``\\n`` that is a line break rather than the start of a LaTeX command such as ``\\neq``."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u2028\u2029\u200e\u200f\u202a-\u202e]")


_MARKERS = re.compile(r"<(/?(?:trace|steps|question|answer_part|so_far|what_follows|text))>", re.IGNORECASE)


def harmless(text: str) -> str:
    """Return a text that can neither close the markers around it nor hide in control characters."""
    return _MARKERS.sub(r"‹\1›", _CONTROL.sub(" ", text.replace("\r\n", "\n")))


@dataclass(frozen=True)
class Parsed:
    """What a reply amounts to."""

    edits: tuple[Edit, ...]
    """Edits in order, without overlap; 0-based units."""
    missing: tuple[tuple[int, int], ...]
    """Ranges of units (0-based, inclusive) that no line covers."""
    problems: tuple[str, ...]
    """What was wrong, one message each."""
    answer: str | None = None
    """The answer part, where the reply gives one."""
    unusable: str | None = None
    """Why nobody should learn from the trace, where the reply says so in a field of its own."""


def render_units(units: Sequence[str], first: int = 0) -> str:
    """Return units as numbered lines, 1-based from ``first``; nothing in a unit can start a line."""
    lines: list[str] = []
    whole = "".join(units)
    safe = harmless(whole) == whole  # nearly always, and then not asked again of every unit
    for number, unit in enumerate(units, first + 1):
        body = unit.strip() if safe else harmless(unit.strip())
        body = body.replace("\n", BREAK)
        closing = f" {PARAGRAPH}" if unit[len(unit.rstrip()) :].count("\n") > 1 else ""
        lines.append(f"{number}| {body}{closing}")
    return "\n".join(lines)


def render_edits(edits: Sequence[Edit], *, labelled: bool = True) -> str:
    """Return edits as the lines a teacher would write, with the skills of what stays if ``labelled``."""
    letters = {action: letter.upper() for letter, action in _ACTIONS.items()}
    lines: list[str] = []
    for edit in edits:
        span = f"{edit.first + 1}-{edit.last + 1}" if edit.last > edit.first else f"{edit.first + 1}"
        line = f"{span} {letters[edit.action]}"
        line += f" {'+'.join(edit.skills)}" if labelled and edit.action != "delete" else ""
        lines.append(f"{line}: {edit.text.replace(chr(10), BREAK)}" if edit.text else line)
    return "\n".join(lines)


def unescape(text: str) -> str:
    """Return a reply's text with its line breaks restored and LaTeX commands left alone."""
    return _COMMANDS.sub("\n", text.replace(BREAK, "\n").replace(PARAGRAPH, "\n\n")).strip()


def parse_reply(
    reply: str, first: int, last: int, *, truncated: bool = False, labelled: bool = True
) -> Parsed:
    """Parse a reply that should cover units ``first..last`` (0-based, inclusive).

    Args:
        reply: The teacher's text.
        first: First unit asked about.
        last: Last unit asked about.
        truncated: Whether the reply was cut off; its last line is not trusted then.
        labelled: Whether lines name skills; without, every unit is a step of its own.
    """
    lines = [line for line in reply.splitlines() if line.strip() and not line.strip().startswith("```")]
    if truncated and lines:
        lines.pop()
    proposed: list[Proposed] = []
    problems: list[str] = []
    answer: str | None = None
    for line in lines:
        match, ending = _LINE.match(line), _ANSWER.match(line)
        if ending:
            answer = unescape(ending["text"])
        elif match is None:
            problems.append(f"not an edit line: {line.strip()[:80]!r}")
        else:
            start, end = int(match["first"]) - 1, int(match["last"] or match["first"]) - 1
            named, _, text = match["rest"].partition(":")
            skills = tuple(skill.strip() for skill in named.split("+") if skill.strip())
            action = _ACTIONS[match["action"][0].lower()]
            proposed.append(Proposed(start, end, action, skills, unescape(text)))
    edits = accept(proposed, first, last, problems, labelled=labelled)
    return Parsed(tuple(edits), tuple(gaps(edits, first, last)), tuple(problems), answer)


@dataclass(frozen=True)
class Proposed:
    """One edit as a teacher wrote it, in whatever format, before it is known to be sound."""

    first: int
    last: int
    action: Action
    skills: tuple[str, ...]
    text: str


def accept(
    proposed: Sequence[Proposed], first: int, last: int, problems: list[str], *, labelled: bool
) -> list[Edit]:
    """Return the sound edits, in order and without overlap; says of the others what is wrong."""
    edits: list[Edit] = []
    for p in proposed:
        where = f"units {p.first + 1}-{p.last + 1}"
        if not first <= p.first <= p.last <= last:
            problems.append(f"{where} lie outside {first + 1}-{last + 1}")
        elif edits and p.first <= edits[-1].last:
            problems.append(f"{where} are covered twice or out of order")
        elif p.action in ("rewrite", "merge") and not p.text.strip():
            problems.append(f"{where}: {p.action} without text")
        else:
            edits.append(_edit(p, labelled))
    return edits


def _edit(p: Proposed, labelled: bool) -> Edit:
    skills = (p.skills or ("other",)) if labelled else ("step",) * (p.last - p.first + 1)
    if p.action in ("keep", "delete"):
        said = f"{p.skills[0]}, by the teacher" if p.skills else "by the teacher"
        reason = said if p.action == "delete" else None
        return Edit(first=p.first, last=p.last, action=p.action, skills=skills[:1], reason=reason)
    # One skill, or one unit, is one step.
    merges = len(skills) > 1 and p.first < p.last and (p.action == "merge" or not labelled)
    return Edit(
        first=p.first,
        last=p.last,
        action="merge" if merges else "rewrite",
        skills=skills if merges else skills[:1],
        text=p.text,
    )


def gaps(edits: Sequence[Edit], first: int, last: int) -> list[tuple[int, int]]:
    """Return the ranges of ``first..last`` that no edit covers; the edits are in order."""
    found: list[tuple[int, int]] = []
    expected = first
    for edit in edits:
        if edit.first > expected:
            found.append((expected, edit.first - 1))
        expected = edit.last + 1
    if expected <= last:
        found.append((expected, last))
    return found
