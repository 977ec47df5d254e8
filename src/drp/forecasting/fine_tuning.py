"""What training takes: the parts in which its steps go through the model, how many layers recompute, and the seconds.

A part costs what starting its kernels costs, layer by layer, more where a layer computes its activations again; what
multiplying costs, at the matrix peak at best; and what carrying activations to memory and back costs. The first two and the last
are fitted, never below zero, to the measured rows of a family of devices, and so is how far multiplying stays behind the peak.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np
from scipy.optimize import nnls  # pyright: ignore[reportUnknownVariableType]

from drp.forecasting.hardware import Hardware, hardware_of
from drp.forecasting.lengths import draw
from drp.forecasting.memory import NF4_BYTES, layers_kept
from drp.forecasting.shapes import BYTES, Shape, named_shape
from drp.forecasting.tables import table
from drp.training.parts import parts_of, shared_out
from drp.training.settings import TrainSettings

WORK, ALL_WORK, AGAIN = 4, 6, 2
"""Operations a weight and token: forward and back to an adapter; to all weights; and what recomputing all layers adds."""
UPDATE_BYTES = 28
"""Bytes that a step reads and writes for each trained weight: itself, its gradient and Adam's two means, in float32."""
GROUPED = 50
"""Steps among whose rows the trainer sorts by length, at most."""


@dataclass(frozen=True)
class Terms:
    """Sums over the parts of one process, each beside the coefficient that it is fitted or scaled by."""

    starting: float
    """Layers that kept their activations."""
    starting_again: float
    """Layers that computed them again."""
    multiplying: float
    """Seconds at the matrix peak."""
    streaming: float
    """Seconds at the bandwidth limit, if each of an inner layer's activations were carried once each way."""
    fixed: float
    """Seconds of updating all weights, and of reading four-bit ones; by the bandwidth, not measured."""


def steps_of(lengths: Sequence[int], settings: TrainSettings) -> list[list[int]]:
    """Return the rows of each optimizer step, of like lengths as the trainer groups them."""
    batch = settings.effective_batch
    mixed = list(lengths)
    random.Random(0).shuffle(mixed)
    many = batch * max(1, min(GROUPED, len(mixed) // (batch * 4)))
    found: list[list[int]] = []
    for start in range(0, len(mixed), many):
        rows = sorted(mixed[start : start + many], reverse=True)
        found += [rows[n : n + batch] for n in range(0, len(rows), batch)]
    return found


def parts(lengths: Sequence[int], settings: TrainSettings, *, gpu: bool, processes: int = 1) -> list[int]:
    """Return the tokens, padding included, of each forward pass in one pass over the examples.

    Args:
        lengths: Tokens of the examples; of a pair, those of one text.
        settings: Of the training.
        gpu: Whether it runs on a GPU, where examples are packed if nothing says otherwise.
        processes: That share each step; the parts are those of whichever has most to do.
    """
    found: list[int] = []
    packed = packs(settings, gpu=gpu)
    lengths = [settings.texts * n for n in lengths]
    for step in steps_of(lengths, settings):
        whole = len(step) - len(step) % processes
        hands = [[step[n] for n in hand] for hand in shared_out(step[:whole], processes)] if whole else [step]
        rows = max(hands, key=sum)  # the others wait for the process that has most
        size = settings.device_batch
        groups = (
            [list(range(n, min(n + size, len(rows)))) for n in range(0, len(rows), size)]
            if settings.device_tokens is None
            else parts_of(rows, settings.device_tokens, packed=packed)
        )
        for group in groups:
            own = [rows[n] for n in group]
            found.append(sum(own) if packed else len(own) * max(own))
    return found


def packs(settings: TrainSettings, *, gpu: bool) -> bool:
    """Return whether examples lie end to end; that the model allows it is taken for granted."""
    possible = settings.device_tokens is not None and settings.attention != "eager"
    wanted = gpu if settings.packing == "auto" else settings.packing
    return possible and wanted


def seconds_to_train(
    shape: Shape, lengths: Sequence[int], settings: TrainSettings, hardware: Hardware, processes: int = 1
) -> float:
    """Return the seconds of one pass over examples of so many tokens."""
    done = parts(lengths, settings, gpu=hardware.family == "gpu", processes=processes)
    steps = len(lengths) / settings.effective_batch
    terms = _terms(shape, done, settings, hardware, steps)
    start, again, behind, streaming = _rates(hardware.family)
    return (
        start * terms.starting
        + again * terms.starting_again
        + (1 + behind) * terms.multiplying
        + streaming * terms.streaming
        + terms.fixed
    )


def training_limit(shape: Shape, tokens: float, settings: TrainSettings, hardware: Hardware) -> float:
    """Return the seconds at matrix peak, with nothing computed twice."""
    work = WORK if settings.lora else ALL_WORK
    return work * shape.used * tokens / (hardware.flops * 1e12)


def _terms(
    shape: Shape, done: Sequence[int], settings: TrainSettings, hardware: Hardware, steps: float
) -> Terms:
    layers, bandwidth = shape.num_hidden_layers, hardware.bandwidth * 1e12
    work = WORK if settings.lora else ALL_WORK
    starting = starting_again = multiplying = streaming = fixed = 0.0
    for tokens in done:
        kept = layers_kept(shape, hardware, settings, tokens)
        again = layers - kept
        starting, starting_again = starting + kept, starting_again + again
        operations = work + AGAIN * again / layers
        multiplying += operations * shape.used * tokens / (hardware.flops * 1e12)
        carried = tokens * layers * shape.intermediate_size * BYTES
        streaming += operations / WORK * carried / bandwidth
        if settings.quantise == "nf4":  # unpacked for every way through the layers
            fixed += (2 + again / layers) * shape.layer_weights * (NF4_BYTES + 2 * BYTES) / bandwidth
    if not settings.lora:
        fixed += steps * shape.weights * UPDATE_BYTES / bandwidth
    return Terms(starting, starting_again, multiplying, streaming, fixed)


@lru_cache
def _rates(family: str) -> tuple[float, float, float, float]:
    """Return seconds a layer and part that keeps its activations, the same where it does not, and two shares of limits.

    The first share is what multiplying takes beyond the matrix peak, the second stands beside :attr:`Terms.streaming`.
    """
    terms: list[list[float]] = []
    seconds: list[float] = []
    rows = [row for row in table("measured")["train"] if hardware_of(row["device"]).family == family]
    for row in rows:
        shape, hardware = named_shape(row["shape"]), hardware_of(row["device"])
        settings = TrainSettings(**row["settings"])
        lengths = draw(row["mean"], row["most"], 400)
        found = _terms(shape, parts(lengths, settings, gpu=family == "gpu"), settings, hardware, 0)
        measured = sum(lengths) / row["tokens_per_s"]
        seconds.append(measured)
        rest = measured - found.multiplying  # multiplying is never quicker than the peak, whatever is fitted
        terms.append(
            [
                part / rest
                for part in (found.starting, found.starting_again, found.multiplying, found.streaming)
            ]
        )
    if len(rows) < 4:  # too few to tell the four apart: all of it is multiplying
        return 0.0, 0.0, float(np.mean([1 / term[2] for term in terms])), 0.0
    solve = cast("Callable[..., tuple[Sequence[float], float]]", nnls)
    a, b, c, d = solve(np.asarray(terms), np.ones(len(terms)))[0]
    return float(a), float(b), float(c), float(d)
