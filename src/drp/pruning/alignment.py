"""Laying a text that was written about a trace back onto it, word by word.

A teacher that copies a trace step by step, or writes the pruned trace as one text, leaves open which
units it means. The longest common subsequence of words says so, and says how much was left out or altered.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap

from rapidfuzz.distance import Indel

from drp.errors import EditScriptError
from drp.records import Action, Edit, EditScript
from drp.text.units import split_units

MOST = 400_000_000
"""Pairs of words up to which two texts are compared exactly: 20,000 words with as many, in half a second."""
PIECE = 2_000
"""Words of the source that are laid at a time where the texts are longer than that."""
# Words and single signs: `So 3*4=12.` is So, 3, *, 4, =, 12, . so that a formula set with other spaces has the same words.
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Step:
    """A run of units ``first..last`` (0-based, inclusive) with one skill."""

    first: int
    last: int
    skill: str


@dataclass(frozen=True)
class Group:
    """One or more neighbouring steps and what is to be done with them."""

    steps: tuple[Step, ...]
    action: Action
    skills: tuple[str, ...] = ()
    """The skills of a merge whose borders are not known; empty: those of its steps."""
    text: str | None = None
    """Its text as it stands, where that is no longer its units."""
    reason: str = "by the teacher"
    """Why it goes, for a delete."""

    @property
    def first(self) -> int:
        """Its first unit."""
        return self.steps[0].first

    @property
    def last(self) -> int:
        """Its last unit."""
        return self.steps[-1].last


def words(text: str) -> list[str]:
    """Return words and signs; white space does not count."""
    return _WORD.findall(text)


def matched(source: Sequence[str], copy: Sequence[str]) -> list[tuple[int, int]]:
    """Return the positions in both of a longest common subsequence of words, case ignored.

    The work grows with the product of the lengths. Where that is more than ``MOST``, the source is laid piece
    by piece, each on the words behind those of the piece before: a common subsequence, if not the longest.
    """
    lower = [w.lower() for w in source], [w.lower() for w in copy]
    if len(source) * len(copy) <= MOST:
        return _common(*lower)
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(source), PIECE):
        behind = pairs[-1][1] + 1 if pairs else 0
        found = _common(lower[0][start : start + PIECE], lower[1][behind : behind + 2 * PIECE])
        pairs += [(start + a, behind + b) for a, b in found]
    return pairs


def _common(source: Sequence[str], copy: Sequence[str]) -> list[tuple[int, int]]:
    # Indel distance knows no substitution, so its cheapest edits keep a longest common subsequence: the runs that are equal.
    # `a b c` and `a x c` have the pairs (0, 0) and (2, 2).
    return [
        (op.src_start + i, op.dest_start + i)
        for op in Indel.opcodes(source, copy)
        if op.tag == "equal"
        for i in range(op.src_end - op.src_start)
    ]


def _spread(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the words of all texts and, for each word, which text it is from."""
    found: list[str] = []
    owners: list[int] = []
    for number, text in enumerate(texts):
        own = words(text)
        found += own
        owners += [number] * len(own)
    return found, owners


def align_steps(
    units: Sequence[str], copies: Sequence[tuple[str, str]]
) -> tuple[list[Step], dict[str, float]]:
    """Lay copied steps back onto the units.

    Every unit goes to the step that shares most of its words; one that shares none goes to the step before
    it. Steps that no unit goes to vanish.

    Args:
        units: The units of the text that was to be copied.
        copies: Text and skill of each step, in order.

    Returns:
        Steps that partition the units, and the shares of words of the trace that the copy omitted and of
        words of the copy that the trace does not have there.
    """
    source, unit_of = _spread(units)
    copy, step_of = _spread([text for text, _ in copies])
    pairs = matched(source, copy)
    votes = [Counter[int]() for _ in units]
    for a, b in pairs:
        votes[unit_of[a]][step_of[b]] += 1
    # Unit by unit the step with most votes, never one before that of the unit before: steps stand in order, and a word
    # that chance laid on an earlier copy must not tear one apart. Votes for 0, 0, none, 2, 1 give 0, 0, 0, 2, 2.
    assigned: list[int] = []
    for vote in votes:
        known = vote.most_common(1)[0][0] if vote else None
        before = assigned[-1] if assigned else None
        assigned.append(before or 0 if known is None else max(known, before or 0))
    leading = next((vote.most_common(1)[0][0] for vote in votes if vote), 0)
    for index, vote in enumerate(votes):
        if vote:
            break
        assigned[index] = leading  # units before the first that was copied
    steps: list[Step] = []
    for index, number in enumerate(assigned):
        if index and assigned[index - 1] == number:
            steps[-1] = Step(steps[-1].first, index, steps[-1].skill)
        else:
            steps.append(Step(index, index, copies[number][1] if copies else "other"))
    figures = {
        "omitted_share": round(1 - len(pairs) / max(1, len(source)), 4),
        "altered_share": round(1 - len(pairs) / max(1, len(copy)), 4),
    }
    return steps, figures


