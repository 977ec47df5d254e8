"""The two-stage teacher: the paper's protocol. One call divides and labels, a second one edits and rewrites.

The first reply is a copy of the trace, laid back onto its units; what the teacher omitted or altered is
measured. The second gives an action a step and the pruned trace as one text, from which the edit script
is read off. What was cut off goes on where it stopped, and long traces go in parts.
"""

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from drp.engines.base import Message, Request
from drp.engines.pricing import rough_tokens
from drp.errors import EditScriptError, TeacherError
from drp.pruning.alignment import Group, Step, align_steps, covered_until, fit_text
from drp.records import Action, Edit, Trace
from drp.teachers.edit_script import line_blocks
from drp.teachers.labels import OTHER, listed
from drp.teachers.llm import Edited, LlmSettings, LlmTeacher, Session, load_prompt, user
from drp.teachers.load import ACTIONS, COPY, PRUNED, Call, Lengths
from drp.teachers.parts import CARRIED, Part, behind, context, cut, faults, fenced, parts, shifted
from drp.teachers.reading import read_reply
from drp.teachers.replies import ReplyStore
from drp.teachers.whole import WholeTeacher, whole_calls

SEGMENTATION, COMPRESSION = "segmentation.v2.txt", "compression.v2.txt"

_HEADER = re.compile(r"^\W{0,4}Step (\d{1,6})\W{0,3}:\W{0,3}[ \t]*", re.MULTILINE)
_SKILL = re.compile(r"^\W{0,4}Skill\W{0,3}:\W{0,3}[ \t]*(?P<skill>[^\n]+)$", re.MULTILINE)
_DECISION = re.compile(
    r"^\W{0,4}Steps? (?P<first>\d{1,6})(?:\s*(?:-|–|—|to|and|&)\s*(?P<last>\d{1,6}))?\W{0,3}:\W{0,3}\s*"
    r"(?P<action>KEEP|DELETE|SINGLE[- ]STEP COMPRESS|MULTI[- ]STEP COMPRESS|REWRITE|MERGE)",
    re.MULTILINE | re.IGNORECASE,
)
_SPACE = re.compile(r"\s*")
_MARK = re.compile(r"^[ \t]*##[ \t]*$", re.MULTILINE)
_ANSWER_MARK = re.compile(r"^[ \t]*##[ \t]*answer[ \t]*:?[ \t]*$", re.MULTILINE | re.IGNORECASE)
_ACTIONS: dict[str, Action] = {
    "k": "keep", "d": "delete", "s": "rewrite", "r": "rewrite", "m": "merge",
}  # fmt: skip
TAIL = 0.02
"""Share of a window's units that a copy may leave out at its end without being asked for the rest."""


def parse_steps(reply: str) -> list[tuple[str, str]]:
    """Return text and skill of every whole step of a segmentation reply, in order.

    A step ends at a skill line that the next step, or the end, follows: a trace may have lines such as
    "Step 2:" of its own. A last step without its skill line was cut off and does not count.
    """
    steps: list[tuple[str, str]] = []
    header, whole = _HEADER.search(reply), len(reply.rstrip(" \n`"))
    while header:
        start, header = header.end(), None
        for skill in _SKILL.finditer(reply, start):
            following = _SPACE.match(reply, skill.end())
            header = following and _HEADER.match(reply, following.end())
            if header or skill.end() >= whole:
                steps.append((reply[start : skill.start()].strip("\n"), skill["skill"].strip(" .*")))
                break
    return steps


