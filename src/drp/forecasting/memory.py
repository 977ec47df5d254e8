"""GPU memory of each stage, and which setting to lower where it does not fit.

Training's formula reproduces what one H100 measured (1.5B and 7B; rows of 8, budgets of 8,192 and 16,384 tokens, all or no layers
computed again) within a seventh; of a budget of 32,768 it says a fifth too much. All weights and four bits are not measured.
"""

from collections.abc import Sequence

from drp.forecasting.hardware import Hardware
from drp.forecasting.shapes import BYTES, Shape
from drp.records import Record
from drp.training.settings import TrainSettings

GIB = 2**30
CONTEXT_GIB = 1.0
"""What the driver, kernels and graphs take; about."""
POOL_SHARE = 0.7
"""Most of what is free that the decoder gives to caches; see ``engines/rooms.py``."""
PAGE = 128
"""Positions of a page; a row holds as many pages as it has filled, see ``engines/pages.py``."""
SPARE = 0.16
"""Pages that are left free for each row under way, so that it can go on."""
MARGIN = 0.08
"""Share of the memory that training leaves free; see ``training/recompute.py``."""
GAPS = 0.04
"""Share that blocks of different sizes leave unused, so that it must not count as room."""
KEPT_BYTES = (22.2, 8.0)
"""Bytes that a layer keeps for a token, by its hidden and its inner size: 105,680 for 1.5B and 230,905 for 7B, measured."""
GRADIENT_BYTES = 5.2
"""Bytes a token, by the inner size, of gradients at work in one layer."""
ADAPTER_BYTES, ALL_BYTES, NF4_BYTES = 16, 18, 0.52
"""Bytes of a trained weight with its gradient and Adam's means; with its bfloat16 copy, where all are; of a four-bit weight."""
SCORED_AT_ONCE = 4
"""Traces of which the student teacher must hold the keys and values, or it would crawl."""
SCORING_SHARE, PASSES_GIB = 0.5, 3.0
"""Share of what is free that it takes for them, see ``engines/prefix_scoring.py``; and its passes: 44.3 GiB in all for 1.5B on an H100."""


class Memory(Record):
    """What a stage needs of one GPU."""

    gib: float
    fits: bool
    slots: int | None = None
    """Rows that decoding has room for, at most the recipe's batch size."""
    advice: str = ""
    """Which setting to lower, and by how much."""


def weights_gib(shape: Shape) -> float:
    """Return what the weights take."""
    return shape.weights * BYTES / GIB


