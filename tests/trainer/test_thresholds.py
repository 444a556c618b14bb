"""Thresholds follow the validation frames, and the number of their parts."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.thresholds import ProbabilityHistogram


def frame(level_in: int, level_out: int, blobs: int) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((8, 4 * blobs), np.uint8)
    mask[2:5, ::4] = mask[2:5, 1::4] = 1
    return np.where(mask == 1, level_in, level_out).astype(np.uint8)[..., None], mask


def test_it_lies_between_defects_and_good_pixels() -> None:
    histogram = ProbabilityHistogram(1, ["a"])
    histogram.add(*frame(200, 150, blobs=12), "a")
    (choice,) = histogram.choose([None])
    assert 150 / 255 < choice.threshold <= 200 / 255
    assert choice.iou == 1.0
    assert choice.defects == 12
    assert histogram.score() == 1.0


def test_few_parts_stay_near_the_prior_however_many_defects_they_show() -> None:
    few, many = ProbabilityHistogram(1, "a"), ProbabilityHistogram(1, "abcdefghij")
    few.add(*frame(240, 200, blobs=20), "a")
    few.add(*frame(240, 200, blobs=20), "a")
    for part in "abcdefghij":
        many.add(*frame(240, 200, blobs=1), part)
    prior = 0.3
    own = many.choose([prior])[0].threshold
    assert own * 255 == pytest.approx(220.5)
    assert few.choose([prior])[0].threshold == pytest.approx(prior + 0.1 * (own - prior))


def test_each_class_counts_alike_in_the_threshold_that_all_share() -> None:
    """One with a thousand times the pixels does not outvote the others."""
    probs, mask = np.zeros((100, 100, 3), np.uint8), np.zeros((100, 100), np.uint8)
    mask[:90], mask[92, :10], mask[94, :10] = 1, 2, 3
    probs[:90, :, 0], probs[90:, :, 0] = 250, 240  # the large one needs a high level
    for k, row in ((1, 92), (2, 94)):
        probs[row, :10, k] = 100
    histogram = ProbabilityHistogram(3, ["a"])
    histogram.add(probs, mask, "a")
    shared = histogram.choose([None] * 3)
    assert shared[1].threshold * 255 < 100, "found at the level towards which it is drawn"
    assert shared[1].iou == shared[2].iou == 1.0


def test_a_class_that_no_frame_shows_keeps_the_prior_and_has_no_score() -> None:
    histogram = ProbabilityHistogram(2, ["a"])
    probs, mask = frame(200, 10, blobs=10)
    histogram.add(np.concatenate([probs, probs * 0], 2), mask, "a")
    choice = histogram.choose([None, 0.4])[1]
    assert (choice.threshold, choice.iou) == (0.4, None)
    assert histogram.score() == 1.0


def test_ignored_pixels_do_not_count() -> None:
    probs, mask = frame(200, 220, blobs=10)
    histogram = ProbabilityHistogram(1, ["a"])
    histogram.add(probs, np.where(mask == 1, 1, 255).astype(np.uint8), "a")
    assert histogram.choose([None])[0].iou == 1.0


def test_the_standing_is_the_score_told_part_by_part() -> None:
    histogram = ProbabilityHistogram(2, (f"part {n}" for n in range(70)))
    for n in range(70):
        probs, mask = frame(200 if n % 2 else 100, 120, blobs=3)
        histogram.add(np.concatenate([probs, probs // 2], 2), mask, f"part {n}")
    standing = histogram.standing()
    assert standing.overlap.shape == (64, 2, 2), "more parts than groups share one"
    assert standing.shown[:, 0].all() and not standing.shown[:, 1].any()
    assert standing.score == histogram.score() == pytest.approx(0.5)
    assert standing.iou.tolist() == pytest.approx([0.5, np.nan], nan_ok=True)


def test_parts_are_counted_one_by_one_however_many_there_are() -> None:
    names = [f"part {n}" for n in range(640)]
    histogram = ProbabilityHistogram(1, names)
    for name in names[::64]:
        histogram.add(*frame(240, 200, blobs=1), name)
    assert histogram.choose([0.95])[0].threshold * 255 == pytest.approx(220.5), "ten parts: its own"


def test_the_common_threshold_lies_on_a_peak_and_not_between_two() -> None:
    probs, mask = np.zeros((20, 100, 2), np.uint8), np.zeros((20, 100), np.uint8)
    mask[0], mask[1] = 1, 2
    probs[0, :, 0], probs[2:, :, 0] = 220, 190  # only a high level parts it from good pixels
    probs[1, :, 1] = 60  # only a low one finds it
    histogram = ProbabilityHistogram(2, ["a"])
    histogram.add(probs, mask, "a")
    choices = histogram.choose([None, None])
    assert max(choice.iou or 0.0 for choice in choices) == 1.0