def covered_until(units: Sequence[str], copies: Sequence[tuple[str, str]]) -> int:
    """Return how many units, from the first, a copy that may have been cut off reaches.

    The last unit reached is the last of which more than half of the words are there.
    """
    source, unit_of = _spread(units)
    copy, _ = _spread([text for text, _ in copies])
    found = Counter(unit_of[a] for a, _ in matched(source, copy))
    total = Counter(unit_of)
    return max((unit + 1 for unit, count in found.items() if count > total[unit] / 2), default=0)


def fit_text(units: Sequence[str], groups: Sequence[Group], text: str) -> tuple[EditScript, dict[str, float]]:
    """Return the edit script that turns the units into ``text``, as the groups say where they agree.

    Every sentence of the text goes to the group that shares most of its words, in order, deleted groups
    aside. Where a group's sentences equal its units, it is kept; where it has none, it is deleted.

    Args:
        units: The units of the trace.
        groups: Groups that partition the units, in order.
        text: The pruned trace as one text.

    Returns:
        The script, and figures: shares of kept steps whose text was altered, and of steps to stay that
        the text leaves out.

    Raises:
        EditScriptError: The text is empty, or everything was to be deleted.
    """
    # Each step to keep or delete stands alone, so that one altered step makes no rewrite of its neighbours; what was
    # merged or rewritten has one text and stays together.
    singles = [
        Group((step,), group.action, reason=group.reason)
        for group in groups
        if group.action in ("keep", "delete")
        for step in group.steps
    ]
    merged = [group for group in groups if group.action not in ("keep", "delete")]
    ordered = sorted(singles + merged, key=lambda group: group.first)
    live = [group for group in ordered if group.action != "delete"]
    if not live or not text.strip():
        raise EditScriptError("nothing is left of the trace")
    sentences = split_units(text.strip())
    standing = [g.text or "".join(units[g.first : g.last + 1]) for g in live]
    parts = _assign(sentences, standing)
    edits: list[Edit] = []
    altered = left_out = 0
    turn = iter(parts)  # one part for each group of `live`, in the order of `ordered`
    for group in ordered:
        if group.action == "delete":
            edits.append(_delete(group, group.reason))
            continue
        written = "".join(sentences[i] for i in next(turn)).strip()
        original = "".join(units[group.first : group.last + 1])
        if not written:
            left_out += 1
            edits.append(_delete(group, "not in the teacher's text"))
        elif written.split() == original.split():  # the same but for white space, which stays the student's
            edits += [Edit(first=s.first, last=s.last, action="keep", skills=(s.skill,)) for s in group.steps]
        else:
            altered += group.action == "keep"
            edits.append(_replace(group, written))
    kept = sum(group.action == "keep" for group in live)
    figures = {
        "altered_keeps": round(altered / max(1, kept), 4),
        "left_out": round(left_out / len(live), 4),
    }
    return EditScript(units=len(units), edits=tuple(edits)), figures


def _assign(sentences: Sequence[str], originals: Sequence[str]) -> list[list[int]]:
    """Return for each original the sentences that belong to it, in order; every sentence goes somewhere."""
    source, group_of = _spread(originals)
    copy, sentence_of = _spread(sentences)
    votes = [Counter[int]() for _ in sentences]
    for a, b in matched(source, copy):
        votes[sentence_of[b]][group_of[a]] += 1
    parts: list[list[int]] = [[] for _ in originals]
    current = next((vote.most_common(1)[0][0] for vote in votes if vote), 0)
    # As for units: never back to an earlier group, and a sentence that shares no word goes on with the one before.
    for number, vote in enumerate(votes):
        if vote:
            current = max(current, vote.most_common(1)[0][0])
        parts[current].append(number)
    return parts


def _delete(group: Group, reason: str) -> Edit:
    return Edit(
        first=group.first, last=group.last, action="delete", skills=(group.steps[0].skill,), reason=reason
    )


def _replace(group: Group, text: str) -> Edit:
    skills = group.skills or tuple(step.skill for step in group.steps)
    if len(skills) == 1 or group.first == group.last:
        return Edit(first=group.first, last=group.last, action="rewrite", skills=skills[:1], text=text)
    borders = tuple(step.first for step in group.steps[1:])
    return Edit(first=group.first, last=group.last, action="merge", skills=skills, text=text, borders=borders)


def similarity(one: str, two: str) -> float:
    """Return how alike two texts are in words and their order, from 0 to 1."""
    left, right = words(one), words(two)
    if len(left) * len(right) <= MOST:
        return Indel.normalized_similarity(left, right)
    return 2 * len(matched(left, right)) / (len(left) + len(right))


def groups_of(script: EditScript) -> list[Group]:
    """Return the groups of a script, so that another text can be fitted to it."""
    found: list[Group] = []
    for edit in script.edits:
        starts = (edit.first, *edit.borders)
        ends = (*(border - 1 for border in edit.borders), edit.last)
        known = len(starts) == len(edit.skills)
        if known:
            steps = tuple(starmap(Step, zip(starts, ends, edit.skills, strict=True)))
        else:  # a merge whose borders are not on file has its skills, but not which units are whose
            steps = (Step(edit.first, edit.last, "+".join(edit.skills)),)
        skills = () if known else edit.skills
        reason = edit.reason or "by the teacher"
        found.append(Group(steps, edit.action, skills, edit.text, reason))
    return found
