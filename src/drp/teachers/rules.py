"""The rules teacher: no model, no key, deterministic; a lower bar for every language-model teacher.

It finds where the trace first completes a solution, keeps what feeds the final answer, and deletes
talk that states nothing, restatements, verifications, repeated equations and abandoned branches. A
slip that the trace itself corrects later is mended in place. What the final answer needs is brought
back in whenever a deletion would cut it off.
"""

import re
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal

from pydantic import Field

from drp.pruning.checks import states
from drp.pruning.skills import (
    ALTERNATIVE,
    CONCLUSION,
    CONFIRMATION,
    DOUBT,
    RESTATEMENT,
    VERIFICATION,
    classify,
    has_substance,
    is_filler,
    reflection_count,
)
from drp.records import Edit, EditScript, Trace
from drp.teachers.ablations import cue_script, foreign_script, whole_script, with_mistakes
from drp.teachers.base import Proposal
from drp.teachers.registry import OpenTeacher, TeacherContext, TeacherSettings, ready
from drp.teachers.slicing import (
    Line,
    check_block,
    content_words,
    missing_sources,
    needed_numbers,
    read_lines,
    solution_index,
)
from drp.text.answers import final_answer
from drp.text.equations import Equation

_LEAD = re.compile(
    r"^(\s*)(?:(?:wait|hmm+|hold on|no|oh|actually|but|alternatively|so)\b[,.…]*\s+){1,4}(?=[A-Za-z\\$(\d])",
    re.IGNORECASE,
)
_INSTEAD = re.compile(r"\b(?:says?|is|should be|means?|wants?)\s+(\w+),? not (\w+)", re.IGNORECASE)


NEAR = 6
"""A correction this many units behind its slip belongs to the same moment and is merged with it."""
TALK = "talk that states nothing"


class RulesSettings(TeacherSettings):
    """Rules alone: no model, no key, the same script for the same trace."""

    kind: Literal["rules"] = "rules"

    keep_checks: int = Field(default=1, ge=0)
    """How many short verifications to keep, as the student's habit of checking."""
    check_words: int = Field(default=30, ge=1)
    """A verification longer than this many words is never kept."""
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
    """Share of common words from which a line repeats an earlier one."""

    def open(self, context: TeacherContext) -> AbstractAsyncContextManager[OpenTeacher]:
        """Provide the teacher."""
        _ = context
        return ready(RulesTeacher(self))


class RulesTeacher:
    """Prunes by rules alone; the same trace always gets the same script."""

    name = "rules"

    def __init__(self, settings: RulesSettings | None = None) -> None:
        self.settings = settings or RulesSettings()

    @property
    def exempt(self) -> frozenset[str]:
        """Nothing, except that a list of equations or another's style has no words and no habits of the student."""
        foreign = self.settings.segmentation == "none" or self.settings.style == "foreign"
        return frozenset({"own_share", "reflection"} if foreign else ())

    async def prune(self, trace: Trace, units: Sequence[str], candidate: int = 0) -> Proposal:
        """Return the edit script; see :class:`drp.teachers.base.Teacher`."""
        _ = candidate
        script = self.script(trace.question, trace.answer, units)
        if self.settings.mistakes:
            script = with_mistakes(script, self.settings.mistakes, trace.id)
        if self.settings.style == "foreign":
            script = foreign_script(script, units)
        return Proposal(script=script)

    async def repair(
        self, trace: Trace, units: Sequence[str], proposal: Proposal, complaints: Sequence[str]
    ) -> Proposal | None:
        """Return ``None``: the same rules would write the same script."""
        _ = trace, units, proposal, complaints
        return None

    async def polish(self, trace: Trace, units: Sequence[str], proposal: Proposal) -> Proposal | None:
        """Return ``None``: rules cannot write."""
        _ = trace, units, proposal
        return None

    def script(self, question: str, answer: str, units: Sequence[str]) -> EditScript:
        """Return the edit script of units that answer ``question`` with ``answer``."""
        final = final_answer(answer) or ""
        if units and self.settings.segmentation == "default":
            return cue_script(units)
        if units and self.settings.segmentation == "none":
            return whole_script(units, final)
        return _Pass(question, final, units, self.settings).script()


