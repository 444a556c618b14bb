"""The tiles that int8 is fitted on: cut from training frames as the line cuts them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspector.errors import UsageError
from inspector.tiling import Geometry, Tile, TilePlan, cut_tile, plan_tiles
from inspector.types import Mask
from trainer.dataset import Sample

OUT_PX = 180
"""Output side of a calibration tile, at least: a defect and the surface around it."""


@dataclass(frozen=True, slots=True)
class CalibrationTiles:
    """Pictures of one size for the quantiser."""

    tiles: NDArray[np.uint8]
    """(n, h, w, channels), a legal input size."""
    frames: int
    """Frames that they were cut from."""

    @property
    def sha256(self) -> str:
        """Hash over shape and bytes of all tiles, in their order."""
        return hashlib.sha256(repr(self.tiles.shape).encode() + self.tiles.tobytes()).hexdigest()


def calibration_tiles(
    samples: Sequence[Sample], classes: int, geometry: Geometry, count: int = 64, seed: int = 0
) -> CalibrationTiles:
    """About `count` tiles, every class and plain surface in turn, from the mirrored plane of the frames.

    samples: training frames, never test ones. classes: defect classes. A frame gives a second tile
    only when all have given one. Raises UsageError without a frame, DatasetError for one that
    cannot be read.
    """
    if not samples:
        raise UsageError("There is no training frame to calibrate on; list some under 'train' in split.json.")
    random = np.random.default_rng(seed)
    out = geometry.output_at_least(OUT_PX)
    tiles: list[NDArray[np.uint8]] = []
    used: set[str] = set()
    for sample, class_id in _turns(samples, classes, count, random):
        image, mask, _ = sample.read()
        plan = plan_tiles((image.shape[0], image.shape[1]), (out, out), geometry)
        tile = cut_tile(image, plan, _tile_for(plan, mask, class_id, random))
        tiles.append(tile if tile.ndim == 3 else tile[:, :, None])
        used.add(f"{sample.folder}/{sample.stem}")
    return CalibrationTiles(np.stack(tiles), len(used))


def _turns(
    samples: Sequence[Sample], classes: int, count: int, random: np.random.Generator
) -> Iterator[tuple[Sample, int]]:
    """(frame, class that its tile shall show) in turn over the classes and 0 for any surface."""
    showing: dict[int, list[int]] = {class_id: [] for class_id in range(classes + 1)}
    showing[0] = list(range(len(samples)))
    for number, sample in enumerate(samples):
        counts = np.bincount(sample.mask().ravel(), minlength=256)
        for class_id in range(1, classes + 1):
            if counts[class_id]:
                showing[class_id].append(number)
    kinds = [class_id for class_id, found in showing.items() if found]
    times = [0] * len(samples)
    for turn in range(count):
        class_id = kinds[turn % len(kinds)]
        fewest = min(times[number] for number in showing[class_id])
        number = int(random.choice([n for n in showing[class_id] if times[n] == fewest]))
        times[number] += 1
        yield samples[number], class_id


def _tile_for(plan: TilePlan, mask: Mask, class_id: int, random: np.random.Generator) -> Tile:
    """Any tile, or the one that owns most pixels of a class."""
    if class_id == 0:
        return plan.tiles[int(random.integers(len(plan.tiles)))]

    def pixels(tile: Tile) -> int:
        y0, x0, y1, x1 = tile.owns
        return int(np.count_nonzero(mask[y0:y1, x0:x1] == class_id))

    return max(plan.tiles, key=pixels)
