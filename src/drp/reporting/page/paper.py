"""The results that the paper reports (arXiv 2505.13975), as points beside ours: theirs, under their protocol."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A result of the paper."""

    benchmark: str
    student: str
    """Which R1-Distill-Qwen: ``1.5B`` or ``7B``."""
    method: str
    accuracy: float
    """Per cent of the problems."""
    tokens: int
    """Mean tokens of a completion."""


_SIZES = {"gsm8k": None, "math500": None, "aime24": 30, "amc23": 40}
"""Benchmarks in the order of the rows below; the paper counts right answers where a number of problems stands here."""
_ROWS = (
    ("7B", "base", (91.7, 917), (92.4, 2486), (15, 8674), (31, 4845)),
    ("7B", "TALE", (91.0, 522), (91.6, 2530), (10, 8602), (31, 3998)),
    ("7B", "CoT-Valve", (90.8, 364), (89.4, 1975), (13, 6315), (30, 3157)),
    ("7B", "DRP", (94.1, 328), (93.0, 1781), (15, 4966), (33, 3258)),
    ("1.5B", "base", (70.7, 1443), (80.4, 3276), (6, 10484), (23, 6516)),
    ("1.5B", "ThinkPrune", (80.0, 712), (79.2, 2006), (9, 5745), (25, 3291)),
    ("1.5B", "DRP", (83.4, 721), (82.0, 2122), (10, 6135), (27, 3657)),
)
PUBLISHED = tuple(
    Published(benchmark, student, method, 100 * right / size if size else right, tokens)
    for student, method, *cells in _ROWS
    for (benchmark, size), (right, tokens) in zip(_SIZES.items(), cells, strict=True)
)
"""All points."""


def published(benchmark: str) -> list[Published]:
    """Return the paper's points on a benchmark; none for one that it did not run."""
    return [point for point in PUBLISHED if point.benchmark == benchmark]
