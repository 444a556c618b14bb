"""Pictures that show the same thing: the same shot twice, or one part under several exposures.

Method. Each picture is shrunk to 160 x 160, freed of slow shading (difference of two blurs) and
divided by its local contrast, so that neither exposure nor vignetting counts. A 32 x 32 fingerprint
of that finds candidates among all pairs by normalised correlation, allowing a shift of 1/32. A
candidate is confirmed on 36 blocks: each is looked for nearby in the other picture, and the likeness
is the normalised correlation that three quarters of them reach. It is not the median, since parts of
one kind in one place share outline, holes and fixture, but not their surface. Different magnetic
tiles reach 0.45 and different generated parts 0.6; one tile under two exposures mostly has 0.75 to
0.95; the cut is 0.65. Turned, mirrored or strongly cropped copies are not found, and neither are two
shots of a part that has moved by more than a twentieth of the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.types import Image

SIDE = 160
COARSE = 32
CANDIDATE = 0.66
"""Correlation of two fingerprints from which a pair is looked at closely."""
SAME = 0.65
"""Likeness from which two pictures show the same part."""
BLOCK, REACH, EDGE = 24, 8, 8
"""Side of a block, how far it may have moved, and the rim that is left out, in shrunken pixels."""
LEAST_BLOCKS = 12
"""Of 36; with fewer that show something, pictures are not compared."""
CROWD_SHARE, CROWD = 0.3, 20
"""A group of more frames than both is no set of copies but a line whose parts all look alike."""
_SCALE = 32.0
_MIDDLE = 128
_ROWS = 512
FLAT = 4.0
"""Standard deviation below which a block shows nothing that could be found again."""


@dataclass(frozen=True, slots=True)
class Twin:
    """Two pictures of the same thing."""

    one: int
    other: int
    likeness: float
    """SAME to 1; 1 also for pictures that are equal pixel by pixel."""


def shrunk(gray: Image) -> NDArray[np.uint8]:
    """The picture as it is compared: uint8 (160, 160), 128 = as its surroundings.

    gray: uint8 (H, W). A picture without structure is 128 all over.
    """
    small = cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    band = cv2.GaussianBlur(small, (0, 0), 1) - cv2.GaussianBlur(small, (0, 0), 5)
    contrast = np.sqrt(cv2.GaussianBlur(band * band, (0, 0), 4))
    # One gray level is added, so that the noise of an even surface does not count as structure.
    scaled = np.clip(_MIDDLE + _SCALE * band / (contrast + 1), 0, 255)
    return np.asarray(scaled.round(), np.uint8)


def twins(
    pictures: Sequence[NDArray[np.uint8]], exact: Sequence[str], apart: NDArray[np.int64]
) -> list[Twin]:
    """Pairs that show the same thing, the likest first.

    pictures: of `shrunk`. exact: a hash of each picture's pixels; equal ones are twins at once.
    apart: a number for the side of the split of each. Pairs on two sides are all returned; on one
    side a pair is left out when the others already link its two pictures.
    """
    linked = list(range(len(pictures)))
    found: list[Twin] = []
    for one, other, certain in _candidates(pictures, exact):
        within = apart[one] == apart[other]
        if within and _root(linked, one) == _root(linked, other):
            continue
        value = 1.0 if certain else likeness(pictures[one], pictures[other])
        if value >= SAME:
            found.append(Twin(one, other, value))
            linked[_root(linked, one)] = _root(linked, other)
    return sorted(found, key=lambda twin: -twin.likeness)


def grouped(count: int, pairs: Sequence[Twin]) -> list[list[int]]:
    """The pictures that pairs link, in groups of two or more."""
    linked = list(range(count))
    for pair in pairs:
        linked[_root(linked, pair.one)] = _root(linked, pair.other)
    groups: dict[int, list[int]] = {}
    for index in range(count):
        groups.setdefault(_root(linked, index), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def crowded(groups: Sequence[list[int]], count: int) -> list[list[int]]:
    """Of `grouped` over so many pictures, the groups too large to be copies: one line's parts, all alike."""
    return [group for group in groups if len(group) > max(CROWD, CROWD_SHARE * count)]


def likeness(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """What three quarters of the blocks reach as their best normalised correlation nearby, -1 to 1.

    Blocks without structure are left out; with fewer than twelve others it is -1. The search ends
    early, with what was seen so far, once more than a quarter of all blocks are below SAME.
    """
    values: list[float] = []
    low = 0
    steps = range(EDGE, SIDE - EDGE - BLOCK + 1, BLOCK)
    for top in steps:
        for left in steps:
            block = one[top : top + BLOCK, left : left + BLOCK]
            if float(block.std()) < FLAT:
                continue
            around = other[
                max(0, top - REACH) : top + BLOCK + REACH, max(0, left - REACH) : left + BLOCK + REACH
            ]
            values.append(float(cv2.matchTemplate(around, block, cv2.TM_CCOEFF_NORMED).max()))
            low += values[-1] < SAME
            if low > len(steps) ** 2 // 4:
                return float(np.percentile(values, 25))
    return float(np.percentile(values, 25)) if len(values) >= LEAST_BLOCKS else -1.0


def _root(linked: list[int], index: int) -> int:
    while linked[index] != index:
        linked[index] = linked[linked[index]]
        index = linked[index]
    return index


def _candidates(
    pictures: Sequence[NDArray[np.uint8]], exact: Sequence[str]
) -> Iterator[tuple[int, int, bool]]:
    """Pairs worth a close look, the likest first, and whether they are certain."""
    first: dict[str, int] = {}
    certain: set[tuple[int, int]] = set()
    for index, key in enumerate(exact):
        if key in first:
            certain.add((first[key], index))
        first.setdefault(key, index)
    for one, other in sorted(certain):
        yield one, other, True
    rows = list(_alike(_fingerprints(pictures)))
    for value, one, other in sorted(rows, reverse=True):
        if value >= CANDIDATE and (one, other) not in certain:
            yield one, other, False


def _fingerprints(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """(N, 32, 32): the pictures shrunk further, sharp enough to tell parts and blurred enough to shift."""
    prints = [
        cv2.GaussianBlur(
            cv2.resize(
                cv2.GaussianBlur(picture.astype(np.float32) - _MIDDLE, (0, 0), 2),
                (COARSE, COARSE),
                interpolation=cv2.INTER_AREA,
            ),
            (0, 0),
            1,
        )
        for picture in pictures
    ]
    return np.stack(prints).astype(np.float32)


def _alike(prints: NDArray[np.float32]) -> Iterator[tuple[float, int, int]]:
    """(correlation, one, other) of the pairs that reach CANDIDATE at some shift of up to one cell."""
    rim = 2
    middle = _unit(prints[:, rim:-rim, rim:-rim])
    shifts = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    moved = [
        _unit(prints[:, rim + dy : COARSE - rim + dy, rim + dx : COARSE - rim + dx]) for dy, dx in shifts
    ]
    for start in range(0, len(prints), _ROWS):
        rows = slice(start, start + _ROWS)
        # Both ways: one picture moved against the other is the other moved back.
        best = np.maximum.reduce([middle[rows] @ other.T for other in moved])
        best = np.maximum(best, np.maximum.reduce([other[rows] @ middle.T for other in moved]))
        for row, column in np.argwhere(best >= CANDIDATE):
            if start + row < column:
                yield float(best[row, column]), start + int(row), int(column)


def _unit(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, cells): mean 0 and length 1; all 0 where there is nothing."""
    flat = cells.reshape(len(cells), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.where(length > 1e-3, flat / np.maximum(length, 1e-3), 0).astype(np.float32)
