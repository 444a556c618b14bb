"""Recall by width on stripes whose width is known."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.judged import judged
from trainer.metrics.widths import WidthRecall, true_widths, width_px


@pytest.mark.parametrize("width", [1, 2, 3, 4, 7, 16, 17])
def test_a_stripe_is_as_wide_as_it_is(width: int) -> None:
    stripe = np.zeros((60, 60), bool)
    stripe[20 : 20 + width, 2:58] = True
    assert width_px(stripe) == pytest.approx(width, abs=0.01)


def test_each_defect_has_its_own_width_and_touching_ones_by_their_instances() -> None:
    instances = np.zeros((40, 60), np.uint16)
    instances[5:7, 5:50], instances[7:15, 5:50] = 3, 9  # 2 px and 8 px, touching
    ids, widths = true_widths(judged(instances > 0, instances > 0, instances), 1)
    assert sorted(np.round(widths[1:]).tolist()) == [2, 8]
    ids, widths = true_widths(judged(instances > 0, instances > 0), 1)
    assert ids.max() == 1 and round(float(widths[1])) == 10, "without instances they are one component"


def test_found_and_total_stand_in_the_band_of_their_width() -> None:
    truth, said = np.zeros((120, 100), np.uint8), np.zeros((120, 100), np.uint8)
    top = 3
    for width, found in ((2, False), (2, True), (4, True), (5, False), (20, True)):
        truth[top : top + width, 5:90] = 1
        if found:
            said[top : top + width, 5:15] = 1  # a tenth and a bit
        top += width + 8
    recall = WidthRecall(["scratch", "pit"])
    recall.update(judged(truth, said, part="a", classes=2))
    recall.update(judged(truth, truth, part="b", classes=2))
    widths = recall.json()["widths"]
    rows = widths["classes"]["scratch"]
    assert [(r["to_px"], r["found"], r["total"]) for r in rows] == [
        (2.0, 3, 4), (4.0, 2, 2), (8.0, 1, 2), (float("inf"), 2, 2),
    ]  # fmt: skip
    assert widths["classes"]["pit"] == []
    assert sum(r["total"] for r in widths["all"]) == 10
    assert rows[1]["recall"] == 1.0 and rows[1]["recall_95"][0] == pytest.approx(0.342, abs=1e-3)


def test_an_ignored_region_is_no_defect() -> None:
    truth = np.zeros((20, 20), np.uint8)
    truth[5:9, 5:9] = 255
    recall = WidthRecall(["pit"])
    recall.update(judged(truth, np.zeros_like(truth)))
    assert recall.json()["widths"]["all"] == []
