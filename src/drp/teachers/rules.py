"""The rules teacher: no model, no key, deterministic; a lower bar for every language-model teacher.

It deletes only what it can argue for, as whole passages: what follows a sound conclusion, verifications from their
opening to their verdict, branches that are given up, restatements and empty talk. A slip that the trace itself corrects
becomes one statement with its correction. What a kept line rests on comes back, and so does every passage without which a
kept line would hang in the air: better too little than wrong.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal

from pydantic import Field

from drp.pruning.reflection import HABIT, reflective_steps
from drp.pruning.skills import classify, reflection_count
from drp.records import Edit, EditScript, Trace
from drp.teachers.ablations import cue_script, foreign_script, whole_script, with_mistakes
from drp.teachers.base import Proposal, SingleProposal
from drp.teachers.closing_check import closing_check
from drp.teachers.conclusion import Answer, agrees, closing, concluded
from drp.teachers.mending import mend
from drp.teachers.passages import (
    CHECKED,
    TALK,
    Passage,
    branch_at,
    check_at,
    doubts,
    is_hollow,
    leans_back,
    repetition_at,
    restates_question,
    stays_open,
)
from drp.teachers.registry import OpenTeacher, TeacherContext, TeacherSettings, ready
from drp.teachers.slicing import Fact, Line, content_words, facts, read_lines, unsupported
from drp.text.answers import final_answer

EMPTY_TALK = "talk that states nothing"
MANY_ROUNDS = 8
"""After this many rounds of bringing back, all passages before the conclusion come back: rounds cost time, doubt does not pay."""


class RulesSettings(TeacherSettings):
    """Rules alone: no model, no key, the same script for the same trace."""

    kind: Literal["rules"] = "rules"

    keep_checks: int = Field(default=1, ge=0)
    """How many short verifications to keep, as the student's habit of checking."""
    check_words: int = Field(default=60, ge=1)
    """A verification in the middle longer than this many words is never kept."""
    closing_check_words: int = Field(default=120, ge=0)
    """The same of the check that follows the conclusion, which is kept where no other is left (0: never)."""
    keep_opening: bool = True
    """Whether the first unit stays, so that a pruned trace opens as the student opens."""
    reflection_share: float = Field(default=0.2, ge=0, le=1)
    """Reflection words per word to keep, as a share of the original's; short talk supplies them."""
    segmentation: Literal["skill", "default", "none"] = "skill"
    """As it is; or for ablations: sentences by their cue words, or the whole trace as one list of equations."""
    style: Literal["own", "foreign"] = "own"
    """The student's own words; or for ablations: the same steps in a teacher's house style."""
    mistakes: float = Field(default=0.0, ge=0, le=1)
    """Share of decisions turned round on purpose, as a stand-in for weaker teachers."""
    duplicate_overlap: float = Field(default=0.85, gt=0, le=1)
    """Share of common words from which a line that states the formulas of an earlier one repeats it."""

    def open(self, context: TeacherContext) -> AbstractAsyncContextManager[OpenTeacher]:
        """Provide the teacher."""
        _ = context
        return ready(RulesTeacher(self))


class RulesTeacher(SingleProposal):
    """Prunes by rules alone; the same trace always gets the same script."""

    name = "rules"

    def __init__(self, settings: RulesSettings | None = None) -> None:
        self.settings = settings or RulesSettings()

    @property
    def exempt(self) -> frozenset[str]:
        """Nothing, unless it is made worse on purpose: an ablation is measured by what it trains, not by checks."""
        settings = self.settings
        foreign = settings.segmentation == "none" or settings.style == "foreign"
        worse = foreign or settings.segmentation == "default" or settings.mistakes > 0
        voice = {"own_share", "reflection"} if foreign else set[str]()
        sound = {"concluded", "supported", "no_slip_kept"} if worse else set[str]()
        return frozenset(voice | sound)

    async def prune(self, trace: Trace, units: Sequence[str], candidate: int = 0) -> Proposal:
        """Return the edit script; see :class:`drp.teachers.base.Teacher`."""
        _ = candidate
        script = self.script(trace.question, trace.answer, units)
        if self.settings.mistakes:
            script = with_mistakes(script, self.settings.mistakes, trace.id)
        if self.settings.style == "foreign":
            script = foreign_script(script, units)
        return Proposal(script=script)

    def script(self, question: str, answer: str, units: Sequence[str]) -> EditScript:
        """Return the edit script of units that answer ``question`` with ``answer``."""
        final = final_answer(answer) or ""
        if units and self.settings.segmentation == "default":
            return cue_script(units)
        if units and self.settings.segmentation == "none":
            return whole_script(units, final)
        return _Pass(question, final, units, self.settings).script()


