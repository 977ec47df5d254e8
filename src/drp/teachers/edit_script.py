"""The edit-script teacher: a language model sees numbered units and answers with edits.

Decomposition is lossless by construction, every action can be traced, and a reply is several times
shorter than a copy of the trace would be. Long traces go in parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import ClassVar, Literal

from drp.engines.base import Message, Request
from drp.errors import TeacherError
from drp.records import Completion, Edit, Trace
from drp.teachers.json_protocol import parse_json_reply, render_json, reply_schema
from drp.teachers.labels import relabelled
from drp.teachers.line_protocol import Parsed, gaps, parse_reply, render_edits, render_units
from drp.teachers.llm import Edited, LlmSettings, LlmTeacher, Session, load_prompt, unusable, user
from drp.teachers.load import EDITS_PER_UNIT, JSON_CHARS, LINE_CHARS, NEW_TEXT, Call, Lengths
from drp.teachers.parts import Part, Span, behind, context, parts
from drp.teachers.reading import unreadable
from drp.teachers.replies import ReplyStore
from drp.teachers.whole import WholeTeacher, whole_calls

Block = tuple[int, int]
"""The units ``first..last`` (0-based, inclusive) that the teacher sees as one."""

PROMPT, LINES_PROMPT, JSON_PROMPT = (
    "edit_script.v3.txt",
    "edit_script_lines.v2.txt",
    "edit_script_json.v2.txt",
)


def line_blocks(units: Sequence[str]) -> list[Block]:
    """Return runs of units up to a line break: the steps of segmentation `default`."""
    ends = [i for i, unit in enumerate(units) if "\n" in unit[len(unit.rstrip()) :] or i == len(units) - 1]
    return [(before + 1, end) for before, end in pairwise([-1, *ends])]


class EditScriptSettings(LlmSettings):
    """A language model that names units by number, and writes text only where it rewrites or merges."""

    kind: Literal["edit_script"] = "edit_script"
    format: Literal["lines", "json"] = "lines"
    """Reply format: compact lines, or JSON by schema."""

    protocols: ClassVar[Mapping[str, Mapping[str, str]]] = {
        **LlmSettings.protocols,
        "json": {"format": "json"},
    }

    def teacher(self, store: ReplyStore, *, write_answer: bool) -> LlmTeacher:
        """Return the protocol."""
        kind = WholeTeacher if self.segmentation == "none" else EditScriptTeacher
        return kind(store, self, write_answer=write_answer)

    def calls(self, lengths: Lengths, *, writes_answer: bool) -> list[Call]:
        """Return what the edits of a trace take."""
        if self.segmentation == "none":
            return whole_calls(self, lengths, writes_answer=writes_answer)
        times, json = self.windows_of(lengths), self.format == "json"
        edits = lengths.units * EDITS_PER_UNIT * (JSON_CHARS if json else LINE_CHARS)
        written = (edits + NEW_TEXT * lengths.thinking) / times + (
            lengths.answer / 2 if writes_answer else 0.0
        )
        shown = self.shown(lengths) + 5 * lengths.units / times
        prompt = JSON_PROMPT if json else PROMPT
        return [self.call(prompt, times, shown, written), *self.polishing(lengths)]


class EditScriptTeacher(LlmTeacher):
    """Prunes with a language model, through a store that keeps every reply."""

    settings: EditScriptSettings

    def __init__(
        self, store: ReplyStore, settings: EditScriptSettings, *, write_answer: bool = False
    ) -> None:
        super().__init__(store, settings, write_answer=write_answer)
        self.labelled = settings.segmentation == "skill"
        self.json = settings.format == "json"
        self._system = Message(role="system", content=self._prompt())

    def _prompt(self) -> str:
        if not self.json:
            name = PROMPT if self.labelled else LINES_PROMPT
            return load_prompt(name).replace("{skills}", self.allowed_skills)
        fields = "skills (a list: one, one per step merged, none for delete) " if self.labelled else ""
        line = f"Skills: {self.allowed_skills}.\n\n" if self.labelled else ""
        template = load_prompt(JSON_PROMPT)
        return template.replace("{skills_field}", fields).replace("{skills_line}", line)

    async def edit(self, session: Session, part: Part) -> Edited:
        """Return the edits of a part; see :class:`drp.teachers.llm.LlmTeacher`.

        Requests go on until every unit is covered, no more than ``max_calls`` of them; each shows only what is still open.
        """
        sheet = self._sheet(part)
        so_far = Standing([sheet.whole])
        more = self._reconsider(sheet, part) if part.earlier else ()
        for attempt in range(self.settings.max_calls):
            turns = (*self._ask(sheet, so_far), *more)
            completion = await session.ask(self._request(session, sheet, so_far.open, turns, attempt))
            parsed = self._parse(completion, so_far.open[0][0], so_far.open[-1][1])
            if parsed.unusable:
                raise unusable(parsed.unusable, completion.answer)
            so_far.take(parsed, sheet.whole)
            if not so_far.open:
                return self._edited(sheet, so_far)
            # With nothing to go on from, asking the same again would say the same again.
            why = parsed.problems[0] if parsed.problems else "it holds no edit"
            more = () if parsed.edits else unreadable(completion.answer, why)
        raise TeacherError(
            f"{_listed(so_far.open)} not covered after {self.settings.max_calls} requests"
            + (f"; last problem: {so_far.problems[-1]}" if so_far.problems else ""),
            kind="invalid_script",
            raw=session.raw,
        )

    def _edited(self, sheet: "Sheet", made: "Standing") -> Edited:
        placed = sheet.placed(made.edits)
        if not self.labelled:
            return Edited(placed, made.answer)
        found, strange = relabelled(placed, sheet.part.units, self.settings.skills)
        return Edited(found, made.answer, {"skills_off_list": strange})

    def requests(self, trace: Trace, units: Sequence[str]) -> list[Request]:
        """Return the requests of a trace if every part is covered at once; for estimates."""
        session = self.session(0)
        sheets = [self._sheet(part) for part in parts(trace, units, self.spans(units), None, ())]
        return [
            self._request(session, sheet, [sheet.whole], self._ask(sheet, Standing([sheet.whole])), 0)
            for sheet in sheets
        ]

    def _sheet(self, part: Part) -> "Sheet":
        if self.labelled:
            return Sheet(part, part.first, [(i, i) for i in range(part.first, part.last + 1)])
        return Sheet(part, 0, [(part.first + a, part.first + b) for a, b in line_blocks(part.own)])

    def _parse(self, completion: Completion, first: int, last: int) -> Parsed:
        if self.json:
            return parse_json_reply(completion.answer, first, last, labelled=self.labelled)
        cut = completion.finish_reason == "length"
        return parse_reply(completion.answer, first, last, truncated=cut, labelled=self.labelled)

    def _ask(self, sheet: "Sheet", made: "Standing") -> tuple[Message, ...]:
        """Return the turn behind the system's: what is shown of a part, and what is asked about it."""
        part = sheet.part
        open_units = [sheet.units_of(span) for span in made.open] if made.edits else ()
        so_far = part.so_far(sheet.placed(made.edits), open_units)
        shown = "\n".join(render_units(sheet.shown(span), span[0]) for span in made.open)
        what = "edits" if self.json else "edit lines"
        ask = f"Write the {what} for {_listed(made.open, 'unit' if self.labelled else 'step')}, and nothing else."
        if made.edits:
            lost = "; ".join(made.problems[:3])
            ask = f"Your other {what} stand. {ask}" + (f" What could not be used: {lost}." if lost else "")
        if self.write_answer and part.ends and not made.answer:
            where = 'in the field "answer"' if self.json else "in one more line, `A: …`, at the end,"
            ask += (
                f" Then write {where} the student's answer part, shortened in its own style, "
                "with the final answer in \\boxed{}."
            )
        trace = f"<trace>\n{shown}\n</trace>"
        return (user(context(part, so_far), trace, behind(part), ask),)

    def _request(
        self, session: Session, sheet: "Sheet", open_: Sequence[Span], turns: Sequence[Message], attempt: int
    ) -> Request:
        units = sum(b - a + 1 for a, b in open_)
        size = sum(len(text) for span in open_ for text in sheet.shown(span))
        # A line a unit and a third of the text rewritten is more than any sound reply needs.
        tokens = 300 + (40 if self.json else 16) * units + size // 6
        tokens += len(sheet.part.trace.answer) // 3 if self.write_answer and sheet.part.ends else 0
        schema = reply_schema(labelled=self.labelled) if self.json else None
        return session.request((self._system, *turns), tokens, attempt, schema)

    def _reconsider(self, sheet: "Sheet", part: Part) -> tuple[Message, Message]:
        """Return the turns that show a teacher its own edits and what was wrong with the result."""
        render = render_json if self.json else render_edits
        wrong = "\n".join(f"- {complaint}" for complaint in part.complaints)
        ask = (
            f"The edited trace did not pass these checks:\n{wrong}\n"
            "Write all edits for these units again so that it passes, in the same format, and nothing else."
        )
        shown = render(sheet.numbered(part.earlier), labelled=self.labelled)
        return Message(role="assistant", content=shown), Message(role="user", content=ask)


