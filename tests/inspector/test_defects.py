"""From probabilities to measured defects, and their match with the truth."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.defects import MatchCounts, find_defects, mark_damage, mask_of, match_defects
from inspector.errors import ShapeMismatch, UsageError
from inspector.types import Defect, Scale, Segmentation
from inspector.zones import Area, Zones, fill_polygon

CLASSES = ("scratch", "dent", "stain")


def blank(height: int = 60, width: int = 80) -> np.ndarray:
    return np.zeros((height, width), np.uint8)


def segmentation(mask: np.ndarray, level: int = 200) -> Segmentation:
    return Segmentation(mask, np.where(mask > 0, level, 0).astype(np.uint8))


def found(mask: np.ndarray, **options: object) -> tuple[Defect, ...]:
    return find_defects(segmentation(mask), CLASSES, **options)  # type: ignore[arg-type]


def one(mask: np.ndarray, **options: object) -> Defect:
    (defect,) = found(mask, **options)
    return defect


# ---------------------------------------------------------------- mask


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 255), min_size=1, max_size=6), st.integers(1, 255))
def test_the_mask_is_the_argmax_of_p_over_t_where_it_reaches_one(seed: int, levels: list[int], ceiling: int):
    rng = np.random.default_rng(seed)
    probs = rng.integers(0, ceiling + 1, (13, 17, len(levels)), dtype=np.uint8)
    mask = mask_of(probs, [level / 255 for level in levels])
    # Exact: p/t of whole levels is compared by cross multiplication, lower classes win ties.
    for y, x in np.ndindex(13, 17):
        best = 0
        for k, level in enumerate(levels, start=1):
            value = int(probs[y, x, k - 1])
            if value >= level and (
                best == 0 or value * levels[best - 1] > int(probs[y, x, best - 1]) * level * (1 + 1e-12)
            ):
                best = k
        assert mask[y, x] in {best, *equal_to(probs[y, x], levels, best)}


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 700_000, 1), (900, 700, 2), (40, 60, 5)])
def test_marking_keeps_the_certainty_of_the_chosen_class_in_whole_and_in_views(shape: tuple[int, int, int]):
    rng = np.random.default_rng(0)
    probs = rng.integers(0, 256, shape, dtype=np.uint8)
    probs[rng.random(shape[:2]) < 0.9] = 0
    thresholds = [0.3 + 0.1 * k for k in range(shape[2])]
    whole = Segmentation.of_nothing((shape[0] + 4, shape[1] + 6))
    view = Segmentation(whole.mask[1:-3, 2:-4], whole.certainty[1:-3, 2:-4])
    mark_damage(probs, thresholds, view)
    mask = mask_of(probs, thresholds)
    chosen = np.take_along_axis(probs, np.maximum(mask, 1)[..., None] - 1, axis=2)[..., 0]
    assert np.array_equal(view.mask, mask)
    assert np.array_equal(view.certainty, np.where(mask > 0, chosen, 0))
    assert np.count_nonzero(whole.mask) == np.count_nonzero(mask)


def equal_to(values: np.ndarray, levels: list[int], best: int) -> set[int]:
    """Classes with exactly the best class's ratio: rounding may choose any of them."""
    if not best:
        return set()
    share = int(values[best - 1])
    return {k for k, level in enumerate(levels, 1) if int(values[k - 1]) * levels[best - 1] == share * level}


def test_a_threshold_between_two_levels_and_at_a_level():
    probs = np.array([[[127], [128]]], np.uint8)
    assert mask_of(probs, [0.5]).tolist() == [[0, 1]]
    assert mask_of(np.array([[[152], [153]]], np.uint8), [0.6]).tolist() == [[0, 1]]
    assert mask_of(np.array([[[254], [255]]], np.uint8), [1.0]).tolist() == [[0, 1]]


def test_a_sensitive_class_wins_over_a_likelier_one():
    assert mask_of(np.array([[[100, 150]]], np.uint8), [0.1, 0.5]).tolist() == [[1]]


def test_nothing_found_gives_an_empty_mask_of_the_frame():
    mask = mask_of(np.full((4, 5, 2), 100, np.uint8), [0.5, 0.9])
    assert mask.shape == (4, 5) and mask.dtype == np.uint8 and not mask.any()


def test_thresholds_must_fit():
    with pytest.raises(ShapeMismatch, match="1 thresholds do not fit 2 classes"):
        mask_of(np.zeros((2, 2, 2), np.uint8), [0.5])
    for wrong in (0.0, 1.2, float("nan")):
        with pytest.raises(UsageError, match="threshold"):
            mask_of(np.zeros((2, 2, 1), np.uint8), [wrong])


# ---------------------------------------------------------------- measures


def test_no_damage_no_defects():
    assert found(blank()) == ()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (2, 9), (3, 9), (4, 4), (7, 20)])