def parse_compression(reply: str, steps: Sequence[Step]) -> tuple[list[Group], str | None, str | None, int]:
    """Return groups, pruned text, answer part and how many steps no line decides about.

    Steps without a decision count as kept; whether they are is told by the text. The text is ``None``
    where the mark before it is missing: such a reply must never become a training text.
    """
    decisions, mark, rest = _split(reply)
    taken: dict[int, tuple[int, int, Action]] = {}
    for match in _DECISION.finditer(decisions):
        first = int(match["first"]) - 1
        last = int(match["last"] or match["first"]) - 1
        action = _ACTIONS[match["action"][0].lower()]
        if 0 <= first <= last < len(steps) and not any(i in taken for i in range(first, last + 1)):
            taken.update(dict.fromkeys(range(first, last + 1), (first, last, action)))
    groups: list[Group] = []
    index = 0
    while index < len(steps):
        first, last, action = taken.get(index, (index, index, "keep"))
        members = tuple(steps[first : last + 1])
        if action in ("rewrite", "merge"):
            action = "merge" if len(members) > 1 else "rewrite"
        groups.append(Group(members, action))
        index = last + 1
    if not mark:
        return groups, None, None, len(steps) - len(taken)
    ending = _ANSWER_MARK.search(rest)
    text, answer = (rest[: ending.start()], rest[ending.end() :].strip()) if ending else (rest, None)
    return groups, text.strip(), answer or None, len(steps) - len(taken)


def _split(reply: str) -> tuple[str, bool, str]:
    mark = _MARK.search(reply)
    return (reply[: mark.start()], True, reply[mark.end() :]) if mark else (reply, False, "")


class TwoStageSettings(LlmSettings):
    """A language model that copies and labels the trace, and rewrites it in a second request, as in the paper."""

    kind: Literal["two_stage"] = "two_stage"
    max_omitted: float = Field(default=0.3, ge=0, le=1)
    """Largest share of a trace that the teacher's copy may omit."""

    def teacher(self, store: ReplyStore, *, write_answer: bool) -> LlmTeacher:
        """Return the protocol."""
        kind = WholeTeacher if self.segmentation == "none" else TwoStageTeacher
        return kind(store, self, write_answer=write_answer)

    def calls(self, lengths: Lengths, *, writes_answer: bool) -> list[Call]:
        """Return what copying and rewriting a trace take."""
        if self.segmentation == "none":
            return whole_calls(self, lengths, writes_answer=writes_answer)
        times = self.windows_of(lengths)
        shown, thinking = self.shown(lengths), lengths.thinking / times
        written = (ACTIONS + PRUNED) * thinking + (lengths.answer / 2 if writes_answer else 0.0)
        return [
            self.call(SEGMENTATION, times, shown, COPY * thinking),
            self.call(COMPRESSION, times, shown + (COPY - 1) * thinking, written),
            *self.polishing(lengths),
        ]


