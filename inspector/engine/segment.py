"""Image -> probabilities through any engine: cut, run, and hand over each tile of the frame once.

The line marks damage tile by tile and never holds the probabilities of a frame; who measures a
model takes the whole ProbMap. Both go through the same loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from inspector.defects import mark_damage
from inspector.engine.protocol import Engine
from inspector.errors import EngineError, ShapeMismatch
from inspector.tiling import Tile, TilePlan, cut_tile, owned, paste_tile
from inspector.types import Image, ProbMap, Segmentation


def find_damage(
    image: Image,
    plan: TilePlan,
    engine: Engine,
    thresholds: Sequence[float],
    tiles: Sequence[Tile] | None = None,
    onto: Segmentation | None = None,
) -> Segmentation:
    """Where the frame is damaged; needs 2 bytes a pixel and one tile, whatever the frame's size.

    image: uint8 (H, W) or (H, W, 3), of the size that was planned. thresholds: see `mask_of`.
    tiles: those of the plan that are computed, None for all. onto: what they are added to, None
    for a new one. Raises what run_tiles raises, ShapeMismatch when the thresholds do not fit
    the engine's classes.
    """
    found = Segmentation.of_nothing(plan.frame) if onto is None else onto

    def mark(tile: Tile, probs: ProbMap) -> None:
        y0, x0, y1, x1 = tile.owns
        here = Segmentation(found.mask[y0:y1, x0:x1], found.certainty[y0:y1, x0:x1])
        mark_damage(owned(probs, tile), thresholds, here)

    run_tiles(image, plan, engine, plan.tiles if tiles is None else tiles, mark)
    return found


def segment(image: Image, plan: TilePlan, engine: Engine) -> ProbMap:
    """The probabilities of every pixel of the frame, for evaluation and proof: K bytes a pixel.

    image: uint8 (H, W) or (H, W, 3), of the size that was planned. Returns uint8 (H, W, K),
    whatever the tiles. Raises what run_tiles raises.
    """
    whole: ProbMap | None = None

    def paste(tile: Tile, probs: ProbMap) -> None:
        nonlocal whole
        if whole is None:
            whole = np.empty((*plan.frame, probs.shape[2]), np.uint8)
        paste_tile(probs, plan, tile, whole)

    run_tiles(image, plan, engine, plan.tiles, paste)
    assert whole is not None  # a plan has at least one tile, and each was delivered
    return whole


def run_tiles(
    image: Image, plan: TilePlan, engine: Engine, tiles: Sequence[Tile], take: Callable[[Tile, ProbMap], None]
) -> None:
    """Compute these tiles of the frame and hand each one's probabilities to `take`, in any order.

    take: called in this thread; the uint8 (out_h, out_w, K) array is valid only during the call.
    Raises ShapeMismatch for another size, EngineError when the engine fails or does not
    deliver each tile exactly once.
    """
    if image.shape[:2] != plan.frame:
        raise ShapeMismatch(
            f"The frame is {image.shape[:2]}, the tiles were planned for {plan.frame}; plan again."
        )
    missing = set(range(len(tiles)))

    def deliver(index: int, probs: ProbMap) -> None:
        if index not in missing or probs.shape[:2] != plan.out:
            raise EngineError(f"The engine delivered tile {index} of size {probs.shape[:2]} out of plan.")
        if probs.dtype != np.uint8:  # shares of 1 would be cut to 0 on the way in, and every part would pass
            raise EngineError(f"The engine delivered tile {index} as {probs.dtype}, not in 256 levels.")
        missing.discard(index)
        take(tiles[index], probs)

    engine.run(_cut(image, plan, tiles), deliver)
    if missing:
        raise EngineError(f"The engine left out {len(missing)} of {len(tiles)} tiles of the frame.")


def _cut(image: Image, plan: TilePlan, tiles: Sequence[Tile]) -> Iterator[Image]:
    # One buffer for all tiles: an engine is done with it before it asks for the next.
    into = np.empty(plan.input + image.shape[2:], np.uint8)
    for tile in tiles:
        yield cut_tile(image, plan, tile, into)