def test_a_rectangle_measures_what_it_is(height: int, width: int):
    mask = blank()
    mask[10 : 10 + height, 20 : 20 + width] = 2
    defect = one(mask)
    assert (defect.class_id, defect.class_name) == (2, "dent")
    assert defect.box == (10, 20, 10 + height, 20 + width)
    assert defect.area_px == height * width
    assert defect.length_px == pytest.approx(max(height, width), abs=1e-3)
    assert defect.width_px == pytest.approx(min(height, width), abs=1e-3)


@pytest.mark.parametrize("degrees", [10, 30, 45, 77])
def test_a_slanted_bar_is_as_long_and_wide_as_it_is(degrees: float):
    along = np.array([np.sin(np.radians(degrees)), np.cos(np.radians(degrees))])
    across = np.array([along[1], -along[0]])
    corners = [150 + i * 60 * along + j * 4.5 * across for i, j in [(-1, -1), (-1, 1), (1, 1), (1, -1)]]
    mask = fill_polygon([(float(y), float(x)) for y, x in corners], (300, 300)).astype(np.uint8)
    defect = one(mask)
    assert defect.length_px == pytest.approx(120, abs=1.5)
    assert defect.width_px == pytest.approx(9, abs=1)


def test_width_is_the_widest_place_of_a_crack():
    mask = blank()
    mask[30, 5:70] = 1
    mask[27:34, 40:47] = 1
    assert one(mask).width_px == pytest.approx(7)


def test_sizes_at_the_frame_edge_are_not_cut():
    mask = blank()
    mask[:4, :30] = 1
    assert (one(mask).length_px, one(mask).width_px) == pytest.approx((30, 4), abs=1e-3)


def test_millimetres_follow_the_scale_of_each_axis():
    mask = blank()
    mask[10:14, 20:40] = 1
    defect = one(mask, scale=Scale(0.5, 0.5))
    assert (defect.area_mm2, defect.length_mm, defect.width_mm) == pytest.approx((20, 10, 2), rel=1e-4)
    defect = one(mask, scale=Scale(y=1.0, x=0.1))
    assert (defect.area_mm2, defect.length_mm, defect.width_mm) == pytest.approx((8, 4, 2), rel=1e-4)
    assert (one(mask).area_mm2, one(mask).length_mm, one(mask).width_mm) == (None, None, None)


def test_confidence_is_the_95th_percentile_of_the_own_class():
    mask = blank()
    mask[0, :21] = 3
    certainty = np.full_like(mask, 250)
    certainty[0, :21] = np.arange(100, 121)
    (defect,) = find_defects(Segmentation(mask, certainty), CLASSES)
    assert defect.confidence == pytest.approx(119 / 255)


def test_diagonal_neighbours_are_one_defect_and_classes_are_apart():
    mask = blank()
    mask[5, 5] = mask[6, 6] = 1
    mask[7, 7] = 2
    assert [(d.class_name, d.area_px) for d in found(mask)] == [("scratch", 2), ("dent", 1)]


def test_largest_first():
    mask = blank()
    mask[0:2, 0:2], mask[10:20, 10:20], mask[30:33, 30:33] = 1, 3, 1
    assert [defect.area_px for defect in found(mask)] == [100, 9, 4]


def test_a_nested_region_does_not_leak_into_its_ring():
    mask = blank()
    mask[10:30, 10:30] = 1
    mask[12:28, 12:28] = 0
    mask[18:20, 18:20] = 1
    assert [defect.area_px for defect in found(mask)] == [400 - 256, 4]


# ---------------------------------------------------------------- joining


@settings(deadline=None)
@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 8), st.sampled_from([(0, 1), (1, 0), (1, 1)]))
def test_pieces_join_exactly_when_the_gap_is_at_most_the_limit(
    y: int, x: int, limit: int, way: tuple[int, int]
):
    gap_y, gap_x = y * way[0], x * way[1]
    mask = blank()
    mask[20:23, 20:23] = 1
    mask[23 + gap_y if way[0] else 20, 23 + gap_x if way[1] else 20] = 1
    defects = found(mask, join_gap_px=limit)
    assert len(defects) == (1 if max(gap_y, gap_x) <= limit else 2)
    assert sum(defect.area_px for defect in defects) == 10


def test_a_joined_crack_counts_mask_pixels_only_and_spans_the_gap():
    mask = blank()
    mask[30, 10:20] = mask[30, 23:40] = 1
    defect = one(mask, join_gap_px=3)
    assert (defect.area_px, defect.box) == (27, (30, 10, 31, 40))
    assert defect.length_px == pytest.approx(30)
    assert defect.width_px == pytest.approx(1)


def test_only_pieces_of_one_class_join():
    mask = blank()
    mask[30, 10:20], mask[30, 22:40] = 1, 2
    assert len(found(mask, join_gap_px=5)) == 2


# ---------------------------------------------------------------- zones


def area(name: str, y0: int, x0: int, y1: int, x1: int, exclude: bool = False) -> Area:
    return Area(name, ((y0, x0), (y0, x1), (y1, x1), (y1, x0)), exclude)


