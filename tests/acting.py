"""A teacher that reads the request, as a model would, and answers sensibly in every protocol."""

import json
import re
from typing import Any

from drp.text.units import split_units

WASTE = re.compile(r"verify|24 \+ 24|that's right|let me check", re.IGNORECASE)
ENDING = "The answer is \\boxed{72}."


def between(text: str, tag: str) -> str:
    """Return what stands between the first opening and the last closing marker."""
    return text.partition(f"<{tag}>\n")[2].rpartition(f"\n</{tag}>")[0]


def shown_units(body: dict[str, Any]) -> dict[int, str]:
    """Return the numbered units an edit-script request shows."""
    lines = between(body["messages"][1]["content"], "trace")
    return {int(m[1]): m[2] for m in re.finditer(r"^(\d+)\| (.*)$", lines, re.M)}


def edit_lines(body: dict[str, Any]) -> list[str]:
    """Delete what verifies, keep the rest, one line a unit."""
    skills = (
        ("verification", "arithmetic") if "Skills, spelled so" in body["messages"][0]["content"] else ("", "")
    )
    return [
        (f"{n} D {skills[0]}" if WASTE.search(t) else f"{n} K {skills[1]}").strip()
        for n, t in shown_units(body).items()
    ]


def shortened(text: str) -> str:
    """Return a text without its wasteful sentences."""
    return "".join(u for u in split_units(text) if not WASTE.search(u)).strip()


def act(body: dict[str, Any]) -> str:
    """Return a good reply to a request of any protocol; one that was cut off goes on."""
    reply, turns = _reply(body), body["messages"]
    if len(turns) > 3 and "was cut off" in turns[-1]["content"]:
        return reply.removeprefix(turns[-2]["content"])
    return reply


def _reply(body: dict[str, Any]) -> str:
    system, asked = body["messages"][0]["content"], body["messages"][1]["content"]
    if system.startswith("You solve"):
        return f"24 * 3 = 72 shells.\n\n{ENDING}"
    if system.startswith("You smooth"):
        return between(asked, "text").replace("so 3 * 24", "that is 3 * 24")
    if system.startswith("You divide"):
        units = split_units(between(asked, "trace"))
        return "\n".join(f"Step {n}: {u.strip()}\nSkill: arithmetic" for n, u in enumerate(units, 1))
    if system.startswith("You shorten") and "<steps>" in system:
        steps = re.findall(
            r"^Step (\d+)(?: \([^)]*\))?: (.*?)(?=\nStep \d+|\Z)", between(asked, "steps"), re.M | re.S
        )
        lines = [f"Step {n}: {'DELETE' if WASTE.search(t) else 'KEEP'}" for n, t in steps]
        text = " ".join(t.strip() for _, t in steps if not WASTE.search(t))
        ending = f"\n## Answer\nSo {ENDING}" if "## Answer" in asked else ""
        return "\n".join(lines) + f"\n##\n{text}{ending}"
    if system.startswith("You shorten"):
        ending = f"\n## Answer\nSo {ENDING}" if "## Answer" in asked else ""
        return shortened(between(asked, "trace")) + ending
    if "JSON object" in system:
        rows = [
            {"first": n, "last": n, "action": "delete" if WASTE.search(t) else "keep", "text": None}
            | ({"skills": ["arithmetic"]} if "skills" in system else {})
            for n, t in shown_units(body).items()
        ]
        answer = f"So {ENDING}" if '"answer" the student' in asked else None
        return json.dumps({"edits": rows, "answer": answer})
    ending = [f"A: So {ENDING}"] if "`A: …`" in asked else []
    return "\n".join([*edit_lines(body), *ending])
