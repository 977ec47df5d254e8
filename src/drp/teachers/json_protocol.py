"""The JSON format of edit scripts, for endpoints that promise output by schema."""

import json
from collections.abc import Sequence
from typing import Any, cast

from pydantic_core import from_json

from drp.records import Action, Edit
from drp.teachers.line_protocol import Parsed, Proposed, accept, gaps

_ACTIONS: tuple[Action, ...] = ("keep", "delete", "rewrite", "merge")


def reply_schema(*, labelled: bool) -> dict[str, Any]:
    """Return the JSON schema of a reply, in the subset that strict structured output takes."""
    fields: dict[str, Any] = {
        "first": {"type": "integer"},
        "last": {"type": "integer"},
        "action": {"type": "string", "enum": list(_ACTIONS)},
        **({"skills": {"type": "array", "items": {"type": "string"}}} if labelled else {}),
        "text": {"type": ["string", "null"]},
    }
    text = {"type": ["string", "null"]}
    return _object({"unusable": text, "edits": {"type": "array", "items": _object(fields)}, "answer": text})


def _object(fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def render_json(edits: Sequence[Edit], *, labelled: bool = True) -> str:
    """Return edits as the JSON a teacher would write."""
    rows = [
        {"first": e.first + 1, "last": e.last + 1, "action": e.action}
        | ({"skills": [] if e.action == "delete" else list(e.skills)} if labelled else {})
        | {"text": e.text}
        for e in edits
    ]
    return json.dumps(
        {"unusable": None, "edits": rows, "answer": None}, ensure_ascii=False, separators=(",", ":")
    )


def parse_json_reply(reply: str, first: int, last: int, *, labelled: bool = True) -> Parsed:
    """Parse a reply that should cover units ``first..last``; what is whole of a cut reply counts.

    Args:
        reply: The teacher's text, a code fence around it allowed.
        first: First unit asked about, 0-based.
        last: Last unit asked about.
        labelled: Whether edits name skills.
    """
    problems: list[str] = []
    start = min((i for i in map(reply.find, "{[") if i >= 0), default=0)
    end = max(reply.rfind("}"), reply.rfind("]")) + 1
    data: Any = None
    for text in (reply[start:end], reply[start:]):  # without what may follow, or cut off anywhere
        try:
            data = from_json(text, allow_partial=True)
            break
        except ValueError as error:
            problems = [f"not JSON: {error}"]
    else:
        return Parsed((), ((first, last),), tuple(problems))
    problems = []
    rows: Any = cast("dict[str, Any]", data).get("edits") if isinstance(data, dict) else data
    proposed: list[Proposed] = []
    for row in cast("list[Any]", rows) if isinstance(rows, list) else []:
        edit = _proposed(row)
        if edit is None:
            problems.append(f"not an edit: {json.dumps(row, ensure_ascii=False)[:80]}")
        else:
            proposed.append(edit)
    if not isinstance(rows, list):
        problems.append("the JSON has no list of edits")
    edits = accept(proposed, first, last, problems, labelled=labelled)
    return Parsed(
        tuple(edits),
        tuple(gaps(edits, first, last)),
        tuple(problems),
        _said(data, "answer"),
        _said(data, "unusable"),
    )


def _said(data: Any, field: str) -> str | None:
    """Return what a reply says in a field, ``None`` where it says nothing."""
    said = cast("dict[str, Any]", data).get(field) if isinstance(data, dict) else None
    return said.strip() or None if isinstance(said, str) else None


def _proposed(row: object) -> Proposed | None:
    if not isinstance(row, dict):
        return None
    fields = cast("dict[str, Any]", row)
    first, last, action = fields.get("first"), fields.get("last", fields.get("first")), fields.get("action")
    skills, text = fields.get("skills", ()), fields.get("text")
    if not isinstance(first, int) or not isinstance(last, int) or action not in _ACTIONS:
        return None
    named = (
        [s for s in cast("list[object]", skills) if isinstance(s, str) and s]
        if isinstance(skills, list)
        else []
    )
    if "text" not in fields and action in ("rewrite", "merge"):
        return None  # cut off before its text
    return Proposed(first - 1, last - 1, action, tuple(named), text if isinstance(text, str) else "")
