"""SEG, AP50, merges and splits on instances that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tests.trainer.judged import drawn, judged
from trainer.metrics.instances import (
    COUNTED,
    InstanceFigures,
    count_instances,
    grow_back,
    predicted_instances,
)
from trainer.weights import instances_of, open_touching


def counted(truth: np.ndarray, said: np.ndarray) -> dict[str, float]:
    return dict(zip(COUNTED, count_instances(truth, said).tolist(), strict=True))


def test_the_ridge_between_touching_instances_is_given_back() -> None:
    instances = drawn("111111222", "111111222", "111111222").astype(np.int32)
    mask = (instances > 0).astype(np.uint8)
    opened, parted = open_touching(mask, instances)
    assert not opened[:, 5].any(), "the larger one gave the ridge"
    assert (grow_back(opened, parted) == instances).all()
    assert (predicted_instances(opened) == instances).all()


@settings(max_examples=25, deadline=None, derandomize=True)  # a sliver of a cell may lose more than these do
@given(st.integers(0, 2**32 - 1))
def test_opening_and_growing_back_gives_the_instances_again(seed: int) -> None:
    """Touching cells of a Voronoi diagram, clipped to discs so that some background is left."""
    random = np.random.default_rng(seed)
    seeds = np.ones((80, 90), bool)
    points = random.integers(5, 75, (9, 2))
    seeds[tuple(points.T)] = False
    distance, (ys, xs) = ndimage.distance_transform_edt(seeds, return_indices=True)
    owner = {tuple(point): n for n, point in enumerate(points.tolist(), start=1)}
    cells = np.vectorize(lambda y, x: owner[y, x])(ys, xs) * (distance < 18)
    cells = instances_of((cells > 0).astype(np.uint8), cells)
    opened, parted = open_touching((cells > 0).astype(np.uint8), cells)
    grown = grow_back(opened, parted)
    assert (grown[opened > 0] == cells[opened > 0]).all(), "only the ridge changes"
    ridge = (cells > 0) & (opened == 0)
    assert (grown[ridge] > 0).mean() > 0.95, "but where a sliver of a cell was ridge all through"
    found = counted(cells, grown)
    assert found["hits"] == found["true"] == found["predicted"]
    assert found["jaccard"] / found["true"] > 0.93


def test_a_gap_between_classes_and_a_wide_gap_stay_open() -> None:
    mask = drawn("111.222", "111.222")
    ids = instances_of(mask)
    assert (grow_back(mask, ids) == ids).all()
    wide = drawn("111..111", "111..111")
    assert (grow_back(wide, instances_of(wide)) == instances_of(wide)).all()
    assert (grow_back(drawn("..."), np.zeros((1, 3), np.int32)) == 0).all()


def test_seg_and_hits_of_shifted_squares() -> None:
    truth, said = np.zeros((10, 40), np.int32), np.zeros((10, 40), np.int32)
    truth[0:10, 0:10], said[0:10, 2:12] = 1, 1  # J = 80 / 120
    truth[0:10, 15:25], said[0:10, 20:30] = 2, 2  # half of it exactly: not more than half, so no match
    truth[0:10, 32:36] = 3  # not found
    found = counted(truth, said)
    assert found["jaccard"] == pytest.approx(80 / 120)
    assert (found["true"], found["predicted"], found["hits"]) == (3, 2, 1)
    assert (found["merges"], found["merged"], found["splits"], found["split"]) == (0, 0, 0, 0)


def test_seg_matches_by_half_of_the_truth_whatever_the_iou() -> None:
    truth, said = np.zeros((10, 10), np.int32), np.zeros((10, 10), np.int32)
    truth[0:2, 0:3], said[:, :] = 7, 1  # 6 px inside 100: SEG counts it, AP50 does not
    found = counted(truth, said)
    assert found["jaccard"] == pytest.approx(0.06) and found["hits"] == 0


def test_a_merge_and_a_split_are_counted_with_their_instances() -> None:
    truth = drawn("111.222.333", "111.222.333").astype(np.int32)
    said = drawn("11111112222", "11111112222").astype(np.int32)
    found = counted(truth, said)
    assert (found["merges"], found["merged"]) == (1, 2)
    assert (found["splits"], found["split"]) == (0, 0)
    back = counted(said, truth)
    assert (back["splits"], back["split"]) == (1, 1), "one instance in two pieces"
    assert (back["merges"], back["merged"]) == (0, 0)
    three = counted(drawn("1.2.3").astype(np.int32), drawn("11111").astype(np.int32))
    assert (three["merges"], three["merged"]) == (2, 3)


def test_a_speck_inside_is_no_piece() -> None:
    truth, said = np.ones((10, 10), np.int32), np.ones((10, 10), np.int32)
    said[:, 5] = 0
    said[0, 5] = 0
    said[9, 9] = 2  # one pixel of a hundred
    said[:, 6:][said[:, 6:] == 1] = 1
    assert counted(truth, said)["split"] == 0


def test_the_figures_are_pooled_over_frames_with_intervals_by_part() -> None:
    truth = drawn("11..22..33", "11..22..33")
    good = judged((truth > 0), (truth > 0), truth, part="a")
    said = drawn("111111..33", "111111..33") > 0
    bad = judged((truth > 0), said, truth, part="b")
    figures = InstanceFigures(["cell"], ["seg", "ap50"])
    figures.update(good)
    figures.update(bad)
    found = figures.json()
    # Frame b: instances 1 and 2 share a prediction of 12 px that holds 4 of each: J = 4 / 12.
    assert found["seg"] == pytest.approx((3 + 1 / 3 + 1 / 3 + 1) / 6)
    assert found["ap50"] == pytest.approx(4 / (4 + 1 + 2))
    assert found["ap50_by_frame"] == pytest.approx((3 / 3 + 1 / 4) / 2)
    assert found["ap50_by_frame_95"][0] < found["ap50_by_frame"] < found["ap50_by_frame_95"][1]
    rows = found["instances"]
    assert (rows["true"], rows["predicted"], rows["matched"]) == (6, 5, 4)
    assert (rows["missed"], rows["invented"], rows["merges"], rows["merged"]) == (2, 1, 1, 2)
    assert rows["classes"]["cell"]["merged"] == 2
    assert found["ap50_95"][0] < found["ap50"] < found["ap50_95"][1]
    assert found["seg_95"][0] < found["seg"] < found["seg_95"][1]


def test_a_frame_without_instances_is_none_of_the_mean_over_frames() -> None:
    truth = drawn("11..22")
    nothing = np.zeros_like(truth)
    figures = InstanceFigures(["cell"], ["ap50"])
    figures.update(judged(truth > 0, truth > 0, truth, part="a"))
    figures.update(judged(nothing > 0, nothing > 0, nothing, part="b"))
    figures.update(judged(truth > 0, nothing > 0, truth, part="a"))
    assert figures.json()["ap50_by_frame"] == pytest.approx(1 / 2)
    empty = InstanceFigures(["cell"], ["ap50"])
    assert empty.json()["ap50_by_frame"] is None
    assert "ap50_by_frame" not in InstanceFigures(["cell"], ["seg"]).json()


def test_a_perfect_score_still_has_an_interval() -> None:
    truth = drawn("11..22")
    figures = InstanceFigures(["cell"], ["seg", "ap50"])
    for part in "abc":
        figures.update(judged(truth > 0, truth > 0, truth, part=part))
    found = figures.json()
    assert (found["seg"], found["ap50"]) == (1.0, 1.0)
    assert found["seg_95"][0] == pytest.approx(0.4385, abs=1e-3), "Wilson of 3 of 3"
    assert found["ap50_95"][0] == pytest.approx(0.4385, abs=1e-3), "three parts, not six trials"


def test_classes_and_ignored_pixels_are_kept_apart() -> None:
    truth, said = drawn("11.22", "11.22"), drawn("11.11", "11.11")
    figures = InstanceFigures(["a", "b"], ["ap50"])
    figures.update(judged(truth, said, classes=2))
    found = figures.json()
    assert "seg" not in found, "only what was asked for"
    rows = found["instances"]["classes"]
    assert (rows["a"]["matched"], rows["a"]["invented"]) == (1, 1)
    assert (rows["b"]["true"], rows["b"]["missed"]) == (1, 1)
    ignored = InstanceFigures(["a"], ["ap50"])
    ignored.update(judged(drawn("11.xx"), drawn("11.11")))
    assert ignored.json()["ap50"] == 1.0
