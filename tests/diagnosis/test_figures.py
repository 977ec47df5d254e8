"""Figures are over problems, and their intervals hold what they claim."""

import numpy as np
import pytest

from drp.diagnosis.figures import change_of, mean_of, share_of


def test_runs_of_one_problem_are_one_problem() -> None:
    figure = mean_of(["a", "a", "a", "b"], [1.0, 1.0, 1.0, 0.0])
    assert figure is not None and figure.value == 0.5 and figure.n == 4
    assert mean_of([], []) is None and share_of(["a"], [0.0], [0.0]) is None


def test_a_share_weighs_by_length_and_stays_a_share() -> None:
    figure = share_of(["a", "b"], [90.0, 0.0], [100.0, 10.0])
    assert figure is not None and figure.value == pytest.approx(90 / 110)
    assert 0 <= figure.interval.low <= figure.value <= figure.interval.high <= 1


def test_the_interval_of_a_share_covers_the_truth_nearly_always() -> None:
    """Parts are Beta(2, 3) of log-normal wholes, independent of them, so the true share is 0.4."""
    rng, held = np.random.default_rng(3), 0
    for _ in range(60):
        wholes = rng.lognormal(6, 0.7, 40)
        parts = wholes * rng.beta(2, 3, 40)
        figure = share_of([str(n) for n in range(40)], parts.tolist(), wholes.tolist())
        held += figure is not None and figure.interval.low <= 0.4 <= figure.interval.high
    assert held >= 52  # of 60; 95 % would be 57, and fewer than 52 has a chance below 1 %


def test_changes_by_construction_have_no_interval_and_estimated_ones_never_claim_certainty() -> None:
    fixed, measured = change_of(["a", "b"], [0.0, 0.0], certain=True), change_of(["a", "b"], [0.0, 0.0])
    assert fixed is not None and fixed.interval.low == fixed.interval.high == 0
    assert measured is not None and measured.interval.low < 0 < measured.interval.high
