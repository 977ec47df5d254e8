"""Scoring by a server of the student: the same figures and edit scripts as in process, and one sentence where it cannot be."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from drp.engines.openai_engine import OpenAIEngine
from drp.engines.plain_scoring import PlainCore
from drp.engines.prefix_scoring import PrefixCore
from drp.engines.scoring import Continuation, Scorer, complete
from drp.engines.served_scoring import ServedCore
from drp.engines.settings import PromptSettings, StudentServer, StudentSettings
from drp.engines.spelling import Speller
from drp.engines.student_scoring import open_student
from drp.engines.transformers_engine import load_model, load_tokenizer, stop_ids
from drp.errors import EngineError
from drp.recipe import PruneSettings, defining_pruning
from drp.teachers.answer_likelihood import AnswerLikelihoodSettings
from drp.teachers.base import Proposal
from drp.teachers.by_student import ByStudentSettings
from drp.teachers.student import StudentTeacherSettings
from drp.text.units import split_units
from tests.loopback import CutConnectionError, Loopback, failure
from tests.teachers.test_student import PRUNED, SLIP, _trace

Fault = Callable[[dict[str, Any]], web.StreamResponse | None]


class ScoringServer:
    """Replies as vLLM 0.32 does to what is asked of it here, with the embedded student behind it."""

    def __init__(self, path: str) -> None:
        model, self.tokenizer = load_model(path, "cpu", "float32"), load_tokenizer(path)
        self.core = PlainCore(model, stop_ids(model, self.tokenizer))
        self.fault: Fault = lambda body: None
        self.bodies: list[dict[str, Any]] = []
        self.flying = self.most_flying = 0
        self.context, self.loopback = (
            2048,
            Loopback(lambda body: asyncio.sleep(0, failure(404, "no chat here")), self.routes()),
        )

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/completions", self.complete), web.get("/v1/models", self.models)]

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "base", "object": "model", "created": 0, "owned_by": "me",
                                  "max_model_len": self.context}]})  # fmt: skip

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.flying += 1
        self.most_flying = max(self.flying, self.most_flying)
        try:
            await asyncio.sleep(0.001)
            return self.fault(body) or self.answer(body)
        except CutConnectionError:
            assert request.transport is not None
            request.transport.abort()
            raise
        finally:
            self.flying -= 1

    def answer(self, body: dict[str, Any]) -> web.Response:
        if body["model"] != "base":
            return failure(404, f"The model `{body['model']}` does not exist.")
        asked = body["prompt"]
        ids = self.tokenizer.encode(asked, add_special_tokens=False) if isinstance(asked, str) else asked
        if len(ids) + body["max_tokens"] > self.context:
            return failure(
                400,
                f"maximum context length is {self.context} tokens and your request has {len(ids)} input tokens",
            )
        (written,) = self.core.greedy([ids], body["max_tokens"])
        choice: dict[str, Any] = {"text": self.tokenizer.decode(written)}
        if body.get("echo"):
            (passage,) = self.core.read([ids])
            tokens = [f"token_id:{token}" for token in [*ids, *written]]
            choice["logprobs"] = {
                "token_logprobs": [None, *passage.logprobs[1:].tolist(), -0.5],
                "tokens": tokens,
            }
        if body.get("return_token_ids"):
            choice["token_ids"] = written
        return web.json_response({"id": "c", "object": "text_completion", "choices": [choice]})

    def settings(self, **options: Any) -> StudentServer:
        return StudentServer.model_validate({"base_url": self.loopback.url, "model": "base"} | options)

    def opened(self, **options: Any) -> tuple[Scorer, Speller]:
        return open_student(StudentSettings(), PromptSettings(), self.settings(**options))


@pytest.fixture(scope="module")
def running(student_path: str) -> Iterator[ScoringServer]:
    made = ScoringServer(student_path)
    yield made
    made.loopback.stop()


@pytest.fixture
def server(running: ScoringServer) -> ScoringServer:
    running.fault, running.context, running.most_flying = lambda body: None, 2048, 0
    running.bodies.clear()
    return running


@pytest.fixture(scope="module")
def inside() -> tuple[Scorer, Speller]:
    return open_student(StudentSettings(device="cpu"), PromptSettings())


def once(fault: Fault) -> Fault:
    """Make a fault of the first scored text only."""
    met: list[int] = []

    def play(body: dict[str, Any]) -> web.StreamResponse | None:
        if met or isinstance(body["prompt"], str):
            return None
        met.append(1)
        return fault(body)

    return play


def cut(_: dict[str, Any]) -> web.StreamResponse:
    raise CutConnectionError


TRACES = [_trace(), _trace(PRUNED), _trace(SLIP, r"The answer is \boxed{912}.", "912")]


async def _pruned(opened: tuple[Scorer, Speller], settings: ByStudentSettings) -> list[Proposal]:
    teacher = settings.teacher(*opened, None)
    return await asyncio.gather(*(teacher.prune(trace, split_units(trace.thinking)) for trace in TRACES))


def _decided(proposals: list[Proposal]) -> list[Any]:
    """Return what was decided, without the figures that were measured on the way."""
    steps = [[(e.first, e.last, e.action, e.text) for e in p.script.edits] for p in proposals]
    return [(step, p.checks) for step, p in zip(steps, proposals, strict=True)]


@pytest.mark.parametrize("settings", [StudentTeacherSettings(), AnswerLikelihoodSettings()])
async def test_edit_scripts_are_those_of_the_student_in_process(
    server: ScoringServer, inside: tuple[Scorer, Speller], settings: ByStudentSettings
) -> None:
    """And so is the answer that it goes on to write; figures are those of a core that computes every text to its end, too."""
    opened = server.opened(concurrency=3)
    assert isinstance(opened[0].core, ServedCore) and isinstance(inside[0].core, PrefixCore)
    found = await _pruned(opened, settings)
    assert found == await _pruned((Scorer(server.core), inside[1]), settings)
    assert _decided(found) == _decided(await _pruned(inside, settings))
    assert any(edit.action == "delete" for proposal in found for edit in proposal.script.edits)
    assert 1 < server.most_flying <= 3
    assert all(body["logprobs"] == 0 for body in server.bodies if body.get("echo"))


async def test_figures_are_those_of_a_forward_pass(
    server: ScoringServer, inside: tuple[Scorer, Speller]
) -> None:
    ours, plain = server.opened()[0].core, server.core
    texts = [[1, *range(40, 40 + n)] for n in (1, 30, 200)]
    for found, wanted in zip(ours.read(texts), plain.read(texts), strict=True):
        np.testing.assert_allclose(found.logprobs, wanted.logprobs, atol=1e-9)
        asked = Continuation(1, texts[0])
        (one,), (other,) = complete(ours, [(found, asked)]), complete(plain, [(wanted, asked)])
        np.testing.assert_allclose(one, other, atol=1e-9)
    prompts = [inside[1].prompt("1 + 1 = ?"), texts[2]]
    assert ours.greedy(prompts, 20) == plain.greedy(prompts, 20)


async def test_text_of_a_server_without_ids_is_tokenised_here(server: ScoringServer) -> None:
    core = server.opened()[0].core
    server.fault = lambda body: web.json_response({"choices": [{"text": "Wait, 12 + 7"}]})
    (ids,) = core.greedy([[1, 2]], 20)
    assert server.tokenizer.decode(ids) == "Wait, 12 + 7"


@pytest.mark.parametrize(
    "fault",
    [
        lambda body: failure(429, "slow down", **{"Retry-After": "0.05"}),
        lambda body: failure(500, "oops"),
        lambda body: web.Response(text="<html>bad gateway</html>", content_type="text/html"),
        lambda body: web.json_response({"choices": []}),
        cut,
    ],
    ids=["429", "500", "html", "no-choices", "cut"],
)
async def test_what_may_succeed_later_is_asked_again(server: ScoringServer, fault: Fault) -> None:
    core = server.opened()[0].core
    server.bodies.clear()
    server.fault = once(fault)
    (passage,) = core.read([[1, 50, 60, 70]])
    np.testing.assert_allclose(passage.logprobs, server.core.read([[1, 50, 60, 70]])[0].logprobs, atol=1e-9)
    assert len(server.bodies) == 2


def _reply(tokens: list[str], logprobs: list[float | None] | None) -> web.Response:
    given = None if logprobs is None else {"token_logprobs": logprobs, "tokens": tokens}
    return web.json_response({"choices": [{"text": "x", "logprobs": given}]})


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda body: _reply([], None), "no log-probabilities of a prompt.*vllm serve"),
        (lambda body: _reply(["a"], [None]), "tokenises .* in another way"),
        (lambda body: _reply(["token_id:7"] * 60, [-1.0] * 60), "tokenises .* in another way"),
        (once(lambda body: _reply([], [None, -1.0])), "gives 2, of others.*vllm serve"),
        (once(lambda body: _reply([], [None] * len(body["prompt"]))), "leaves log-probabilities out"),
        (lambda body: failure(400, "echo is not supported"), "400: echo is not supported.*vllm serve"),
        (lambda body: failure(401, "who are you"), "refused the key.*DRP_ENDPOINT_KEY"),
        (lambda body: failure(503, "overloaded"), "503: overloaded.*goes on where it stopped"),
        (lambda body: web.json_response({}), "no completion.*vllm serve"),
        (cut, "gives no reply.*Is it running"),
    ],
)
def test_a_server_that_cannot_score_is_said_at_the_start(
    server: ScoringServer, fault: Fault, said: str
) -> None:
    server.fault = fault
    with pytest.raises(EngineError, match=said):
        server.opened(max_retries=0)


def test_a_wrong_name_and_a_server_that_is_down(server: ScoringServer) -> None:
    with pytest.raises(EngineError, match=r"prune\.student_server.*404.*`nope` does not exist.*'nope'"):
        server.opened(model="nope")
    with pytest.raises(EngineError, match=r"gives no reply.*Is it running"):
        server.opened(base_url="http://127.0.0.1:9/v1", max_retries=0)


def test_the_servers_context_counts(server: ScoringServer) -> None:
    """One new token must fit behind a text, and what is written ends where the context does."""
    server.context = 64
    core = server.opened()[0].core
    assert core.context == 63
    core.read([[5] * 63])
    with pytest.raises(EngineError, match=r"400: maximum context length is 64.*vllm serve"):
        core.read([[5] * 64])
    core.greedy([[5] * 50], 500)
    assert server.bodies[-1]["max_tokens"] == 13


def test_attention_is_not_to_be_had(server: ScoringServer) -> None:
    with pytest.raises(EngineError, match=r"prune\.student_server out"):
        server.opened()[0].core.attention([([1, 2, 3], slice(1, 2))])


async def test_who_gives_up_does_not_wait_for_the_server(server: ScoringServer) -> None:
    """Ctrl-C cancels those who ask; the thread that waited for replies held the process for as long as they took."""
    scorer = server.opened()[0]

    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(15)
        return web.Response()

    hanging = Loopback(lambda body: asyncio.sleep(0, failure(404, "no")), [web.post("/v1/completions", hang)])
    assert isinstance(scorer.core, ServedCore)
    scorer.core.engine = OpenAIEngine("base", base_url=hanging.url, max_retries=0)
    before = asyncio.all_tasks()

    async def ask() -> None:
        async with scorer.open([1, 2, 3]):
            pass

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0.3)
    for task in asyncio.all_tasks() - before:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    started = time.monotonic()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert time.monotonic() - started < 5
    hanging.stop()


def test_where_the_student_is_served_does_not_define_what_is_pruned() -> None:
    served = PruneSettings(teacher=StudentTeacherSettings(), student_server=StudentServer(model="base"))
    assert defining_pruning(served) == defining_pruning(PruneSettings(teacher=StudentTeacherSettings()))
