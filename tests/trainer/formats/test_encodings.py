"""Run lengths, brush strokes and polygons over random regions, and against what others make of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from inspector.errors import DatasetError
from trainer.formats.brush import brush_pixels, brush_stroke
from trainer.formats.labelme import drawn
from trainer.formats.polygons import centre_outlines, filled, one_outline, outlines
from trainer.formats.regions import Region, cropped, paint, regions_of
from trainer.formats.runs import column_counts, counts_of, pixels_of, unpacked

planes = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=17))
blocky = planes.map(lambda plane: np.repeat(np.repeat(plane, 3, 0), 5, 1))
few = settings(max_examples=60, deadline=None)


@few
@given(planes | blocky)
def test_runs_by_rows_come_back(plane: NDArray[np.bool_]) -> None:
    counts = counts_of(plane)
    assert sum(counts) == plane.size
    assert np.array_equal(pixels_of(counts, plane.shape, "rows"), plane)


@few
@given(planes | blocky)
def test_packed_runs_are_read_as_pycocotools_writes_them(plane: NDArray[np.bool_]) -> None:
    runs = coco_mask.encode(np.asfortranarray(plane.astype(np.uint8)))
    counts = unpacked(runs["counts"].decode())
    assert np.array_equal(pixels_of(counts, plane.shape, "columns"), plane)
    if (region := cropped("a", plane)) is not None:
        assert column_counts(region, plane.shape) == counts
    again = coco_mask.frPyObjects({"size": list(plane.shape), "counts": counts}, *plane.shape)
    assert again == runs


@few
@given(planes | blocky)
def test_brush_strokes_come_back(plane: NDArray[np.bool_]) -> None:
    assert np.array_equal(brush_pixels(brush_stroke(plane), plane.shape), plane)


@few
@given(planes | blocky, st.integers(0, 3), st.integers(0, 3))
def test_outlines_are_filled_to_the_same_pixels(plane: NDArray[np.bool_], top: int, left: int) -> None:
    whole = np.zeros((plane.shape[0] + 4, plane.shape[1] + 5), bool)
    whole[top : top + plane.shape[0], left : left + plane.shape[1]] = plane
    polygons = outlines(plane, top, left)
    pieces = cv2.connectedComponents(plane.astype(np.uint8), connectivity=8)[0] - 1
    assert len(polygons) == pieces
    assert np.array_equal(filled(polygons, whole.shape), whole)


@few
@given(planes | blocky)
def test_one_outline_of_all_pieces_is_filled_to_the_same_pixels(plane: NDArray[np.bool_]) -> None:
    if plane.any():
        assert np.array_equal(filled([one_outline(plane)], plane.shape), plane)


@few
@given(planes | blocky, st.integers(0, 3), st.integers(0, 3))
def test_outlines_through_centres_are_drawn_to_the_same_pixels(
    plane: NDArray[np.bool_], top: int, left: int
) -> None:
    whole = np.zeros((plane.shape[0] + 4, plane.shape[1] + 5), bool)
    whole[top : top + plane.shape[0], left : left + plane.shape[1]] = plane
    polygons = centre_outlines(plane, top, left)
    assert len(polygons) == cv2.connectedComponents(plane.astype(np.uint8), connectivity=8)[0] - 1
    pieces = [drawn([*polygon, *polygon[-1:] * 2], whole.shape) for polygon in polygons]
    assert np.array_equal(np.any(pieces, axis=0) if pieces else np.zeros_like(whole), whole)


@few
@given(
    hnp.arrays(np.uint8, (9, 11), elements=st.sampled_from([0, 1, 3, 255])),
    hnp.arrays(np.uint16, (9, 11), elements=st.integers(0, 3)),
    st.booleans(),
)
def test_regions_paint_the_mask_they_came_from(
    mask: NDArray[np.uint8], given_ids: NDArray[np.uint16], with_instances: bool
) -> None:
    instances = given_ids if with_instances else None
    painted = paint(regions_of(mask, instances, {1: "a", 3: "b"}), (9, 11), {"a": 1, "b": 3})
    assert np.array_equal(painted.mask, mask)
    assert painted.overlapped == 0
    if with_instances:
        claimed = np.where((mask > 0) & (mask < 255), given_ids.astype(np.int64) * 256 + mask, 0)
        claimed[claimed < 256] = 0
        before = np.unique(claimed, return_inverse=True)[1].reshape(mask.shape)
        first = 0 if (claimed == 0).any() else 1
        assert np.array_equal(painted.instances, before + first)


def test_strokes_are_read_as_label_studio_writes_them() -> None:
    """Made by label_studio_sdk.converter.brush.mask2rle of the same picture."""
    stroke = [0, 0, 0, 140, 57, 27, 254, 35, 0, 191, 255, 108, 2, 255, 254, 55, 0, 143, 252]
    plane = np.zeros((5, 7), bool)
    plane[1:3, 2:6] = plane[4, 6] = True
    assert np.array_equal(brush_pixels(stroke, (5, 7)), plane)


def test_a_painted_stroke_with_colours_counts_its_opaque_pixels() -> None:
    """RGBA values one by one, one pixel of the soft rim (alpha 90) among them, as the canvas stores them."""
    painted = [255, 71, 61, 255, 255, 71, 61, 255, 255, 71, 61, 254]  # shifted by a bit: it is a bit stream
    stroke = [0, 0, 0, 80, 57, 27, 253, 240, 4, 126, 0, 0, 0, 0, 0, 0, 0, 1, 255, 71, 60, 181, *painted[4:]]
    stroke += [0, 0, 0, 0, 0, 0, 0, 1, *painted, *[0] * 28]
    plane = np.zeros((4, 5), bool)
    plane[1:3, 1:4] = True
    plane[1, 1] = False
    assert np.array_equal(brush_pixels(stroke, (4, 5)), plane)


@pytest.mark.parametrize("cut", [0, 3, 7, 10, 15])
def test_a_broken_stroke_is_refused(cut: int) -> None:
    stroke = brush_stroke(np.eye(6, 9, dtype=bool))
    with pytest.raises(DatasetError, match="broken"):
        brush_pixels(stroke[:cut], (6, 9))


@pytest.mark.parametrize("stroke", [[300] * 20, ["a"], [True] * 20, [-1] * 20])
def test_a_stroke_of_nonsense_is_refused(stroke: list[object]) -> None:
    with pytest.raises(DatasetError):
        brush_pixels(stroke, (6, 9))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([5, 3], "holds 8 pixels, 4x4 has 16"),
        ([20, -4], "no count"),
        ([7.5, 8.5], "no count"),
        ([], "holds 0"),
    ],
)
def test_run_lists_of_another_size_are_refused(counts: list[int], words: str) -> None:
    """pycocotools returns memory of other origin for the first one."""
    with pytest.raises(DatasetError, match=words):
        pixels_of(counts, (4, 4), "columns")


@pytest.mark.parametrize("text", ["o", "zz", "\x01"])
def test_packed_runs_of_nonsense_are_refused(text: str) -> None:
    with pytest.raises(DatasetError, match="run list"):
        unpacked(text)


def test_a_pixel_on_the_edge_counts_from_its_outer_corner() -> None:
    assert np.argwhere(filled([[(0, 0), (2, 0), (2, 1), (0, 1)]], (3, 3))).tolist() == [[0, 0], [0, 1]]


def test_labelme_draws_through_pixel_centres_and_their_outline() -> None:
    assert np.argwhere(drawn([(0, 0), (1, 0), (1, 1), (0, 1)], (3, 3))).tolist() == [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
    ]


@pytest.mark.parametrize(
    "points", [[(0, 0), (1, 1)], [(0, 0), (9, 0), (0, 9)], [(0, 0), (float("nan"), 0), (1, 1)]]
)
def test_polygons_that_do_not_fit_are_refused(points: list[tuple[float, float]]) -> None:
    with pytest.raises(DatasetError, match="polygon"):
        filled([points], (4, 4))


def test_later_regions_win_and_the_overlap_is_counted() -> None:
    full = np.ones((2, 2), bool)
    painted = paint([Region("a", 0, 0, full), Region("b", 1, 1, full)], (3, 3), {"a": 1, "b": 2})
    assert painted.mask.tolist() == [[1, 1, 0], [1, 2, 2], [0, 2, 2]]
    assert painted.overlapped == 1 and painted.instances.max() == 2
    covered = paint([Region("a", 0, 0, full), Region("b", 0, 0, full)], (3, 3), {"a": 1, "b": 2})
    assert covered.instances.max() == 1  # no id without a pixel


def test_pieces_of_a_group_are_one_object_of_each_class() -> None:
    dot = np.ones((1, 1), bool)
    regions = [Region("a", 0, n, dot, group="g") for n in (0, 2)] + [Region("b", 0, 4, dot, group="g")]
    assert paint(regions, (1, 5), {"a": 1, "b": 2}).instances.tolist() == [[1, 0, 1, 0, 2]]
