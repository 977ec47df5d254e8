"""What a teacher is told of a result that was refused: the words, numbers and sentences at fault, where they can be named.

A teacher that hears only "more of it must be the student's own words" mends at random. Everything is quoted, since not
every protocol numbers its units.
"""

from collections.abc import Callable, Iterator, Sequence

from drp.pruning.checks import CHECK_MEANING, states
from drp.pruning.conclusion import shown
from drp.pruning.reflection import reflective_steps
from drp.pruning.statistics import own_words
from drp.pruning.support import Finding, sentences_of, unsupported
from drp.records import Check, Edit, EditScript, Trace
from drp.teachers.base import Complaint
from drp.text.numbers import numbers_in, parse_number

MOST = 5
"""Complaints about one check."""
QUOTED = 160
"""Characters of a quotation."""


def complaints(
    trace: Trace, units: Sequence[str], script: EditScript, checks: Sequence[Check]
) -> list[Complaint]:
    """Return what failed, one complaint for each place where it is to be mended.

    Args:
        trace: The trace.
        units: Its units.
        script: What was found wanting.
        checks: The checks that it did not pass.
    """
    found: list[Complaint] = []
    for check in checks:
        meaning = CHECK_MEANING[check.name]
        tell = _TELLERS.get(check.name)
        told = [] if tell is None else list(tell(trace, units, script, check))[:MOST]
        if told:
            found += [Complaint(text=f"{meaning}: {c.text}", at=c.at) for c in told]
        else:
            found.append(Complaint(text=f"{meaning} ({check.detail or _figures(check)})"))
    return found


Tell = Callable[[Trace, Sequence[str], EditScript, Check], Iterator[Complaint]]
"""Yields what one failed check is about."""


def _figures(check: Check) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in check.figures.items())


def _ending(trace: Trace, units: Sequence[str], script: EditScript, check: Check) -> Iterator[Complaint]:
    """Name the last sentence of the trace that states the answer; only its last part is asked to."""
    _ = script
    stating = [unit for unit in units if states(unit, trace.gold)]
    hint = f"; the trace says it in {shown(stating[-1], QUOTED)}" if stating else ""
    yield Complaint(text=f"{check.detail}{hint}", at=len(units) - 1)


def _unsupported(trace: Trace, units: Sequence[str], script: EditScript, check: Check) -> Iterator[Complaint]:
    """Name what rests on deleted text, and the deleted sentence that it rests on where that is a number."""
    _ = check
    gone = [i for edit in script.edits if edit.action == "delete" for i in range(edit.first, edit.last + 1)]
    places = {sentence.text: sentence.first for sentence in sentences_of(units, script)}
    for finding in unsupported(trace.question, units, script):
        source = _source(finding, units, gone)
        hint = f"; {shown(source, QUOTED)} brought it in and went" if source else ""
        yield Complaint(text=f"{finding}{hint}", at=places.get(finding.sentence))


def _source(finding: Finding, units: Sequence[str], gone: Sequence[int]) -> str | None:
    value = parse_number(finding.what) if finding.kind == "number" else None
    if value is None:
        return None
    return next((units[i] for i in gone if value in numbers_in(units[i])), None)


def _foreign(trace: Trace, units: Sequence[str], script: EditScript, check: Check) -> Iterator[Complaint]:
    """Quote the new texts with most words that the student does not have in a row, with how the student put it."""
    _ = check
    counted = [
        (total - own, edit)
        for edit in script.edits
        if edit.text is not None
        for own, total in [own_words(trace.question, units, _alone(edit, len(units)))]
    ]
    for foreign, edit in sorted(counted, key=lambda pair: -pair[0]):
        if foreign:
            text = shown(edit.text or "", QUOTED)
            student = shown("".join(units[edit.first : edit.last + 1]), QUOTED)
            yield Complaint(
                text=f"{foreign} words of {text} are not the student's, who wrote {student}", at=edit.first
            )


def _alone(edit: Edit, units: int) -> EditScript:
    """Return a script with one edit of another, which deletes all else."""
    others = [(0, edit.first - 1), (edit.last + 1, units - 1)]
    gone = [
        Edit(first=a, last=b, action="delete", skills=("other",), reason="not looked at")
        for a, b in others
        if a <= b
    ]
    return EditScript(units=units, edits=tuple(sorted([*gone, edit], key=lambda e: e.first)))


def _checking(trace: Trace, units: Sequence[str], script: EditScript, check: Check) -> Iterator[Complaint]:
    """Quote steps of checking that went: verifications before other ways, short ones first."""
    stays = {i for edit in script.edits if edit.action == "keep" for i in range(edit.first, edit.last + 1)}
    steps = [
        (step.kind != "verification", "".join(units[step.first : step.last + 1]), step.first)
        for step in reflective_steps(trace.question, units)
        if not stays.issuperset(range(step.first, step.last + 1))
    ]
    if steps:
        best = sorted(steps, key=lambda step: (step[0], len(step[1])))[:3]
        some = " or ".join(shown(text, QUOTED) for _, text, _ in best)
        before, after = check.figures["before"], check.figures["after"]
        yield Complaint(text=f"{after:g} of {before:g} stay; keep whole, for one, {some}", at=best[0][2])


def _size(trace: Trace, units: Sequence[str], script: EditScript, check: Check) -> Iterator[Complaint]:
    _ = trace, units, script
    before, after = check.figures["before"], check.figures["after"]
    yield Complaint(
        text=f"it has {after:g} characters, thinking and answer together, and the original {before:g}"
    )


def _surprising(trace: Trace, units: Sequence[str], script: EditScript, check: Check) -> Iterator[Complaint]:
    """Quote the sentence that the student finds least likely after what went."""
    _ = trace, script
    at = int(check.figures["worst_unit"])
    yield Complaint(text=check.detail, at=min(at, len(units) - 1))


_TELLERS: dict[str, Tell] = {
    "answer_kept": _ending,
    "concluded": _ending,
    "supported": _unsupported,
    "shorter": _size,
    "own_share": _foreign,
    "reflection": _checking,
    "seams": _surprising,
}
"""Checks whose own detail does not say it all; the others quote what they found."""
