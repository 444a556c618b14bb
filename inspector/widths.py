"""How wide regions are: the largest circle that fits in, from distances to the background.

Small regions are measured at once. Large ones go block by block with some context around each,
which is exact as long as no circle reaches beyond the context, and quick for what is long and
thin. Only large regions that are wider than that are measured on a coarser grid. So memory does
not grow with the region.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.regions import Box, Piece, damaged_box
from inspector.types import Mask, Scale

MARGIN_PX = 64
"""Context of a block; widths up to twice of it are exact in regions of any size."""
_BLOCK_PX = 512
_CELLS = {True: 1 << 23, False: 1 << 20}
"""Distances that are computed at once: OpenCV, for square pixels, takes 6 bytes each and SciPy some 50."""


class Widths:
    """Widths of the regions of one class on one frame, in units of `scale`.

    Exact where a region's box has at most 2 million pixels (a quarter of a million where pixels
    are not square) or it is at most 128 pixels wide; else within 3 %.
    """

    def __init__(self, mask: Mask, class_id: int, scale: Scale) -> None:
        self._mask, self._class_id, self._scale = mask, class_id, scale
        self._square = scale.y == scale.x
        self._surely = 2 * MARGIN_PX * min(scale.y, scale.x)

    def largest(self, piece: Piece) -> float:
        """Diameter of the largest circle around a pixel of the piece inside its region.

        Measured on half pixels: there the distance to the background is the width itself, for
        stripes of even and of odd width.
        """
        at_once = not piece.cut and 4 * piece.inside.size <= _CELLS[self._square]
        small = piece.inside.size <= _BLOCK_PX**2
        width = None if at_once and small else self._in_blocks(piece)
        if width is not None:
            return width
        if at_once:
            return 2 * float(self._distances(_halves(np.pad(piece.inside, 1)), 0.5).max())
        return max(self._surely, self._coarse_width(piece))

    def _in_blocks(self, piece: Piece) -> float | None:
        """None where the background that ends the circle may lie beyond the context."""
        widest, edge = 0.0, 2 * MARGIN_PX
        for inside, y, x in _blocks(piece):
            context = self._around((y, x, y + inside.shape[0], x + inside.shape[1]))
            if context.all():
                return None
            own = self._distances(_halves(context), 0.5)[edge:-edge, edge:-edge][_halves(inside) > 0]
            widest = max(widest, 2 * float(own.max()))
            if widest > self._surely:
                return None
        return widest

    def _around(self, box: Box) -> NDArray[np.bool_]:
        """The class in the box and MARGIN_PX around it; nothing of it lies outside the frame.

        Other regions of the class are in it as well and change nothing: between them and this
        one there is background, and it is nearer.
        """
        y0, x0, y1, x1 = box[0] - MARGIN_PX, box[1] - MARGIN_PX, box[2] + MARGIN_PX, box[3] + MARGIN_PX
        around = np.zeros((y1 - y0, x1 - x0), bool)
        top, left = max(0, y0), max(0, x0)
        seen = self._mask[top : max(0, y1), left : max(0, x1)] == self._class_id
        around[top - y0 : top - y0 + seen.shape[0], left - x0 : left - x0 + seen.shape[1]] = seen
        return around

    def _distances(self, cells: NDArray[np.uint8], side_px: float) -> NDArray[np.floating]:
        """From each cell of that side to the next background, centre to centre, in units of the scale."""
        if self._square:
            found = cv2.distanceTransform(cells, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            return np.asarray(found, np.float32) * (side_px * self._scale.y)
        from scipy import ndimage  # takes a quarter of a second, and most cameras have square pixels

        sides = side_px * self._scale.y, side_px * self._scale.x
        return np.asarray(ndimage.distance_transform_edt(cells, sampling=sides))

    def _coarse_width(self, piece: Piece) -> float:
        """Of the cells whose middle pixel belongs to the piece."""
        (top, left), size, distances = self._coarse
        middle = size // 2
        y, x = ((middle + start - at) % size for start, at in zip((top, left), piece.box[:2], strict=True))
        own = piece.inside[y::size, x::size]
        first = (piece.box[0] + y - top) // size, (piece.box[1] + x - left) // size
        near = distances[first[0] : first[0] + own.shape[0], first[1] : first[1] + own.shape[1]]
        widest = float(near[own].max(initial=0.0))
        return max(0.0, 2 * widest - size * min(self._scale.y, self._scale.x) / 2)

    @cached_property
    def _coarse(self) -> tuple[tuple[int, int], int, NDArray[np.floating]]:
        """(y, x) of the first cell, side of a cell in pixels, and the distances of all cells."""
        y, x, bottom, right = damaged_box(self._mask)
        height, width = bottom - y, right - x
        size = max(1, int(np.ceil(np.sqrt(width * height / _CELLS[self._square]))))
        rows, columns = -(-height // size), -(-width // size)
        cells = np.zeros((rows + 2, columns + 2), np.uint8)  # with a rim of background
        band = np.zeros((size, columns * size), np.uint8)
        for row in range(rows):
            seen = self._mask[y + row * size : y + min(height, (row + 1) * size), x : x + width]
            band[...] = 0
            band[: len(seen), :width] = 255 * (seen == self._class_id)
            share = cv2.resize(band, (columns, 1), interpolation=cv2.INTER_AREA)
            cells[row + 1, 1:-1] = np.asarray(share)[0] >= 128
        return (y, x), size, self._distances(cells, size)[1:-1, 1:-1]


def _halves(inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return inside.view(np.uint8).repeat(2, axis=0).repeat(2, axis=1)


def _blocks(piece: Piece) -> Iterator[tuple[NDArray[np.bool_], int, int]]:
    """(pixels of the piece in a tight box, y, x) for each block that has any."""
    height, width = piece.inside.shape
    for top in range(0, height, _BLOCK_PX):
        for left in range(0, width, _BLOCK_PX):
            block = piece.inside[top : top + _BLOCK_PX, left : left + _BLOCK_PX]
            x, y, w, h = cv2.boundingRect(np.ascontiguousarray(block).view(np.uint8))
            if w:
                yield block[y : y + h, x : x + w], piece.box[0] + top + y, piece.box[1] + left + x
