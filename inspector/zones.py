"""Named areas of the frame: where defects count, and which share of that was inspected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from inspector.errors import ConfigError, ShapeMismatch

_BAND = 256
"""Rows that are counted at a time where areas reach beyond the frame."""


@dataclass(frozen=True, slots=True)
class Area:
    """One polygon with a name. Includes say where to look; excludes take away from them."""

    name: str
    polygon_px: tuple[tuple[float, float], ...]
    """(y, x) corners in continuous pixel coordinates: pixel (3, 5) is the square 3..4, 5..6."""
    exclude: bool = False


@dataclass(frozen=True)
class Zones:
    """The areas of a recipe on frames of one size, rasterised once.

    A pixel lies in an area when its centre does (even-odd rule), so that a rectangle from
    (0, 0) to (10, 10) holds exactly 100 pixels. Without an include the whole frame is included.
    """

    frame: tuple[int, int]
    areas: tuple[Area, ...] = ()

    @cached_property
    def counted(self) -> NDArray[np.bool_]:
        """bool (H, W): included and not excluded. Only defects with a pixel in here count."""
        return self._included((0, self.frame[0]), self.frame[1])

    @cached_property
    def masks(self) -> tuple[tuple[str, NDArray[np.bool_]], ...]:
        """(name, bool (H, W)) of each area, in the order of the recipe."""
        return tuple((area.name, fill_polygon(area.polygon_px, self.frame)) for area in self.areas)

    @cached_property
    def included_px(self) -> int:
        """Pixels of the included area, those outside the frame too: a camera that sees less covers less."""
        corners = [corner for area in self.areas if not area.exclude for corner in area.polygon_px]
        reach = np.ceil(np.max([*corners, self.frame], axis=0)).astype(int)
        bands = range(0, int(reach[0]), _BAND)  # a corner far outside must not cost the memory of its area
        return sum(
            int(np.count_nonzero(self._included((y, min(y + _BAND, int(reach[0]))), int(reach[1]))))
            for y in bands
        )

    def coverage(self, inspected: NDArray[np.bool_] | None = None) -> float:
        """Inspected share of the included area, 0 to 1; 0 when nothing is included.

        inspected: bool (H, W), or None when every pixel of the frame was.
        Raises ShapeMismatch when it has another size than the frame.
        """
        if inspected is not None and inspected.shape != self.frame:
            raise ShapeMismatch(f"A map of {inspected.shape} does not fit a frame of {self.frame}.")
        if not self.areas and inspected is None:
            return 1.0
        seen = self.counted if inspected is None else self.counted & inspected
        return np.count_nonzero(seen) / self.included_px if self.included_px else 0.0

    def _included(self, rows: tuple[int, int], width: int) -> NDArray[np.bool_]:
        includes = [area for area in self.areas if not area.exclude]
        inside = np.full((rows[1] - rows[0], width), not includes)
        for area in includes:
            inside |= _fill_rows(area.polygon_px, rows, width)
        for area in self.areas:
            if area.exclude:
                inside &= ~_fill_rows(area.polygon_px, rows, width)
        return inside


def check_zones(areas: Sequence[Area], frame: tuple[int, int]) -> list[str]:
    """Warnings for areas that reach beyond the frame: clipping may be wanted, or y and x were swapped.

    Raises ConfigError when no pixel of an include lies in the frame, or nothing is left to inspect.
    """
    size = f"{frame[0]}x{frame[1]}"
    for area in areas:
        if not area.exclude and not fill_polygon(area.polygon_px, frame).any():
            raise ConfigError(
                f"zone {area.name!r} lies outside the {size} frame; corners are [y, x] in pixels."
            )
    if areas and not Zones(frame, tuple(areas)).counted.any():
        names = ", ".join(repr(area.name) for area in areas)
        raise ConfigError(
            f"The zones {names} leave nothing of the {size} frame to inspect; correct recipe.zones."
        )
    return [
        f"zone {area.name!r} reaches beyond the {size} frame; corners are [y, x] in pixels"
        for area in areas
        if any(not (0 <= y <= frame[0] and 0 <= x <= frame[1]) for y, x in area.polygon_px)
    ]


def fill_polygon(corners: Sequence[tuple[float, float]], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels of a frame of `size` whose centres lie inside the polygon, by the even-odd rule.

    corners: (y, x), at least three, closed by itself. Returns bool (H, W).
    """
    return _fill_rows(corners, (0, size[0]), size[1])


def _fill_rows(
    corners: Sequence[tuple[float, float]], rows: tuple[int, int], width: int
) -> NDArray[np.bool_]:
    """fill_polygon for the rows from rows[0] to rows[1] alone."""
    inside = np.zeros((rows[1] - rows[0], width), bool)
    start = np.asarray(corners, float)
    stop = np.roll(start, -1, axis=0)
    first = max(rows[0], int(np.floor(start[:, 0].min())))
    last = min(rows[1], int(np.ceil(start[:, 0].max())) + 1)
    for y in range(first, last):
        crosses = (start[:, 0] <= y + 0.5) != (stop[:, 0] <= y + 0.5)
        (ya, xa), (yb, xb) = start[crosses].T, stop[crosses].T
        at = np.sort(xa + (y + 0.5 - ya) * (xb - xa) / (yb - ya))
        columns = np.clip(np.ceil(at - 0.5), 0, width).astype(int)
        for x0, x1 in zip(columns[::2], columns[1::2], strict=True):
            inside[y - rows[0], x0:x1] = True
    return inside
