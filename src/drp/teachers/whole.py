"""Segmentation `none` of the protocols: a trace shortened at once, the paper's "no decomposition"."""

from collections.abc import Sequence

from drp.engines.base import Message
from drp.engines.pricing import rough_tokens
from drp.errors import EditScriptError
from drp.records import Edit
from drp.teachers.llm import Edited, LlmSettings, LlmTeacher, Session, load_prompt, user
from drp.teachers.load import PRUNED, Call, Lengths
from drp.teachers.parts import Part, behind, context, faults, fenced
from drp.teachers.reading import read_reply

PROMPT = "whole.v2.txt"


def _replaced(units: Sequence[str], first: int, last: int, text: str, skill: str) -> Edit:
    if text.split() == "".join(units[first : last + 1]).split():
        return Edit(first=first, last=last, action="keep", skills=(skill,))
    return Edit(first=first, last=last, action="rewrite", skills=(skill,), text=text)


class WholeTeacher(LlmTeacher):
    """Shortens a trace without dividing it into steps; both protocols are this at segmentation `none`."""

    async def edit(self, session: Session, part: Part) -> Edited:
        """Return one edit for a whole part; see :class:`drp.teachers.llm.LlmTeacher`."""
        asks = ["Shorten this trace." if part.whole else "Shorten this part of it."]
        if self.write_answer and part.ends:
            asks.append(
                "Below it write a line ## Answer and the student's answer part, shortened in its own style, "
                "with the final answer in \\boxed{}."
            )
        message = user(
            context(part, part.so_far()),
            fenced("trace", part.text),
            behind(part),
            faults(part),
            "\n".join(asks),
        )
        turns = (Message(role="system", content=load_prompt(PROMPT)), message)
        tokens = rough_tokens(part.text + part.trace.answer) + 100
        text, answer = await read_reply(session, turns, tokens, _split)
        return Edited([_replaced(part.units, part.first, part.last, text, "whole")], answer)


def _split(reply: str) -> tuple[str, str | None]:
    """Return the text of a reply and the answer part below its mark, where there is one."""
    text, _, ending = reply.partition("## Answer")
    if not text.strip():
        raise EditScriptError("the reply has no text")
    return text.strip(), ending.strip(" :\n") or None


def whole_calls(settings: LlmSettings, lengths: Lengths, *, writes_answer: bool) -> list[Call]:
    """Return what shortening a trace at once takes."""
    times = settings.windows_of(lengths)
    written = PRUNED * lengths.thinking / times + (lengths.answer / 2 if writes_answer else 0.0)
    return [settings.call(PROMPT, times, settings.shown(lengths), written), *settings.polishing(lengths)]
