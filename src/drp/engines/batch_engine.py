"""The engine for batch endpoints (`/batches`): half the price, an answer within a day.

Requests are collected until no new one has come for a moment, since then every trace under way waits for
a reply, and go off as one file. What was submitted is on disk, so that a restart adopts running batches
instead of paying twice; requests that failed or expired, and only those, go into a later batch.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import openai
from openai.types import Batch
from pydantic import BaseModel

from drp.engines.base import Reply, Request, Wasted
from drp.engines.chat_replies import BadReplyError, read_reply
from drp.engines.endpoint_errors import meaning, meaning_of, pause
from drp.engines.openai_engine import OpenAIEngine
from drp.errors import EngineError
from drp.records import Completion, Failure, Keyed, Usage
from drp.runs.concurrency import as_they_land
from drp.runs.journal import Journal, read_records
from drp.runs.schema import Versioned
from drp.runs.stage import Say, silent
from drp.text.surrogates import without_lone_surrogates

MOST_BYTES = 90_000_000
"""Largest input file; providers take 100 to 200 MB."""
CALM_TRIES = 5
"""How often what costs nothing is tried again: an upload, a look."""
ENDED = ("completed", "failed", "expired", "cancelled")


class BatchState(Versioned, Keyed):
    """Where one batch stands; its ``id`` is that of its input file. The last record of an id counts."""

    state: Literal["uploaded", "submitted", "collected"]
    batch: str | None = None
    requests: tuple[str, ...]


class _Error(BaseModel):
    code: str | int | None = None
    message: str | None = None


class _Response(BaseModel):
    status_code: int = 0
    body: dict[str, Any] = {}


class _Line(BaseModel):
    """One line of an output or error file."""

    custom_id: str
    response: _Response | None = None
    error: _Error | None = None


class BatchEngine:
    """Answers requests through batches; request ids must be identities of content."""

    def __init__(
        self,
        engine: OpenAIEngine,
        path: Path,
        *,
        poll_s: float = 30.0,
        settle_s: float = 2.0,
        max_requests: int = 50_000,
        max_tries: int = 3,
        say: Say = silent,
    ) -> None:
        """Open the record of batches.

        Args:
            engine: Knows the endpoint, the model and the form of a request.
            path: JSONL file that remembers what was submitted.
            poll_s: Seconds between looks at a running batch.
            settle_s: Seconds without a new request after which the collected ones are submitted.
            max_requests: Most requests in one batch.
            max_tries: How often a request that failed or expired is put into a batch.
            say: Told in one line how batches come along.
        """
        self.engine, self.poll_s, self.settle_s = engine, poll_s, settle_s
        self.max_requests, self.max_tries, self.say = max_requests, max_tries, say
        self.client = engine.client.with_options(max_retries=CALM_TRIES)
        states: dict[str, BatchState] = {}
        for state in read_records(path, BatchState):
            states[state.id] = state
        self._journal = Journal(path)
        self._open = {s.id: s for s in states.values() if s.state != "collected"}
        self._travelling = {request for s in self._open.values() for request in s.requests}
        self._waiting: dict[str, tuple[Request, asyncio.Future[Completion | Failure]]] = {}
        self._arrived: dict[str, Completion] = {}
        self._wasted: dict[str, list[Wasted]] = {}
        self._tries: dict[str, int] = {}
        self._queue: list[Request] = []
        self._asked = asyncio.Event()
        self._last_asked = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun = False
        self._broken: BaseException | None = None

    @property
    def name(self) -> str:
        """The model's name at the endpoint."""
        return self.engine.name

    @property
    def identity(self) -> dict[str, str]:
        """That of the model: how it is asked does not matter."""
        return self.engine.identity

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Every request on its own; files are filled as requests come."""
        return [[request] for request in requests]

    async def complete(self, batches: Sequence[Sequence[Request]]) -> AsyncIterator[Reply]:
        """Yield replies as their batches end."""
        requests = [request for batch in batches for request in batch]
        starters = [lambda r=request: self._one(r) for request in requests]
        async for reply in as_they_land(starters, max(1, len(starters))):
            yield reply

    async def _one(self, request: Request) -> Reply:
        if not self._begun:
            self._begun = True
            self._start(self._flush())
            for state in list(self._open.values()):
                self._start(self._follow(state))
        if self._broken:
            raise self._broken
        if request.id in self._arrived:
            return Reply(request.id, self._arrived.pop(request.id))
        future: asyncio.Future[Completion | Failure] = asyncio.get_running_loop().create_future()
        self._waiting[request.id] = (request, future)
        if request.id not in self._travelling:
            self._enqueue(request)
        outcome = await future
        return Reply(request.id, outcome, tuple(self._wasted.pop(request.id, ())))

    def _start(self, coroutine: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, openai.APIError):
            error = EngineError(f"lost sight of a batch: {error.message}; run the same command again")
        if error is None:
            return
        self._broken = error
        for _, future in self._waiting.values():  # everybody learns why nothing will arrive
            if not future.done():
                future.set_exception(error)

    def _enqueue(self, request: Request) -> None:
        self._queue.append(request)
        self._last_asked = time.monotonic()
        self._asked.set()

    async def _flush(self) -> None:
        """Submit what has collected whenever it has been quiet for a moment."""
        while True:
            await self._asked.wait()
            while (rest := self._last_asked + self.settle_s - time.monotonic()) > 0:
                await asyncio.sleep(rest)
            self._asked.clear()
            queue, self._queue = self._queue, []
            for lines, requests in self._files(queue):
                await self._submit(lines, requests)

    def _files(self, queue: Sequence[Request]) -> Iterator[tuple[bytes, tuple[str, ...]]]:
        lines: list[bytes] = []
        ids: list[str] = []
        size = 0
        for request in queue:
            body = self.engine.body(request)
            line = {"custom_id": request.id, "method": "POST", "url": "/v1/chat/completions", "body": body}
            data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
            if lines and (len(lines) >= self.max_requests or size + len(data) > MOST_BYTES):
                yield b"".join(lines), tuple(ids)
                lines, ids, size = [], [], 0
            lines.append(data)
            ids.append(request.id)
            size += len(data)
        if lines:
            yield b"".join(lines), tuple(ids)

    async def _submit(self, lines: bytes, requests: tuple[str, ...]) -> None:
        try:
            file = await self.client.files.create(file=("requests.jsonl", lines), purpose="batch")
            state = BatchState(id=file.id, state="uploaded", requests=requests)
            self._journal.append(state)
            state = await self._create(state)
        except openai.APIStatusError as error:
            hint = ""
            if error.status_code in (404, 405):
                hint = "; the endpoint may have no batch API: set prune.teacher.endpoint.batch=false"
            raise EngineError(f"the endpoint refused a batch: {error.message}{hint}") from error
        except openai.APIError as error:
            raise EngineError(
                f"cannot submit a batch: {error.message}; run the same command again"
            ) from error
        self.say(f"batch {state.batch}: {len(requests)} requests submitted")
        self._start(self._follow(state))

    async def _create(self, state: BatchState) -> BatchState:
        """Make the batch of an uploaded file, once: what got no answer may have been made all the same."""
        once = self.client.with_options(max_retries=0)
        for tries in range(1, CALM_TRIES + 1):
            try:
                batch = await once.batches.create(
                    input_file_id=state.id,
                    endpoint="/v1/chat/completions",
                    completion_window="24h",
                    metadata={"made_by": "drp"},
                    extra_headers={"Idempotency-Key": f"drp-{state.id}"},
                )
                break
            except openai.APIError as error:
                if meaning(error) != "later" or tries == CALM_TRIES:
                    raise
                await asyncio.sleep(pause(error, tries))
                if found := await self._made_of(state.id):
                    batch = found
                    break
        else:
            raise AssertionError("the last try either returns or raises")
        submitted = state.model_copy(update={"state": "submitted", "batch": batch.id})
        self._journal.append(submitted)
        self._open[state.id] = submitted
        self._travelling.update(state.requests)
        for request in state.requests:
            self._tries[request] = self._tries.get(request, 0) + 1
        return submitted

    async def _follow(self, state: BatchState) -> None:
        """See one batch to its end and hand out what it brought."""
        if state.batch is None:  # a crash fell between the upload and the record of the batch
            state = await self._recover(state)
        assert state.batch is not None
        while True:
            batch = await self.client.batches.retrieve(state.batch)
            if batch.status in ENDED:
                break
            done = batch.request_counts.completed if batch.request_counts else 0
            self.say(f"batch {batch.id}: {batch.status}, {done}/{len(state.requests)} done")
            await asyncio.sleep(self.poll_s)
        if batch.status == "failed":
            problems = [e.message or "" for e in (batch.errors.data or [])] if batch.errors else []
            self._collected(state)
            raise EngineError(
                f"batch {batch.id} was not accepted: {'; '.join(problems[:3]) or 'no reason given'}. "
                "If it is over the provider's limit of enqueued tokens, lower prune.teacher.endpoint.batch_requests"
            )
        lines: dict[str, _Line] = {}
        for file in (batch.error_file_id, batch.output_file_id):
            if file:
                content = await self.client.files.content(file)
                lines |= self._lines(content.content, batch.id)
        self.say(f"batch {batch.id}: {batch.status}")
        await self._stop_if_refused(state, lines)
        for request in state.requests:
            self._travelling.discard(request)
            self._hand_out(request, lines.get(request), batch.status)
        if not any(request in self._arrived for request in state.requests):
            self._collected(state)

    def _lines(self, content: bytes, batch: str) -> dict[str, _Line]:
        """Return the lines of an output or error file by request.

        Only a line feed ends a line: replies may hold U+2028 and its like as they are. A line that cannot be read
        costs its own request, which is asked again, and none of the others, which are paid.
        """
        found: dict[str, _Line] = {}
        for number, line in enumerate(content.split(b"\n"), 1):
            if not line.strip():
                continue
            try:
                text = json.dumps(json.loads(line), ensure_ascii=False)
                row = _Line.model_validate_json(without_lone_surrogates(text))
            except (ValueError, RecursionError) as error:
                reason = str(error).splitlines()[0]
                self.say(f"batch {batch}: line {number} of a file of its replies cannot be read: {reason}")
                continue
            found[row.custom_id] = row
        return found

    async def _recover(self, state: BatchState) -> BatchState:
        batch = await self._made_of(state.id)
        if batch is None:
            return await self._create(state)
        submitted = state.model_copy(update={"state": "submitted", "batch": batch.id})
        self._journal.append(submitted)
        return submitted

    async def _made_of(self, file: str) -> Batch | None:
        """Return the batch that was made of an uploaded file, if there is one."""
        async for batch in self.client.batches.list(limit=100):
            if batch.input_file_id == file:
                return batch
        return None

    async def _stop_if_refused(self, state: BatchState, lines: dict[str, _Line]) -> None:
        """Stop where every request of a batch was refused and another text would be, too.

        Raises:
            EngineError: The set-up is wrong.
        """
        answers = [row.response for row in lines.values() if row.response]
        if not answers or any(answer.status_code < 400 for answer in answers):
            return
        asked = next((self._waiting[r][0] for r in state.requests if r in self._waiting), None)
        for answer in answers:
            error = _Error.model_validate(answer.body.get("error") or {})
            what = meaning_of(answer.status_code, f"{error.code} {error.message}")
            if what == "doubtful" and asked is not None:
                what = await self.engine.cleared_up(self.engine.body(asked))
            if what == "setup":
                self._collected(state)
                raise self.engine.refusal(answer.status_code, error.message or "no reason given")

    def _collected(self, state: BatchState) -> None:
        self._open.pop(state.id, None)
        self._journal.append(state.model_copy(update={"state": "collected"}))

    def _hand_out(self, id_: str, row: _Line | None, status: str) -> None:
        """Give a request its completion, put it in the queue again, or give up on it."""
        outcome = self._outcome(id_, row, status)
        waiting = self._waiting.get(id_)
        failed = isinstance(outcome, Failure)
        again = failed and outcome.retry and status != "cancelled"
        if waiting and again and self._tries.get(id_, 1) < self.max_tries:
            self._enqueue(waiting[0])
        elif waiting:
            del self._waiting[id_]
            waiting[1].set_result(outcome)
        elif not failed:
            self._arrived[id_] = outcome  # paid, and not asked for yet in this process

    def _outcome(self, id_: str, row: _Line | None, status: str) -> Completion | Failure:
        response = (row.response if row else None) or _Response()
        code = response.status_code
        if code == 200:
            worst = self._waiting[id_][0].sampling.max_new_tokens if id_ in self._waiting else 0
            try:
                return read_reply(json.dumps(response.body).encode(), Usage(completion_tokens=worst))
            except BadReplyError as error:
                self._wasted.setdefault(id_, []).append(error.wasted)
                return self.engine.failed(id_, error.kind, str(error), retry=True, raw=error.wasted.raw)
        error = (row.error if row else None) or _Error.model_validate(response.body.get("error") or {})
        kind = str(error.code or (f"http_{code}" if code else f"batch_{status}"))
        message = error.message or f"the batch ended as {status} without this request"
        lasting = code >= 400 and meaning_of(code, f"{error.code} {message}") != "later"
        return self.engine.failed(id_, kind, message, retry=not lasting)

    async def close(self) -> None:
        """Stop watching, which leaves running batches running, and close the file and the connections."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._journal.close()
        await self.engine.close()