def test_a_defect_belongs_to_each_zone_where_a_pixel_lies():
    mask = blank()
    mask[10, 5:30] = 1
    zones = Zones(
        (60, 80), (area("left", 0, 0, 60, 10), area("rest", 0, 10, 60, 80), area("low", 40, 0, 60, 80))
    )
    assert one(mask, zones=zones).zones == ("left", "rest")


def test_what_touches_the_counted_area_with_one_pixel_counts():
    mask = blank()
    mask[10, 5:30] = mask[50, 20:30] = 1
    zones = Zones((60, 80), (area("left", 0, 0, 60, 6),))
    (defect,) = found(mask, zones=zones)
    assert defect.area_px == 25


def test_what_lies_wholly_in_an_excluded_area_does_not_count():
    mask = blank()
    mask[10, 5:30] = mask[50, 20:30] = 1
    zones = Zones((60, 80), (area("label", 8, 0, 12, 40, exclude=True),))
    (defect,) = found(mask, zones=zones)
    assert (defect.box[0], defect.zones) == (50, ())


def test_partly_excluded_partly_outside_does_not_count():
    mask = blank()
    mask[10, 5:15] = 1
    zones = Zones((60, 80), (area("in", 0, 0, 60, 10), area("label", 0, 0, 60, 10, exclude=True)))
    assert found(mask, zones=zones) == ()


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ShapeMismatch, match="certainty"):
        find_defects(Segmentation(blank(), blank(60, 81)), CLASSES)
    unnamed = blank()
    unnamed[3, 3] = len(CLASSES) + 1
    with pytest.raises(ShapeMismatch, match="class 4 does not fit 3"):
        found(unnamed)
    with pytest.raises(ShapeMismatch, match="Zones"):
        found(blank(), zones=Zones((60, 79)))
    with pytest.raises(ShapeMismatch, match="do not fit a mask"):
        mark_damage(np.zeros((60, 80, 3), np.uint8), [0.5] * 3, segmentation(blank(60, 81)))


# ---------------------------------------------------------------- matching


def scores(truth: np.ndarray, predicted: np.ndarray, instances: np.ndarray | None = None) -> MatchCounts:
    return match_defects(truth, instances, predicted, ("scratch", "dent"))["scratch"]


def test_a_true_defect_is_found_from_ten_percent_on():
    truth, predicted = blank(), blank()
    truth[10, 10:30] = 1
    predicted[10, 10] = 1
    assert scores(truth, predicted) == MatchCounts(found=0, total=1, false_alarms=0, predicted=1)
    predicted[10, 11] = 1
    assert scores(truth, predicted).found == 1


def test_only_pixels_of_its_class_find_a_defect_and_no_false_alarm_is_raised_near_any():
    truth, predicted = blank(), blank()
    truth[10, 10:30] = 1
    predicted[10, 10:30] = 2
    counts = match_defects(truth, None, predicted, ("scratch", "dent"))
    assert counts["scratch"] == MatchCounts(0, 1, 0, 0)
    assert counts["dent"] == MatchCounts(0, 0, 0, 1)


def test_a_prediction_is_false_below_thirty_percent_near_the_truth():
    truth, predicted = blank(), blank()
    truth[10:20, 10:20] = 1
    predicted[15, 17:30] = 1  # 3 inside, 3 within reach of the dilation: 6 of 13
    assert scores(truth, predicted).false_alarms == 0
    predicted[15, 17:38] = 1  # 6 of 21 = 28.6 %
    assert scores(truth, predicted).false_alarms == 1


def test_the_dilation_reaches_three_pixels_and_is_round():
    for offset, near in [((0, 3), True), ((0, 4), False), ((2, 2), True), ((3, 3), False), ((1, 3), False)]:
        truth, predicted = blank(), blank()
        truth[20, 20] = 1
        predicted[20 + offset[0], 20 + offset[1]] = 1
        assert scores(truth, predicted).false_alarms == (0 if near else 1), offset


def test_instances_split_what_touches_and_unclaimed_pixels_count_as_components():
    truth, instances, predicted = blank(), np.zeros((60, 80), np.uint16), blank()
    truth[10:14, 10:30] = 1
    instances[10:14, 10:20], instances[10:14, 20:30] = 7, 900
    truth[40:44, 40:44] = 1
    predicted[10:14, 10:20] = 1
    assert scores(truth, predicted, instances) == MatchCounts(1, 3, 0, 1)
    assert scores(truth, predicted) == MatchCounts(1, 2, 0, 1)


def test_ignored_pixels_count_for_neither():
    truth, predicted = blank(), blank()
    truth[0:10] = 255
    predicted[2:5, 2:5] = 1
    assert scores(truth, predicted) == MatchCounts(0, 0, 0, 0)
    predicted[8:14, 40] = 1  # 2 ignored, 4 counted, none near
    assert scores(truth, predicted) == MatchCounts(0, 0, 1, 1)


def test_counts_add_up():
    counts = MatchCounts(1, 2, 3, 4)
    assert counts + replace(counts, found=5) == MatchCounts(6, 4, 6, 8)


def test_truth_of_another_size_is_refused():
    with pytest.raises(ShapeMismatch):
        match_defects(blank(), None, blank(60, 81), CLASSES)
