"""Polygons to pixels and back.

COCO, CVAT and Label Studio count a polygon's corners between pixels: (0, 0) is the outer corner of the
first one. Their polygons are filled by pycocotools, as these tools and their users do it. Written ones
run along the pixels' edges, which that filling gives back exactly. LabelMe draws through the centres of
pixels (`labelme.drawn`); its polygons follow those of the outermost ones. In both a hole is part of the one
polygon, joined to its outside by a cut of no width.
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


def one_outline(pixels: NDArray[np.bool_], top: int = 0, left: int = 0) -> list[Corner]:
    """One polygon of all pieces, for a format that has no other way to say that they are one object.

    Cuts of no width lead from piece to piece; `filled` of it gives the pixels back exactly.
    """
    pieces = outlines(pixels, top, left)
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = _joined(whole, piece)
    return whole


def centre_outlines(pixels: NDArray[np.bool_], top: int = 0, left: int = 0) -> list[list[Corner]]:
    """A polygon of (x, y) pixel centres for each 8-connected piece, holes included.

    `labelme.drawn` of them gives the pixels back exactly. (top, left): where the pixels lie.
    """
    contours, levels = cv2.findContours(pixels.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    walks = [[(int(x), int(y)) for x, y in contour.reshape(-1, 2)] for contour in contours]
    parents = levels[0][:, 3].tolist() if walks else []
    found: list[list[Corner]] = []
    for index, parent in enumerate(parents):
        if parent < 0:
            holes = [walks[other] for other, of in enumerate(parents) if of == index]
            whole = _turns(_with_holes(walks[index], holes, pixels))
            found.append([(x + left, y + top) for x, y in whole])
    return found


def _highest(walk: list[Corner]) -> Corner:
    return min(walk, key=lambda corner: corner[1])


def _with_holes(walk: list[Corner], holes: list[list[Corner]], pixels: NDArray[np.bool_]) -> list[Corner]:
    """A walk over every pixel of an outline, with the holes' own joined to it.

    A cut is drawn like any line, so it must stay on the piece: it leads from a hole's highest pixel
    straight up to what ends the piece there, the outline or a hole above, which is joined already.
    """
    for hole in sorted(holes, key=lambda hole: _highest(hole)[1]):
        x, y = _highest(hole)
        start = hole.index((x, y))
        while y > 0 and pixels[y - 1, x]:
            y -= 1
        at = walk.index((x, y))
        walk = [*walk[: at + 1], *hole[start:], *hole[: start + 1], *walk[at:]]
    return walk


def _turns(walk: list[Corner]) -> list[Corner]:
    """A closed walk without the points that lie straight between their neighbours; one pixel stays itself."""
    around = zip([walk[-1], *walk[:-1]], walk, [*walk[1:], walk[0]], strict=True)
    turns = [
        here
        for before, here, after in around
        if (here[0] - before[0], here[1] - before[1]) != (after[0] - here[0], after[1] - here[1])
    ]
    return turns or walk[:1]


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


def _joined(outer: list[Corner], other: list[Corner]) -> list[Corner]:
    """A hole, or another piece, as part of the outer walk: there, round and back over one cut."""
    corners = np.asarray(outer)
    distance = ((corners - np.asarray(other[0])) ** 2).sum(axis=1)
    at = int(distance.argmin())
    return [*outer[: at + 1], *other, other[0], *outer[at:]]
