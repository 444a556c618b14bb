"""Image -> ProbMap through any engine: cut, run, paste."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from inspector.engine.protocol import Engine
from inspector.errors import EngineError, ShapeMismatch
from inspector.tiling import Tile, TilePlan, cut_tile, paste_tile
from inspector.types import Image, ProbMap


def segment(
    image: Image,
    plan: TilePlan,
    engine: Engine,
    tiles: Sequence[Tile] | None = None,
    onto: ProbMap | None = None,
) -> ProbMap:
    """The probabilities of every pixel of the frame, whatever the tiles.

    image: uint8 (H, W) or (H, W, 3), of the size that was planned. tiles: those of the plan that
    are computed, at least one; None for all. onto: the map that they are added to, or None for a
    new one, which is 0 where nothing was computed. Returns uint8 (H, W, K).
    Raises ShapeMismatch for another size, EngineError when the engine fails or does not
    deliver each tile exactly once.
    """
    if image.shape[:2] != plan.frame:
        raise ShapeMismatch(
            f"The frame is {image.shape[:2]}, the tiles were planned for {plan.frame}; plan again."
        )
    asked = plan.tiles if tiles is None else tiles
    missing = set(range(len(asked)))

    def deliver(index: int, probs: ProbMap) -> None:
        nonlocal onto
        if index not in missing or probs.shape[:2] != plan.out:
            raise EngineError(f"The engine delivered tile {index} of size {probs.shape[:2]} out of plan.")
        if probs.dtype != np.uint8:  # shares of 1 would be cut to 0 on the way in, and every part would pass
            raise EngineError(f"The engine delivered tile {index} as {probs.dtype}, not in 256 levels.")
        if onto is None:
            onto = np.zeros((*plan.frame, probs.shape[2]), np.uint8)
        missing.discard(index)
        paste_tile(probs, plan, asked[index], onto)

    engine.run(_cut(image, plan, asked), deliver)
    if missing or onto is None:
        raise EngineError(f"The engine left out {len(missing)} of {len(asked)} tiles of the frame.")
    return onto


def _cut(image: Image, plan: TilePlan, tiles: Sequence[Tile]) -> Iterator[Image]:
    # One buffer for all tiles: an engine is done with it before it asks for the next.
    into = np.empty(plan.input + image.shape[2:], np.uint8)
    for tile in tiles:
        yield cut_tile(image, plan, tile, into)