class _Pass:
    """One trace on its way to an edit script: a reason to delete, or a new text, per unit."""

    def __init__(self, question: str, final: str, units: Sequence[str], settings: RulesSettings) -> None:
        self.question, self.final, self.settings, self.units = question, final, settings, units
        self.lines = read_lines(units)
        self.gone: list[str | None] = [None] * len(units)
        self.texts: dict[int, str] = {}
        self.merged: dict[int, int] = {}  # first unit of a merge -> its last unit
        self.confirms = [bool(CONFIRMATION.search(unit)) for unit in units]
        found = solution_index(self.lines, question, final) if final else None
        self.solved = found is not None
        self.end = found if found is not None else len(units) - 1

    def script(self) -> EditScript:
        if not self.units:
            return EditScript(units=0, edits=())
        self._mend()
        self._drop_talk()
        self._drop_checks()
        self._drop_repeats()
        self._drop_unused()
        self._drop_after_solution()
        self._bring_back()
        self._clean_leads()
        self._keep_voice()
        return EditScript(units=len(self.units), edits=tuple(self._edits()))

    def _keeps(self) -> list[bool]:
        return [reason is None for reason in self.gone]

    def _delete(self, first: int, last: int, reason: str) -> None:
        for index in range(first, last + 1):
            if self.gone[index] is None and index not in self.texts:
                self.gone[index] = reason

    def _mend(self) -> None:
        """Put a corrected result in the place of the slip it corrects, and drop the correction."""
        for line in self.lines[: self.end + 1]:
            if line.index in self.texts or self.gone[line.index]:
                continue
            if line.index + 2 <= self.end:
                self._mend_misreading(line, self.lines[line.index + 1])
            for wrong in line.equations:
                if not wrong.holds and line.index not in self.texts:
                    self._mend_slip(line, wrong)

    def _mend_slip(self, line: Line, wrong: Equation) -> None:
        for later in self.lines[line.index + 1 : self.end + 1]:
            right = next((e for e in later.equations if e.left == wrong.left and e.holds), None)
            if right is None:
                continue
            left, sign, _ = line.text[wrong.start : wrong.end].rpartition("=")
            text = f"{line.text[: wrong.start]}{left}{sign} {right.right}{line.text[wrong.end :]}"
            if later.index - line.index <= NEAR:
                self._replace(line.index, later.index, text, "a slip and its correction")
            else:  # the correction comes with a pass of its own
                self.texts[line.index] = text.strip()
            return

    def _mend_misreading(self, line: Line, later: Line) -> None:
        """Mend "3 more …, so a + 3 = b. Wait, no, it says fewer, not more. So a - 3 = c."."""
        match = _INSTEAD.search(later.text)
        if match is None:
            return
        good, bad = match.groups()
        redo = self.lines[later.index + 1]
        spoken = re.compile(rf"\b{re.escape(bad)}\b")
        if not (line.equations and redo.equations and spoken.search(line.text)):
            return
        wrong, right = line.equations[-1], redo.equations[0]
        if not right.holds:
            return
        head = spoken.sub(good, line.text[: wrong.start])
        text = head + redo.text[right.start : right.end] + line.text[wrong.end :]
        self._replace(line.index, redo.index, text, "a misreading and its correction")

    def _replace(self, first: int, last: int, text: str, reason: str) -> None:
        """Merge ``first..last`` into one new text where nothing else happens between them."""
        self.texts[first] = text.strip()
        self.merged[first] = last
        for index in range(first + 1, last + 1):
            self.gone[index] = reason
        self.end = max(self.end, last)

    def _drop_talk(self) -> None:
        """Delete talk that states nothing, and restatements of the question."""
        asked = content_words(self.question)
        first_equation = next((x.index for x in self.lines if x.equations), len(self.lines))
        start = 1 if self.settings.keep_opening else 0
        for line in self.lines[start : self.end + 1]:
            shared = len(line.words & asked) / max(1, len(line.words))
            if line.index < first_equation and line.text.strip().rstrip(".") in self.question:
                self._delete(line.index, line.index, "restates the question")
            elif is_filler(line.text):
                self._delete(line.index, line.index, TALK)
            elif line.index < first_equation and not line.equations:
                if (shared >= 0.8 and len(line.words) >= 6) or (
                    RESTATEMENT.search(line.text) and shared >= 0.4
                ):
                    self._delete(line.index, line.index, "restates the question")
            elif RESTATEMENT.search(line.text) and shared >= 0.6:
                self._delete(line.index, line.index, "restates the question")

    def _drop_checks(self) -> None:
        """Delete verifications and alternative approaches, but for a few short ones."""
        left = self.settings.keep_checks
        index = 0
        while index < self.end:
            text = self.units[index]
            verifies, branches = VERIFICATION.search(text), ALTERNATIVE.search(text)
            settled = self.gone[index] not in (None, TALK) or index in self.texts
            if settled or not (verifies or branches):
                index += 1
                continue
            last = check_block(self.lines, index, self.end - 1, self.confirms)
            block = "".join(self.units[index : last + 1])
            sound = all(e.holds for line in self.lines[index : last + 1] for e in line.equations)
            brief = len(block.split()) <= self.settings.check_words
            if left and verifies and sound and brief and has_substance(block):
                left -= 1
                for kept in range(index, last + 1):
                    if self.gone[kept] in (None, TALK):
                        self.gone[kept] = None
                        self.texts[kept] = self.units[kept]  # unchanged, and safe from later rules
            else:
                self._delete(index, last, "verifies again" if verifies else "an alternative not needed")
            index = last + 1

    def _drop_repeats(self) -> None:
        """Delete lines whose equations, or nearly all of whose words, stand in a kept line before."""
        equations: set[str] = set()
        seen: list[frozenset[str]] = []
        for line in self.lines[: self.end + 1]:
            if self.gone[line.index]:
                continue
            keys = {e.key for e in line.equations}
            covered = any(line.words <= earlier for earlier in seen)
            alike = len(line.words) >= 4 and any(
                len(line.words & earlier) >= self.settings.duplicate_overlap * len(line.words | earlier)
                for earlier in seen
            )
            if line.index != self.end and ((keys and keys <= equations and covered) or alike):
                self._delete(line.index, line.index, "repeats what stands before")
            if self.gone[line.index] is None:
                equations |= keys
                seen.append(line.words)

    def _drop_unused(self) -> None:
        """Delete computations and assertions whose values nothing later uses."""
        if not self.solved:
            return
        used = needed_numbers(self.lines, self._keeps(), self.end, self.question)
        for index in range(1 if self.settings.keep_opening else 0, self.end):
            if not used[index]:
                self._delete(index, index, "its result is not used")

    def _drop_after_solution(self) -> None:
        """Delete what follows the first complete solution, but for one closing statement."""
        if not self.solved or self.end + 1 >= len(self.units):
            return
        closing: int | None = None
        goal = self.lines[self.end].numbers & self.lines[self.end].results or self.lines[self.end].numbers
        if not CONCLUSION.search(self.units[self.end]):
            for line in reversed(self.lines[self.end + 1 :]):
                if CONCLUSION.search(line.text) and (not goal or goal & line.numbers):
                    closing = line.index
                    break
        if closing is None and not any(
            states(self.units[i], self.final) for i in range(self.end + 1) if not self.gone[i]
        ):
            stating = [x.index for x in self.lines if x.index > self.end and states(x.text, self.final)]
            closing = stating[-1] if stating else None
        for index in range(self.end + 1, len(self.units)):
            if index != closing:
                self._delete(index, index, "follows the first complete solution")

    def _bring_back(self) -> None:
        while back := missing_sources(self.lines, self._keeps(), self.end, self.question):
            for index in back:
                self.gone[index] = None

    def _clean_leads(self) -> None:
        """Rewrite kept lines that open with a doubt about something that was deleted."""
        for index in range(1, len(self.units)):
            text = self.units[index]
            if self.gone[index] or index in self.texts or not self.gone[index - 1]:
                continue
            if not DOUBT.search(text) or not has_substance(text):
                continue
            match = _LEAD.match(text)
            if match and len(text) - match.end() > 12:
                rest = text[match.end() :]
                self.texts[index] = (rest[0].upper() + rest[1:]).strip()

    def _keep_voice(self) -> None:
        """Bring back short talk, in order, until the habit of reflecting aloud is in proportion."""
        words = [max(1, len(unit.split())) for unit in self.units]
        counts = [reflection_count(unit) for unit in self.units]
        wanted = self.settings.reflection_share * sum(counts) / max(1, sum(words))
        kept = self._keeps()
        have = sum(c for c, k in zip(counts, kept, strict=True) if k)
        size = sum(w for w, k in zip(words, kept, strict=True) if k)
        for index in range(self.end):
            if have >= wanted * size:
                return
            if self.gone[index] == TALK and counts[index]:
                self.gone[index] = None
                have, size = have + counts[index], size + words[index]

    def _edits(self) -> list[Edit]:
        edits: list[Edit] = []
        index = 0
        while index < len(self.units):
            reason = self.gone[index]
            if index in self.merged:
                last = self.merged[index]
                skills = tuple(classify(self.units[i]) for i in (index, last))
                edits.append(
                    Edit(first=index, last=last, action="merge", skills=skills,
                         text=self.texts[index], borders=(index + 1,))
                )  # fmt: skip
                index = last + 1
                continue
            if reason is None and self.texts.get(index, self.units[index]) != self.units[index]:
                skill = classify(self.units[index])
                edits.append(
                    Edit(first=index, last=index, action="rewrite", skills=(skill,), text=self.texts[index])
                )
                index += 1
                continue
            last = self._run_end(index)
            skill = classify("".join(self.units[index : last + 1])) if reason else classify(self.units[index])
            action = "delete" if reason else "keep"
            edits.append(Edit(first=index, last=last, action=action, skills=(skill,), reason=reason))
            index = last + 1
        return edits

    def _run_end(self, start: int) -> int:
        """Return the end of the step that starts at ``start``: same decision, same skill if kept."""
        reason, skill = self.gone[start], classify(self.units[start])
        last = start
        while last + 1 < len(self.units):
            following = last + 1
            changed = following in self.texts and self.texts[following] != self.units[following]
            if self.gone[following] != reason or changed or following in self.merged:
                break
            if reason is None and classify(self.units[following]) != skill:
                break
            last = following
        return last
