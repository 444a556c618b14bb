"""Warping error: what is left of a segmentation's errors when boundaries may move but nothing may tear.

The truth is warped towards the prediction by flipping simple points, pixels whose flip changes no
object, no hole and no connection. What still differs is an error of topology: a split, a merger, a
hole or an object too many or too few. A boundary that is off by some pixels costs nothing.

Source: Jain et al., "Boundary Learning by Optimization with Topological Constraints", CVPR 2010,
section 3; the measure of the ISBI 2012 EM segmentation challenge, which counts splits and mergers.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.metrics.intervals import mean_by_parts, ratio
from trainer.metrics.judged import Judged
from trainer.metrics.segments import components
from trainer.weights import IGNORE, instances_of, open_touching

Connectivity = Literal[4, 8]
"""Of the objects; what lies between them has the other one."""
KINDS = ("mergers", "splits", "holes_added", "holes_deleted", "objects_added", "objects_deleted")
_RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
"""The eight neighbours in order, so that neighbours in the list touch by an edge."""


def warp(
    labels: NDArray[np.bool_],
    target: NDArray[np.bool_],
    connectivity: Connectivity,
    within: NDArray[np.bool_] | None = None,
    confidence: NDArray[np.floating] | None = None,
) -> NDArray[np.bool_]:
    """`labels` as near to `target` as flips of simple points inside the mask `within` bring it.

    All (H, W). connectivity: of True; False has the other. within: None for the whole frame.
    confidence: the surest of the pixels that may flip goes first (Jain's greedy order), of equal
    ones the first in the frame. Beyond the frame lies False. Greedy, so a better warping may exist.
    """
    shape = labels.shape[0] + 2, labels.shape[1] + 2
    now, aim, free = (np.zeros(shape, bool) for _ in range(3))
    now[1:-1, 1:-1], aim[1:-1, 1:-1] = labels, target
    free[1:-1, 1:-1] = True if within is None else within
    order = np.zeros(shape)
    if confidence is not None:
        order[1:-1, 1:-1] = -confidence
    # Flat bytes: plain indexing of a byte is many times quicker than of an array.
    pixels, sure = bytearray(now.tobytes()), order.ravel().tolist()
    wrong = bytearray(((now != aim) & free).tobytes())
    ring, simple = [dy * shape[1] + dx for dy, dx in _RING], simple_points(connectivity)
    waiting = bytearray(wrong)
    heap = [(sure[i], i) for i in np.flatnonzero((now != aim) & free).tolist()]
    heapq.heapify(heap)
    while heap:
        i = heapq.heappop(heap)[1]
        waiting[i] = 0
        code = sum(pixels[i + step] << bit for bit, step in enumerate(ring))
        if not simple[code]:
            continue
        pixels[i], wrong[i] = 1 - pixels[i], 0
        for step in ring:  # the flip may have made a neighbour simple
            j = i + step
            if wrong[j] and not waiting[j]:
                waiting[j] = 1
                heapq.heappush(heap, (sure[j], j))
    return np.frombuffer(bytes(pixels), bool).reshape(shape)[1:-1, 1:-1].copy()


@cache
def simple_points(connectivity: Connectivity) -> bytes:
    """For each of the 256 neighbourhoods of a pixel (bit k: `_RING[k]` is True): 1 if it is simple.

    Simple: among the eight neighbours exactly one object and one piece of background touch it.
    Source: Bertrand and Malandain 1994, topological numbers T_4 and T_8 in two dimensions.
    """
    return bytes(
        _touching(code, connectivity) == 1 and _touching(255 - code, 12 - connectivity) == 1
        for code in range(256)
    )


def _touching(code: int, connectivity: int) -> int:
    """Pieces of the ring's set neighbours, joined within the ring, that touch the centre."""
    patch = np.zeros((3, 3), np.uint8)
    for bit, (dy, dx) in enumerate(_RING):
        patch[1 + dy, 1 + dx] = code >> bit & 1
    labels = cv2.connectedComponents(patch, connectivity=connectivity)[1]
    touching = labels[[0, 1, 1, 2], [1, 0, 2, 1]] if connectivity == 4 else labels.ravel()
    return len(set(touching.tolist()) - {0})


def kinds_of(
    warped: NDArray[np.bool_], target: NDArray[np.bool_], connectivity: Connectivity
) -> dict[str, NDArray[np.bool_]]:
    """The pixels that still differ after the warping, bool (H, W) by what flipping one would do.

    A new pixel that joins two objects is a merger; one that no object touches, an object added; one
    with an object all around, a hole deleted; else it shuts a hole. A lost pixel, likewise: an
    object, a hole added, two holes in one (deleted), or a split.
    """
    inside = np.pad(components(warped, connectivity), 1)
    outside = components(~np.pad(warped, 1), 12 - connectivity)
    found = {name: np.zeros(warped.shape, bool) for name in KINDS}
    for y, x in np.argwhere(warped != target).tolist():
        objects = _around(inside, y + 1, x + 1, connectivity)
        grounds = _around(outside, y + 1, x + 1, 12 - connectivity)
        if target[y, x]:
            kind = "mergers" if len(objects) > 1 else "objects_added" if not objects else "holes_added"
            kind = kind if grounds else "holes_deleted"
        else:
            kind = "splits" if len(grounds) == 1 else "holes_added" if not grounds else "holes_deleted"
            kind = kind if objects else "objects_deleted"
        found[kind][y, x] = True
    return found


def _around(labels: NDArray[np.int64], y: int, x: int, connectivity: int) -> set[int]:
    steps = _RING if connectivity == 8 else _RING[1::2]
    return {int(labels[y + dy, x + dx]) for dy, dx in steps} - {0}


@dataclass(frozen=True, slots=True)
class Warping:
    """The topological errors of one frame."""

    error_px: int
    """Pixels that differ after the warping."""
    pixels: int
    """Pixels that count: all but the ignored ones."""
    kinds_px: dict[str, int]
    """Differing pixels by kind."""
    kinds: dict[str, int]
    """Errors by kind: 8-connected runs of such pixels."""


def warping_of(judged: Judged) -> Warping:
    """Warp the truth of one frame to its prediction.

    Objects are as for the Rand error: cells between membranes, 4-connected; or, with an instance
    mask, the 8-connected instances with the training ridge between those that touch. Ignored
    pixels take the prediction's value and count for nothing.
    """
    valid = judged.truth != IGNORE
    connectivity: Connectivity = 4 if judged.instances is None else 8
    if judged.instances is None:
        truth, target = judged.truth == 0, judged.predicted == 0
    else:
        opened, _ = open_touching(judged.truth, instances_of(judged.truth, judged.instances))
        truth, target = (opened > 0) & valid, judged.predicted > 0
    sure = np.abs(judged.probs.max(axis=2).astype(np.float32) - 127.5)
    warped = warp(np.where(valid, truth, target), target, connectivity, confidence=sure)
    kinds = {name: found & valid for name, found in kinds_of(warped, target, connectivity).items()}
    return Warping(
        int(np.count_nonzero((warped != target) & valid)),
        int(np.count_nonzero(valid)),
        {name: int(np.count_nonzero(found)) for name, found in kinds.items()},
        {name: int(components(found, 8).max(initial=0)) for name, found in kinds.items()},
    )


class WarpingError:
    """Share of pixels that no warping repairs, over all frames, and what they are."""

    def __init__(self) -> None:
        self._parts: dict[str, NDArray[np.float64]] = {}
        """Differing pixels, those of splits and mergers, and all pixels, of each part."""
        self._px = dict.fromkeys(KINDS, 0)
        self._counts = dict.fromkeys(KINDS, 0)

    def update(self, judged: Judged) -> None:
        """Count one frame."""
        found = warping_of(judged)
        torn = found.kinds_px["splits"] + found.kinds_px["mergers"]
        numbers = np.array([found.error_px, torn, found.pixels], np.float64)
        self._parts[judged.part] = self._parts.get(judged.part, 0) + numbers
        for name in KINDS:
            self._px[name] += found.kinds_px[name]
            self._counts[name] += found.kinds[name]

    def json(self) -> dict[str, Any]:
        """warping_error (every kind) and warping: the challenge's splits and mergers, and each kind."""
        parts = list(self._parts.values())
        every, torn, pixels = sum(parts, np.zeros(3)).tolist()
        return {
            "warping_error": ratio(every, pixels),
            "warping_error_95": mean_by_parts([part[[0, 2]] for part in parts]),
            "warping": {
                "splits_and_mergers": ratio(torn, pixels),
                "splits_and_mergers_95": mean_by_parts([part[[1, 2]] for part in parts]),
                "pixels": int(pixels),
                "kinds": {name: {"errors": self._counts[name], "px": self._px[name]} for name in KINDS},
            },
        }
