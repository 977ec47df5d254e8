"""GPU memory of each stage, and which setting to lower where it does not fit.

Training's formula reproduces four measured peaks of one H100 (1.5B and 7B, batches of 2 and 8 rows of at most 4,000
tokens with checkpointing: 5.5, 11.8, 19 and 32.7 GiB) to 0.3 GiB.
"""

from drp.forecasting.hardware import Hardware
from drp.forecasting.shapes import BYTES, Shape
from drp.records import Record

GIB = 2**30
CONTEXT_GIB = 1.0
"""What the driver, kernels and graphs take; about."""
SLOTS_SHARE = 0.7
"""Most of what is free that the decoder gives to caches; see ``engines/slots.py``."""
CHECKPOINT_BYTES, LAYER_BYTES, ALL_BYTES = 2, 21.5, 13.7
"""Bytes a training token: an input of every layer kept; the inside of one layer at work; that of every layer, without checkpointing."""
SCORED_AT_ONCE = 32


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
    shape: Shape, hardware: Hardware, batch: int, prompt: int, limit: int, stage: str, field: str
) -> Memory:
    """Return the memory of decoding, whose slots have room for a prompt and the longest completion each."""
    row = shape.position_bytes * -(-(prompt + limit) // 128) * 128 / GIB
    if hardware.family == "cpu":
        return Memory(gib=weights_gib(shape) * 2 + batch * row, fits=True, slots=batch)
    free = hardware.memory - CONTEXT_GIB - weights_gib(shape)
    room = int(max(0.0, free) * SLOTS_SHARE / row)
    slots = max(0, min(batch, room))
    needed = CONTEXT_GIB + weights_gib(shape) + max(1, slots) * row
    if free <= 0 or not slots:
        most = int(max(0.0, free) * SLOTS_SHARE / (row / (prompt + limit))) - prompt
        advice = (
            f"{stage}: a completion of {limit:,} tokens does not fit; lower {field}.sampling.max_new_tokens to {most:,}"
            if most >= 512
            else f"{stage}: the weights alone take {weights_gib(shape):.1f} of {hardware.memory:.0f} GiB; take a larger GPU or a smaller student"
        )
        return Memory(gib=needed, fits=False, slots=0, advice=advice)
    advice = ""
    if slots < batch:
        half = int(max(0.0, free) * SLOTS_SHARE / batch / (row / (prompt + limit))) - prompt
        advice = (
            f"{stage}: {field}.engine.batch_size={batch}, and {slots} rows of {limit:,} tokens have room: the rest wait"
            + (f". max_new_tokens={half // 100 * 100:,} would make room for all" if half >= limit / 2 else "")
        )
    return Memory(gib=needed, fits=True, slots=slots, advice=advice)


def training_gib(shape: Shape, batch: int, length: int, *, checkpointing: bool) -> float:
    """Return the peak of LoRA training on rows of at most ``length`` tokens."""
    layers, inner = shape.num_hidden_layers, shape.intermediate_size
    kept = CHECKPOINT_BYTES * layers * shape.hidden_size + LAYER_BYTES * inner
    token = kept if checkpointing else ALL_BYTES * inner * layers
    return weights_gib(shape) + batch * length * token / GIB


def training_memory(
    shape: Shape, hardware: Hardware, batch: int, length: int, *, checkpointing: bool
) -> Memory:
    """Return the memory of training, and how many rows at once, or which length, would fit."""
    gib = training_gib(shape, batch, length, checkpointing=checkpointing) + CONTEXT_GIB
    if gib <= hardware.memory or hardware.family == "cpu":
        return Memory(gib=gib, fits=True)

    def fits(rows: int, checkpoints: bool) -> bool:
        return training_gib(shape, rows, length, checkpointing=checkpoints) + CONTEXT_GIB <= hardware.memory

    most = next((rows for rows in range(batch, 0, -1) if fits(rows, checkpointing)), 0)
    if most:
        advice = f"train: lower train.device_batch from {batch} to {most}"
    elif not checkpointing and fits(1, True):
        most = next(rows for rows in range(batch, 0, -1) if fits(rows, True))
        advice = f"train: set train.checkpointing=true and train.device_batch={most}"
    else:
        token = training_gib(shape, 1, length, checkpointing=True) - weights_gib(shape)
        room = int((hardware.memory - CONTEXT_GIB - weights_gib(shape)) * length / token)
        advice = (
            f"train: one row of {length:,} tokens does not fit; set train.device_batch=1, train.checkpointing=true and lower "
            f"train.max_length to {room // 64 * 64:,}"
            if room >= 256
            else f"train: the weights alone take {weights_gib(shape):.1f} of {hardware.memory:.0f} GiB; take a larger GPU"
        )
    return Memory(gib=gib, fits=False, advice=advice)


def scoring_memory(shape: Shape, hardware: Hardware, tokens: float) -> Memory:
    """Return the memory of the student teacher: the weights, and keys and values of traces at work; others wait."""
    gib = CONTEXT_GIB + weights_gib(shape) + SCORED_AT_ONCE * tokens * shape.position_bytes * 2 / GIB
    least = CONTEXT_GIB + weights_gib(shape) + 4 * tokens * shape.position_bytes * 2 / GIB
    fits = least <= hardware.memory or hardware.family == "cpu"
    advice = (
        ""
        if fits
        else f"prune: the weights and a few traces take {least:.1f} of {hardware.memory:.0f} GiB; take a larger GPU"
    )
    return Memory(gib=min(gib, max(least, 0.8 * hardware.memory)), fits=fits, advice=advice)