class TwoStageTeacher(LlmTeacher):
    """Prunes by the paper's two calls."""

    settings: TwoStageSettings

    async def edit(self, session: Session, part: Part) -> Edited:
        """Return the edits of a part; see :class:`drp.teachers.llm.LlmTeacher`."""
        steps, figures = await self._divide(session, part)

        def read(reply: str) -> Edited:
            groups, text, answer, undecided = parse_compression(reply, steps)
            if text is None or (part.whole and not text):
                raise EditScriptError("the reply has no text after the mark ##")
            if not text:  # a part may be repetition alone
                skills = (steps[0].skill,)
                gone = Edit(
                    first=part.first, last=part.last, action="delete", skills=skills, reason="by the teacher"
                )
                return Edited([gone], answer, figures)
            script, more = fit_text(part.own, groups, text)
            edits = [shifted(edit, part.first) for edit in script.edits]
            return Edited(edits, answer, figures | more | {"undecided_steps": undecided / len(steps)})

        request = self._edition(session, part, steps)
        return await read_reply(session, request.messages, request.sampling.max_new_tokens, read)

    async def _divide(self, session: Session, part: Part) -> tuple[list[Step], dict[str, float]]:
        """Return the steps of a part, over its own units, and how well the teacher copied it."""
        units, settings = part.own, self.settings
        if settings.segmentation == "default":
            return [Step(first, last, "step") for first, last in line_blocks(units)], {}
        copies: list[tuple[str, str]] = []
        covered = 0
        for attempt in range(settings.max_calls):
            completion = await session.ask(self._division(session, part, covered, copies, attempt))
            found = parse_steps(completion.answer)
            if found:
                copies += found
                covered += covered_until(units[covered:], found)
            if len(units) - covered <= TAIL * len(units):
                break
        if not copies:
            raise TeacherError(
                "the division of the trace holds no step", kind="invalid_segmentation", raw=session.raw
            )
        skills = [listed(skill, settings.skills) for _, skill in copies]
        named = [(text, skill or OTHER) for (text, _), skill in zip(copies, skills, strict=True)]
        steps, figures = align_steps(units, named)
        if figures["omitted_share"] > settings.max_omitted:
            raise TeacherError(
                f"the teacher's copy omits {figures['omitted_share']:.0%} of the trace (limit "
                f"{settings.max_omitted:.0%})",
                kind="lossy_segmentation",
                raw=session.raw,
            )
        lost, strange = max(0, len(copies) - len(steps)), skills.count(None) / len(skills)
        return steps, figures | {"steps_lost": float(lost), "skills_off_list": strange}

    def _division(
        self,
        session: Session,
        part: Part,
        covered: int = 0,
        copies: Sequence[tuple[str, str]] = (),
        attempt: int = 0,
    ) -> Request:
        """Return the request to divide the units of a part that no copy covers yet; it shows the last steps of the copies."""
        system = load_prompt(SEGMENTATION).replace("{skills}", self.allowed_skills)
        units = part.own[covered:]
        rest = "".join(units)
        done = cut("\n".join(f"{text}\nSkill: {skill}" for text, skill in copies[-2:]), -CARRIED)
        shown = f"The steps before end so, and stand:\n{fenced('so_far', done)}" if done else ""
        ask = f"Divide this {'rest of the ' if done else ''}trace into steps, from Step {len(copies) + 1} on."
        place = "" if part.whole else "It is a part of a longer trace."
        message = user(context(part), shown, fenced("trace", rest), place, ask)
        tokens = rough_tokens(rest) + 24 * len(units) + 200
        return session.request((Message(role="system", content=system), message), tokens, attempt)

    def _edition(self, session: Session, part: Part, steps: Sequence[Step]) -> Request:
        """Return the request to edit some steps."""
        labelled = self.settings.segmentation == "skill"
        shown = "\n".join(
            f"Step {n} ({s.skill}): {_text(part.own, s)}" if labelled else f"Step {n}: {_text(part.own, s)}"
            for n, s in enumerate(steps, 1)
        )
        asks = [f"Decide about steps 1 to {len(steps)}, then write ## and the pruned trace."]
        if self.write_answer and part.ends:
            asks.append(
                "After it write a line ## Answer and below it the student's answer part, shortened in its own "
                "style, with the final answer in \\boxed{}."
            )
        told = (context(part, part.so_far()), fenced("steps", shown), behind(part), faults(part))
        turns = (Message(role="system", content=load_prompt(COMPRESSION)), user(*told, "\n".join(asks)))
        tokens = rough_tokens(part.text + part.trace.answer) + 14 * len(steps) + 200
        return session.request(turns, tokens)

    def requests(self, trace: Trace, units: Sequence[str], steps: Sequence[Step]) -> list[Request]:
        """Return the requests of a trace if every reply is whole and divides it so; for estimates."""
        session, found = self.session(0), list[Request]()
        for part in parts(trace, units, self.spans(units), None, ()):
            inside = [
                Step(s.first - part.first, s.last - part.first, s.skill)
                for s in steps
                if part.first <= s.first and s.last <= part.last
            ]
            if self.settings.segmentation == "skill":
                found.append(self._division(session, part))
            found.append(self._edition(session, part, inside))
        return found


def _text(units: Sequence[str], step: Step) -> str:
    return "".join(units[step.first : step.last + 1]).strip()
