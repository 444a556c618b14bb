"""Thresholds follow the validation frames, and their number."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.thresholds import ProbabilityHistogram


def frame(level_in: int, level_out: int, blobs: int) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((8, 4 * blobs), np.uint8)
    mask[2:5, ::4] = mask[2:5, 1::4] = 1
    return np.where(mask == 1, level_in, level_out).astype(np.uint8)[..., None], mask


def test_it_lies_between_defects_and_good_pixels() -> None:
    histogram = ProbabilityHistogram(1)
    histogram.add(*frame(200, 150, blobs=12))
    (choice,) = histogram.choose([None])
    assert 150 / 255 < choice.threshold <= 200 / 255
    assert choice.iou == 1.0
    assert choice.defects == 12
    assert histogram.score() == 1.0


def test_few_defects_stay_near_the_prior() -> None:
    few, many = ProbabilityHistogram(1), ProbabilityHistogram(1)
    few.add(*frame(240, 200, blobs=1))
    many.add(*frame(240, 200, blobs=20))
    prior = 0.3
    own = many.choose([prior])[0].threshold
    assert few.choose([prior])[0].threshold == pytest.approx(prior + 0.1 * (own - prior))


def test_a_class_that_no_frame_shows_keeps_the_prior_and_has_no_score() -> None:
    histogram = ProbabilityHistogram(2)
    probs, mask = frame(200, 10, blobs=10)
    histogram.add(np.concatenate([probs, probs * 0], 2), mask)
    choice = histogram.choose([None, 0.4])[1]
    assert (choice.threshold, choice.iou) == (0.4, None)
    assert histogram.score() == 1.0


def test_ignored_pixels_do_not_count() -> None:
    probs, mask = frame(200, 220, blobs=10)
    histogram = ProbabilityHistogram(1)
    histogram.add(probs, np.where(mask == 1, 1, 255).astype(np.uint8))
    assert histogram.choose([None])[0].iou == 1.0
