"""Which tiles of a plan must be computed: those of the inspected zones, and those a defect leads into.

Tiles that own no counted pixel are skipped. A defect that leaves the zones counts with its whole
size, so a skipped tile is computed after all when damage comes within reach of it. When none does,
no defect reaches from the computed tiles into the skipped ones, and so every defect with a pixel in
the zones is found exactly as if all tiles had been computed.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from inspector.errors import ShapeMismatch
from inspector.tiling import Tile, TilePlan
from inspector.types import Mask


def needed_tiles(plan: TilePlan, counted: NDArray[np.bool_]) -> tuple[Tile, ...]:
    """The tiles that own at least one counted pixel, in the order of the plan.

    counted: bool (H, W), Zones.counted. Raises ShapeMismatch when it has another size than the frame.
    """
    if counted.shape != plan.frame:
        raise ShapeMismatch(f"Zones for frames of {counted.shape} do not fit a plan for {plan.frame}.")
    return tuple(tile for tile in plan.tiles if counted[_box(*tile.owns)].any())


def inspected_pixels(plan: TilePlan, tiles: Iterable[Tile]) -> NDArray[np.bool_]:
    """bool (H, W): the pixels that these tiles own, so the ones that are looked at."""
    inspected = np.zeros(plan.frame, bool)
    for tile in tiles:
        inspected[_box(*tile.owns)] = True
    return inspected


def reached_tiles(mask: Mask, skipped: Iterable[Tile], reach_px: int) -> tuple[Tile, ...]:
    """The skipped tiles that have a defect pixel at most reach_px outside what they own.

    mask: uint8 (H, W), 0 where nothing was computed. reach_px: join_gap_px + 1, the largest
    step between two pixels of one defect, along y and along x. It does not matter whether that
    defect counts: one tile too many costs time, one too few an escape.
    """
    return tuple(tile for tile in skipped if any(mask[strip].any() for strip in _rim(tile.owns, reach_px)))


def _rim(owns: tuple[int, int, int, int], reach: int) -> Iterable[tuple[slice, slice]]:
    """Four strips around a box, corners included; empty where the frame ends."""
    y0, x0, y1, x1 = owns
    yield _box(y0 - reach, x0 - reach, y0, x1 + reach)
    yield _box(y1, x0 - reach, y1 + reach, x1 + reach)
    yield _box(y0, x0 - reach, y1, x0)
    yield _box(y0, x1, y1, x1 + reach)


def _box(y0: int, x0: int, y1: int, x1: int) -> tuple[slice, slice]:
    return slice(max(0, y0), max(0, y1)), slice(max(0, x0), max(0, x1))
