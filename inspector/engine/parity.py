"""What an engine does on a package's golden tiles, held against the trained network pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from inspector.defects import mask_of, match_defects
from inspector.engine.protocol import Engine
from inspector.errors import EngineError
from inspector.package import Golden, ModelPackage
from inspector.tiling import Geometry
from inspector.types import Image, Mask, ProbMap


class Parity(BaseModel):
    """What an engine did on the golden tiles, against the trained network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_difference: float
    """Largest difference of a probability, in steps of 1/255 from Round(255 p)."""
    mean_difference: float
    """Mean over all pixels and defect classes."""
    mask_equal: float
    changed: int
    """Mask pixels that are not equal, of `pixels`."""
    pixels: int
    defects: int
    """Golden defects that counted, of which `lost` were not found by the design's matching rule."""
    lost: int
    iou_change: dict[str, float]
    """Class -> 1 - IoU of the engine's mask with the trained network's. IoU with any truth changes by
    no more than that: 1 - IoU is a distance, so the triangle inequality holds."""


def measure(engine: Engine, package: ModelPackage, golden: Golden, least_px: int = 1) -> Parity:
    """Run the golden tiles through the engine as it serves, and compare pixel by pixel.

    least_px: golden defects of a smaller area do not count as defects; their pixels are compared.
    Raises EngineError when the engine fails, or returns without a result.
    """
    largest, summed, values = 0, 0, 0
    changed = pixels = found = total = 0
    shared = np.zeros((2, len(package.classes) + 1), np.int64)
    for predicted, trained in _golden_runs(engine, package, golden):
        expected = np.round(255 * trained).astype(np.uint8)
        difference = np.abs(predicted.astype(np.int16) - expected)
        largest = max(largest, int(difference.max()))
        summed += int(difference.sum())
        values += difference.size
        mask, truth = mask_of(predicted, package.thresholds), mask_of(expected, package.thresholds)
        changed += int(np.count_nonzero(mask != truth))
        pixels += truth.size
        shared += _overlap(mask, truth, len(package.classes))
        counted = _without_specks(truth, len(package.classes), least_px)
        for counts in match_defects(counted, None, mask, package.classes).values():
            found += counts.found
            total += counts.total
    return Parity(
        max_difference=largest / 255,
        mean_difference=summed / values / 255,
        mask_equal=1 - changed / pixels,
        changed=changed,
        pixels=pixels,
        defects=total,
        lost=total - found,
        iou_change={
            name: 1 - int(both) / int(either) if either else 0.0
            for name, both, either in zip(package.classes, *shared[:, 1:], strict=True)
        },
    )


def _without_specks(mask: Mask, classes: int, least_px: int) -> Mask:
    """The mask without its 8-connected regions of fewer than least_px pixels."""
    kept = mask.copy()
    for class_id in range(1, classes + 1):
        region = (mask == class_id).astype(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(region, connectivity=8)
        kept[stats[labels, cv2.CC_STAT_AREA] < least_px] = 0
    return kept


def _overlap(mask: Mask, truth: Mask, classes: int) -> NDArray[np.int64]:
    """(2, classes + 1): pixels that both give a class, and pixels that either does."""
    both = np.bincount(mask[mask == truth], minlength=classes + 1)
    each = [np.bincount(one.reshape(-1), minlength=classes + 1) for one in (mask, truth)]
    return np.stack((both, each[0] + each[1] - both))


def _golden_runs(
    engine: Engine, package: ModelPackage, golden: Golden
) -> Iterator[tuple[ProbMap, NDArray[np.float32]]]:
    """(engine's, trained network's) probabilities of each golden tile.

    The engine serves one tile size. Golden tiles lie on pictures of that size from end to end, on
    the pooling grid, where a valid network computes for each the same as alone; of a golden
    tile that is larger, its middle, where the trainer puts the defect.
    """
    geometry, tile, halo = package.geometry, engine.info.tile, package.geometry.halo
    h, w = (min(have, size) for have, size in zip(golden.tiles.shape[1:3], tile, strict=True))
    top, left = (
        _around_middle(have, size, geometry)
        for have, size in zip(golden.tiles.shape[1:3], (h, w), strict=True)
    )
    out_h, out_w = h - 2 * halo, w - 2 * halo
    rows, columns = (_origins(*sizes, geometry.grid) for sizes in zip(tile, (h, w), strict=True))
    places = [(y, x) for y in rows for x in columns]
    for first in range(0, len(golden.tiles), len(places)):
        batch = range(first, min(first + len(places), len(golden.tiles)))
        # From the last corner to the first: what goes wrong far from the origin shall meet one of them.
        chosen = [places[int(n)] for n in np.linspace(len(places) - 1, 0, len(batch))]
        sheet = np.zeros((*tile, golden.tiles.shape[3]), np.uint8)
        for n, (y, x) in zip(batch, chosen, strict=True):
            sheet[y : y + h, x : x + w] = golden.tiles[n, top : top + h, left : left + w]
        probs = _run_one(engine, sheet[..., 0] if sheet.shape[2] == 1 else sheet)
        for n, (y, x) in zip(batch, chosen, strict=True):
            yield probs[y : y + out_h, x : x + out_w], golden.probs[n, top : top + out_h, left : left + out_w]


def _origins(size: int, each: int, grid: int) -> list[int]:
    """Where as many windows of `each` pixels begin as fit side by side into `size`: the first at 0, the
    last of several at the far end. Both sizes are legal, so that they differ by a multiple of the grid."""
    last = size - each
    count = 1 + last // (-(-each // grid) * grid)
    return [last * n // (count - 1) // grid * grid for n in range(count)] if count > 1 else [0]


def _around_middle(have: int, size: int, geometry: Geometry) -> int:
    """Where a crop of `size` input pixels begins on the grid, its output over the middle of `have`."""
    middle, out = have // 2 - geometry.halo, geometry.output(size)
    wanted = (middle // geometry.grid - out // 2 // geometry.grid) * geometry.grid
    return max(0, min(wanted, have - size))


def _run_one(engine: Engine, tile: Image) -> ProbMap:
    """Raises EngineError where the engine returns without a result, which it must not."""
    results: list[ProbMap] = []
    engine.run([tile], lambda _, probs: results.append(probs.copy()))
    if not results:
        info = engine.info
        raise EngineError(
            f"{info.name} in {info.precision} on {info.device} gave no result for a golden tile;"
            " start again, and if it stays so set another model.engine in line.toml."
        )
    return results[0]
