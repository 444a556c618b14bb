"""What a region measures, from pieces that need not be in memory together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from inspector.regions import Box, Piece
from inspector.types import Defect, Scale, Segmentation
from inspector.widths import Widths
from inspector.zones import Zones

_PIXEL = Scale(1.0, 1.0)
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Measures:
    """Of one piece of a region, in a form that pieces can be added up in."""

    area_px: int
    box: Box
    hull: NDArray[np.int32]
    """(n, 2): (x, y) of the pixels on its convex hull."""
    levels: NDArray[np.int64]
    """(256): how many pixels have each certainty."""
    width_px: float
    width_mm: float | None
    counted: bool
    """Whether a pixel lies in the counted area."""
    zones: frozenset[str]
    """The named areas that it touches."""


class Ruler:
    """Measures the regions of one class on one frame. Lengths run from pixel edge to pixel edge.

    Source: minimal rectangle, Toussaint 1983; width from the Euclidean distance transform.
    """

    def __init__(self, found: Segmentation, class_id: int, scale: Scale | None, zones: Zones | None) -> None:
        """scale: millimetres per pixel, or None for sizes in pixels only. zones: of the same frame."""
        self._certainty, self._class_id, self._scale = found.certainty, class_id, scale
        self._zones = zones if zones is not None and zones.areas else None
        self._widths_px = Widths(found.mask, class_id, _PIXEL)
        self._widths_mm = None
        if scale is not None and scale.y != scale.x:
            self._widths_mm = Widths(found.mask, class_id, scale)

    def measure(self, piece: Piece) -> Measures:
        """What the piece adds to its region."""
        y0, x0, y1, x1 = piece.box
        inside = slice(y0, y1), slice(x0, x1)
        counted, touched = True, frozenset[str]()
        if self._zones is not None:
            counted = bool(self._zones.counted[inside][piece.inside].any())
            touched = frozenset(name for name, area in self._zones.masks if area[inside][piece.inside].any())
        width_px, width_mm = 0.0, None
        if counted or piece.cut:  # else nobody will ask
            width_px = self._widths_px.largest(piece)
            width_mm = None if self._widths_mm is None else self._widths_mm.largest(piece)
        return Measures(
            area_px=int(np.count_nonzero(piece.inside)),
            box=piece.box,
            hull=_hull(cv2.findNonZero(piece.inside.view(np.uint8))) + np.array([x0, y0], np.int32),
            levels=np.bincount(self._certainty[inside][piece.inside], minlength=256),
            width_px=width_px,
            width_mm=width_mm,
            counted=counted,
            zones=touched,
        )

    def defect(self, name: str, pieces: Sequence[Measures]) -> Defect | None:
        """The region that these pieces make; None when it lies outside the counted area."""
        if not any(one.counted for one in pieces):
            return None
        top, left, bottom, right = zip(*(one.box for one in pieces), strict=True)
        box = (min(top), min(left), max(bottom), max(right))
        hull = _hull(np.concatenate([one.hull for one in pieces]) - (box[1], box[0]))
        area_px, width_px = sum(one.area_px for one in pieces), max(one.width_px for one in pieces)
        length_px, in_mm = _length(hull, _PIXEL), {}
        if self._scale is not None:
            y, x = self._scale.y, self._scale.x
            widths_mm = [one.width_mm for one in pieces if one.width_mm is not None]
            in_mm = {
                "area_mm2": area_px * y * x,
                "length_mm": length_px * y if y == x else _length(hull, self._scale),
                "width_mm": width_px * y if y == x else max(widths_mm),
            }
        return Defect(
            self._class_id,
            name,
            box,
            area_px=area_px,
            length_px=length_px,
            width_px=width_px,
            confidence=_percentile(np.sum([one.levels for one in pieces], axis=0), _CONFIDENCE) / 255,
            zones=self._named(pieces),
            **in_mm,
        )

    def _named(self, pieces: Sequence[Measures]) -> tuple[str, ...]:
        """The areas that the region touches, in the order of the recipe."""
        if self._zones is None:
            return ()
        touched = frozenset[str]().union(*(one.zones for one in pieces))
        return tuple(area.name for area in self._zones.areas if area.name in touched)


def _hull(points: ArrayLike) -> NDArray[np.int32]:
    """Corners of the convex hull, (n, 2), in an order that does not depend on that of the points.

    The minimal rectangle needs that: of two that are equally small it takes one by the order.
    """
    hull = np.asarray(cv2.convexHull(np.asarray(points, np.int32)), np.int32)[:, 0, :]
    first = np.lexsort(hull.T)[0]  # OpenCV begins where the order of the points makes it
    return np.concatenate((hull[first:], hull[:first]))


def _length(hull: NDArray[np.integer], scale: Scale) -> float:
    """Long side of the minimal rectangle around the pixels' squares, in units of `scale`."""
    corners = hull[:, None, :] + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    points = corners.reshape(-1, 2) * np.array([scale.x, scale.y])
    return float(max(cv2.minAreaRect(points.astype(np.float32))[1]))


def _percentile(levels: NDArray[np.int64], share: float) -> float:
    """What np.percentile says of values that come so often, levels[v] times v."""
    upto = np.cumsum(levels)
    at = share * (int(upto[-1]) - 1)
    below, above = (int(np.searchsorted(upto, n, side="right")) for n in (np.floor(at), np.ceil(at)))
    return below + (above - below) * (at - float(np.floor(at)))
