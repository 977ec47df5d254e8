"""Ablations of the rules teacher: what is lost without skills, steps or style, and with mistakes."""

import random
import re
from collections.abc import Sequence
from itertools import groupby

from drp.pruning.skills import ALTERNATIVE, CONCLUSION, DOUBT, RESTATEMENT, VERIFICATION, is_filler
from drp.records import Edit, EditScript
from drp.text.equations import find_equations

_SIGN = re.compile(r"(?<=[\d)])([-+*/=])")
_OPENER = re.compile(
    r"^(?:(?:okay|alright|so|now|well|right|wait|hmm+|then|next|first|and|let's see|let me see)\b[,.…]*\s*)+",
    re.IGNORECASE,
)
_FORMAL = {
    "so": "hence", "has": "possesses", "have": "possess", "finds": "acquires", "gives away": "relinquishes",
    "more": "additional", "i": "one", "i'm": "one is", "need to find": "must determine", "figure out": "determine",
}  # fmt: skip
_SPOKEN = re.compile(
    rf"\b(?:{'|'.join(sorted(map(re.escape, _FORMAL), key=len, reverse=True))})\b", re.IGNORECASE
)
_TYPESET = {"*": "\\times", "/": "\\div"}
_CUES = (VERIFICATION, ALTERNATIVE, DOUBT, RESTATEMENT)


def cue_script(units: Sequence[str]) -> EditScript:
    """Segmentation ``default``: sentences go by their cue words alone; nobody asks what depends on them."""
    ends = [i for i, unit in enumerate(units) if CONCLUSION.search(unit)]
    last = ends[0] if ends else len(units) - 1

    def reason(index: int) -> str | None:
        if index > last:
            return "follows the first conclusion"
        text = units[index]
        if index == last or not (is_filler(text) or any(cue.search(text) for cue in _CUES)):
            return None
        return "opens with a cue of talk or checking"

    edits: list[Edit] = []
    for why, run in groupby(range(len(units)), key=reason):
        indices = list(run)
        action = "delete" if why else "keep"
        edits.append(
            Edit(first=indices[0], last=indices[-1], action=action, skills=("sentence",), reason=why)
        )
    return EditScript(units=len(units), edits=tuple(edits))


def whole_script(units: Sequence[str], final: str) -> EditScript:
    """Segmentation ``none``: the whole trace becomes one text, its equations in order, up to the answer."""
    written: list[str] = []
    keys: set[str] = set()
    for equation in find_equations("".join(units)):
        if equation.holds and equation.key not in keys:
            keys.add(equation.key)
            written.append(_SIGN.sub(r" \1 ", equation.key))
            if str(equation.value) == final:
                break
    text = f"{', '.join(written)}. The answer is {final}." if written else f"The answer is {final}."
    whole = Edit(first=0, last=len(units) - 1, action="rewrite", skills=("whole",), text=text)
    return EditScript(units=len(units), edits=(whole,))


def with_mistakes(script: EditScript, rate: float, seed: str) -> EditScript:
    """Turn a share of the decisions round: what was to be kept goes, what was to go is kept.

    The first and the last edit stand; the same trace gets the same mistakes.
    """
    rng = random.Random(seed)
    edits: list[Edit] = []
    for number, edit in enumerate(script.edits):
        inside = 0 < number < len(script.edits) - 1
        if inside and edit.action in ("keep", "delete") and rng.random() < rate:
            gone = edit.action == "keep"
            change = {"action": "delete" if gone else "keep", "reason": "a planted mistake" if gone else None}
            edits.append(edit.model_copy(update=change))
        else:
            edits.append(edit)
    return EditScript(units=script.units, edits=tuple(edits))


def foreign_script(script: EditScript, units: Sequence[str]) -> EditScript:
    """Say what a script keeps in a teacher's house style: an item a step, typeset equations, formal words.

    The same steps and numbers in the same order; only the student's voice goes.
    """
    edits: list[Edit] = []
    for edit in script.edits:
        text = edit.text or "".join(units[edit.first : edit.last + 1])
        if edit.action == "delete" or not text.strip():
            edits.append(edit)
            continue
        action = "rewrite" if edit.action == "keep" else edit.action
        edits.append(edit.model_copy(update={"action": action, "text": _formal(text)}))
    return EditScript(units=script.units, edits=tuple(edits))


def _formal(text: str) -> str:
    return "\n\n".join(_formal_line(line) for line in text.split("\n\n") if line.strip())


def _formal_line(line: str) -> str:
    written, at = "", 0
    plain = _OPENER.sub("", line.strip()) or line.strip()
    for equation in find_equations(plain):
        formula = _SIGN.sub(lambda m: f" {_TYPESET.get(m[1], m[1])} ", equation.key)
        written += f"{_worded(plain[at : equation.start])}${formula}$"
        at = equation.end
    written += _worded(plain[at:])
    return f"- {written[:1].upper()}{written[1:]}"


def _worded(text: str) -> str:
    return _SPOKEN.sub(lambda m: _FORMAL[m.group().lower()], text)
