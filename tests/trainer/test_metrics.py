"""Figures against numbers that can be counted by hand or looked up."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inspector.defects import MatchCounts
from trainer.metrics import Confusion, DefectFigures, RandError, bootstrap_iou, poisson_rate, wilson


def test_a_confusion_counts_pixels_and_leaves_ignored_ones_out() -> None:
    truth = np.array([[0, 0, 1, 1], [0, 255, 1, 2]], np.uint8)
    said = np.array([[0, 1, 1, 1], [0, 2, 0, 2]], np.uint8)
    confusion = Confusion(4)
    confusion.update(truth, said)
    assert confusion.matrix.sum() == 7
    assert confusion.iou()[:3].tolist() == pytest.approx([2 / 4, 2 / 4, 1.0])
    assert math.isnan(confusion.iou()[3])
    assert confusion.miou() == pytest.approx(2 / 3), "class 3 is in neither and left out"
    assert confusion.pixel_error() == pytest.approx(2 / 7)
    row = confusion.of_class(1)
    assert (row["iou"], row["dice"]) == (pytest.approx(0.5), pytest.approx(2 / 3))
    assert (row["precision"], row["recall"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (row["true_px"], row["predicted_px"]) == (3, 3)


def test_a_class_that_is_only_predicted_counts_as_zero() -> None:
    confusion = Confusion(2)
    confusion.update(np.zeros((1, 4), np.uint8), np.array([[0, 0, 0, 1]], np.uint8))
    assert confusion.miou() == pytest.approx(0.375)
    assert math.isnan(confusion.of_class(1)["recall"])


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


def test_the_bootstrap_draws_whole_parts() -> None:
    good = np.array([[90, 0], [0, 10]])
    bad = np.array([[90, 10], [0, 0]])
    same = bootstrap_iou([good] * 5)
    assert same.tolist() == [[1.0, 1.0]] * 3
    mixed = bootstrap_iou([good, bad] * 10)
    assert mixed[1, 0] < 0.5 < mixed[1, 1]
    assert mixed[1, 1] - mixed[1, 0] > 0.2
    never = bootstrap_iou([np.array([[5, 0], [0, 0]])] * 3)
    assert np.isnan(never[1]).all() and never[2].tolist() == [1.0, 1.0]


def test_one_part_alone_has_no_interval() -> None:
    """Every draw of it is the same; an interval without width would promise what nobody knows."""
    assert np.isnan(bootstrap_iou([np.array([[90, 10], [5, 10]])])).all()


def test_defect_figures_carry_counts_and_intervals() -> None:
    figures = DefectFigures(MatchCounts(found=45, total=46, false_alarms=3, predicted=50), frames=30).json()
    assert figures["recall"] == pytest.approx(45 / 46)
    assert figures["recall_95"][0] == pytest.approx(0.887, abs=5e-4)
    assert figures["false_alarms_per_frame"] == pytest.approx(0.1)
    assert figures["false_alarms_per_frame_95"][0] < 0.1 < figures["false_alarms_per_frame_95"][1]
    assert math.isnan(DefectFigures(MatchCounts(), 3).json()["recall"])


def test_rand_error_of_cells_between_membranes() -> None:
    truth = np.zeros((9, 9), np.uint8)
    truth[:, 4] = 1
    perfect = RandError()
    perfect.update(truth, truth, None)
    assert perfect.compute() == pytest.approx(0.0)
    merged = RandError()
    merged.update(truth, np.zeros_like(truth), None)
    # Two cells of 36 px in one: recall 1, precision 2 * 36 * 35 / (72 * 71), error 1 - F.
    precision = 2 * 36 * 35 / (72 * 71)
    assert merged.compute() == pytest.approx(1 - 2 * precision / (1 + precision))


def test_rand_error_with_an_instance_mask_looks_at_the_instances() -> None:
    instances = np.zeros((6, 12), np.uint16)
    instances[1:5, 1:5], instances[1:5, 7:11] = 4, 9
    truth = (instances > 0).astype(np.uint8)
    error = RandError()
    error.update(truth, truth, instances)
    assert error.compute() == pytest.approx(0.0)
    joined = truth.copy()
    joined[2, 5:7] = 1
    error.update(truth, joined, instances)
    assert 0.1 < error.compute() < 0.5
    empty = RandError()
    empty.update(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint16))
    assert math.isnan(empty.compute())
