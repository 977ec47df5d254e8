"""What work costs on given hardware: a roofline with the shares of it that were measured, and what no roofline knows.

A decoding step takes as long as reading the weights and the keys and values it attends to (bandwidth), multiplying
(matrix peak), drawing a token of each row from the vocabulary, and starting each layer's kernels, which costs the same on
every GPU. The four are fitted, never below zero, to the measured steps of a family of devices; on other hardware the first
three scale with its limits. With the eight H100 rows of ``measured.yaml`` the fit is within 10 % of each. Training is fitted
in the same way: what starting its kernels costs a layer, and the share of the matrix peak it reaches.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
from scipy.optimize import nnls  # pyright: ignore[reportUnknownVariableType]

from drp.forecasting.hardware import Hardware, hardware_of
from drp.forecasting.lengths import draw
from drp.forecasting.schedule import Steps
from drp.forecasting.shapes import BYTES, Shape, named_shape
from drp.forecasting.tables import table

PREFILL_SHARE = 0.4
"""Share of the matrix peak at which prompts are read; large matrices reach it easily, and prompts are short."""
TRAIN_WORK = {True: 6, False: 4}
"""Operations a weight and token of LoRA training, with checkpointing (forward twice, back once) and without."""


@dataclass(frozen=True)
class Rates:
    """Fitted coefficients of a family of devices, each in units of the limit it stands beside."""

    layer_s: float
    """Seconds a layer and step, whatever it computes."""
    reading: float
    """Times the bandwidth limit."""
    drawing: float
    """Times reading one row of logits (two bytes each)."""
    multiplying: float
    """Times the matrix limit."""


def seconds_to_decode(shape: Shape, work: Steps, hardware: Hardware) -> float:
    """Return the seconds that decoding steps take."""
    rates = _decoding(hardware.family)
    costs = (rates.layer_s, rates.reading, rates.drawing, rates.multiplying)
    return float(np.dot(costs, _terms(shape, work, hardware)))


def decoding_limit(shape: Shape, work: Steps, hardware: Hardware) -> float:
    """Return the seconds below which no decoding of this work can come: bandwidth or matrix peak, whichever is slower."""
    _, reading, _, multiplying = _terms(shape, work, hardware)
    return max(reading, multiplying)


def seconds_to_read(shape: Shape, tokens: float, hardware: Hardware) -> float:
    """Return the seconds of plain forward passes over so many tokens."""
    return 2 * shape.layer_weights * tokens / (hardware.flops * 1e12 * PREFILL_SHARE)


def seconds_to_train(
    shape: Shape, lengths: Sequence[int], batch: int, hardware: Hardware, *, checkpointing: bool = True
) -> float:
    """Return the seconds of one pass over examples, ``batch`` at a time, each padded to the longest beside it."""
    layer_s, share = _training(hardware.family, checkpointing and hardware.family == "gpu")
    passes, padded = padded_batches(lengths, batch)
    checkpointing = checkpointing and hardware.family == "gpu"
    return passes * layer_s * shape.num_hidden_layers + share * training_limit(
        shape, padded, hardware, checkpointing=checkpointing
    )


def training_limit(shape: Shape, tokens: float, hardware: Hardware, *, checkpointing: bool) -> float:
    """Return the seconds at matrix peak."""
    return TRAIN_WORK[checkpointing] * shape.used * tokens / (hardware.flops * 1e12)


def padded_batches(lengths: Sequence[int], batch: int) -> tuple[int, int]:
    """Return how many batches examples make, and their tokens once each is as long as the longest of its batch."""
    groups = [lengths[i : i + batch] for i in range(0, len(lengths), batch)]
    return len(groups), sum(max(group) * len(group) for group in groups)


def seconds_to_walk(shape: Shape, thinking: Iterable[float], hardware: Hardware) -> float:
    """Return the seconds in which the student teacher judges traces of so many tokens of thinking, many at once.

    So far such steps wait for kernels to start, so a token costs by the number of layers and, little, by their size.
    """
    row = next(r for r in table("measured")["score"] if _family(r) == hardware.family)
    measured, reference = named_shape(row["shape"]), hardware_of(row["device"])
    token_s = 1 / row["tokens_per_s"]
    if hardware.family == "cpu":
        token_s *= shape.used / measured.used * reference.flops / hardware.flops
    else:
        starting = max(0.0, token_s - seconds_to_read(measured, 1, reference))
        token_s = starting * shape.num_hidden_layers / measured.num_hidden_layers + seconds_to_read(
            shape, 1, hardware
        )
    return token_s * sum(map(tokens_computed, thinking))


def tokens_computed(thinking: float) -> float:
    """Return how many tokens the student teacher computes for a trace: a power of its length, as measured."""
    factor, power = _walks()
    return factor * max(1.0, thinking) ** power


@lru_cache
def _walks() -> tuple[float, float]:
    rows = table("measured")["walk"]
    x, y = np.log([r["tokens"] for r in rows]), np.log([r["computed"] for r in rows])
    power, constant = np.polyfit(x, y, 1)
    return float(np.exp(constant)), float(power)


def _terms(shape: Shape, work: Steps, hardware: Hardware) -> tuple[float, float, float, float]:
    """Return layers started, and seconds at the limits of reading, of drawing and of multiplying."""
    bandwidth, peak = hardware.bandwidth * 1e12, hardware.flops * 1e12
    reading = work.steps * shape.used * BYTES + work.reads * shape.position_bytes
    return (
        work.steps * shape.num_hidden_layers,
        reading / bandwidth,
        work.rows * shape.vocab_size * BYTES / bandwidth,
        2 * shape.used * work.rows / peak,
    )


def _family(row: dict[str, Any]) -> str:
    return hardware_of(row["device"]).family


def _fit(terms: Sequence[Sequence[float]], seconds: Sequence[float]) -> list[float]:
    """Return coefficients of zero or more whose relative errors are least, in squares."""
    target = np.asarray(seconds)
    solve = cast("Callable[..., tuple[Sequence[float], float]]", nnls)
    return [float(one) for one in solve(np.asarray(terms) / target[:, None], np.ones(len(target)))[0]]


@lru_cache
def _decoding(family: str) -> Rates:
    rows = [row for row in table("measured")["decode"] if _family(row) == family]
    terms = [
        _terms(named_shape(r["shape"]), Steps(1, r["rows"], r["rows"] * r["span"]), hardware_of(r["device"]))
        for r in rows
    ]
    return Rates(*_fit(terms, [row["ms"] / 1000 for row in rows]))


@lru_cache
def _training(family: str, checkpointing: bool) -> tuple[float, float]:
    """Return seconds a layer and batch, and times the matrix limit; the latter is one for both ways of checkpointing."""
    rows = [row for row in table("measured")["train"] if _family(row) == family]
    terms: list[list[float]] = []
    seconds: list[float] = []
    for row in rows:
        shape, hardware, many = named_shape(row["shape"]), hardware_of(row["device"]), 1_024
        lengths = draw(row["mean"], row["most"], many)
        passes, padded = padded_batches(lengths, row["batch"])
        started = passes * shape.num_hidden_layers
        with_, without = (started, 0.0) if row["checkpointing"] else (0.0, started)
        terms.append(
            [with_, without, training_limit(shape, padded, hardware, checkpointing=row["checkpointing"])]
        )
        seconds.append(sum(lengths) / row["tokens_per_s"])
    if len(rows) < 3:  # too few to tell the two apart: all of it is multiplying
        return 0.0, _fit([term[2:] for term in terms], seconds)[0]
    with_s, without_s, share = _fit(terms, seconds)
    return (with_s if checkpointing else without_s), share
