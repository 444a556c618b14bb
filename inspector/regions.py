"""Mask -> connected regions of one class, labelled in bands of rows: memory does not grow with the frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.types import Mask

Measured = TypeVar("Measured")
Box: TypeAlias = tuple[int, int, int, int]
"""(y0, x0, y1, x1), half-open."""

BAND_PX = 1 << 21
"""Pixels that are labelled at once, at 6 bytes each; a frame of 1080x1920 is one band."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one band has of a region, at least one pixel."""

    inside: NDArray[np.bool_]
    """(y1 - y0, x1 - x0): the region's pixels in the box."""
    box: Box
    """Its tight box in the frame."""
    cut: bool
    """Whether a neighbouring band may have more of the region, across a gap as well."""

    def moved(self, y: int, x: int) -> Piece:
        """The same piece, y and x pixels further down and to the right."""
        y0, x0, y1, x1 = self.box
        return Piece(self.inside, (y0 + y, x0 + x, y1 + y, x1 + x), self.cut)


@dataclass(frozen=True, slots=True)
class _Border(Generic[Measured]):
    """The regions that may go on below the last band."""

    groups: list[list[Measured]]
    """The pieces of each so far."""
    ends: NDArray[np.intp]
    """For each column of the last row: 0, or 1 + the index of the group that ends there."""


def damaged_box(mask: Mask) -> Box:
    """The tight box of all damage in a mask, uint8 (H, W); empty where there is none."""
    x, y, width, height = cv2.boundingRect(mask)
    return y, x, y + height, x + width


def regions(
    mask: Mask,
    box: Box,
    class_id: int,
    join_gap_px: int,
    measure: Callable[[Piece], Measured],
    band_px: int = BAND_PX,
) -> Iterator[list[Measured]]:
    """Each 8-connected region of one class as the measures of its pieces, as soon as it is complete.

    mask: uint8 (H, W). box: where its damage is; see damaged_box. join_gap_px: pieces with at most
    so many pixels between them, along y and along x, are one region. measure: called once a
    piece; nothing else of it is kept. band_px: pixels of a band; the regions do not depend on it.
    """
    y, x = box[:2]
    window = mask[y : box[2], x : box[3]]
    height, width = window.shape
    if not width:
        return
    step = max(1, band_px // width)
    border: _Border[Measured] = _Border([], np.zeros(width, np.intp))
    for top in range(0, height, step):
        rows = (top, min(top + step, height))
        labels, found = _labelled(window, class_id, rows, join_gap_px)
        pieces = [[] if one is None else [measure(one.moved(y, x))] for one in found]
        finished, border = _joined(border, labels, pieces, last=rows[1] == height)
        yield from finished


def _labelled(
    window: Mask, class_id: int, rows: tuple[int, int], gap: int
) -> tuple[NDArray[np.int32], list[Piece | None]]:
    """The labels 1 ... n of the band (rows, W), and the piece of each; None where it is only gap."""
    above = min(gap, rows[0])  # a pixel within the gap of the band reaches into it
    seen = window[rows[0] - above : rows[1] + gap] == class_id
    binary = seen[above : above + rows[1] - rows[0]]
    if not seen.any():
        return np.zeros(binary.shape, np.int32), []
    grown: NDArray[np.uint8] = seen.view(np.uint8)
    if gap:
        # A square grown by the gap in all makes two pieces touch exactly when the gap is that wide.
        grown = np.asarray(cv2.dilate(grown, np.ones((gap + 1, gap + 1), np.uint8)), np.uint8)
        grown = np.ascontiguousarray(grown[above : above + len(binary)])
    count, found, stats, _ = cv2.connectedComponentsWithStats(grown, connectivity=8, ltype=cv2.CV_32S)
    labels = np.asarray(found, np.int32)
    cut = rows[0] > 0, rows[1] < len(window)
    return labels, [_piece(binary, labels, label, stats[label], rows[0], cut) for label in range(1, count)]


def _piece(
    binary: NDArray[np.bool_],
    labels: NDArray[np.int32],
    label: int,
    stats: NDArray[np.int32],
    first_row: int,
    cut: tuple[bool, bool],
) -> Piece | None:
    left, top, width, height = (int(v) for v in stats[:4])
    box = slice(top, top + height), slice(left, left + width)
    inside = (labels[box] == label) & binary[box]
    x, y, width, height = cv2.boundingRect(inside.view(np.uint8))  # a gap makes labels larger than pixels
    if not width:
        return None
    at_border = (cut[0] and box[0].start == 0) or (cut[1] and box[0].stop == len(binary))
    where = (first_row + top + y, left + x, first_row + top + y + height, left + x + width)
    return Piece(inside[y : y + height, x : x + width], where, at_border)


def _joined(
    border: _Border[Measured], labels: NDArray[np.int32], pieces: list[list[Measured]], *, last: bool
) -> tuple[list[list[Measured]], _Border[Measured]]:
    """The regions that are complete after this band, and those that may go on."""
    known = len(border.groups)
    owners = _owners(known + len(pieces), known, _touching(border.ends, labels[0]))
    joined: dict[int, list[Measured]] = {}
    for own, parts in zip(owners, [*border.groups, *pieces], strict=True):
        joined.setdefault(own, []).extend(parts)
    below = np.zeros(labels.shape[1], np.intp) if last else np.array([-1, *owners[known:]])[labels[-1]] + 1
    going_on = np.unique(below[below > 0])
    ends = np.where(below > 0, np.searchsorted(going_on, below) + 1, 0)
    groups = [joined.pop(int(own) - 1) for own in going_on]
    return [parts for parts in joined.values() if parts], _Border(groups, ends)


def _touching(ends: NDArray[np.intp], first: NDArray[np.int32]) -> set[tuple[int, int]]:
    """(group + 1, label) of what is 8-connected between two rows."""
    found: set[tuple[int, int]] = set()
    for shift in (-1, 0, 1):
        above = ends[max(0, -shift) : len(ends) - max(0, shift)]
        below = first[max(0, shift) : len(first) - max(0, -shift)]
        both = (above > 0) & (below > 0)
        found.update(zip(above[both].tolist(), below[both].tolist(), strict=True))
    return found


def _owners(count: int, known: int, links: set[tuple[int, int]]) -> list[int]:
    """For each of the known groups and then each piece: the first one that it is linked to in any way."""
    owners = list(range(count))

    def owner(node: int) -> int:
        while owners[node] != node:
            node = owners[node]
        return node

    for group, label in links:
        one, other = owner(group - 1), owner(known + label - 1)
        owners[max(one, other)] = min(one, other)
    return [owner(node) for node in range(count)]
