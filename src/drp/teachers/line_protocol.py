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
    r"^\s*(?:[-*•]\s+)?(?P<first>\d{1,5})(?:\s*(?:-|–|—|\.\.|to)\s*(?P<last>\d{1,5}))?\s*[:.|]?\s+"
    r"(?P<action>K|D|R|M|keep|delete|rewrite|merge)\b\s*(?P<rest>.*)$",
    re.IGNORECASE,
)
_ACTIONS: dict[str, Action] = {"k": "keep", "d": "delete", "r": "rewrite", "m": "merge"}
_COMMANDS = re.compile(
    r"\\n(?!(?:eq?|u|abla|ot|otin|i|mid|eg|earrow|warrow|exists|ewline|onumber|ormalsize|leq|geq|subseteq|cong"
    r"|atural|parallel)(?![a-z]))"
)
"""A written ``\\n`` that is a line break rather than the start of a LaTeX command such as ``\\neq``."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u2028\u2029\u200e\u200f\u202a-\u202e]")


@dataclass(frozen=True)
class Parsed:
    """What a reply amounts to."""

    edits: tuple[Edit, ...]
    """Edits in order, without overlap; 0-based units."""
    missing: tuple[tuple[int, int], ...]
    """Ranges of units (0-based, inclusive) that no line covers."""
    problems: tuple[str, ...]
    """What was wrong, one message each."""


def render_units(units: Sequence[str], first: int = 0) -> str:
    """Return units as numbered lines, 1-based from ``first``; nothing in a unit can start a line."""
    lines: list[str] = []
    for number, unit in enumerate(units, first + 1):
        body = unit.strip().replace("\r\n", "\n").replace("\n", BREAK)
        body = _CONTROL.sub(" ", body).replace("<trace>", "‹trace›").replace("</trace>", "‹/trace›")
        closing = f" {PARAGRAPH}" if re.search(r"\n\s*\n\s*$", unit) else ""
        lines.append(f"{number}| {body}{closing}")
    return "\n".join(lines)


def render_edits(edits: Sequence[Edit]) -> str:
    """Return edits as the lines a teacher would write."""
    letters = {action: letter.upper() for letter, action in _ACTIONS.items()}
    lines: list[str] = []
    for edit in edits:
        span = f"{edit.first + 1}-{edit.last + 1}" if edit.last > edit.first else f"{edit.first + 1}"
        line = f"{span} {letters[edit.action]} {'+'.join(edit.skills)}"
        lines.append(f"{line}: {edit.text.replace(chr(10), BREAK)}" if edit.text else line)
    return "\n".join(lines)


def unescape(text: str) -> str:
    """Return a reply's text with its line breaks restored and LaTeX commands left alone."""
    return _COMMANDS.sub("\n", text.replace(BREAK, "\n").replace(PARAGRAPH, "\n\n")).strip()


def parse_reply(reply: str, first: int, last: int, *, truncated: bool = False) -> Parsed:
    """Parse a reply that should cover units ``first..last`` (0-based, inclusive).

    Args:
        reply: The teacher's text.
        first: First unit asked about.
        last: Last unit asked about.
        truncated: Whether the reply was cut off; its last line is not trusted then.
    """
    lines = [line for line in reply.splitlines() if line.strip() and not line.strip().startswith("```")]
    if truncated and lines:
        lines.pop()
    edits: list[Edit] = []
    problems: list[str] = []
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            problems.append(f"not an edit line: {line.strip()[:80]!r}")
            continue
        edit = _edit(match, first, last, problems)
        if edit is None:
            continue
        if edits and edit.first <= edits[-1].last:
            problems.append(f"units {edit.first + 1}-{edit.last + 1} are covered twice or out of order")
            continue
        edits.append(edit)
    return Parsed(tuple(edits), tuple(_gaps(edits, first, last)), tuple(problems))


def _edit(match: re.Match[str], first: int, last: int, problems: list[str]) -> Edit | None:
    start = int(match["first"]) - 1
    end = int(match["last"] or match["first"]) - 1
    if not first <= start <= end <= last:
        problems.append(f"units {start + 1}-{end + 1} lie outside {first + 1}-{last + 1}")
        return None
    action = _ACTIONS[match["action"][0].lower()]
    named, _, text = match["rest"].partition(":")
    skills = tuple(skill.strip() for skill in named.split("+") if skill.strip()) or ("other",)
    if action in ("keep", "delete"):
        reason = f"{skills[0]}, by the teacher" if action == "delete" else None
        return Edit(first=start, last=end, action=action, skills=skills[:1], reason=reason)
    text = unescape(text)
    if not text:
        problems.append(f"units {start + 1}-{end + 1}: {action} without text")
        return None
    if action == "merge" and (len(skills) < 2 or start == end):
        action = "rewrite"  # one skill, or one unit, is one step
    if action == "rewrite":
        skills = skills[:1]
    return Edit(first=start, last=end, action=action, skills=skills, text=text)


def _gaps(edits: Sequence[Edit], first: int, last: int) -> list[tuple[int, int]]:
    gaps: list[tuple[int, int]] = []
    expected = first
    for edit in edits:
        if edit.first > expected:
            gaps.append((expected, edit.first - 1))
        expected = edit.last + 1
    if expected <= last:
        gaps.append((expected, last))
    return gaps
