"""The embedded student behind an OpenAI-compatible endpoint on loopback, as a server of models would run it."""

from typing import Any

from aiohttp import web

from drp.engines.base import Engine, Message, Reply, Request, Sampling
from drp.engines.transformers_engine import TransformersEngine
from drp.records import Completion, Failure
from drp.text.thinking import join_thinking
from tests.loopback import completion, failure


async def collect(engine: Engine, requests: list[Request]) -> dict[str, Completion | Failure]:
    found: dict[str, Completion | Failure] = {}
    async for reply in engine.complete(engine.batches(requests)):
        assert isinstance(reply, Reply) and reply.id not in found
        found[reply.id] = reply.outcome
    return found


class ServedStudent:
    """Answers as the student, or as another model it knows by name; ``mode`` picks how, ``hits`` counts."""

    def __init__(self, student: TransformersEngine, **others: TransformersEngine) -> None:
        self.student, self.others, self.mode, self.hits = student, others, "content", 0

    async def __call__(self, body: dict[str, Any]) -> web.StreamResponse:
        self.hits += 1
        if self.mode == "busy" and self.hits == 1:
            return failure(429, "busy", **{"retry-after": "0"})
        if self.mode == "bad":
            return failure(400, "no such parameter")
        if self.mode == "forbidden":
            return failure(401, "who are you")
        sampling = Sampling(
            temperature=body["temperature"], top_p=body["top_p"], max_new_tokens=body["max_tokens"]
        )
        messages = tuple(Message(**m) for m in body["messages"])
        asked = Request(id="x", messages=messages, sampling=sampling, seed=body["seed"])
        outcome = (await collect(self.others.get(body["model"], self.student), [asked]))["x"]
        assert isinstance(outcome, Completion)
        tokens = (outcome.usage.prompt_tokens, outcome.usage.completion_tokens)
        if self.mode == "reasoning":
            message = {"reasoning": outcome.thinking, "content": outcome.answer or None}
        else:
            text = join_thinking(outcome.thinking, outcome.answer) if outcome.closed else outcome.thinking
            message = {"content": text}
        return completion(message, outcome.finish_reason, tokens)
