"""Files and batches as OpenAI-compatible providers offer them, on loopback, with faults to order."""

import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.loopback import Loopback

Answer = Callable[[dict[str, Any]], dict[str, Any]]
"""From a request's body to the reply's body."""


class BatchServer:
    """Runs a batch after ``polls`` looks at it; ``paid`` counts every answered custom id.

    ``fate(batch number, position)`` says what becomes of a request: ``ok``, ``expired``, ``error`` (500),
    ``refused`` (400), ``unknown`` (404) or ``missing``. The first ``silent`` batches are made without an answer.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.fate: Callable[[int, int], str] = lambda batch, position: "ok"
        self.polls = 1
        self.broken: str | None = None
        self.ascii = True
        """Whether files hold nothing beyond ASCII; some providers write what lies beyond it as it is."""
        self.garbled: Callable[[list[str]], list[str]] = lambda lines: lines
        self.silent = 0
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.paid: dict[str, int] = {}
        self.submitted: list[list[str]] = []
        self.bodies: list[dict[str, Any]] = []
        routes = [
            web.post("/v1/files", self._upload),
            web.get("/v1/files/{id}/content", self._content),
            web.post("/v1/batches", self._create),
            web.get("/v1/batches", self._list),
            web.get("/v1/batches/{id}", self._look),
        ]
        self.loopback = Loopback(self._never, routes)
        self.url = self.loopback.url

    async def _never(self, body: dict[str, Any]) -> web.StreamResponse:
        raise AssertionError("a batch run must not ask online")

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        name = f"file-{len(self.files)}"
        self.files[name] = form["file"].file.read()  # type: ignore[union-attr]
        return web.json_response(
            {"id": name, "object": "file", "bytes": len(self.files[name]), "created_at": 0,
             "filename": "requests.jsonl", "purpose": "batch", "status": "processed"}
        )  # fmt: skip

    async def _content(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["id"]])

    async def _create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        assert asked["endpoint"] == "/v1/chat/completions" and asked["completion_window"] == "24h"
        batch = {
            "id": f"batch-{len(self.batches)}", "object": "batch", "endpoint": asked["endpoint"],
            "input_file_id": asked["input_file_id"], "completion_window": "24h", "created_at": 0,
            "status": "in_progress", "looks": 0,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
        }  # fmt: skip
        self.batches[batch["id"]] = batch
        lines = [json.loads(x) for x in self.files[asked["input_file_id"]].splitlines()]
        assert all(x["method"] == "POST" and x["url"] == "/v1/chat/completions" for x in lines)
        self.submitted.append([x["custom_id"] for x in lines])
        assert len(set(self.submitted[-1])) == len(lines)
        self.bodies += [x["body"] for x in lines]
        if self.silent:
            self.silent -= 1
            return web.json_response({"error": {"message": "lost on the way"}}, status=502)
        return web.json_response(batch)

    async def _list(self, request: web.Request) -> web.Response:
        data = list(self.batches.values())[::-1]
        return web.json_response({"object": "list", "data": data, "has_more": False})

    async def _look(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["id"]]
        batch["looks"] += 1
        if batch["status"] == "in_progress" and batch["looks"] > self.polls:
            self._run(batch)
        return web.json_response(batch)

    def _run(self, batch: dict[str, Any]) -> None:
        if self.broken:
            batch["status"] = "failed"
            batch["errors"] = {"object": "list", "data": [{"code": "invalid", "message": self.broken}]}
            return
        number = int(batch["id"].split("-")[1])
        done: list[str] = []
        wrong: list[str] = []
        expired = False
        for position, line in enumerate(self.files[batch["input_file_id"]].splitlines()):
            row = json.loads(line)
            fate = self.fate(number, position)
            result: dict[str, Any] = {"id": f"x{position}", "custom_id": row["custom_id"], "error": None}
            if fate == "ok":
                self.paid[row["custom_id"]] = self.paid.get(row["custom_id"], 0) + 1
                result["response"] = {"status_code": 200, "body": self.answer(row["body"])}
                done.append(json.dumps(result, ensure_ascii=self.ascii))
            elif fate == "expired":
                expired = True
                result |= {"response": None, "error": {"code": "batch_expired", "message": "not in time"}}
                wrong.append(json.dumps(result))
            elif fate in ("error", "refused", "unknown"):
                status = {"error": 500, "refused": 400, "unknown": 404}[fate]
                error = {"error": {"message": fate, "type": "x", "code": None}}
                result["response"] = {"status_code": status, "body": error}
                wrong.append(json.dumps(result))
        done = self.garbled(done)
        for name, rows in (("output_file_id", done), ("error_file_id", wrong)):
            if rows:
                key = f"file-{len(self.files)}"
                self.files[key] = "\n".join(rows).encode()
                batch[name] = key
        batch["status"] = "expired" if expired else "completed"

    def stop(self) -> None:
        """Stop serving."""
        self.loopback.stop()
