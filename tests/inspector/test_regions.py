"""Bands and blocks change nothing: regions of any size measure what they measure in one piece."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector import widths as widths_module
from inspector.defects import find_defects
from inspector.regions import Piece, damaged_box, regions
from inspector.types import Defect, Mask, Scale, Segmentation
from inspector.widths import MARGIN_PX, Widths
from inspector.zones import Area, Zones

CLASSES = ("one", "two")
PIXEL = Scale(1.0, 1.0)


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """Lines, blobs and rings of two classes, and specks."""
    size = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    mask: Mask = np.zeros(size, np.uint8)
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    for _ in range(draw(st.integers(0, 6))):
        ends = [tuple(int(random.integers(n)) for n in size[::-1]) for _ in range(2)]
        colour, thick = int(random.integers(3)), int(random.integers(1, 5))
        if random.random() < 0.6:
            cv2.line(mask, ends[0], ends[1], colour, thick)
        else:
            axes = (int(random.integers(1, 30)), int(random.integers(1, 30)))
            cv2.ellipse(mask, ends[0], axes, 0, 0, 360, colour, -1 if thick > 2 else thick)
    mask[random.random(size) < draw(st.sampled_from([0.0, 0.01, 0.2]))] = 1
    return mask


def measured(
    mask: Mask, gap: int, scale: Scale | None, band_px: int, zones: Zones | None = None
) -> tuple[Defect, ...]:
    certainty = np.where(mask > 0, np.arange(mask.size, dtype=np.uint8).reshape(mask.shape) | 1, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inspector.defects.regions", lambda *given: regions(*given, band_px))
        found = Segmentation(mask, certainty.astype(np.uint8))
        return find_defects(found, CLASSES, scale=scale, join_gap_px=gap, zones=zones)


@settings(max_examples=100, deadline=None)
@given(
    masks(),
    st.integers(0, 4),
    st.integers(200, 2000),
    st.sampled_from([None, Scale(0.1, 0.1), Scale(0.1, 0.2)]),
    st.sampled_from([(), (Area("top", ((0, 0), (0, 50), (9, 50), (9, 0))),)]),
)
def test_bands_of_any_height_find_and_measure_the_same(
    mask: Mask, gap: int, band_px: int, scale: Scale | None, areas: tuple[Area, ...]
) -> None:
    zones = Zones(mask.shape, areas)
    whole, banded = (measured(mask, gap, scale, px, zones) for px in (mask.size, band_px))
    assert [(d.class_id, d.box, d.area_px, d.zones) for d in banded] == [
        (d.class_id, d.box, d.area_px, d.zones) for d in whole
    ]
    for one, other in zip(banded, whole, strict=True):
        for name in ("length_px", "width_px", "confidence", *(("length_mm", "width_mm") if scale else ())):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-5), name


def test_a_length_does_not_depend_on_the_bands_that_a_region_was_found_in() -> None:
    """In millimetres two rectangles around this one are equally small: once it was 1.80 long, once 1.82."""
    rows = [
        "..........",
        "..........",
        "...##..##",
        "####...#.",
        "##.##.##.",
        "....###..",
        "..##....#",
        ".##......",
    ]
    mask: Mask = np.array([[c == "#" for c in row.ljust(10, ".")] for row in rows], np.uint8)
    found = [
        measured(mask, 0, Scale(0.1, 0.2), band_px, Zones(mask.shape, ())) for band_px in (mask.size, 28)
    ]
    assert found[0][0].area_px == 22
    assert [d.length_mm for d in found[0]] == [d.length_mm for d in found[1]]


def test_a_piece_beyond_a_gap_and_a_border_counts_with_the_one_in_the_zone() -> None:
    mask: Mask = np.zeros((20, 10), np.uint8)
    mask[0:4, 0:3] = 1
    mask[7:11, 0:9] = 1  # wholly in the second band of 6 rows, and wholly outside the zone
    zones = Zones(mask.shape, (Area("top", ((0, 0), (0, 10), (4, 10), (4, 0))),))
    for band_px in (60, mask.size):
        (defect,) = measured(mask, 3, None, band_px, zones)
        assert (defect.area_px, defect.width_px, defect.zones) == (12 + 36, 4, ("top",))


@settings(max_examples=60, deadline=None)
@given(masks(), st.integers(0, 3), st.integers(1, 500))
def test_pieces_hold_each_pixel_once_in_tight_boxes(mask: Mask, gap: int, band_px: int) -> None:
    again = np.zeros_like(mask)

    def keep(piece: Piece) -> int:
        y0, x0, y1, x1 = piece.box
        assert piece.inside.shape == (y1 - y0, x1 - x0)
        for axis in (0, 1):
            assert piece.inside.any(axis=axis)[[0, -1]].all()
        again[y0:y1, x0:x1] += piece.inside
        return int(piece.inside.sum())

    total = sum(sum(sizes) for sizes in regions(mask, damaged_box(mask), 1, gap, keep, band_px))
    assert np.array_equal(again, mask == 1)
    assert total == np.count_nonzero(mask == 1)


def piece_of(mask: Mask, cut: bool = False) -> Piece:
    y0, x0, y1, x1 = damaged_box(mask)
    return Piece(mask[y0:y1, x0:x1] == 1, (y0, x0, y1, x1), cut)


@pytest.mark.parametrize("scale", [PIXEL, Scale(0.5, 0.25)])
def test_a_long_thin_region_is_exact_block_by_block(scale: Scale, monkeypatch: pytest.MonkeyPatch) -> None:
    mask: Mask = np.zeros((900, 700), np.uint8)
    cv2.line(mask, (3, 5), (690, 890), 1, 9)
    cv2.circle(mask, (340, 440), 17, 1, -1)
    found = []
    for cells in (1 << 30, 1):  # at once, and in blocks
        monkeypatch.setattr(widths_module, "_CELLS", {True: cells, False: cells})
        found.append(Widths(mask, 1, scale).largest(piece_of(mask)))
    assert found[0] == found[1]
    assert found[0] == pytest.approx(33 * scale.x, rel=0.05)


@pytest.mark.parametrize("side", [2 * MARGIN_PX - 1, 2 * MARGIN_PX + 60, 700])
@pytest.mark.parametrize("scale", [PIXEL, Scale(0.5, 0.4)])
def test_a_wide_region_is_measured_within_3_percent(
    side: int, scale: Scale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widths_module, "_CELLS", {True: 1 << 17, False: 1 << 17})  # of 2 and 3 pixels
    mask: Mask = np.zeros((800, 900), np.uint8)
    mask[50 : 50 + side, 31 : 31 + side] = 1
    mask[3, 3] = mask[799, 899] = 1
    piece = Piece(mask[50 : 50 + side, 31 : 31 + side] == 1, (50, 31, 50 + side, 31 + side), True)
    expected = side * min(scale.y, scale.x)
    assert Widths(mask, 1, scale).largest(piece) == pytest.approx(expected, rel=0.03)


def test_a_frame_that_is_damaged_everywhere_is_one_defect_of_its_size() -> None:
    mask: Mask = np.ones((600, 500), np.uint8)
    (defect,) = measured(mask, 0, None, 40_000)
    assert (defect.area_px, defect.box, defect.class_id) == (300_000, (0, 0, 600, 500), 1)
    assert defect.width_px == pytest.approx(500, rel=0.03)
    assert defect.length_px == pytest.approx(600, rel=1e-6)


def test_memory_does_not_grow_with_the_frame() -> None:
    """Two specks in opposite corners and a crack from one to the other: 24 megapixels in 40 MB."""
    mask: Mask = np.zeros((6000, 4000), np.uint8)
    certainty = np.full_like(mask, 200)
    cv2.line(mask, (10, 10), (3990, 5990), 1, 6)
    mask[0, 0] = mask[-1, -1] = 2
    found = Segmentation(mask, certainty)
    tracemalloc.start()
    try:
        defects = find_defects(found, CLASSES)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [defect.area_px for defect in defects][1:] == [1, 1]
    assert defects[0].length_px == pytest.approx(7190, abs=15)
    assert peak < 40e6
