"""Intervals against published tables and against what chance does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trainer.metrics.intervals import (
    bootstrap,
    events_by_parts,
    mean_by_parts,
    poisson_rate,
    rate_by_parts,
    share,
    student,
    wilson,
)


def test_intervals_are_the_published_ones() -> None:
    # Wilson 95 % from the reference tables: 46/46, 45/46, 20/20, 0/103.
    assert wilson(46, 46) == (pytest.approx(0.923, abs=5e-4), 1.0)
    assert wilson(45, 46) == (pytest.approx(0.887, abs=5e-4), pytest.approx(0.996, abs=5e-4))
    assert wilson(20, 20)[0] == pytest.approx(0.839, abs=5e-4)
    assert wilson(0, 103) == (0.0, pytest.approx(0.036, abs=5e-4))
    assert wilson(0, 0) == (0.0, 1.0)
    # Garwood: 0 events give at most 3.689, 10 events 4.795 to 18.39.
    assert poisson_rate(0, 1) == (0.0, pytest.approx(3.689, abs=1e-3))
    assert poisson_rate(10, 2) == (pytest.approx(2.3977, abs=1e-3), pytest.approx(9.195, abs=1e-3))


def test_independent_parts_give_wilsons_interval() -> None:
    assert rate_by_parts([1] * 45 + [0], [1] * 46) == pytest.approx(wilson(45, 46), abs=0.01)
    assert rate_by_parts([1] * 46, [1] * 46) == wilson(46, 46), "a trial a part: nothing to widen"
    assert rate_by_parts([], []) == (0.0, 1.0)


def test_few_parts_count_for_little_however_much_they_show() -> None:
    assert rate_by_parts([30], [50]) == pytest.approx(wilson(0.6, 1)), "one part alone is one trial"
    assert rate_by_parts([4, 4], [4, 4]) == wilson(2, 2), "and two are two at least"
    assert rate_by_parts([8, 1], [8, 1]) == pytest.approx(wilson(1.246, 1.246), abs=1e-3), "one is large"
    # Student's quantile for 40 parts is 2.023: 0.94 of the trials count.
    assert rate_by_parts([5] * 40, [5] * 40) == pytest.approx(wilson(187.9, 187.9), abs=1e-4)
    assert student(1) == math.inf and student(2) == pytest.approx(12.706, abs=1e-3)


def test_parts_that_err_as_a_whole_count_as_one_trial_each() -> None:
    """Ten parts with ten defects each, all found or all missed: ten trials, not a hundred."""
    low, high = rate_by_parts([10] * 8 + [0] * 2, [10] * 10)
    assert (low, high) == pytest.approx(wilson(8 * 0.9, 9), abs=1e-9), (
        "a part less, since the mean is estimated"
    )
    assert high - low > 2 * np.diff(wilson(80, 100))[0]


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    hits = 0
    for _ in range(300):
        chance = random.beta(6, 2, 40)  # parts differ, 0.75 on average
        found = random.binomial(8, chance)
        low, high = rate_by_parts(found.tolist(), [8] * 40)
        hits += low <= 0.75 <= high
    assert 0.91 < hits / 300 < 0.985


@pytest.mark.parametrize("parts", [2, 3, 5, 8, 15])
def test_rates_and_events_of_few_parts_cover_the_truth(parts: int) -> None:
    """Parts with a chance of their own, 50 trials each. By the normal quantile two parts covered 0.77."""
    random = np.random.default_rng(parts)
    rates = events = 0
    for _ in range(400):
        found = random.binomial(50, random.beta(4, 4, parts))
        low, high = rate_by_parts(found.tolist(), [50] * parts)
        rates += low <= 0.5 <= high
        alarms = random.poisson(10 * random.gamma(2, 0.5, parts))  # one a frame on average
        low, high = events_by_parts(alarms.tolist(), [10] * parts)
        events += low <= 1 <= high
    assert rates / 400 > 0.92 and events / 400 > 0.90


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_drawn_parts_cover_the_truth(parts: int) -> None:
    """An error of 0.05 that parts have by 0.01 more or less. Percentiles covered 0.51, 0.74 and 0.89."""
    random = np.random.default_rng(parts)
    hits = 0
    for _ in range(300):
        low, high = mean_by_parts([np.array([3 * error, 3.0]) for error in random.normal(0.05, 0.01, parts)])
        hits += low <= 0.05 <= high
    assert 0.92 < hits / 300 < 0.98


def test_events_in_one_place_say_less_than_events_all_over() -> None:
    assert events_by_parts([1] * 10, [1] * 10) == pytest.approx(poisson_rate(10, 10))
    low, high = events_by_parts([10] + [0] * 9, [1] * 10)
    assert low < 0.2 and high > 3.0
    assert events_by_parts([0] * 6, [1] * 6) == poisson_rate(0, 6)
    assert events_by_parts([0, 0], [3, 3]) == poisson_rate(0, 2), "two parts, not six frames"
    assert events_by_parts([8], [4]) == poisson_rate(2, 1), "one part alone is one frame"
    assert events_by_parts([], []) == (0.0, math.inf)


def test_a_mean_is_drawn_by_parts() -> None:
    low, high = mean_by_parts([np.array([0.0, 1.0]), np.array([1.0, 1.0])] * 10)
    assert low == pytest.approx(1 - high, abs=0.01) and 0.2 < low < 0.35, "about the mean of 0.5"
    assert mean_by_parts([np.array([2.0, 2.0])] * 4) == (pytest.approx(0.510, abs=1e-3), 1.0)
    assert math.isnan(mean_by_parts([np.array([0.5, 1.0])])[0]), "one part has no interval"
    shown_by_one = [np.array([0.5, 1.0]), np.zeros(2), np.zeros(2)]
    assert math.isnan(mean_by_parts(shown_by_one)[0]), "nor has one among parts that do not show it"


def test_a_bootstrap_repeats_itself() -> None:
    parts = [np.array([n, 10]) for n in range(10)]
    first, second = (bootstrap(parts, lambda c: share(c[..., :1], c[..., 1:])) for _ in range(2))
    assert (first == second).all()