def decoding_memory(
    shape: Shape,
    hardware: Hardware,
    batch: int,
    prompt: int,
    limit: int,
    stage: str,
    field: str,
    lengths: Sequence[int] = (),
) -> Memory:
    """Return the memory of decoding, and how many rows of such lengths share it on average.

    On a GPU rows hold the pages that they have filled, out of a pool that is as large as memory allows and all rows need.

    Args:
        shape: The student's.
        hardware: One GPU, or a CPU.
        batch: Most rows at once.
        prompt: Tokens of a prompt.
        limit: Most new tokens.
        stage: Its name, for the advice.
        field: The recipe's field that holds its settings.
        lengths: Of the completions; left out: all are as long as they may be.
    """
    pages = -(-(prompt + limit) // PAGE) * PAGE
    row = shape.position_bytes * pages / GIB
    if hardware.family == "cpu":
        return Memory(gib=weights_gib(shape) * 2 + batch * row, fits=True, slots=batch)
    pool = max(0.0, hardware.memory - CONTEXT_GIB - weights_gib(shape)) * POOL_SHARE
    if pool < row:
        most = int(pool / row * pages) - prompt
        needed = CONTEXT_GIB + weights_gib(shape) + row
        advice = (
            f"{stage}: a completion of {limit:,} tokens does not fit; lower {field}.sampling.max_new_tokens to {most:,}"
            if most >= 512
            else f"{stage}: the weights alone take {weights_gib(shape):.1f} of {hardware.memory:.0f} GiB; take a larger GPU or a smaller student"
        )
        return Memory(gib=needed, fits=False, slots=0, advice=advice)
    held = min(row, shape.position_bytes * _held(lengths or [limit], prompt) / GIB)
    slots = max(1, min(batch, int(pool / held)))
    gib = CONTEXT_GIB + weights_gib(shape) + min(pool, batch * row)
    advice = ""
    if slots < batch:
        advice = f"{stage}: {field}.engine.batch_size={batch}, and about {slots} rows have room at once: the rest wait"
    return Memory(gib=gib, fits=True, slots=slots, advice=advice)


def _held(lengths: Sequence[int], prompt: int) -> float:
    """Return the positions that a row under way holds on average: half its own length, and long rows are met for longer."""
    seen = sum(n * n for n in lengths) / (2 * sum(lengths))
    return prompt + seen + PAGE / 2 + SPARE * PAGE


def static_gib(shape: Shape, settings: TrainSettings) -> float:
    """Return what training holds all the time: weights, what is trained of them, gradients and Adam's means."""
    if not settings.lora:
        return shape.weights * ALL_BYTES / GIB
    heads, keys = (n * shape.head_dim for n in (shape.num_attention_heads, shape.num_key_value_heads))
    sides = 2 * (shape.hidden_size + heads) + 2 * (shape.hidden_size + keys)
    sides += 3 * (shape.hidden_size + shape.intermediate_size)
    adapter = settings.rank * shape.num_hidden_layers * sides * ADAPTER_BYTES
    if settings.quantise == "none":
        return (shape.weights * BYTES + adapter) / GIB
    frozen = shape.layer_weights * NF4_BYTES + (shape.weights - shape.layer_weights) * BYTES
    unpacked = shape.hidden_size * shape.intermediate_size * BYTES
    return (frozen + unpacked + adapter) / GIB


def layers_kept(shape: Shape, hardware: Hardware, settings: TrainSettings, tokens: int) -> int:
    """Return how many layers keep the activations of a part, as :mod:`drp.training.recompute` decides it."""
    layers = shape.num_hidden_layers
    if settings.checkpointing is False or hardware.family == "cpu":
        return layers
    if settings.checkpointing is True:
        return 0
    room = ((1 - MARGIN) * hardware.memory - CONTEXT_GIB - static_gib(shape, settings)) * GIB
    left = room - tokens * (_entering(shape) * layers + GRADIENT_BYTES * shape.intermediate_size)
    return max(0, min(layers, int(left / (tokens * _keeping(shape)))))


def part_gib(shape: Shape, settings: TrainSettings, tokens: int, kept: int) -> float:
    """Return the peak while a part of so many tokens is trained on and so many layers keep their activations."""
    again = shape.num_hidden_layers - kept
    token = _entering(shape) * again + _keeping(shape) * max(kept, 1)
    token += GRADIENT_BYTES * shape.intermediate_size
    return static_gib(shape, settings) + tokens * token / GIB


def training_memory(
    shape: Shape, hardware: Hardware, settings: TrainSettings, longest: int, largest: int | None = None
) -> Memory:
    """Return the memory of training, and which settings would make it fit.

    Args:
        shape: The student's.
        hardware: One of the GPUs.
        settings: Of the training.
        longest: Tokens of the longest example.
        largest: Of the largest part there is, if that is known; left out: the largest that the settings allow.
    """
    most = _most_tokens(settings, longest)
    if hardware.family == "cpu":
        gib = part_gib(shape, settings, largest or most, shape.num_hidden_layers) + CONTEXT_GIB
        return Memory(gib=gib, fits=True)
    if _fits(shape, hardware, settings, longest):
        tokens = min(largest or most, most)
        kept = layers_kept(shape, hardware, settings, tokens)
        return Memory(gib=part_gib(shape, settings, tokens, kept) + CONTEXT_GIB, fits=True)
    gib = part_gib(shape, settings, most, layers_kept(shape, hardware, settings, most)) + CONTEXT_GIB
    return Memory(gib=gib, fits=False, advice=f"train: {_mended(shape, hardware, settings, longest)}")


def _entering(shape: Shape) -> float:
    return BYTES * shape.hidden_size


def _keeping(shape: Shape) -> float:
    return KEPT_BYTES[0] * shape.hidden_size + KEPT_BYTES[1] * shape.intermediate_size


def _most_tokens(settings: TrainSettings, longest: int) -> int:
    """Return the tokens of the largest part: a row beyond the budget is a part of its own, and no part exceeds a step."""
    longest *= settings.texts
    step = settings.effective_batch * longest
    if settings.device_tokens is None:
        return min(settings.device_batch * longest, step)
    return min(max(settings.device_tokens, longest), step)


def _fits(shape: Shape, hardware: Hardware, settings: TrainSettings, longest: int) -> bool:
    tokens = _most_tokens(settings, longest)
    kept = layers_kept(shape, hardware, settings, tokens)
    return part_gib(shape, settings, tokens, kept) + CONTEXT_GIB <= (1 - GAPS) * hardware.memory


def _mended(shape: Shape, hardware: Hardware, settings: TrainSettings, longest: int) -> str:
    """Return the change of settings that costs least and makes training fit."""
    changes: list[dict[str, object]] = [{}]
    if settings.checkpointing is False:
        changes = [{"checkpointing": "auto"}]
    elif settings.quantise == "none" and settings.lora:
        changes.append({"quantise": "nf4"})
    elif not settings.lora:
        changes = [{"lora": True}]
    field = "device_batch" if settings.device_tokens is None else "device_tokens"
    now = int(getattr(settings, field))
    sizes = (
        range(now, 0, -1) if field == "device_batch" else [now, *range((now - 1) // 256 * 256, longest, -256)]
    )
    for change in [*changes, {"checkpointing": "auto", "quantise": "nf4", "lora": True}]:
        for size in [*sizes, *([longest] if field == "device_tokens" and longest < now else [])]:
            tried = settings.model_copy(update={**change, field: size})
            if _fits(shape, hardware, tried, longest):
                said = [
                    f"train.{name}={str(value).lower()}"
                    for name, value in change.items()
                    if getattr(settings, name) != value
                ]
                return "set " + " and ".join([*said, *([f"train.{field}={size}"] if size != now else [])])
    small = settings.model_copy(
        update={
            "device_batch": 1,
            "device_tokens": None,
            "checkpointing": "auto",
            "quantise": "nf4",
            "lora": True,
        }
    )
    most = next((n for n in range(longest // 64 * 64, 255, -64) if _fits(shape, hardware, small, n)), 0)
    if most:
        one = "train.device_batch=1" if settings.device_tokens is None else f"train.device_tokens={most}"
        return f"one row of {longest:,} tokens does not fit; set {one}, train.quantise=nf4 and lower train.max_length to {most}"
    held = static_gib(shape, settings)
    return f"the weights alone take {held:.1f} of {hardware.memory:.0f} GiB; take a larger GPU"


def scoring_memory(shape: Shape, hardware: Hardware, tokens: float) -> Memory:
    """Return the memory of the student teacher: the weights, a pool of keys and values of traces at work, and its passes; other traces wait."""
    held = CONTEXT_GIB + weights_gib(shape)
    traces = SCORED_AT_ONCE * tokens * shape.position_bytes / GIB
    if hardware.family == "cpu":
        return Memory(gib=2 * weights_gib(shape) + traces, fits=True)
    least = held + max(traces / SCORING_SHARE, PASSES_GIB / (1 - SCORING_SHARE))
    if least <= hardware.memory:
        pool = (hardware.memory - held) * SCORING_SHARE
        return Memory(gib=held + pool + PASSES_GIB, fits=True)
    advice = f"prune: the weights and a few traces take {least:.1f} of {hardware.memory:.0f} GiB; take a larger GPU"
    return Memory(gib=least, fits=False, advice=advice)
