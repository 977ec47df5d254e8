"""Segmentation `none` of the protocols: a trace shortened at once, the paper's "no decomposition"."""

from collections.abc import Sequence

from drp.engines.base import Message
from drp.engines.pricing import rough_tokens
from drp.errors import TeacherError
from drp.records import Completion, Edit, EditScript, Trace
from drp.teachers.base import Proposal
from drp.teachers.llm import (
    CARRIED,
    LlmSettings,
    LlmTeacher,
    Session,
    context,
    faults_of,
    fenced,
    load_prompt,
    user,
    windows,
)
from drp.teachers.load import PRUNED, Call, Lengths


def _replaced(units: Sequence[str], first: int, last: int, text: str, skill: str) -> Edit:
    if text.split() == "".join(units[first : last + 1]).split():
        return Edit(first=first, last=last, action="keep", skills=(skill,))
    return Edit(first=first, last=last, action="rewrite", skills=(skill,), text=text)


async def whole_reply(session: Session, system: str, message: Message, tokens: int) -> Completion:
    """Return a reply that was not cut off."""
    for attempt in range(session.settings.max_calls):
        turns = (Message(role="system", content=system), message)
        completion = await session.ask(session.request(turns, tokens * (attempt + 1), attempt))
        if completion.finish_reason != "length" and completion.answer:
            return completion
    raise TeacherError(
        f"no whole reply in {session.settings.max_calls} requests", kind="invalid_script", raw=session.raw
    )


class WholeTeacher(LlmTeacher):
    """Shortens a trace without dividing it into steps; both protocols are this at segmentation `none`."""

    async def propose(
        self,
        trace: Trace,
        units: Sequence[str],
        session: Session,
        earlier: EditScript | None,
        complaints: Sequence[str],
    ) -> Proposal:
        """Return a proposal; see :class:`drp.teachers.llm.LlmTeacher`."""
        system = load_prompt("whole.v1.txt")
        edits: list[Edit] = []
        answer: str | None = None
        so_far = ""
        sizes = [len(unit) for unit in units]
        for first, last in windows(sizes, self.settings.window_units, self.settings.window_chars):
            shown = "".join(units[first : last + 1])
            asks = ["Shorten this trace."] if len(units) == last - first + 1 else ["Shorten this part of it."]
            if self.write_answer and last == len(units) - 1:
                asks.append(
                    "Below it write a line ## Answer and the student's answer part, shortened in its own style, "
                    "with the final answer in \\boxed{}."
                )
            faults = faults_of(units, earlier, first, last, complaints) if earlier else ""
            message = user(context(trace, so_far), fenced("trace", shown), faults, "\n".join(asks))
            tokens = rough_tokens(shown + trace.answer) + 100
            completion = await whole_reply(session, system, message, tokens)
            text, mark, ending = completion.answer.partition("## Answer")
            answer = ending.strip(" :\n") or None if mark else None
            edits.append(_replaced(units, first, last, text.strip(), "whole"))
            so_far = (so_far + text)[-CARRIED:]
        script = EditScript(units=len(units), edits=tuple(edits))
        return Proposal(script=script, answer=answer, usage=session.usage)


def whole_calls(settings: LlmSettings, lengths: Lengths, *, writes_answer: bool) -> list[Call]:
    """Return what shortening a trace at once takes."""
    times = settings.windows_of(lengths)
    written = PRUNED * lengths.thinking / times + (lengths.answer / 2 if writes_answer else 0.0)
    shown = lengths.question + lengths.answer + 200 + lengths.thinking / times
    return [settings.call("whole.v1.txt", times, shown, written), *settings.polishing(lengths)]