@dataclass(frozen=True)
class Sheet:
    """A part as the teacher sees it: numbered blocks of units, one unit each where steps are by skill."""

    part: Part
    first: int
    """Number of its first block, from 0: units are counted over the whole trace, lines over the part."""
    blocks: Sequence[Block]

    @property
    def whole(self) -> Span:
        """Numbers of its first and last block."""
        return self.first, self.first + len(self.blocks) - 1

    @cached_property
    def texts(self) -> list[str]:
        """The text of each block."""
        return ["".join(self.part.units[a : b + 1]) for a, b in self.blocks]

    def shown(self, span: Span) -> list[str]:
        """Return the texts of the blocks of such numbers."""
        return self.texts[span[0] - self.first : span[1] - self.first + 1]

    def units_of(self, span: Span) -> Span:
        """Return the units of the blocks of such numbers."""
        return self.blocks[span[0] - self.first][0], self.blocks[span[1] - self.first][1]

    def placed(self, edits: Sequence[Edit]) -> list[Edit]:
        """Return edits over numbered blocks as edits over units."""
        spans = [self.units_of((e.first, e.last)) for e in edits]
        return [e.model_copy(update={"first": a, "last": b}) for e, (a, b) in zip(edits, spans, strict=True)]

    def numbered(self, edits: Sequence[Edit]) -> list[Edit]:
        """Return edits over units as edits over numbered blocks."""
        block_of = {unit: n for n, (a, b) in enumerate(self.blocks, self.first) for unit in range(a, b + 1)}
        return [e.model_copy(update={"first": block_of[e.first], "last": block_of[e.last]}) for e in edits]


@dataclass
class Standing:
    """What the replies about a sheet come to so far, in numbers of its blocks."""

    open: list[Span]
    """What no edit covers yet."""
    edits: list[Edit] = field(default_factory=list[Edit])
    problems: tuple[str, ...] = ()
    """What was wrong with the last reply."""
    answer: str | None = None

    def take(self, parsed: Parsed, whole: Span) -> None:
        """Take from a reply what covers open blocks; what stood already stays."""
        still = {i for a, b in self.open for i in range(a, b + 1)}
        new = [e for e in parsed.edits if still.issuperset(range(e.first, e.last + 1))]
        self.edits = sorted([*self.edits, *new], key=lambda e: e.first)
        self.open = gaps(self.edits, *whole)
        self.problems, self.answer = parsed.problems, parsed.answer or self.answer


def _listed(found: Sequence[Span], unit: str = "unit") -> str:
    """Return spans as one writes them, counted from 1: ``units 1 to 4, 9``."""
    said = [f"{a + 1} to {b + 1}" if b > a else str(a + 1) for a, b in found]
    several = len(found) > 1 or found[0][1] > found[0][0]
    return f"{unit}{'s' if several else ''} {', '.join(said)}"
