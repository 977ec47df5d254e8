"""The edit-script teacher: a language model sees numbered units and answers with edits.

Decomposition is lossless by construction, every action can be traced, and a reply is several times
shorter than a copy of the trace would be. Long traces go in windows at unit borders.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from drp.engines.base import Message, Request
from drp.errors import TeacherError
from drp.pruning.apply import pieces
from drp.records import Completion, Edit, EditScript, Trace
from drp.teachers.base import Proposal
from drp.teachers.json_protocol import parse_json_reply, render_json, reply_schema
from drp.teachers.line_protocol import Parsed, gaps, parse_reply, render_edits, render_units
from drp.teachers.llm import (
    CARRIED,
    SHOWN_REPLY,
    LlmSettings,
    LlmTeacher,
    Session,
    context,
    load_prompt,
    user,
    windows,
)
from drp.teachers.load import EDITS_PER_UNIT, JSON_CHARS, LINE_CHARS, NEW_TEXT, Call, Lengths
from drp.teachers.replies import ReplyStore
from drp.teachers.whole import WholeTeacher, whole_calls

Block = tuple[int, int]
"""The units ``first..last`` (0-based, inclusive) that the teacher sees as one."""


def line_blocks(units: Sequence[str]) -> list[Block]:
    """Return runs of units up to a line break: the steps of segmentation `default`."""
    ends = [i for i, unit in enumerate(units) if "\n" in unit[len(unit.rstrip()) :] or i == len(units) - 1]
    return [(before + 1, end) for before, end in pairwise([-1, *ends])]


class EditScriptSettings(LlmSettings):
    """A language model that names units by number, and writes text only where it rewrites or merges."""

    kind: Literal["edit_script"] = "edit_script"
    format: Literal["lines", "json"] = "lines"
    """Reply format: compact lines, or JSON by schema."""

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
        shown = lengths.question + lengths.answer + 200 + (lengths.thinking + 5 * lengths.units) / times
        prompt = "edit_script_json.v1.txt" if json else "edit_script.v2.txt"
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
            name = "edit_script.v2.txt" if self.labelled else "edit_script_lines.v1.txt"
            return load_prompt(name).replace("{skills}", self.allowed_skills)
        fields = "skills (a list: one, or one per step merged) " if self.labelled else ""
        line = f"Skills: {self.allowed_skills}.\n\n" if self.labelled else ""
        template = load_prompt("edit_script_json.v1.txt")
        return template.replace("{skills_field}", fields).replace("{skills_line}", line)

    async def propose(
        self,
        trace: Trace,
        units: Sequence[str],
        session: Session,
        earlier: EditScript | None,
        complaints: Sequence[str],
    ) -> Proposal:
        """Return a proposal; see :class:`drp.teachers.llm.LlmTeacher`."""
        blocks = self._blocks(units)
        texts = ["".join(units[first : last + 1]) for first, last in blocks]
        edits: list[Edit] = []
        answer: str | None = None
        for first, last in self._windows(texts):
            more: tuple[Message, ...] = ()
            if earlier is not None:
                start, end = blocks[first][0], blocks[last][1]
                inside = [e for e in earlier.edits if start <= e.first and e.last <= end]
                more = self._reconsider(_over_blocks(inside, blocks), complaints)
            final = self.write_answer and last == len(blocks) - 1
            found, answer = await self._window(
                session, trace, texts, (first, last), _so_far(texts, edits), more, final=final
            )
            edits += found
        if not self.labelled:  # otherwise every block is a unit
            edits = _over_units(edits, blocks)
        script = EditScript(units=len(units), edits=tuple(edits))
        return Proposal(script=script, answer=answer, usage=session.usage)

    def requests(self, trace: Trace, units: Sequence[str]) -> list[Request]:
        """Return the requests of a trace if every window is covered at once; for estimates."""
        texts = ["".join(units[first : last + 1]) for first, last in self._blocks(units)]
        session = self.session(0)
        return [self._request(session, trace, texts, w, "", (), 0) for w in self._windows(texts)]

    def _blocks(self, units: Sequence[str]) -> list[Block]:
        return [(i, i) for i in range(len(units))] if self.labelled else line_blocks(units)

    def _windows(self, texts: Sequence[str]) -> list[tuple[int, int]]:
        return windows([len(t) for t in texts], self.settings.window_units, self.settings.window_chars)

    async def _window(
        self,
        session: Session,
        trace: Trace,
        texts: Sequence[str],
        window: tuple[int, int],
        so_far: str,
        more: tuple[Message, ...],
        *,
        final: bool,
    ) -> tuple[list[Edit], str | None]:
        """Ask until every block of the window is covered, and no more than ``max_calls`` times."""
        edits: list[Edit] = []
        missing = [window]
        problems: list[str] = []
        answer: str | None = None
        for attempt in range(self.settings.max_calls):
            asked = (missing[0][0], missing[-1][1])
            completion = await session.ask(
                self._request(session, trace, texts, asked, so_far, more, attempt, final=final)
            )
            parsed = self._parse(completion, *asked)
            open_blocks = {i for a, b in missing for i in range(a, b + 1)}
            edits += [e for e in parsed.edits if open_blocks.issuperset(range(e.first, e.last + 1))]
            edits.sort(key=lambda e: e.first)
            problems, answer = list(parsed.problems), parsed.answer or answer
            missing, more = gaps(edits, *window), ()
            if not missing:
                return edits, answer
            if not parsed.edits:  # asking the same again would say the same again
                more = _unreadable(completion.answer, problems)
        ranges = ", ".join(f"{a + 1}-{b + 1}" for a, b in missing)
        raise TeacherError(
            f"units {ranges} of {len(texts)} are not covered after {self.settings.max_calls} requests"
            + (f"; last problem: {problems[-1]}" if problems else ""),
            kind="invalid_script",
            raw=session.raw,
        )

    def _parse(self, completion: Completion, first: int, last: int) -> Parsed:
        if self.json:
            return parse_json_reply(completion.answer, first, last, labelled=self.labelled)
        cut = completion.finish_reason == "length"
        return parse_reply(completion.answer, first, last, truncated=cut, labelled=self.labelled)

    def _request(
        self,
        session: Session,
        trace: Trace,
        texts: Sequence[str],
        asked: tuple[int, int],
        so_far: str,
        more: tuple[Message, ...],
        attempt: int,
        *,
        final: bool = False,
    ) -> Request:
        first, last = asked
        shown = f"<trace>\n{render_units(texts[first : last + 1], first)}\n</trace>"
        what = "edits" if self.json else "edit lines"
        ask = f"Write the {what} for {'units' if self.labelled else 'steps'} {first + 1} to {last + 1}, and nothing else."
        if final:
            where = 'in the field "answer"' if self.json else "in one more line, `A: …`, at the end,"
            ask += (
                f" Then write {where} the student's answer part, shortened in its own style, "
                "with the final answer in \\boxed{}."
            )
        size = sum(len(text) for text in texts[first : last + 1])
        # A line a unit and a third of the text rewritten is more than any sound reply needs.
        tokens = 300 + (40 if self.json else 16) * (last - first + 1) + size // 6
        tokens += len(trace.answer) // 3 if final else 0
        schema = reply_schema(labelled=self.labelled) if self.json else None
        turns = (self._system, user(context(trace, so_far), shown, ask), *more)
        return session.request(turns, tokens, attempt, schema)

    def _reconsider(self, edits: Sequence[Edit], complaints: Sequence[str]) -> tuple[Message, ...]:
        """Return the turns that show a teacher its own edits and what was wrong with the result."""
        render = render_json if self.json else render_edits
        faults = "\n".join(f"- {complaint}" for complaint in complaints)
        ask = (
            f"The edited trace did not pass these checks:\n{faults}\n"
            "Write all edits for these units again so that it passes, in the same format, and nothing else."
        )
        shown = render(edits, labelled=self.labelled)
        return (Message(role="assistant", content=shown), Message(role="user", content=ask))


def _unreadable(reply: str, problems: Sequence[str]) -> tuple[Message, ...]:
    """Return the turns that tell a teacher that its reply could not be used."""
    why = problems[0] if problems else "it holds no edit"
    ask = f"This reply cannot be used: {why}. Follow the format exactly, without any other word."
    return (
        Message(role="assistant", content=reply[:SHOWN_REPLY] or "(empty)"),
        Message(role="user", content=ask),
    )


def _so_far(texts: Sequence[str], edits: Sequence[Edit]) -> str:
    if not edits:
        return ""
    covered = edits[-1].last + 1
    script = EditScript(units=covered, edits=tuple(edits))
    return "".join(piece.text for piece in pieces(texts[:covered], script))[-CARRIED:]


def _over_units(edits: Sequence[Edit], blocks: Sequence[Block]) -> list[Edit]:
    """Return edits over blocks as edits over units."""
    return [e.model_copy(update={"first": blocks[e.first][0], "last": blocks[e.last][1]}) for e in edits]


def _over_blocks(edits: Sequence[Edit], blocks: Sequence[Block]) -> list[Edit]:
    """Return edits over units as edits over blocks."""
    block_of = {unit: n for n, (first, last) in enumerate(blocks) for unit in range(first, last + 1)}
    return [e.model_copy(update={"first": block_of[e.first], "last": block_of[e.last]}) for e in edits]
