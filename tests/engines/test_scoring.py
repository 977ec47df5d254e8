"""Scoring: the same numbers as a plain forward pass of each text, whatever is batched, padded or cut short."""

import asyncio
import random
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from drp.engines.graphed_passes import GraphedPasses
from drp.engines.paged_memory import PagedMemory
from drp.engines.plain_scoring import PlainCore
from drp.engines.prefix_scoring import PrefixCore, core_for, fits
from drp.engines.scoring import Bound, Continuation, Scorer, complete
from drp.engines.transformers_engine import load_model


@pytest.fixture(scope="module")
def model(student_path: str) -> Any:
    return load_model(student_path, "cpu", "float32")


def _texts(count: int, seed: int) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(5, 700) for _ in range(draw.randrange(3, 160))] for _ in range(count)]


def _asked(texts: list[list[int]], seed: int) -> list[tuple[int, Continuation]]:
    draw = random.Random(seed)
    return [
        (n, Continuation(draw.randrange(1, len(texts[n]) + 1), _texts(1, draw.randrange(10**6))[0]))
        for n in (draw.randrange(len(texts)) for _ in range(40))
    ]


def _same(found: Any, wanted: Any) -> None:
    assert len(found) == len(wanted)
    for ours, plain in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, plain, atol=2e-4)


def test_prefix_scores_are_those_of_a_plain_forward_pass(model: Any) -> None:
    """Of continuations of any prefix, of different lengths and passages in one batch: padding and cropping change nothing."""
    texts = _texts(7, 0)
    fast, plain = PrefixCore(model, [2]), PlainCore(model, [2])
    ours, theirs = fast.read(texts), plain.read(texts)
    _same([p.logprobs for p in ours], [p.logprobs for p in theirs])
    asked = _asked(texts, 1)
    _same(
        complete(fast, [(ours[n], one) for n, one in asked]),
        complete(plain, [(theirs[n], one) for n, one in asked]),
    )


@pytest.mark.parametrize(("tokens", "places", "chunk"), [(1, 1, 1), (90, 1200, 5), (10**6, 10**5, 1000)])
def test_the_budget_of_a_batch_changes_no_score(model: Any, tokens: int, places: int, chunk: int) -> None:
    """Batches of one row, of a few and of all, in chunks of any size, in a memory that must grow, that makes rows wait, or with room for all."""
    texts = _texts(5, 3)
    core = PrefixCore(model, [2])
    passages = core.read(texts)
    asked = [(passages[n], one) for n, one in _asked(texts, 4)]
    wanted = complete(core, asked)
    core.tokens, core.first_chunk, core.memory = tokens, chunk, PagedMemory(model, places)
    again = core.read(texts)
    _same([p.logprobs for p in again], [p.logprobs for p in passages])
    _same(complete(core, [(again[n], one) for n, one in _asked(texts, 4)]), wanted)
    held = sum(map(len, texts)) + 1
    assert core.memory.free == core.memory.places - held, "what continuations took is free again"
    again.clear()
    assert core.memory.free == core.memory.places - 1


def test_passes_in_fixed_shapes_change_no_score(model: Any) -> None:
    """As on a GPU, where rows are cut in pieces and padded to shapes that can be captured, but for the capture."""
    texts = _texts(6, 9)
    core = PrefixCore(model, [2])
    passages = core.read(texts)
    asked = [(passages[n], one) for n, one in _asked(texts, 10)]
    wanted = complete(core, asked)
    core._passes = GraphedPasses(model, core.memory)
    core.first_chunk = 16
    _same(complete(core, asked), wanted)


def test_passages_are_not_changed_by_what_is_scored_after_them(model: Any) -> None:
    """Continuations are written into copies: the same question later gets the same answer."""
    core = PrefixCore(model, [2])
    (passage,) = core.read(_texts(1, 5))
    places = torch.tensor(passage.memory.places)
    before = [store[places].clone() for store in (*core.memory.keys, *core.memory.values)]
    asked = [(passage, Continuation(2, [9, 8, 7] * 20)), (passage, Continuation(1, [5]))]
    first = complete(core, asked)
    _same(complete(core, asked), first)
    after = [store[places] for store in (*core.memory.keys, *core.memory.values)]
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_a_broken_bound_ends_a_continuation_and_no_other(model: Any) -> None:
    """What is returned of it is right and reaches the token that breaks it; rows beside it are complete."""
    texts = _texts(2, 6)
    core = PrefixCore(model, [2])
    core.first_chunk = 4
    passages = core.read(texts)
    tail = _texts(1, 7)[0] * 2
    (whole,) = complete(core, [(passages[0], Continuation(3, tail))])
    floors = np.full(len(tail), -np.inf)
    floors[9:] = whole[:10].sum() + 1  # what the first ten tokens add up to is below it
    bound = Bound(np.ones(len(tail)), floors)
    cut, other = complete(
        core, [(passages[0], Continuation(3, tail, (bound,))), (passages[1], Continuation(2, tail))]
    )
    assert 10 <= len(cut) < len(whole)
    _same([cut], [whole[: len(cut)]])
    assert bound.broken(cut)
    assert not bound.broken(cut[:9])
    assert len(other) == len(tail)


def test_models_whose_memory_cannot_be_cut_are_scored_plainly(model: Any, student_path: str) -> None:
    """With a sliding window the states of a prefix are not all kept, so cropping would give wrong numbers."""
    assert isinstance(core_for(model, [2]), PrefixCore)
    sliding: Any = AutoModelForCausalLM.from_pretrained(
        student_path,
        use_sliding_window=True,
        sliding_window=16,
        max_window_layers=0,
        layer_types=["sliding_attention"] * 6,
    ).eval()
    assert not fits(sliding)
    assert type(core_for(sliding, [2])) is PlainCore


async def test_questions_of_many_coroutines_are_computed_together(model: Any) -> None:
    """Each gets the answer to its own question, whoever else asks; an error reaches those who asked."""
    core = PrefixCore(model, [2])
    calls: list[int] = []
    extend = core.extend

    def counted(asked: Any) -> Any:
        calls.append(len(asked))
        return extend(asked)

    core.extend = counted  # type: ignore[method-assign]
    scorer, texts, tail = Scorer(core), _texts(20, 8), [9, 8, 7, 6]

    async def one(ids: list[int]) -> Any:
        async with scorer.open(ids) as passage:
            return await scorer.score(passage, Continuation(2, tail))

    found = await asyncio.gather(*(one(ids) for ids in texts))
    plain = PlainCore(model, [2])
    _same(found, complete(plain, [(p, Continuation(2, tail)) for p in plain.read(texts)]))
    assert 20 <= sum(calls) <= 40
    assert len(calls) <= 4
    with pytest.raises(IndexError):
        async with scorer.open(texts[0]) as passage:
            await scorer.score(passage, Continuation(10**6, tail))


async def test_passages_wait_for_room(model: Any) -> None:
    """No more is held than there is room for, and a passage larger than all room goes alone."""
    core = PrefixCore(model, [2])
    core.room = 50
    scorer = Scorer(core)
    held: list[int] = []
    most = 0

    async def one(length: int) -> None:
        nonlocal most
        async with scorer.open([7] * length):
            held.append(length)
            most = max(most, sum(held) if len(held) > 1 else 0)
            await asyncio.sleep(0.001)
            held.remove(length)

    await asyncio.gather(*(one(length) for length in (20, 20, 20, 90, 30, 5)))
    assert 0 < most <= 50