class _Pass:
    """One trace on its way to an edit script: passages that go, and new texts for units that stay."""

    def __init__(self, question: str, final: str, units: Sequence[str], settings: RulesSettings) -> None:
        self.settings, self.question, self.units = settings, question, units
        self.given: frozenset[Fact] = facts(question)
        self.asked = content_words(question)
        self.lines = read_lines(units)
        self.mended = mend(self.lines, self.given)
        self.swallowed = self.mended.swallowed
        if self.mended.texts:
            self.lines = read_lines([self._text(index) for index in range(len(units))])
        self.answer = Answer(final, self.given)
        self.end = concluded(self.lines, self.answer, question) if final else None
        self.body = len(units) if self.end is None else self.end
        """The first unit that no passage may take: that of the conclusion."""
        self.passages: list[Passage] = []
        self.tail: list[Passage] = []

    def _text(self, index: int) -> str:
        """Return a unit as the pruned trace would have it, with its own white space behind it, which ends paragraphs."""
        unit = self.units[index]
        text = "" if index in self.swallowed else self.mended.texts.get(index, unit.rstrip())
        return text + unit[len(unit.rstrip()) :]

    def script(self) -> EditScript:
        """Return the edit script."""
        if not self.units:
            return EditScript(units=0, edits=())
        self._find_passages()
        self._keep_checks()
        self._bring_back(self.body if self.end is None else self.end + 1)
        self._cut_tail()
        self._keep_voice()
        return EditScript(units=len(self.units), edits=tuple(self._edits()))

    def _find_passages(self) -> None:
        known: set[Fact] = set(self.given)
        stated: dict[frozenset[str], Line] = {}
        index = 1 if self.settings.keep_opening else 0
        for line in self.lines[:index]:
            known |= line.gives
        while index < self.body:
            passage = self._passage_at(index, known, stated)
            if passage is not None:
                self.passages.append(passage)
                index = passage.last + 1
                continue
            line = self.lines[index]
            known |= line.gives
            if line.relations:
                stated[line.relations] = line
            index += 1

    def _passage_at(self, index: int, known: set[Fact], stated: dict[frozenset[str], Line]) -> Passage | None:
        """Return the passage that goes from ``index`` on, if any."""
        line = self.lines[index]
        if index in self.swallowed or index in self.mended.texts:
            return None
        opening = index
        while opening < min(index + 3, self.body - 1) and is_hollow(self.lines[opening].text):
            opening += 1  # "Hmm, wait." belongs to the check that it leads to
        for start in range(index, opening + 1):
            check = check_at(self.lines, start, self.body, known)
            if check is not None and not self._rewrites(index, check.last):
                return Passage(index, check.last, check.reason)
        branch = branch_at(self.lines, index, self.body)
        if branch is not None and not self._rewrites(index, branch.last):
            return branch
        if len(line.text) < 120 and TALK.fullmatch(line.text):
            return Passage(index, index, EMPTY_TALK)
        if not stated and line.paragraph < 2 and restates_question(line, self.asked, self.given):
            return Passage(index, index, "restates the question")
        return repetition_at(self.lines, index, self.body, stated, self.settings.duplicate_overlap)

    def _rewrites(self, first: int, last: int) -> bool:
        return any(i in self.mended.texts for i in range(first, last + 1))

    def _keep_checks(self) -> None:
        """Keep the first few verifications that are short and come to a verdict, as the student's habit."""
        left = self.settings.keep_checks
        for passage in list(self.passages):
            words = sum(len(self.units[i].split()) for i in range(passage.first, passage.last + 1))
            if left and passage.reason == CHECKED and words <= self.settings.check_words:
                self.passages.remove(passage)
                left -= 1

    def _keeps(self) -> list[bool]:
        keep = [i not in self.swallowed for i in range(len(self.units))]
        for passage in (*self.passages, *self.tail):
            for index in range(passage.first, passage.last + 1):
                keep[index] = False
        return keep

    def _bring_back(self, until: int) -> None:
        """Bring back every passage that lines kept before ``until`` rest on, or whose absence leaves one of them hanging."""
        for _ in range(MANY_ROUNDS):
            keep = self._keeps()[:until]
            missing = unsupported(self.lines[:until], keep, self.given)
            stay = [p for p in self.passages if not any(i in missing for i in range(p.first, p.last + 1))]
            stay = [p for p in stay if not self._hangs(p, keep)]
            if len(stay) == len(self.passages):
                return
            self.passages = stay
        self.passages = []

    def _hangs(self, passage: Passage, keep: Sequence[bool]) -> bool:
        """Return whether the line before a passage waits for it, or the line after it points into it."""
        if passage.reason == EMPTY_TALK:
            return False
        before, after = passage.first - 1, passage.last + 1
        while before >= 0 and not keep[before]:
            before -= 1
        while after < len(keep) and not keep[after]:
            after += 1
        settled = passage.reason == CHECKED and before >= 0 and doubts(self.lines[before].text)
        return (
            settled
            or (before >= 0 and stays_open(self.lines[before].text))
            or (after < len(keep) and leans_back(self.lines[after].text))
        )

    def _cut_tail(self) -> None:
        """Delete what follows the conclusion, but for a closing sentence that stands on its own."""
        if self.end is None or all(agrees(line, self.answer) for line in self.lines[self.end + 1 :]):
            return  # that is how the student closes
        close = closing(self.lines, self.end + 1, self.answer, self._known())
        if len(close):
            parts = ((self.end + 1, close.start - 1), (close.stop, len(self.units) - 1))
        else:
            parts = ((self.end + 1, len(self.units) - 1),)
        self.tail = [Passage(a, b, "follows a complete solution") for a, b in parts if a <= b]

    def _known(self) -> frozenset[Fact]:
        """Return what is known when the trace concludes."""
        return self.given.union(*(line.gives for line in self.lines[: self.body + 1]))

    def _keep_voice(self) -> None:
        """Where the student has a habit of checking and no check is left, keep one whole; then short talk."""
        if not self.settings.reflection_share:
            return
        if len(reflective_steps(self.question, self.units)) >= HABIT and not self._checks():
            self._keep_closing_check()
            if not self._checks():
                self._restore_check()
        words = [max(1, len(unit.split())) for unit in self.units]
        counts = [reflection_count(unit) for unit in self.units]
        wanted = self.settings.reflection_share * sum(counts) / sum(words)
        keep = self._keeps()
        have = sum(c for c, k in zip(counts, keep, strict=True) if k)
        size = sum(w for w, k in zip(words, keep, strict=True) if k)
        for passage in list(self.passages):
            if have >= wanted * size:
                return
            if passage.reason == EMPTY_TALK and counts[passage.first]:
                self.passages.remove(passage)
                have, size = have + counts[passage.first], size + words[passage.first]

    def _checks(self) -> bool:
        """Return whether what stays holds a step of checking."""
        kept = [unit for unit, keep in zip(self.units, self._keeps(), strict=True) if keep]
        return bool(reflective_steps(self.question, kept))

    def _keep_closing_check(self) -> None:
        """Keep the check that the student makes of its conclusion, whole, with what it rests on."""
        if self.end is None or not self.tail or self.tail[0].first != self.end + 1:
            return
        first, *others = self.tail
        check = closing_check(
            self.lines, first.first, self.answer, self._known(), self.settings.closing_check_words
        )
        rest = [Passage(check.stop, first.last, first.reason)] if check.stop <= first.last else []
        if check and (rest or others or self.passages):  # else nothing would be pruned at all
            self.tail = [*rest, *others]
            self._bring_back(check.stop)

    def _restore_check(self) -> None:
        """Bring back the shortest verification that went in the middle, where it is one that counts."""
        gone = [p for p in self.passages if p.reason == CHECKED]
        for passage in sorted(gone, key=lambda p: (p.last - p.first, p.first)):
            self.passages.remove(passage)
            if self._checks():
                return
            self.passages.append(passage)

    def _edits(self) -> list[Edit]:
        reasons: list[str | None] = [None] * len(self.units)
        for passage in (*self.passages, *self.tail):
            for index in range(passage.first, passage.last + 1):
                reasons[index] = passage.reason
        edits: list[Edit] = []
        index = 0
        while index < len(self.units):
            last = index
            skill = classify(self.units[index])
            if index in self.mended.merges and reasons[index] is None:
                last = self.mended.merges[index]
                edits.append(
                    Edit(first=index, last=last, action="merge", skills=(skill, classify(self.units[last])),
                         text=self.mended.texts[index], borders=(index + 1,))
                )  # fmt: skip
            elif reasons[index] is None and index in self.mended.texts:
                edits.append(
                    Edit(
                        first=index,
                        last=index,
                        action="rewrite",
                        skills=(skill,),
                        text=self.mended.texts[index],
                    )
                )
            else:
                last = self._run_end(index, reasons)
                action = "delete" if reasons[index] else "keep"
                skill = classify("".join(self.units[index : last + 1])) if reasons[index] else skill
                edits.append(
                    Edit(first=index, last=last, action=action, skills=(skill,), reason=reasons[index])
                )
            index = last + 1
        return edits

    def _run_end(self, start: int, reasons: Sequence[str | None]) -> int:
        """Return the end of the step that starts at ``start``: same decision, same skill if kept."""
        reason, skill = reasons[start], classify(self.units[start])
        last = start
        while last + 1 < len(self.units):
            following = last + 1
            if reasons[following] != reason:
                break
            if reason is None and (
                following in self.mended.texts or classify(self.units[following]) != skill
            ):
                break
            last = following
        return last
