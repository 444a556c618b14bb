"""How the demo models' benchmark counts: perfect, blind and wrong predictions, and what is too faint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.demo_model import FRAMES, PACKAGES, Tally, counts, judge_in_turn, poisson
from benchmarks.table import shipped_exams
from inspector.package import load_package
from inspector.types import Mask, Segmentation
from trainer.synth.line import LineSpec, still_frames
from trainer.synth.scene import Rendered, Scene


@pytest.fixture(scope="module")
def frame() -> Rendered:
    spec = LineSpec((360, 640), 21, clean_share=0.0, defects=8)
    return next(shown for shown in Scene(spec).frames(still_frames(spec, 9)) if len(shown.defects) >= 5)


def tally(frame: Rendered, predicted: Mask) -> Tally:
    total = Tally()
    total.add(frame, Segmentation(predicted, np.full_like(predicted, 255)))
    return total


def found(total: Tally) -> tuple[int, int]:
    return sum(c.found for c in total.by_class.values()), sum(c.total for c in total.by_class.values())


def test_the_truth_finds_all_and_raises_no_alarm(frame: Rendered) -> None:
    total = tally(frame, frame.mask)
    expected = sum(counts(defect) for defect in frame.defects)
    assert found(total) == (expected, expected) and expected > 0
    assert total.alarms == total.large_alarms == 0


def test_nothing_predicted_finds_nothing(frame: Rendered) -> None:
    total = tally(frame, np.zeros_like(frame.mask))
    assert found(total)[0] == 0 < found(total)[1] and total.alarms == 0


def test_faint_defects_are_neither_missed_nor_alarms(frame: Rendered) -> None:
    faint = replace(frame, defects=tuple(replace(d, contrast_to_noise=0.5) for d in frame.defects))
    total = tally(faint, frame.mask)
    assert found(total) == (0, 0) and total.alarms == 0 and total.not_counted == len(frame.defects)


def test_specks_on_good_ground_are_alarms_and_small_ones_are_told_apart(frame: Rendered) -> None:
    predicted = np.zeros_like(frame.mask)
    predicted[1:3, 1:3] = 1
    predicted[1:3, 40:80] = 1
    total = tally(frame, predicted)
    assert (total.alarms, total.large_alarms) == (2, 1)


def test_interval_of_a_rate() -> None:
    low, high = poisson(0, 200)
    assert low == 0 and high == pytest.approx(3.689 / 200, rel=1e-3)
    assert poisson(10, 100) == pytest.approx((0.04795, 0.1839), rel=1e-3)


def test_every_model_judges_every_frame_and_another_one_is_first_each_time() -> None:
    judged: list[tuple[str, int]] = []

    class Model:
        def __init__(self, name: str) -> None:
            self.name = name

        def judge(self, frame: int) -> None:
            judged.append((self.name, frame))

    judge_in_turn([Model("a"), Model("b")], [1, 2, 3])  # type: ignore[list-item]
    assert judged == [("a", 1), ("b", 1), ("b", 2), ("a", 2), ("a", 3), ("b", 3)]


def test_the_table_shows_the_exam_of_what_is_shipped() -> None:
    ids = [load_package(path).id for path in PACKAGES]
    rows = [
        {"package": ids[0], "frames": FRAMES, "at": 1},
        {"package": ids[0], "frames": FRAMES, "at": 2},
        {"package": ids[0], "frames": FRAMES, "at": 3, "set": "development"},
        {"package": ids[0], "frames": 4, "at": 4},
        {"package": "another", "frames": FRAMES, "at": 5},
    ]
    assert [row["at"] for row in shipped_exams(rows)] == [2]
    rows.append({"package": ids[1], "frames": FRAMES, "at": 6})
    assert [row["at"] for row in shipped_exams(rows)] == [2, 6]
