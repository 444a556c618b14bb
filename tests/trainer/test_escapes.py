"""Thresholds for an escape target, on probabilities whose right answer is plain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inspector.defects import mask_of, match_defects
from trainer.escapes import LEVELS, EscapeCurve, may_escape
from trainer.metrics.intervals import wilson
from trainer.thresholds import LOWEST

SIZE = (40, 400)


def curve(levels: list[int], specks: list[int]) -> EscapeCurve:
    """One frame: defects of 4x4 px of these probabilities (of 255), and single false pixels of those."""
    truth, probs = np.zeros(SIZE, np.uint8), np.zeros((*SIZE, 1), np.uint8)
    for n, level in enumerate(levels):
        truth[5:9, 12 * n + 4 : 12 * n + 8] = 1
        probs[5:9, 12 * n + 4 : 12 * n + 8] = level
    for n, level in enumerate(specks):
        probs[30, 12 * n + 4] = level
    found = EscapeCurve(("pit",))
    found.add(probs, truth, None)
    return found


def traded(known: EscapeCurve, target: float, served: int = 128) -> dict[str, Any]:
    """The trade of a model that serves at a level that is tried."""
    point = next(p for p in known.points("pit") if p["threshold"] == served / 255)
    return known.json(target, [served / 255], {**point, "classes": {"pit": point}})


def test_the_highest_threshold_that_keeps_the_target_is_chosen() -> None:
    known = curve([250] * 18 + [210, 110], [120, 220, 247])
    (strict,), (lenient,) = known.choose(0.0, 10), known.choose(0.05, 10)
    assert strict is not None and strict.threshold == 102 / 255
    assert (strict.found, strict.total, strict.false_alarms) == (20, 20, 3)
    assert lenient is not None and lenient.threshold == 204 / 255
    assert (lenient.found, lenient.false_alarms) == (19, 2)
    assert lenient.iou == pytest.approx(19 * 16 / (20 * 16 + 2))


def test_a_target_out_of_reach_still_lets_the_fewest_escape() -> None:
    (trade,) = curve([250] * 8 + [0] * 4, [200]).choose(0.0, 10)
    assert trade is not None and (trade.found, trade.total) == (8, 12)
    assert trade.threshold == 250 / 255 and trade.false_alarms == 0


def test_few_defects_decide_nothing() -> None:
    assert curve([250] * 9, []).choose(0.1, 10) == (None,)
    assert EscapeCurve(("pit",)).choose(0.1, 0) == (None,)


def test_the_curve_falls_as_the_threshold_rises_and_ignored_pixels_count_for_nothing() -> None:
    trades = curve(list(range(20, 256, 20)), list(range(30, 256, 20))).trades("pit")
    assert [trade.threshold for trade in trades] == [level / 255 for level in LEVELS]
    for name in ("found", "false_alarms"):
        values = [getattr(trade, name) for trade in trades]
        assert values == sorted(values, reverse=True) and values[0] > values[-1]
    ignored = EscapeCurve(("pit",))
    ignored.add(np.full((*SIZE, 1), 255, np.uint8), np.full(SIZE, 255, np.uint8), None)
    assert {(t.found, t.total, t.false_alarms, t.iou) for t in ignored.trades("pit")} == {(0, 0, 0, 0.0)}


def test_the_trade_says_what_the_target_costs_and_what_would_prove_it() -> None:
    known = curve([250] * 18 + [210, 110], [120, 220, 247])
    found = traded(known, 0.05)
    row = found["classes"]["pit"]
    assert row["served_threshold"] == 128 / 255 and row["reached"]
    at = row["at_target"]
    assert (at["threshold"], at["found"], at["total"], at["false_alarms"]) == (204 / 255, 19, 20, 2)
    assert at["recall_95"] == pytest.approx(wilson(0.95, 1)), "one part alone counts as one trial"
    assert at["false_alarms_per_frame"] == 2
    assert [p["threshold"] for p in row["points"]] == [level / 255 for level in LEVELS]
    # 381 of 381 found: at most 1 % missed by Wilson's 95 %.
    assert traded(known, 0.01)["defects_needed"] == 381
    assert 1 - wilson(381, 381)[0] <= 0.01 < 1 - wilson(380, 380)[0]
    assert traded(known, 0.0)["defects_needed"] is None


def test_a_target_out_of_reach_is_called_so() -> None:
    row = traded(curve([250] * 8 + [0] * 4, [200]), 0.1)["classes"]["pit"]
    assert not row["reached"] and row["at_target"]["found"] == 8
    nothing = EscapeCurve(("pit",))
    nothing.add(np.zeros((*SIZE, 1), np.uint8), np.zeros(SIZE, np.uint8), None)
    assert traded(nothing, 0.1)["classes"]["pit"]["at_target"] is None


def test_the_levels_begin_where_the_thresholds_of_the_best_outline_do() -> None:
    assert LEVELS[0] == LOWEST and list(LEVELS) == sorted(set(LEVELS))


@pytest.mark.parametrize(("target", "total", "escapes"), [(0.07, 100, 7), (0.29, 100, 29), (0.02, 149, 2)])
def test_a_target_lets_escape_what_its_decimals_say(target: float, total: int, escapes: int) -> None:
    """0.07 * 100 is 7.000000000000001 and 0.29 * 100 28.999999999999996 to a computer."""
    assert may_escape(target, total) == escapes


def test_a_target_on_the_edge_is_reached() -> None:
    """29 of 100 may escape; 0.29 * 100 rounds down to 28, for which a lower threshold would be taken."""
    known = EscapeCurve(("pit",))
    truth, probs = np.zeros((10, 1200), np.uint8), np.zeros((10, 1200, 1), np.uint8)
    for n in range(100):
        truth[3:7, 12 * n + 4 : 12 * n + 8] = 1
        probs[3:7, 12 * n + 4 : 12 * n + 8] = 250 if n >= 29 else 60
    known.add(probs, truth, None)
    (trade,) = known.choose(0.29, 10)
    assert trade is not None and (trade.found, trade.threshold) == (71, 250 / 255)
    assert traded(known, 0.29)["classes"]["pit"]["reached"]


def test_every_level_counts_what_the_lines_own_mask_and_matching_count() -> None:
    """Frames of noise with ignored pixels and instances, one empty, counted over whole frames."""
    rng, names = np.random.default_rng(3), ("pit", "stain")
    fast, plain = EscapeCurve(names), {level: np.zeros(4, np.int64) for level in LEVELS}
    for n in range(6):
        shape = 40 + n, 70 - n
        truth = np.zeros(shape, np.uint8)
        probs = np.zeros((*shape, 2), np.uint8)
        if n:
            truth[10:20, 8:30], truth[12:17, 33:40], truth[9:12, 20:50] = 1, 2, 255
            probs[6:25, 5:44] = rng.integers(0, 256, (19, 39, 2)) ** 2 // 255
        instances = (truth % 255).astype(np.uint16) * 3 if n % 2 else None
        fast.add(probs, truth, instances)
        for level in LEVELS:
            said = mask_of(probs, [level / 255] * 2)
            counts = match_defects(truth, instances, said, names)["pit"]
            both = np.count_nonzero((truth == 1) & (said == 1))
            either = np.count_nonzero((truth == 1) | ((said == 1) & (truth != 255)))
            plain[level] += counts.found, counts.false_alarms, both, either
    found = [[t.found, t.false_alarms, t.iou] for t in fast.trades("pit")]
    assert found == [
        [f, a, pytest.approx(both / either)] for f, a, both, either in map(np.ndarray.tolist, plain.values())
    ]
    assert len({row[1] for row in found}) > 5


def served_at(point: dict[str, Any], **changed: int) -> dict[str, Any]:
    """`defect_figures` of one class whose thresholds do a little better or worse than a point."""
    row = {**point, **changed}
    return {**row, "classes": {"pit": row}}


@pytest.mark.parametrize(
    ("changed", "advice"),
    [
        ({"false_alarms": 1}, "served"),  # keeps the target with one false alarm less
        ({}, "served"),  # as good: nothing to gain
        ({"false_alarms": 3}, "at_target"),
        ({"found": 18, "false_alarms": 0}, "at_target"),  # does not keep it
    ],
)
def test_the_advice_never_goes_where_it_is_worse(changed: dict[str, int], advice: str) -> None:
    """A crack that served with 1.46 false alarms a frame was sent to a threshold with 2.12."""
    known = curve([250] * 18 + [210, 110], [120, 220, 247])
    at = traded(known, 0.05)["classes"]["pit"]["at_target"]
    row = known.json(0.05, [0.055], served_at(at, **changed))["classes"]["pit"]
    assert row["advice"] == advice and row["at_target"] == at
    assert row["served_reached"] == (changed.get("found", 19) == 19)
    assert row["served"]["threshold"] == 0.055


def test_out_of_reach_what_misses_fewer_is_better() -> None:
    known = curve([250] * 8 + [100] * 2 + [0] * 2, [200])
    at = traded(known, 0.0)["classes"]["pit"]["at_target"]
    for found, advice in ((11, "served"), (9, "at_target")):
        row = known.json(0.0, [0.5], served_at(at, found=found, false_alarms=9 * (found > 10)))["classes"][
            "pit"
        ]
        assert (row["advice"], row["served_reached"], row["reached"]) == (advice, False, False)


def test_of_points_that_find_the_same_the_one_with_fewest_false_alarms_is_named() -> None:
    """A higher threshold can raise more: a large false region falls into pieces."""
    truth, probs = np.zeros(SIZE, np.uint8), np.zeros((*SIZE, 1), np.uint8)
    truth[5:9, 4:8], probs[5:9, 4:8, 0] = 1, 255
    probs[30, 4:30, 0], probs[30, 4:30:4, 0] = 120, 255
    found = EscapeCurve(("pit",))
    found.add(probs, truth, None)
    at = traded(found, 0.0)["classes"]["pit"]["at_target"]
    assert at["threshold"] == 102 / 255 and at["false_alarms"] == 1
    assert found.points("pit")[-1]["false_alarms"] == 7


def test_a_class_that_is_never_found_has_no_point_and_no_advice() -> None:
    row = traded(curve([0] * 6, [200]), 0.01)["classes"]["pit"]
    assert row["at_target"] is None and row["advice"] is None and not row["reached"]
    assert not row["served_reached"] and row["served"]["total"] == 6


def test_all_classes_together_have_a_curve_of_their_own() -> None:
    truth, probs = np.zeros(SIZE, np.uint8), np.zeros((*SIZE, 2), np.uint8)
    truth[5:9, 4:8], truth[5:9, 24:28] = 1, 2
    probs[5:9, 4:8, 0], probs[5:9, 24:28, 1], probs[30, 4, 1] = 250, 120, 180
    found = EscapeCurve(("pit", "scratch"))
    found.add(probs, truth, None)
    served = {name: found.points(name)[0] for name in ("pit", "scratch")}
    row = found.json(0.0, (0.03, 0.03), {**found.points("pit", "scratch")[0], "classes": served})["all"]
    assert row["served_threshold"] is None and row["advice"] == "served"
    assert [(p["found"], p["total"], p["false_alarms"]) for p in row["points"][:6:5]] == [(2, 2, 1)] * 2
    above = next(p for p in row["points"] if p["threshold"] > 200 / 255)
    assert (above["found"], above["total"], above["false_alarms"]) == (1, 2, 0)
