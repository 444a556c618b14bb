"""Whole frames that are marked or not, and defects that are marked as another class."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from inspector.defects import match_defects
from trainer.metrics.intervals import rate_by_parts, wilson
from trainer.metrics.judged import Judged
from trainer.metrics.marked import MarkedFrames
from trainer.metrics.matches import PartMatches, as_any_class, defect_figures
from trainer.metrics.pixels import Confusion, bootstrap_iou


def frame(part: str, true: int, said: int) -> Judged:
    """A frame that has one pixel of a true and one of a predicted class, 0 = none, at other places."""
    truth, predicted = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    truth[0, 0], predicted[3, 3] = true, said
    return cast(Judged, SimpleNamespace(part=part, truth=truth, predicted=predicted))


def counted(*frames: Judged) -> dict[str, Any]:
    marked = MarkedFrames()
    for judged in frames:
        marked.update(judged)
    return cast(dict[str, Any], marked.json()["marked"])


def test_frames_and_parts_are_counted_by_truth_and_mark() -> None:
    found = counted(frame("a", 0, 1), frame("a", 0, 0), frame("b", 1, 0), frame("b", 0, 2), frame("c", 2, 0))
    good, bad = found["frames"]["good"], found["frames"]["bad"]
    assert (good["marked"], good["total"], bad["unmarked"], bad["total"]) == (2, 3, 2, 2)
    assert good["share"] == pytest.approx(2 / 3)
    assert good["share_95"] == rate_by_parts([1, 1, 0], [2, 1, 0]), "frames of one part go together"
    good, bad = found["parts"]["good"], found["parts"]["bad"]
    assert (good["marked"], good["total"]) == (1, 1), "one of its frames is marked"
    assert (bad["unmarked"], bad["total"]) == (1, 2), "b is marked on another frame"
    assert bad["share_95"] == rate_by_parts([0, 1], [1, 1])
    assert wilson(1, 1)[0] == good["share_95"][0]


def test_parts_of_one_frame_each_are_the_frames() -> None:
    assert counted(frame("a", 0, 1), frame("b", 1, 1))["parts"] is None


def test_ignored_pixels_make_no_frame_bad_and_no_mark() -> None:
    judged = frame("a", 255, 1)
    judged.truth[3, 3] = 255
    good = counted(judged)["frames"]["good"]
    assert (good["marked"], good["total"]) == (0, 1)


def test_a_defect_marked_as_another_class_is_missed_but_marked() -> None:
    """A stain called a crack was missed and no false alarm, as if the line had said nothing."""
    truth, said = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
    truth[2:8, 2:8], said[2:8, 2:8] = 1, 2
    truth[12:18, 12:18] = 1
    truth[10, 0], said[10, 0], said[0, 19] = 255, 1, 2
    classes = ("stain", "crack")
    plain, as_any = PartMatches(), PartMatches()
    plain.update("a", match_defects(truth, None, said, classes))
    as_any.update("a", match_defects(truth, None, as_any_class(truth, said), classes))
    figures = defect_figures(plain, classes, as_any)
    for row in (figures, figures["classes"]["stain"]):
        assert (row["found"], row["found_as_any"], row["total"]) == (0, 1, 2)
        assert row["recall_as_any"] == 0.5 and row["recall_as_any_95"][0] < 0.5 < row["recall_as_any_95"][1]
    assert figures["false_alarms"] == 1, "of the plain mask: only the speck"
    assert "found_as_any" not in defect_figures(plain, classes)


def test_the_mean_without_background_has_its_own_interval() -> None:
    confusion = Confusion(3)
    confusion.matrix[:] = [[90, 0, 0], [5, 5, 0], [0, 0, 10]]
    assert confusion.miou_defects() == pytest.approx((0.5 + 1.0) / 2)
    parts = [np.array([[90, 0], [n, 10 - n]]) for n in (2, 4, 6, 3)]
    bounds = bootstrap_iou(parts)
    assert bounds.shape == (4, 2)
    assert bounds[3].tolist() == pytest.approx(bounds[1].tolist()), "one defect class is its own mean"
    assert bounds[3].tolist() != pytest.approx(bounds[2].tolist())
