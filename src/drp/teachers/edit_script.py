"""The edit-script teacher: a language model sees numbered units and answers with edit lines.

Decomposition is lossless by construction, every action can be traced, and a reply is several times
shorter than a copy of the trace would be. Long traces go in windows at unit borders.
"""

from collections.abc import Sequence
from importlib.resources import files

from pydantic import Field

from drp.engines.base import Message, Request, Sampling
from drp.errors import TeacherError
from drp.pruning.apply import pieces
from drp.pruning.skills import SKILLS
from drp.records import Edit, EditScript, Record, Trace
from drp.teachers.line_protocol import parse_reply, render_edits, render_units
from drp.teachers.replies import ReplyStore

PROMPT = "edit_script.v1.txt"
CARRIED = 800
"""Characters of the pruned text so far that a later window is shown."""


class EditScriptSettings(Record):
    """Settings of the edit-script teacher."""

    model: str = "gpt-4o"
    """The teacher's name at its endpoint."""
    temperature: float = Field(default=0.0, ge=0)
    """Sampling temperature of the teacher."""
    skills: tuple[str, ...] | None = SKILLS
    """Skills the teacher may name; null leaves the list open."""
    window_units: int = Field(default=160, ge=8)
    """Most units shown in one request."""
    max_calls: int = Field(default=3, ge=1)
    """Requests per window: what the first leaves uncovered is asked for again."""


class EditScriptTeacher:
    """Prunes with a language model, through a store that keeps every reply."""

    def __init__(self, store: ReplyStore, settings: EditScriptSettings) -> None:
        self.store, self.settings = store, settings
        allowed = "; ".join(settings.skills) if settings.skills else "a few words of your own"
        template = (files("drp.teachers") / "prompts" / PROMPT).read_text(encoding="utf-8")
        self._system = Message(role="system", content=template.replace("{skills}", allowed))

    @property
    def name(self) -> str:
        """Protocol and model."""
        return f"edit_script/{self.settings.model}"

    async def prune(self, trace: Trace, units: Sequence[str]) -> EditScript:
        """Return the edit script; see :class:`drp.teachers.base.Teacher`."""
        return await self._all_windows(trace, units, None, ())

    async def repair(
        self, trace: Trace, units: Sequence[str], script: EditScript, complaints: Sequence[str]
    ) -> EditScript | None:
        """Ask once more, showing the earlier lines and what was wrong with the result."""
        return await self._all_windows(trace, units, script, complaints)

    async def _all_windows(
        self, trace: Trace, units: Sequence[str], earlier: EditScript | None, complaints: Sequence[str]
    ) -> EditScript:
        edits: list[Edit] = []
        for first, last in self._windows(len(units)):
            more: tuple[Message, ...] = ()
            if earlier is not None:
                inside = [e for e in earlier.edits if first <= e.first and e.last <= last]
                more = _reconsider(render_edits(inside), complaints)
            edits += await self._window(trace, units, (first, last), self._so_far(units, edits), more)
        return EditScript(units=len(units), edits=tuple(edits))

    def requests(self, trace: Trace, units: Sequence[str]) -> list[Request]:
        """Return the requests of a trace if every window is covered at once; for estimates."""
        return [self._request(trace, units, a, b, "") for a, b in self._windows(len(units))]

    def _windows(self, units: int) -> list[tuple[int, int]]:
        size = self.settings.window_units
        return [(first, min(first + size, units) - 1) for first in range(0, units, size)]

    def _so_far(self, units: Sequence[str], edits: Sequence[Edit]) -> str:
        if not edits:
            return ""
        covered = edits[-1].last + 1
        script = EditScript(units=covered, edits=tuple(edits))
        return "".join(piece.text for piece in pieces(units[:covered], script))[-CARRIED:]

    async def _window(
        self,
        trace: Trace,
        units: Sequence[str],
        window: tuple[int, int],
        so_far: str,
        more: tuple[Message, ...],
    ) -> list[Edit]:
        """Ask until every unit of the window is covered, and no more than ``max_calls`` times."""
        edits: list[Edit] = []
        missing = [window]
        problems: list[str] = []
        for _ in range(self.settings.max_calls):
            start, end = missing[0][0], missing[-1][1]
            request = self._request(trace, units, start, end, so_far)
            request = request.model_copy(update={"messages": (*request.messages, *more)})
            completion = await self.store.ask(request)
            if completion.finish_reason == "content_filter":
                raise TeacherError("the endpoint's content filter stopped the reply", kind="content_filter")
            parsed = parse_reply(
                completion.answer, start, end, truncated=completion.finish_reason == "length"
            )
            open_units = {i for a, b in missing for i in range(a, b + 1)}
            edits += [e for e in parsed.edits if open_units.issuperset(range(e.first, e.last + 1))]
            edits.sort(key=lambda e: e.first)
            problems = list(parsed.problems)
            missing, more = _uncovered(edits, *window), ()
            if not missing:
                return edits
        ranges = ", ".join(f"{a + 1}-{b + 1}" for a, b in missing)
        raise TeacherError(
            f"units {ranges} of {len(units)} are not covered after {self.settings.max_calls} requests"
            + (f"; last problem: {problems[-1]}" if problems else ""),
            kind="invalid_script",
        )

    def _request(self, trace: Trace, units: Sequence[str], first: int, last: int, so_far: str) -> Request:
        parts = [f"Question:\n{trace.question}", f"The student's answer part:\n{trace.answer}"]
        if so_far:
            parts.append(f"The edited trace so far ends (for reference, not to edit):\n…{so_far}")
        shown = render_units(units[first : last + 1], first)
        parts.append(f"<trace>\n{shown}\n</trace>")
        parts.append(f"Write the edit lines for units {first + 1} to {last + 1}, and nothing else.")
        size = sum(len(unit) for unit in units[first : last + 1])
        return Request(
            id="",
            messages=(self._system, Message(role="user", content="\n\n".join(parts))),
            # A line a unit and a third of the text rewritten is more than any sound reply needs.
            sampling=Sampling(
                temperature=self.settings.temperature,
                top_p=1.0,
                max_new_tokens=min(16_000, 300 + 16 * (last - first + 1) + size // 6),
            ),
            seed=0,
        )


def _reconsider(lines: str, complaints: Sequence[str]) -> tuple[Message, ...]:
    """Return the turns that show a teacher its own lines and what was wrong with the result."""
    faults = "\n".join(f"- {complaint}" for complaint in complaints)
    ask = (
        f"The edited trace did not pass these checks:\n{faults}\n"
        "Write all edit lines for these units again so that it passes, and nothing else."
    )
    return (Message(role="assistant", content=lines), Message(role="user", content=ask))


def _uncovered(edits: Sequence[Edit], first: int, last: int) -> list[tuple[int, int]]:
    """Return the ranges of ``first..last`` that no edit covers."""
    covered = {i for edit in edits for i in range(edit.first, edit.last + 1)}
    ranges: list[tuple[int, int]] = []
    for index in range(first, last + 1):
        if index in covered:
            continue
        if ranges and ranges[-1][1] == index - 1:
            ranges[-1] = (ranges[-1][0], index)
        else:
            ranges.append((index, index))
    return ranges
