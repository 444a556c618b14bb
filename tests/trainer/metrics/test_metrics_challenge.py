"""The errors of the EM challenge, each at the best of ten thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.judged import drawn, judged
from trainer.metrics.challenge import THRESHOLDS, ChallengeErrors
from trainer.metrics.segments import RandError

TRUTH = drawn("....#....", "....#....", "....#....", "....#....")
SURE, FAINT, HALO = 250, 60, 120
"""Levels of a membrane, of a gap in it, and beside it."""


def micrograph() -> np.ndarray:
    """A gap that only a low threshold closes, and a blur that only a high one clears."""
    probs = np.zeros((*TRUTH.shape, 1), np.uint8)
    probs[:, 3:6, 0], probs[:, 4, 0] = HALO, SURE
    probs[1, 3:6, 0] = FAINT
    return probs


def test_each_error_has_a_threshold_of_its_own() -> None:
    found = ChallengeErrors()
    found.update(judged(TRUTH, TRUTH * 0, probs=micrograph()))
    figures = found.json()["challenge"]
    assert figures["rand_error"]["threshold"] == 0.05, "closed, if thick"
    # At 0.55 and above the blur is gone and one pixel of the membrane is missing.
    assert figures["pixel_error"]["threshold"] == 0.55
    assert figures["pixel_error"]["lowest"] == pytest.approx(1 / TRUTH.size)
    for name in ("rand_error", "pixel_error"):
        assert figures[name]["thresholds"] == list(THRESHOLDS)
        assert figures[name]["lowest"] == min(figures[name]["errors"])


def test_a_level_gives_what_its_mask_gives() -> None:
    found, plain = ChallengeErrors(), RandError()
    found.update(judged(TRUTH, TRUTH, probs=micrograph()))
    plain.update(judged(TRUTH, (micrograph()[..., 0] >= 255 * 0.35).astype(np.uint8)))
    assert found.json()["challenge"]["rand_error"]["errors"][3] == pytest.approx(plain.compute())


def test_ignored_pixels_do_not_count_and_frames_are_averaged() -> None:
    truth = TRUTH.copy()
    truth[1, 4] = 255
    found = ChallengeErrors()
    found.update(judged(truth, truth, probs=micrograph()))
    assert found.json()["challenge"]["pixel_error"]["lowest"] == 0.0
    found.update(judged(TRUTH, TRUTH, probs=micrograph()))
    assert found.json()["challenge"]["pixel_error"]["lowest"] == pytest.approx(1 / (2 * TRUTH.size - 1))


def test_objects_and_several_classes_have_none() -> None:
    found = ChallengeErrors()
    found.update(judged(TRUTH, TRUTH, TRUTH))
    found.update(judged(TRUTH, TRUTH, classes=2))
    assert found.json() == {}
