"""Golden tiles: the few small pictures on which an engine must agree with the trained network.

`trainer fit` picks them from its validation pictures and keeps them in the RUN folder, so that a
package can be made of the folder alone.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import UsageError
from inspector.package import MOST_GOLDEN_TILES
from inspector.tiling import Geometry, mirror_indices
from inspector.types import Image, Mask
from trainer.weights import IGNORE

OUT_PX = 64
"""Output side of a golden tile, at least; depth 4 makes it 68 of a 156 px input."""
GOOD_TILES = 2
FILE = "golden_tiles.npz"


class Pictured(Protocol):
    """What a tile is cut from; a dataset's Sample is one."""

    def image(self) -> Image: ...

    def mask(self) -> Mask: ...


def golden_tiles(samples: Iterable[Pictured], classes: int, geometry: Geometry) -> NDArray[np.uint8]:
    """At most 16 tiles that show every defect class that the samples show, two good ones among them.

    samples: looked through in order until there is enough of each class, so put those first that
    are to be preferred. classes: defect classes. Returns uint8 (n, h, w, channels) of a legal
    size; n is 0 only without samples. With more than 14 classes, the classes met first.
    """
    most = MOST_GOLDEN_TILES - GOOD_TILES
    wanted = max(1, most // classes)
    have = np.zeros(classes + 1, int)
    defective: list[Image] = []
    good: list[Image] = []
    for sample in samples:
        if (have[1:] >= wanted).all() and len(good) >= GOOD_TILES:
            break
        mask = sample.mask()
        shown = [int(c) for c in np.unique(mask) if c not in (0, IGNORE)]
        lacking = [c for c in shown if have[c] < wanted]
        if not lacking and (shown or len(good) >= GOOD_TILES):
            continue
        image = sample.image()
        for class_id in lacking:
            if len(defective) < most:
                defective.append(_cut(image, _middle(mask == class_id), geometry))
                have[class_id] += 1
        if not shown and len(good) < GOOD_TILES:
            good.append(_cut(image, (mask.shape[0] // 2, mask.shape[1] // 2), geometry))
    tiles = defective + good
    return np.stack(tiles) if tiles else np.zeros((0, 1, 1, 1), np.uint8)


def save_tiles(run: Path, tiles: NDArray[np.uint8]) -> None:
    """Keep the tiles in the RUN folder, as a whole or not at all."""
    temporary = run / f".{FILE}"
    with temporary.open("wb") as file:
        np.savez_compressed(file, tiles=tiles)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(run / FILE)


def load_tiles(run: Path) -> NDArray[np.uint8]:
    """What `save_tiles` kept. Raises UsageError naming the file when it is missing or broken."""
    path = run / FILE
    try:
        # Of a file that is no archive numpy leaves open what it opened itself.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            return np.asarray(arrays["tiles"], np.uint8)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} cannot be read; let `trainer fit` finish in this folder again.") from error


def _middle(region: NDArray[np.bool_]) -> tuple[int, int]:
    """(y, x) of the pixel deepest inside the region's largest 8-connected component."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
    largest = int(stats[1:, cv2.CC_STAT_AREA].argmax()) + 1
    depth = cv2.distanceTransform((labels == largest).astype(np.uint8), cv2.DIST_L2, 3)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(y), int(x)


def _cut(image: Image, middle: tuple[int, int], geometry: Geometry) -> Image:
    """A tile around `middle`, from the mirrored plane where it leaves the picture; (h, w, channels)."""
    side = geometry.input(geometry.output_at_least(OUT_PX))
    rows, columns = (
        mirror_indices(centre - side // 2, centre - side // 2 + side, n)
        for centre, n in zip(middle, image.shape[:2], strict=True)
    )
    tile = image[rows[:, None], columns]
    return tile if tile.ndim == 3 else tile[:, :, None]
