"""Areas on the frame, and the share of them that was inspected."""

import tracemalloc

import numpy as np
import pytest

from inspector.errors import ConfigError, ShapeMismatch
from inspector.zones import Area, Zones, check_zones, fill_polygon


def box(y0: float, x0: float, y1: float, x1: float) -> tuple[tuple[float, float], ...]:
    return ((y0, x0), (y0, x1), (y1, x1), (y1, x0))


def test_a_rectangle_is_half_open():
    inside = fill_polygon(box(2, 3, 5, 9), (20, 20))
    expected = np.zeros((20, 20), bool)
    expected[2:5, 3:9] = True
    np.testing.assert_array_equal(inside, expected)


def test_corners_are_y_x_and_a_triangle_takes_pixel_centres():
    inside = fill_polygon(((0, 0), (0, 4), (4, 0)), (4, 4))
    expected = np.add.outer(np.arange(4) + 0.5, np.arange(4) + 0.5) < 4
    np.testing.assert_array_equal(inside, expected)


def test_a_polygon_may_be_concave_and_leave_the_frame():
    horseshoe = ((0, 0), (0, 10), (10, 10), (10, 7), (3, 7), (3, 3), (10, 3), (10, 0))
    inside = fill_polygon(horseshoe, (6, 8))
    expected = np.zeros((6, 8), bool)
    expected[:3] = True
    expected[:, :3] = True
    expected[:, 7:] = True
    np.testing.assert_array_equal(inside, expected)


def test_excludes_take_away_from_includes():
    zones = Zones((20, 20), (Area("face", box(0, 0, 10, 10)), Area("label", box(5, 5, 30, 30), exclude=True)))
    assert zones.counted.sum() == 100 - 25
    assert dict(zones.masks)["label"].sum() == 15 * 15


def test_without_an_include_all_but_the_excludes_counts():
    zones = Zones((20, 20), (Area("label", box(0, 0, 20, 5), exclude=True),))
    assert zones.counted.sum() == 300
    assert zones.coverage() == 1.0


def test_coverage_is_the_inspected_share_of_the_included_area():
    zones = Zones((20, 20), (Area("face", box(0, 0, 10, 10)),))
    seen = np.zeros((20, 20), bool)
    seen[:, :4] = True
    assert zones.coverage(seen) == pytest.approx(0.4)
    assert zones.coverage() == 1.0


def test_an_include_outside_the_frame_is_not_covered():
    zones = Zones((20, 20), (Area("face", box(10, 0, 30, 20)),))
    assert zones.coverage() == pytest.approx(0.5)


def test_a_corner_far_outside_costs_no_memory() -> None:
    """A typing error, which coverage then tells; 65536 is the largest that the config takes."""
    zones = Zones((20, 20), (Area("face", box(0, 0, 20, 65536)), Area("rest", box(0, 0, 800, 20))))
    tracemalloc.start()
    covered = zones.coverage()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert covered == pytest.approx(400 / (20 * 65536 + 780 * 20))
    assert peak < 50e6, f"{peak / 1e6:.0f} MB"


def test_a_slanted_include_inside_the_frame_is_covered_exactly() -> None:
    """The line demands coverage 1.0 by default, so that both counts must be the same pixel for pixel."""
    corners = ((3.3, 100.7), (290.1, 611.9), (555.55, 77.1), (301.2, 0.0))
    assert Zones((600, 700), (Area("part", corners),)).coverage() == 1.0


def test_an_area_that_is_all_excluded_covers_nothing():
    zones = Zones((20, 20), (Area("face", box(0, 0, 5, 5)), Area("not", box(0, 0, 9, 9), exclude=True)))
    assert zones.coverage() == 0.0


def test_no_zones_count_everything():
    zones = Zones((4, 6))
    assert zones.counted.all() and zones.coverage() == 1.0
    assert zones.coverage(np.zeros((4, 6), bool)) == 0.0
    with pytest.raises(ShapeMismatch):
        zones.coverage(np.zeros((4, 5), bool))


def test_an_area_beyond_the_frame_is_said_and_one_with_nothing_inside_refused():
    swapped = Area("face", ((20, 20), (300, 20), (300, 220), (20, 220)))
    assert check_zones([swapped], (240, 320)) == [
        "zone 'face' reaches beyond the 240x320 frame; corners are [y, x] in pixels"
    ]
    assert check_zones([Area("all", box(0, 0, 240, 320))], (240, 320)) == []
    with pytest.raises(ConfigError, match="'far' lies outside the 240x320 frame"):
        check_zones([swapped, Area("far", box(250, 0, 300, 200))], (240, 320))
    with pytest.raises(ConfigError, match="leave nothing of the 240x320 frame"):
        check_zones([swapped, Area("off", box(0, 0, 240, 320), exclude=True)], (240, 320))
