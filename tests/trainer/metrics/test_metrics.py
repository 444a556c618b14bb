"""Figures against numbers that can be counted by hand or looked up."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from inspector.defects import MatchCounts
from tests.trainer.judged import drawn, judged
from trainer.metrics.matches import DefectFigures, PartMatches, defect_figures
from trainer.metrics.pixels import Confusion, bootstrap_iou, pixel_intervals
from trainer.metrics.segments import RandError
from trainer.weights import open_touching


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


def test_the_bootstrap_draws_whole_parts() -> None:
    good = np.array([[90, 0], [0, 10]])
    bad = np.array([[90, 10], [0, 0]])
    mixed = bootstrap_iou([good, bad] * 10)
    assert mixed[1, 0] < 0.5 < mixed[1, 1]
    assert mixed[1, 1] - mixed[1, 0] > 0.2
    never = bootstrap_iou([np.array([[5, 0], [0, 0]])] * 3)
    assert np.isnan(never[1]).all()


def test_a_perfect_iou_has_the_interval_that_its_parts_prove() -> None:
    same = bootstrap_iou([np.array([[90, 0], [0, 10]])] * 5)
    assert same.tolist() == [[pytest.approx(0.566, abs=5e-4), 1.0]] * 4, "Wilson of 5 of 5"


def test_one_part_alone_has_no_interval() -> None:
    """Every draw of it is the same; an interval without width would promise what nobody knows."""
    assert np.isnan(bootstrap_iou([np.array([[90, 10], [5, 10]])])).all()


def test_pixel_shares_have_intervals_by_part() -> None:
    good, bad = np.array([[90, 0], [0, 10]]), np.array([[85, 5], [5, 5]])
    found = pixel_intervals([good, bad] * 10)
    for name, value in (("dice", 0.75), ("precision", 0.75), ("recall", 0.75)):
        low, high = found[name][1]
        assert 0.6 < low < value < high < 0.9, name
    low, high = found["pixel_error"][0]
    assert 0.02 < low < 0.05 < high < 0.08


def test_defect_figures_carry_counts_and_intervals() -> None:
    figures = DefectFigures(MatchCounts(found=45, total=46, false_alarms=3, predicted=50), frames=30).json()
    assert figures["recall"] == pytest.approx(45 / 46)
    assert figures["recall_95"][0] == pytest.approx(0.887, abs=5e-4)
    assert figures["false_alarms_per_frame"] == pytest.approx(0.1)
    assert figures["false_alarms_per_frame_95"][0] < 0.1 < figures["false_alarms_per_frame_95"][1]
    assert math.isnan(DefectFigures(MatchCounts(), 3).json()["recall"])


def test_matches_of_one_part_widen_the_interval() -> None:
    found, missed = MatchCounts(4, 4, predicted=4), MatchCounts(0, 4, 6, 6)
    clustered = PartMatches()
    for n in range(10):
        clustered.update(str(n), {"pit": missed if n < 2 else found})
    figures = defect_figures(clustered, ["pit"])
    assert (figures["found"], figures["total"], figures["frames"]) == (32, 40, 10)
    assert (figures["false_alarms"], figures["predicted"], figures["precision"]) == (
        12,
        44,
        pytest.approx(8 / 11),
    )
    low, high = figures["recall_95"]
    plain = DefectFigures(MatchCounts(found=32, total=40), 10).json()["recall_95"]
    assert low < plain[0] - 0.1 and high > plain[1], "eight whole parts, not 32 defects"
    wide, narrow = figures["false_alarms_per_frame_95"], DefectFigures(
        MatchCounts(false_alarms=12, predicted=12), 10
    ).json()["false_alarms_per_frame_95"]  # fmt: skip
    assert wide[0] < narrow[0] and wide[1] > narrow[1]


def test_rand_error_of_cells_between_membranes() -> None:
    truth = np.zeros((9, 9), np.uint8)
    truth[:, 4] = 1
    perfect = RandError()
    perfect.update(judged(truth, truth))
    assert perfect.compute() == pytest.approx(0.0)
    merged = RandError()
    merged.update(judged(truth, np.zeros_like(truth)))
    # Two cells of 36 px in one: recall 1, precision 2 * 36 * 35 / (72 * 71), error 1 - F.
    precision = 2 * 36 * 35 / (72 * 71)
    assert merged.compute() == pytest.approx(1 - 2 * precision / (1 + precision))


def test_rand_error_with_an_instance_mask_looks_at_the_instances() -> None:
    instances = np.zeros((6, 12), np.uint16)
    instances[1:5, 1:5], instances[1:5, 7:11] = 4, 9
    truth = (instances > 0).astype(np.uint8)
    error = RandError()
    error.update(judged(truth, truth, instances, part="a"))
    assert error.compute() == pytest.approx(0.0)
    joined = truth.copy()
    joined[2, 5:7] = 1
    error.update(judged(truth, joined, instances, part="b"))
    assert 0.1 < error.compute() < 0.5
    figures = error.json()
    assert figures["rand_error_frames"] == 2
    assert figures["rand_error_95"][0] <= figures["rand_error"] <= figures["rand_error_95"][1]
    empty = RandError()
    empty.update(judged(drawn("...."), drawn("...."), drawn("....")))
    assert math.isnan(empty.compute()) and math.isnan(empty.json()["rand_error_95"][0])


def test_rand_error_takes_instances_as_seg_does() -> None:
    """A network that was trained on ridges predicts them; an id on good pixels is no instance."""
    instances = drawn("1111112222", "1111112222", "1111112222", "1111112222").astype(np.int32)
    mask = (instances > 0).astype(np.uint8)
    opened, _ = open_touching(mask, instances)
    assert (opened != mask).any()
    ridged = RandError()
    ridged.update(judged(mask, opened, instances))
    assert ridged.compute() == pytest.approx(0.0)
    truth, stray = drawn("111....", "111...."), drawn("111.222", "111.222")
    strayed = RandError()
    strayed.update(judged(truth, truth, stray))
    assert strayed.compute() == pytest.approx(0.0)


@pytest.mark.parametrize("seed", range(4))
def test_rand_error_counts_pairs_of_pixels(seed: int) -> None:
    """1 - F of precision and recall over all pairs of pixels that lie in true cells, counted one by one."""
    random = np.random.default_rng(seed)
    truth, said = (random.integers(0, 3, (7, 8)) == 0 for _ in range(2))
    true_id, said_id = (ndimage.label(~walls)[0] for walls in (truth, said))
    at = np.flatnonzero(true_id)
    same_true = true_id.flat[at][:, None] == true_id.flat[at][None]
    same_said = said_id.flat[at][:, None] == said_id.flat[at][None]
    pairs = ~np.eye(len(at), dtype=bool)
    both = np.count_nonzero(same_true & same_said & pairs)
    precision, recall = (both / np.count_nonzero(same & pairs) for same in (same_said, same_true))
    error = RandError()
    error.update(judged(truth, said))
    assert error.compute() == pytest.approx(1 - 2 * precision * recall / (precision + recall))
