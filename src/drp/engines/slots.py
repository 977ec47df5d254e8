"""Continuous batching in slots: one CUDA graph per shape, finished rows replaced at once, memory by the page.

Every row of the batch is a slot with a position of its own, so a finished row's slot takes the next
prompt without padding or moving anything. Every decoding step is the same work at the same addresses, so on a GPU it
is captured as a CUDA graph and replayed: a small model's step costs no launch overhead. On a CPU the same step runs as
it is. Where keys and values lie is the business of :mod:`drp.engines.rooms` and, on a GPU, :mod:`drp.engines.pages`:
there a row starts when there is memory for what it has, and goes back to the queue if others need that.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportPrivateImportUsage=false

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from drp.engines.base import Sampling
from drp.engines.nucleus import kernels
from drp.engines.occupancy import Occupancy
from drp.engines.rooms import ATTENTION, Rooms
from drp.engines.sampling import sample

if TYPE_CHECKING:
    from drp.engines.fused import FusedStep
    from drp.engines.pages import Pages

LENGTH_STEP = 128
"""Rooms are a multiple of so many positions, and so is what attention over them spans on a GPU: one graph each."""
PREFILL_TOKENS = 32_768
SPARE_PAGES = 16
"""A row starts if so many rows could take a page beside it, out of a hundred under way."""

Done = tuple[int, list[int]]
"""A finished row: its index among the prompts and its new token ids, the stop token included."""


@dataclass
class _Row:
    """A prompt and what has become of it."""

    index: int
    prompt: Sequence[int]
    seed: int
    limit: int
    """Most new tokens."""
    made: list[int] = field(default_factory=list[int])
    """Its tokens from before it went back to the queue."""
    position: int = 0
    """Where its newest token stands, as far as has been looked."""
    order: int = 0
    """When it started: the youngest makes way."""


def fits(model: PreTrainedModel) -> bool:
    """Return whether a model can be decoded in slots: plain full attention in every layer."""
    layers = DynamicCache(config=model.config).layers
    config: Any = model.config.get_text_config()
    capped = getattr(config, "attn_logit_softcapping", None) or getattr(config, "sliding_window", None)
    plain = bool(layers) and all(type(layer) is DynamicLayer for layer in layers)
    return plain and not capped and config._attn_implementation in ("sdpa", ATTENTION)


class SlotDecoder:
    """Decodes prompts in a fixed number of slots; caches and graphs serve one call after another.

    Args:
        model: A causal language model for which :func:`fits` is true, in eval mode on its device.
        stop_ids: Tokens that end a row.
        slots: Most rows decoded together; fewer where GPU memory does not hold their caches.
        paged: Whether rows share pages of memory; ``None`` for wherever kernels can be compiled for the device.
        fused: Whether the step may be computed by :mod:`drp.engines.fused`, which makes parameters views of larger ones:
            not for a model under training.
        pages: How many pages there are; ``None`` for as many as memory holds.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        stop_ids: Sequence[int],
        slots: int,
        *,
        paged: bool | None = None,
        fused: bool = False,
        pages: int | None = None,
    ) -> None:
        self.model, self.wanted, self.pages = model, slots, pages
        self.device: torch.device = model.device
        self.graphed = self.device.type == "cuda"
        self.paged = self.graphed and kernels("cuda") if paged is None else paged
        self.fused: FusedStep | None = None
        if self.paged and fused and kernels(self.device.type):
            from drp.engines import fused as steps

            self.fused = steps.FusedStep(model) if steps.fusable(model) else None
        self.tried = not self.paged
        """Whether what it decodes has been compared with what the model itself says."""
        self.prefill_tokens = PREFILL_TOKENS
        self.look_every = 16 if self.graphed else 1  # looking costs a synchronisation on a GPU
        self.stops = torch.tensor(list(stop_ids), dtype=torch.long, device=self.device)
        self.room = self.limit_room = self.slots = 0
        self.seen: Tensor | None = None
        """Which tokens stand in each slot's prompt and completion, bool of shape (slots, vocabulary)."""
        self.memory: Rooms | Pages | None = None
        self.used = Occupancy()
        self._started = 0

    def allocate(self, prompt: int, limit: int) -> None:
        """Make room for prompts and new tokens of the given lengths; graphs of smaller rooms go."""
        # -(-a // b) * b rounds a up to a multiple of b: 200 and 56 need 256, 200 and 57 need 384.
        room = -(-(prompt + limit) // LENGTH_STEP) * LENGTH_STEP
        if room <= self.room and limit <= self.limit_room:
            return
        if not self.tried:
            from drp.engines import trial

            trial.settle(self)
        self.memory = self.seen = None
        self.graphs: dict[tuple[int, int, Sampling], torch.cuda.CUDAGraph] = {}
        self.pool = torch.cuda.graph_pool_handle() if self.graphed else None
        self.room, self.limit_room = max(room, self.room), max(limit, self.limit_room)
        self.memory = self._memory()
        self.slots = self.memory.slots

        def zeros(*shape: int, dtype: torch.dtype = torch.long) -> Tensor:
            return torch.zeros((self.slots, *shape), dtype=dtype, device=self.device)

        self.token, self.position, self.step, self.seed = zeros(), zeros(), zeros(), zeros()
        self.last = zeros()
        """Each row's limit of new tokens, less one."""
        self.done = zeros(dtype=torch.bool)
        self.output = zeros(self.limit_room, dtype=torch.int32)

    def _memory(self) -> "Rooms | Pages":
        if not self.paged:
            return Rooms(self.model, self.wanted, self.room)
        from drp.engines.pages import Pages

        pages = Pages(self.model, self.wanted, self.room, self.pages)
        if self.fused is not None:
            pages.create()
        return pages

    @torch.inference_mode()
    def decode(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        how: Sampling,
        limits: Sequence[int] | None = None,
    ) -> Iterator[Done]:
        """Yield each row as it ends; rows that have not stopped after ``max_new_tokens`` end there.

        Args:
            prompts: Token ids, one sequence a row, of any lengths.
            seeds: One non-negative 63-bit seed a row.
            how: How tokens are drawn.
            limits: Most new tokens of each row, where that is less than ``max_new_tokens``.
        """
        before = str(self.model.config._attn_implementation)  # pyright: ignore[reportPrivateUsage]
        self.allocate(max(map(len, prompts)), how.max_new_tokens)
        assert self.memory is not None  # for pyright: just allocated
        self.model.set_attn_implementation(self.memory.attention)
        most = how.max_new_tokens
        try:
            self._remember(how)
            rows = [
                _Row(i, prompt, seed, min(most, limits[i]) if limits else most)
                for i, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True))
            ]
            yield from self._run(deque(rows), how)
        finally:
            self.model.set_attn_implementation(before)
            for slot in range(self.slots):  # a caller that stops early leaves rows behind
                self.memory.let_go(slot)

    def _remember(self, how: Sampling) -> None:
        """Make room for which tokens each row has seen, where a penalty asks for that."""
        if how.repetition_penalty != 1 and self.seen is None:
            config: Any = self.model.config.get_text_config()
            self.seen = torch.zeros((self.slots, config.vocab_size), dtype=torch.bool, device=self.device)

    def _run(self, waiting: deque[_Row], how: Sampling) -> Iterator[Done]:
        assert self.memory is not None  # for pyright
        live: list[_Row] = []
        while waiting or live:
            free = self.slots - len(live)
            # Filling stops decoding for a prefill, so slots that are free wait until they are a sixteenth of all.
            if waiting and free >= max(1, self.slots // 16):
                taken = self._admit(waiting, live)
                if taken:
                    self._fill(len(live), taken, how)
                    live += taken
            live = self._secure(waiting, live)
            self.used.flying = len(live)
            self._advance(live, how)
            self.used.drawn += len(live) * self.look_every
            self.used.most_rows = max(self.used.most_rows, len(live))
            ended = self.done[: len(live)].nonzero().flatten().tolist()
            for row in live:
                row.position += self.look_every
            if not ended:
                continue
            lengths = (self.step[ended]).tolist()
            for slot, length, ids in zip(ended, lengths, self.output[ended].tolist(), strict=True):
                self.memory.let_go(slot)
                self.used.tokens += length
                yield live[slot].index, ids[:length]
            live = self._compact(live, set(ended))
            self.used.flying = len(live)

    def _admit(self, waiting: deque[_Row], live: list[_Row]) -> list[_Row]:
        """Return the rows that start now: as many as there are slots and memory for, in their order."""
        assert self.memory is not None  # for pyright
        taken: list[_Row] = []
        while waiting and len(live) + len(taken) < self.slots:
            row, slot = waiting[0], len(live) + len(taken)
            tokens = min(len(row.prompt) + len(row.made) + self.look_every, len(row.prompt) + row.limit)
            spare = -(-slot * SPARE_PAGES // 100)
            if not self.memory.hold(slot, tokens, spare):
                break
            row.order = self._started = self._started + 1
            taken.append(waiting.popleft())
        return taken

    def _secure(self, waiting: deque[_Row], live: list[_Row]) -> list[_Row]:
        """See that every row has memory for the next steps; where there is none, the youngest go back to the queue."""
        assert self.memory is not None  # for pyright
        back: set[int] = set()
        for slot in sorted(range(len(live)), key=lambda slot: live[slot].order):
            row = live[slot]
            # While it decodes, a row that ended meanwhile still writes at its last position: never beyond its limit.
            tokens = min(row.position + 1 + self.look_every, len(row.prompt) + row.limit)
            while slot not in back and not self.memory.hold(slot, tokens):
                youngest = max(set(range(len(live))) - back, key=lambda slot: live[slot].order)
                back.add(youngest)
                self.memory.let_go(youngest)
        if not back:
            return live
        for slot in sorted(back, key=lambda slot: -live[slot].order):
            row = live[slot]
            row.made = self.output[slot, : int(self.step[slot])].tolist()
            waiting.appendleft(row)
        self.used.set_back += len(back)
        return self._compact(live, back)

    def _fill(self, first: int, rows: list[_Row], how: Sampling) -> None:
        """Put rows into the slots from ``first`` on: all but their last token goes into the caches."""
        assert self.memory is not None  # for pyright
        prompts = [[*row.prompt, *row.made] for row in rows]
        end = first + len(prompts)
        for row, prompt in zip(rows, prompts, strict=True):
            row.position = len(prompt) - 1
        lengths = torch.tensor([len(p) for p in prompts])
        self.position[first:end] = (lengths - 1).to(self.device)
        self.token[first:end] = torch.tensor([p[-1] for p in prompts]).to(self.device)
        self.seed[first:end] = torch.tensor([r.seed for r in rows], dtype=torch.long).to(self.device)
        self.last[first:end] = torch.tensor([r.limit - 1 for r in rows]).to(self.device)
        self.step[first:end] = torch.tensor([len(r.made) for r in rows]).to(self.device)
        for slot, row in enumerate(rows, first):
            if row.made:
                self.output[slot, : len(row.made)] = torch.tensor(row.made, dtype=torch.int32).to(self.device)
        self.done[first:end] = False
        if how.repetition_penalty != 1 and self.seen is not None:
            self.seen[first:end] = False
            for slot, prompt in enumerate(prompts, first):
                self.seen[slot, torch.tensor(prompt).to(self.device)] = True
        # The last token of a prompt is not prefilled: the first step feeds it, and draws what follows from its logits.
        width = int(lengths.max()) - 1
        per_pass = max(1, self.prefill_tokens // max(1, width))
        for start in range(0, len(prompts) if width else 0, per_pass):
            part = prompts[start : start + per_pass]
            ids = torch.zeros((len(part), width), dtype=torch.long)
            for row, prompt in enumerate(part):
                ids[row, : len(prompt) - 1] = torch.tensor(prompt[:-1])
            # Padding stands on the right, where no real token sees it; decoding overwrites it.
            self.memory.prefill(first + start, [len(prompt) - 1 for prompt in part], width)
            places = torch.arange(width, device=self.device).expand(len(part), -1)
            mask = torch.ones((1, 1, 1, 1), dtype=torch.bool, device=self.device)  # taken as it is
            self._forward(ids.to(self.device), mask, places)

    def _advance(self, live: list[_Row], how: Sampling) -> None:
        """Decode ``look_every`` tokens of the rows, which are in the first slots."""
        assert self.memory is not None  # for pyright
        rows, needed = len(live), max(row.position for row in live) + self.look_every
        self.memory.idle(rows, self.slots)
        if not self.graphed:
            self.used.slot_steps += self.slots
            self._step(rows, min(needed, self.room), how)
            return
        # Sizes are powers of two up to 64, then four to each doubling, so few shapes, and graphs, serve all steps.
        power = 1 << (rows - 1).bit_length()
        grain = max(16, power // 4 if rows > 64 else power)
        size = min(self.slots, -(-rows // grain) * grain)
        length = min(-(-needed // LENGTH_STEP) * LENGTH_STEP, self.room)
        self.done[rows:size] = True  # slots beyond the rows in use ride along and change nothing
        self.position[rows:size] = 0
        # Over rooms attention spans a length; over pages it spans each row's own, cut into parts.
        key = (size, self.memory.shape_of(size, length), how)
        if key not in self.graphs:
            self.graphs[key] = self._capture(size, length, how)
        self.used.slot_steps += self.look_every * self.slots
        for _ in range(self.look_every):
            self.graphs[key].replay()

    def _capture(self, size: int, length: int, how: Sampling) -> torch.cuda.CUDAGraph:
        # The step that warms up is a real one and must leave no trace: what it changed is put back. The caches need not be: it
        # wrote the present token's keys and values, which the first replay writes again, the same.
        state = (self.token, self.position, self.step, self.done, self.output, *self._seen())
        saved = [part.clone() for part in state]
        aside = torch.cuda.Stream(self.device)
        aside.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(aside):  # libraries allocate on their first call, which no graph may hold
            self._step(size, length, how)
        torch.cuda.current_stream(self.device).wait_stream(aside)
        for part, value in zip(state, saved, strict=True):
            part.copy_(value)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            self._step(size, length, how)
        return graph

    def _step(self, rows: int, length: int, how: Sampling) -> None:
        """Feed each row's newest token and draw the next; rows that are done stay as they are."""
        token, position, step = self.token[:rows], self.position[:rows], self.step[:rows]
        done, output = self.done[:rows], self.output[:rows]
        logits = self.logits(token, position, length)
        seen = self.seen[:rows] if how.repetition_penalty != 1 and self.seen is not None else None
        drawn = sample(logits, self.seed[:rows], step, how, seen)
        if seen is not None:
            seen.scatter_(1, drawn.unsqueeze(-1), True)
        # Nothing here may depend on values on the host, or the graph could not replay it: rows that are done are computed like
        # all others, and write what they hold already. (A row that is done may stand one step beyond the output: clamped.)
        place = step.clamp(max=self.limit_room - 1).unsqueeze(-1)
        output.scatter_(
            1, place, torch.where(done, output.gather(1, place).squeeze(-1), drawn.int()).unsqueeze(-1)
        )
        ends = (torch.isin(drawn, self.stops) | (step >= self.last[:rows])) & ~done
        goes_on = ~done & ~ends
        token.copy_(torch.where(done, token, drawn))
        step += (~done).long()
        position += goes_on.long()
        done |= ends

    def logits(self, token: Tensor, position: Tensor, length: int) -> Tensor:
        """Feed one token a row at its position, both of shape (rows,); return logits of shape (rows, vocabulary)."""
        assert self.memory is not None  # for pyright
        mask = self.memory.step(position, length)
        if self.fused is not None:
            memory: Any = self.memory  # pages: nothing else is fused
            return self.fused(token, position, memory)
        return self._forward(token.unsqueeze(-1), mask, position.unsqueeze(-1)).logits[:, -1]

    def _forward(self, ids: Tensor, mask: Tensor | None, places: Tensor) -> Any:
        """Run the model on tokens at places, both of shape (rows, new), over the caches."""
        assert self.memory is not None  # for pyright
        return self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=places,
            past_key_values=self.memory.cache,
            use_cache=True,
            logits_to_keep=1,
        )

    def _seen(self) -> tuple[Tensor, ...]:
        return () if self.seen is None else (self.seen,)

    def _compact(self, live: list[_Row], ended: set[int]) -> list[_Row]:
        """Move the last rows still under way into slots that ended; return who is where."""
        assert self.memory is not None  # for pyright
        # Rows 0..4 with 1 and 4 ended: 3 stay, the hole is 1, the mover 3, and rows 0, 3, 2 are then 0, 1, 2.
        kept = len(live) - len(ended)
        holes = sorted(slot for slot in ended if slot < kept)
        movers = [slot for slot in range(kept, len(live)) if slot not in ended]
        if holes:
            to = torch.tensor(holes, device=self.device)
            source = torch.tensor(movers, device=self.device)
            state = (self.token, self.position, self.step, self.seed, self.last, self.done, self.output)
            for part in (*state, *self._seen()):
                part[to] = part[source]
            self.memory.move(holes, movers)
            for hole, mover in zip(holes, movers, strict=True):
                live[hole] = live[mover]
        return live[:kept]
