"""Precision and recall over thresholds, against hand counts and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.judged import judged
from trainer.metrics.curves import POINTS, DefectCurves, PixelCurves, average_precision


def test_pixel_points_are_as_counted() -> None:
    truth = np.array([[1, 1, 1, 0, 0, 255]], np.uint8)
    probs = np.array([[[250], [100], [20], [100], [0], [255]]], np.uint8)
    curves = PixelCurves(["pit"])
    curves.update(judged(truth, truth == 1, probs=probs))
    curve = curves.json()["pixel_curves"]["pit"]
    at = {round(p["threshold"] * 255): p for p in curve["points"]}
    assert tuple(at) == POINTS
    assert (at[95]["precision"], at[95]["recall"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (at[5]["precision"], at[5]["recall"]) == (pytest.approx(3 / 4), 1.0)
    assert (at[245]["precision"], at[245]["recall"]) == (1.0, pytest.approx(1 / 3))
    assert np.isnan(at[255]["precision"]) and at[255]["recall"] == 0.0, "nothing is said at that level"
    # 1/3 of the recall at precision 1, then 1/3 at 2/3, the last at 3/4.
    assert curve["average_precision"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_average_precision_is_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(3)
    own = random.random(4000) < 0.1
    levels = np.clip(random.normal(60, 40, 4000) + 60 * own, 0, 255).astype(np.int64)
    counts = np.bincount(own * 256 + levels, minlength=512).reshape(2, 256).astype(float)
    assert float(average_precision(counts)) == pytest.approx(metrics.average_precision_score(own, levels))
    none = np.zeros((2, 256))
    none[0, 7] = 5
    assert np.isnan(average_precision(none)) or average_precision(none) == 0


def test_a_class_that_no_frame_shows_has_no_pixel_curve() -> None:
    truth = np.array([[1, 0]], np.uint8)
    curves = PixelCurves(["pit", "dent"])
    curves.update(judged(truth, truth, classes=2))
    assert list(curves.json()["pixel_curves"]) == ["pit"]


def test_intervals_of_the_pixel_curve_are_by_part() -> None:
    curves = PixelCurves(["pit"])
    truth = np.array([[1, 1, 0, 0]], np.uint8)
    for n in range(8):
        probs = np.array([[[200], [200 * (n % 2)], [0], [0]]], np.uint8)
        curves.update(judged(truth, truth, probs=probs, part=str(n)))
    point = curves.json()["pixel_curves"]["pit"]["points"][10]
    assert point["recall"] == pytest.approx(0.75)
    assert 0.4 < point["recall_95"][0] < 0.6 and 0.85 < point["recall_95"][1] < 1.0
    assert point["precision"] == 1.0 and point["precision_95"][0] == pytest.approx(0.676, abs=1e-3)


def test_defect_points_count_defects_and_false_alarms() -> None:
    truth, probs = np.zeros((20, 60), np.uint8), np.zeros((20, 60, 1), np.uint8)
    for n, level in enumerate((250, 120)):
        truth[5:9, 12 * n + 4 : 12 * n + 8] = 1
        probs[5:9, 12 * n + 4 : 12 * n + 8] = level
    probs[15:17, 50:52] = 180
    curves = DefectCurves(["pit"])
    curves.update(judged(truth, probs[..., 0] > 127, probs=probs))
    line = curves.json()["defect_curves"]["pit"]
    low, high = line[0], line[-4]
    assert (low["found"], low["total"], low["false_alarms"], low["precision"]) == (
        2,
        2,
        1,
        pytest.approx(2 / 3),
    )
    assert (high["found"], high["false_alarms"], high["precision"]) == (1, 0, 1.0)
    assert low["recall_95"][1] == 1.0 and low["recall_95"][0] < 0.4
