"""Golden requests: what each protocol sends, word for word.

A prompt is a measured part of the method. Whoever changes one makes a new version of its file, runs
``DRP_UPDATE_GOLDEN=1 pytest tests/teachers/test_golden.py`` and reads the difference.
"""

import os
from pathlib import Path

import pytest

from drp.engines.base import Request
from drp.recipe import PruneSettings
from drp.records import Completion
from drp.teachers.base import Complaint
from drp.teachers.replies import StoredReply
from tests.acting import act
from tests.teachers.test_protocols import PROTOCOLS, TRACE, UNITS, teacher_of, with_settings

GOLDEN = Path(__file__).parent / "golden"


class Recorder:
    """A store that answers by acting, and writes down what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def ask(self, request: Request) -> StoredReply:
        self.requests.append(request)
        body = {"messages": [m.model_dump() for m in request.messages], "seed": request.seed}
        completion = Completion(thinking="", answer=act(body), closed=True, finish_reason="stop")
        return StoredReply(id=str(len(self.requests)), completion=completion)


def shown(requests: list[Request]) -> str:
    parts: list[str] = []
    for number, request in enumerate(requests, 1):
        limits = (
            f"temperature {request.sampling.temperature:g}, at most {request.sampling.max_new_tokens} tokens"
        )
        parts.append(f"===== request {number}: {limits}{', by schema' if request.reply_schema else ''}")
        parts += [f"----- {m.role}\n{m.content}" for m in request.messages]
    return "\n".join(parts) + "\n"


@pytest.mark.parametrize("name", PROTOCOLS)
async def test_requests_are_as_recorded(name: str) -> None:
    recorder = Recorder()
    options = PROTOCOLS[name] | ({} if name == "direct" else {"answer": "teacher"})
    settings = PruneSettings.model_validate(with_settings(options, polish=True))
    teacher = teacher_of(settings, recorder)
    proposal = await teacher.prune(TRACE, UNITS)
    wrong = Complaint(text="the final answer must still be stated: gold '72' is not kept", at=len(UNITS) - 1)
    await teacher.repair(TRACE, UNITS, proposal, [wrong])
    await teacher.polish(TRACE, UNITS, proposal)
    text, path = shown(recorder.requests), GOLDEN / f"{name}.txt"
    if os.environ.get("DRP_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text
    # The constant part stands first in every request of a kind, so that providers can cache it.
    assert all(r.messages[0].role == "system" for r in recorder.requests)
