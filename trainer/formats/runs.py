"""Run lengths: COCO's by columns (plain and packed into text), CVAT's by rows.

Read here and not by pycocotools, which returns memory of other origin for a run list that is too short.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from inspector.errors import DatasetError
from trainer.formats.regions import Region, Size

_FIRST = 48
"""Packed counts are characters from `0` on, five bits each and a sixth for `goes on`."""


def unpacked(text: str) -> list[int]:
    """The counts of COCO's packed text. Raises DatasetError when it ends within a number.

    Each number is little-endian in groups of five bits, the last one's highest bit is its sign;
    from the fourth number on it is a difference to the last but one.
    """
    counts: list[int] = []
    value = shift = 0
    open_number = False
    for character in text:
        group = ord(character) - _FIRST
        if not 0 <= group < 64:
            raise DatasetError(f"A COCO run list holds the character {character!r}; export it again.")
        value |= (group & 31) << shift
        shift += 5
        open_number = bool(group & 32)
        if not open_number:
            if group & 16:
                value -= 1 << shift
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
    if open_number:
        raise DatasetError("A COCO run list ends in the middle of a number; export it again.")
    return counts


def pixels_of(counts: Sequence[int], size: Size, order: Literal["rows", "columns"]) -> NDArray[np.bool_]:
    """The plane (H, W) of run lengths that begin with background.

    Raises DatasetError unless they are whole numbers from 0 on that fill the size exactly.
    """
    if not all(type(count) is int and count >= 0 for count in counts):
        raise DatasetError("A run list holds what is no count; export it again.")
    if sum(counts) != size[0] * size[1]:
        raise DatasetError(
            f"A run list holds {sum(counts)} pixels, {size[0]}x{size[1]} has {size[0] * size[1]}; it was"
            " made for another size. Export picture and labels again together."
        )
    values = np.arange(len(counts)) % 2 == 1
    flat = np.repeat(values, np.asarray(counts, np.int64))
    return flat.reshape(size) if order == "rows" else np.ascontiguousarray(flat.reshape(size[::-1]).T)


def counts_of(pixels: NDArray[np.bool_]) -> list[int]:
    """Run lengths by rows, beginning with background (0 where the first pixel is set)."""
    flat = pixels.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], ends, [flat.size]]))
    return ([0] if flat.size and flat[0] else []) + [int(count) for count in counts]


def column_counts(region: Region, size: Size) -> list[int]:
    """Run lengths by columns of a region in a picture of that size, beginning with background."""
    columns, rows = np.nonzero(region.pixels.T)
    places = (columns + region.left) * size[0] + rows + region.top
    gaps = np.flatnonzero(np.diff(places) > 1)
    starts, ends = np.append(0, gaps + 1), np.append(gaps, len(places) - 1)
    bounds = np.stack([places[starts], places[ends] + 1], axis=1).ravel()
    counts = np.diff(np.concatenate([[0], bounds, [size[0] * size[1]]]))
    return [int(count) for count in (counts if counts[-1] else counts[:-1])]
