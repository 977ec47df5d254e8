"""What work costs on given hardware: a roofline with the shares of it that were measured, and what no roofline knows.

A decoding step takes as long as reading the weights and the keys and values it attends to (bandwidth), multiplying
(matrix peak), drawing a token of each row from the vocabulary, and starting each layer's kernels, which costs the same on
every GPU. Keys and values are read at the share that two lengths of one batch showed; the other four are fitted, never below zero, to
the measured steps of a family of devices. On other hardware all but the starting scale with its limits.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
from scipy.optimize import nnls  # pyright: ignore[reportUnknownVariableType]

from drp.forecasting.hardware import Hardware, hardware_of
from drp.forecasting.schedule import Steps
from drp.forecasting.shapes import BYTES, Shape, named_shape
from drp.forecasting.tables import table

PREFILL_SHARE = 0.4
"""Share of the matrix peak at which prompts are read; large matrices reach it easily, and prompts are short."""


@dataclass(frozen=True)
class Rates:
    """Fitted coefficients of a family of devices, each in units of the limit it stands beside."""

    layer_s: float
    """Seconds a layer and step, whatever it computes."""
    reading: float
    """Times the bandwidth limit of the weights."""
    drawing: float
    """Times reading one row of logits (two bytes each)."""
    multiplying: float
    """Times the matrix limit."""
    attending: float
    """Times the bandwidth limit of keys and values."""


def seconds_to_decode(shape: Shape, work: Steps, hardware: Hardware) -> float:
    """Return the seconds that decoding steps take; never fewer than the slower of its limits."""
    rates = _decoding(hardware.family)
    costs = (rates.layer_s, rates.reading, rates.drawing, rates.multiplying, rates.attending)
    return max(float(np.dot(costs, _terms(shape, work, hardware))), decoding_limit(shape, work, hardware))


def decoding_limit(shape: Shape, work: Steps, hardware: Hardware) -> float:
    """Return the seconds below which no decoding of this work can come: bandwidth or matrix peak, whichever is slower."""
    _, reading, _, multiplying, attending = _terms(shape, work, hardware)
    return max(reading + attending, multiplying)


def seconds_to_read(shape: Shape, tokens: float, hardware: Hardware) -> float:
    """Return the seconds of plain forward passes over so many tokens."""
    return 2 * shape.layer_weights * tokens / (hardware.flops * 1e12 * PREFILL_SHARE)


def seconds_to_walk(shape: Shape, thinking: Iterable[float], hardware: Hardware) -> float:
    """Return the seconds in which the student teacher judges traces of so many tokens of thinking, many at once.

    Measured of one shape only. What it takes beyond a plain forward pass is taken to go by the number of layers.
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


def _terms(shape: Shape, work: Steps, hardware: Hardware) -> tuple[float, float, float, float, float]:
    """Return layers started, and seconds at the limits of reading weights, drawing, multiplying and reading keys and values."""
    bandwidth, peak = hardware.bandwidth * 1e12, hardware.flops * 1e12
    return (
        work.steps * shape.num_hidden_layers,
        work.steps * shape.used * BYTES / bandwidth,
        work.rows * shape.vocab_size * BYTES / bandwidth,
        2 * shape.used * work.rows / peak,
        work.reads * shape.position_bytes / bandwidth,
    )


def _family(row: dict[str, Any]) -> str:
    return hardware_of(row["device"]).family


@lru_cache
def _decoding(family: str) -> Rates:
    rows = [row for row in table("measured")["decode"] if _family(row) == family]
    attending = _attending(family)
    target = [row["ms"] / 1000 for row in rows]
    terms: list[list[float]] = []
    for row, seconds in zip(rows, target, strict=True):
        work = Steps(1, row["rows"], row["rows"] * row["span"])
        *others, reads = _terms(named_shape(row["shape"]), work, hardware_of(row["device"]))
        terms.append([term / (seconds - attending * reads) for term in others])
    solve = cast("Callable[..., tuple[Sequence[float], float]]", nnls)
    layer_s, reading, drawing, multiplying = (
        float(c) for c in solve(np.asarray(terms), np.ones(len(rows)))[0]
    )
    return Rates(layer_s, reading, drawing, multiplying, attending)


def _attending(family: str) -> float:
    """Return times the bandwidth limit in which keys and values are read: what longer rows took more, by what they read more."""
    times: list[float] = []
    for row in table("measured")["attend"]:
        if _family(row) == family:
            more = (
                row["rows"] * (row["spans"][1] - row["spans"][0]) * named_shape(row["shape"]).position_bytes
            )
            limit = more / (hardware_of(row["device"]).bandwidth * 1e12)
            times.append((row["ms"][1] - row["ms"][0]) / 1000 / limit)
    return sum(times) / len(times) if times else 1.0
