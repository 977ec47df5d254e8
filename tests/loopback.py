"""An OpenAI-compatible chat endpoint on loopback whose answers a test decides."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web

Answer = Callable[[dict[str, Any]], Awaitable[web.StreamResponse]]


class CutConnectionError(Exception):
    """Raised by an answer that wants the connection cut in the middle of its reply."""


class Loopback:
    """Serves ``POST /v1/chat/completions`` from a thread of its own; ``bodies`` keeps what was asked."""

    def __init__(self, answer: Answer, routes: Iterable[web.AbstractRouteDef] = ()) -> None:
        self.answer = answer
        self.routes = tuple(routes)
        self.bodies: list[dict[str, Any]] = []
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()
        assert self._ready.wait(20)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._loop.run_forever()

    async def _start(self) -> None:
        app = web.Application(client_max_size=200_000_000)
        app.add_routes(self.routes)
        app.router.add_post("/v1/chat/completions", self._handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        self._ready.set()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        try:
            return await self.answer(body)
        except CutConnectionError:
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b'{"id": "c", "choices": [')
            assert request.transport is not None
            request.transport.abort()
            return response

    def stop(self) -> None:
        """Stop serving."""
        self._loop.call_soon_threadsafe(self._loop.stop)


def completion(
    message: dict[str, Any], finish: str = "stop", tokens: tuple[int, int] = (10, 5)
) -> web.Response:
    """Return a chat completion with one choice."""
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish}
    return web.json_response(
        {
            "id": "c",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [choice],
            "usage": usage,
        }
    )


def failure(status: int, message: str, **headers: str) -> web.Response:
    """Return an error as such endpoints phrase it."""
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)
