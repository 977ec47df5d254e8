"""Reading replies that are one text: what was cut off goes on where it stopped, what cannot be read is told why."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from drp.engines.base import Message
from drp.errors import EditScriptError, TeacherError
from drp.teachers.llm import SHOWN_REPLY, Session
from drp.text.units import split_units

Read = TypeVar("Read")


async def read_reply(
    session: Session, turns: Sequence[Message], tokens: int, read: Callable[[str], Read]
) -> Read:
    """Return what ``read`` makes of a whole reply.

    Args:
        session: Asks, no more than its settings' ``max_calls`` times in all.
        turns: The messages of the first request; all others begin with them, so that providers can cache them.
        tokens: Room for the reply; a later request has more.
        read: Reads the text of a reply; an ``EditScriptError`` says why it cannot be used.

    Raises:
        TeacherError: No reply was whole and readable.
    """
    more: tuple[Message, ...] = ()
    said = ""
    problem = "the reply was cut off"
    for attempt in range(session.settings.max_calls):
        request = session.request((*turns, *more), tokens * (attempt + 1), attempt)
        completion = await session.ask(request)
        said = joined(said, completion.answer)
        if completion.finish_reason == "length":
            problem = "the reply was cut off"
            said = "".join(split_units(said)[:-1])  # the last sentence or line may lack its end
            more = _going_on(said) if said else ()
            continue
        try:
            return read(said)
        except EditScriptError as error:
            problem, more, said = str(error), unreadable(said, str(error)), ""
    raise TeacherError(
        f"{problem}, in {session.settings.max_calls} requests", kind="invalid_script", raw=session.raw
    )


def joined(said: str, more: str) -> str:
    """Return a reply with what goes on behind it."""
    if not said:
        return more
    return said + ("" if said[-1].isspace() else " ") + more.lstrip()


def unreadable(reply: str, why: str) -> tuple[Message, Message]:
    """Return the turns that tell a teacher that its reply could not be used."""
    ask = f"This reply cannot be used: {why}. Follow the format exactly, without any other word."
    return (
        Message(role="assistant", content=reply[:SHOWN_REPLY] or "(empty)"),
        Message(role="user", content=ask),
    )


def _going_on(said: str) -> tuple[Message, Message]:
    ask = "Your reply was cut off there. Go on right behind its last word; repeat nothing of it."
    return Message(role="assistant", content=said), Message(role="user", content=ask)
