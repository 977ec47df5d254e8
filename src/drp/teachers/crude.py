"""The rules teacher made worse on purpose, for the ablations: without skills, without steps, with mistakes."""

import random
import re
from collections.abc import Sequence
from itertools import groupby

from drp.pruning.skills import ALTERNATIVE, CONCLUSION, DOUBT, RESTATEMENT, VERIFICATION, is_filler
from drp.records import Edit, EditScript
from drp.text.equations import find_equations

_SIGN = re.compile(r"(?<=[\d)])([-+*/=])")
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
