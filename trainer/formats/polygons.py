"""Polygons to pixels and back.

COCO, CVAT and Label Studio count a polygon's corners between pixels: (0, 0) is the outer corner of the
first one. Their polygons are filled by pycocotools, as these tools and their users do it. Written ones
run along the pixels' edges, which that filling gives back exactly; a hole is part of the one polygon,
joined to its outside by a cut of no width. LabelMe draws through pixel centres: see `labelme`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from inspector.errors import DatasetError
from trainer.formats.regions import Size
from trainer.formats.runs import pixels_of, unpacked

Point = tuple[float, float]
"""(x, y), as all these formats have it."""
BEYOND_PX = 2.0
"""A corner may lie so far outside of the picture: tools let the hand slip over the edge."""
Corner = tuple[int, int]


def checked_points(points: Sequence[Point], size: Size) -> None:
    """Raises DatasetError unless there are three points or more, in or just beyond the picture."""
    if len(points) < 3:
        raise DatasetError(f"A polygon has {len(points)} corners; three are the least. Delete or redraw it.")
    for x, y in points:
        inside = math.isfinite(x) and math.isfinite(y)
        inside = inside and -BEYOND_PX <= x <= size[1] + BEYOND_PX and -BEYOND_PX <= y <= size[0] + BEYOND_PX
        if not inside:
            raise DatasetError(
                f"A polygon reaches x={x:g}, y={y:g}, outside of the picture of {size[0]}x{size[1]}; it was"
                " drawn on another size. Export picture and labels again together."
            )


def filled(polygons: Sequence[Sequence[Point]], size: Size) -> NDArray[np.bool_]:
    """The pixels (H, W) in any of the polygons, as pycocotools fills them."""
    for points in polygons:
        checked_points(points, size)
    plane = np.zeros(size, bool)
    if not polygons:
        return plane
    # Filled within their own box: a whole picture of run lengths for each polygon would take seconds.
    xs, ys = zip(*(point for points in polygons for point in points), strict=True)
    left, top = max(0, math.floor(min(xs))), max(0, math.floor(min(ys)))
    right, bottom = min(size[1], math.ceil(max(xs)) + 1), min(size[0], math.ceil(max(ys)) + 1)
    if left >= right or top >= bottom:
        return plane
    box = (bottom - top, right - left)
    flat = [[value for x, y in points for value in (float(x - left), float(y - top))] for points in polygons]
    runs = coco_mask.merge(coco_mask.frPyObjects(flat, *box))["counts"]
    plane[top:bottom, left:right] = pixels_of(unpacked(runs.decode("ascii")), box, "columns")
    return plane


def outlines(pixels: NDArray[np.bool_], top: int = 0, left: int = 0) -> list[list[Corner]]:
    """A polygon of (x, y) corners along pixel edges for each 8-connected piece, holes included.

    `filled` of them gives the pixels back exactly. (top, left): where the pixels lie.
    """
    _, labels = cv2.connectedComponents(pixels.astype(np.uint8), connectivity=8)
    found: list[list[Corner]] = []
    for label in range(1, int(labels.max(initial=0)) + 1):
        loops = _loops(labels == label)
        outer = max(loops, key=_area)
        for hole in loops:
            if hole is not outer:
                outer = _joined(outer, hole)
        found.append([(x + left, y + top) for x, y in outer])
    return found


def _loops(piece: NDArray[np.bool_]) -> list[list[Corner]]:
    """The closed walks along the edges of a piece, corners only; the outer one clockwise, holes not."""
    follows = _steps(piece)
    loops: list[list[Corner]] = []
    while follows:
        start = next(iter(follows))
        here, step = start, (0, 0)
        corners: list[Corner] = []
        while True:
            after = follows[here]
            # Where two pixels touch by a corner the walk turns left, so that they stay one loop.
            left_turn = (here[0] + step[1], here[1] - step[0])
            there = left_turn if len(after) > 1 and left_turn in after else after[0]
            after.remove(there)
            if not after:
                del follows[here]
            moved = (there[0] - here[0], there[1] - here[1])
            if moved != step:
                corners.append(here)
            here, step = there, moved
            if here == start and (here[0] + step[1], here[1] - step[0]) not in follows.get(here, []):
                break
        first, second = corners[0], corners[1]
        straight = (second[0] - first[0]) * step[1] == (second[1] - first[1]) * step[0]
        loops.append(corners[1:] if straight else corners)
    return loops


def _steps(piece: NDArray[np.bool_]) -> dict[Corner, list[Corner]]:
    """Corner -> the corners that follow it, with the piece on the right hand."""
    padded = np.pad(piece, 1)
    inner = padded[1:-1, 1:-1]
    follows: dict[Corner, list[Corner]] = {}
    for beside, begin, end in (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    ):
        for y, x in np.argwhere(inner & ~beside).tolist():
            follows.setdefault((x + begin[0], y + begin[1]), []).append((x + end[0], y + end[1]))
    return follows


def _area(loop: Sequence[Corner]) -> float:
    """Twice the signed area; positive for a clockwise walk in a picture, whose y points down."""
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise([*loop, loop[0]]))


def _joined(outer: list[Corner], hole: list[Corner]) -> list[Corner]:
    """The hole as part of the outer walk: there, round and back over one cut."""
    corners = np.asarray(outer)
    distance = ((corners - np.asarray(hole[0])) ** 2).sum(axis=1)
    at = int(distance.argmin())
    return [*outer[: at + 1], *hole, hole[0], *outer[at:]]
