"""Training tiles: class-first draws from the stock of pictures, batches ready for the network.

Batch n is a pure function of data, config, seed, n and progress, so a run can be resumed exactly. So is
each of its tiles, so that several processes can share a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inspector.errors import UsageError
from inspector.tiling import Geometry
from inspector.types import Image, Mask
from trainer.appearance import change_appearance
from trainer.augment import Motion, draw_motion, motion_map, nearest, warp_image
from trainer.config import FitConfig
from trainer.paste import Cutout, cut_out, draw_cutout, paste
from trainer.places import Places
from trainer.stock import Normalisation, Stock
from trainer.weights import with_instance

Cut = tuple[Image, Mask, NDArray[np.float32]]
"""Pixels with their halo, labels, and weights without it."""
SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""Of a crop, as (y, x) from its middle: top, bottom, left, right."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's tiles."""

    images: Tensor
    """float32 (N, C, h, w), normalised, channels last in memory."""
    mask: Tensor
    """int64 (N, oh, ow), 255 = ignore."""
    weights: Tensor
    """float32 (N, oh, ow)."""


class TileSampler:
    """Draws the tiles of each step. `batch` may be called from several threads at once."""

    def __init__(self, stock: Stock, config: FitConfig) -> None:
        self._stock, self._config = stock, config
        geometry = Geometry(config.depth)
        self.halo = geometry.halo
        sizes = np.array([p.image.shape[:2] for p in stock.pictures])
        middle = np.minimum(np.median(sizes, axis=0), config.tile_px).astype(int)
        side = _legal_side(geometry, config.crops)
        self._crop = side(int(middle[0])), side(int(middle[1]))
        """(height, width) of what one place in a picture gives: one shape a run, their middle size."""
        self.out = config.crops * self._crop[0], config.crops * self._crop[1]
        """Output (height, width) of every tile."""
        self.tiles = max(1, round(config.step_px / (self.out[0] * self.out[1])))
        self._table = np.zeros(256, np.float32)
        self._table[: len(stock.class_weight)] = stock.class_weight
        self._places = Places(stock, config, self._crop)
        self._cutouts = self._cut_out() if config.paste_chance else []

    def refuse_more_than_tiles(self, processes: int) -> None:
        """Raises UsageError when a step has fewer tiles than there are processes."""
        if processes > self.tiles:
            raise UsageError(
                f"A step has {self.tiles} tiles of {self.out[0]}x{self.out[1]} px, too few for {processes}"
                f" processes; raise step_px (now {self._config.step_px}) in a file for --config."
            )

    def batch(self, number: int, progress: float, rank: int = 0, world: int = 1) -> Batch:
        """The tiles of step `number` at `progress` (0 to 1) of the run, every `world`-th from `rank` on."""
        start, end = self._config.defect_share
        share, scale = start + (end - start) * progress, self._config.scale_at(progress)
        seeds = [[self._config.seed, number, tile] for tile in range(rank, self.tiles, world)]
        drawn = [self._tile(np.random.default_rng(seed), share, scale) for seed in seeds]
        return Batch(
            network_input([image for image, _, _ in drawn], self._stock.normalisation),
            torch.from_numpy(np.stack([mask for _, mask, _ in drawn]).astype(np.int64)),
            torch.from_numpy(np.stack([weights for _, _, weights in drawn])),
        )

    def _tile(self, rng: np.random.Generator, share: float, scale: float) -> Cut:
        """The crops of one tile side by side; of the halos around them only the tile's own stay."""
        n = self._config.crops
        if n == 1:
            return self._cut(rng, share, scale, SIDES)
        rows = []
        for row in range(n):
            cuts = [self._cut(rng, share, scale, self._outer_sides(row, column)) for column in range(n)]
            images = [
                image[self._kept(row, 0), self._kept(column, 1)] for column, (image, _, _) in enumerate(cuts)
            ]
            masks, weights = ([cut[part] for cut in cuts] for part in (1, 2))
            rows.append((np.hstack(images), np.hstack(masks), np.hstack(weights)))
        image, mask, weight = (np.vstack([row[part] for row in rows]) for part in (0, 1, 2))
        return image, mask, weight

    def _kept(self, place: int, axis: int) -> slice:
        """The rows (axis 0) or columns (1) of the crop at this place that the tile shows."""
        last = place == self._config.crops - 1
        start, stop = self.halo, self.halo + self._crop[axis]
        return slice(start if place else 0, stop + self.halo if last else stop)

    def _outer_sides(self, row: int, column: int) -> tuple[tuple[int, int], ...]:
        """The sides of the crop at this place at which the tile shows its halo."""
        last = self._config.crops - 1
        outer = row == 0, row == last, column == 0, column == last
        return tuple(side for side, shown in zip(SIDES, outer, strict=True) if shown)

    def _cut(
        self, rng: np.random.Generator, share: float, scale: float, sides: tuple[tuple[int, int], ...]
    ) -> Cut:
        """One crop. sides: those at which it may see the frame end, as it lies in the tile."""
        config, (picture, anchor) = self._config, self._places.draw(rng, share)
        frame, out = (picture.image.shape[0], picture.image.shape[1]), self._crop
        size = out[0] + 2 * self.halo, out[1] + 2 * self.halo
        motion = _placed(rng, draw_motion(rng, config.augment, size, scale), out, frame, anchor)
        centre = motion.centre
        rows, columns = slice(0, frame[0]), slice(0, frame[1])
        if sides and config.edge_share and rng.random() < config.edge_share:
            rows, columns = _ended(motion, sides[int(rng.integers(len(sides)))], out, frame)
        top, left = rows.start, columns.start
        where = motion_map(replace(motion, centre=(centre[0] - top, centre[1] - left)), size)
        image = warp_image(picture.image[rows, columns], where)
        y, x = nearest(where, (rows.stop - top, columns.stop - left), self.halo)
        # Into the whole picture: to flatten a part of it would copy that part for each crop.
        at = (y + top) * frame[1] + (x + left)
        mask = picture.mask.ravel()[at]
        weights = self._table[mask] if picture.weights is None else picture.weights.ravel()[at]
        # What is pasted keeps its size, so that it waits until the pictures have theirs.
        if self._cutouts and scale == 1 and rng.random() < config.paste_chance:
            pasted = paste(rng, draw_cutout(rng, self._cutouts), image, mask, self.halo)
            if pasted is not None:
                image, mask, here = pasted
                border = config.border, config.w0, config.sigma_px
                weights = with_instance(weights, mask, here, self._stock.class_weight, border)
        return change_appearance(rng, config.augment, image), mask, weights

    def _cut_out(self) -> list[list[Cutout]]:
        """What can be pasted, a list for each class that has some."""
        found: dict[int, list[Cutout]] = {}
        for picture in self._stock.pictures:
            for cutout in cut_out(picture.image, picture.mask, self._crop):
                found.setdefault(cutout.class_id, []).append(cutout)
        return [found[class_id] for class_id in sorted(found)]


def _legal_side(geometry: Geometry, crops: int) -> Callable[[int], int]:
    """n -> the smallest side of a crop, at least n, of which so many in a row are a legal output."""

    def side(n: int) -> int:
        whole = geometry.output_at_least(crops * n)
        while whole % crops:
            whole = geometry.output_at_least(whole + 1)
        return whole // crops

    return side


def network_input(tiles: Sequence[Image], normalisation: Normalisation) -> torch.Tensor:
    """float32 (N, C, h, w), channels last in memory, of uint8 tiles (h, w) or (h, w, C) of one size."""
    stacked = np.stack(tiles)
    if stacked.ndim == 3:
        stacked = stacked[..., None]
    mean, std = (np.asarray(values, np.float32) for values in normalisation)
    # In the image's own layout: a permuted view of it is channels last without a copy.
    return torch.from_numpy((stacked.astype(np.float32) - mean) * (1 / std)).permute(0, 3, 1, 2)


def _placed(
    rng: np.random.Generator,
    motion: Motion,
    out: tuple[int, int],
    frame: tuple[int, int],
    anchor: tuple[int, int] | None,
) -> Motion:
    """The motion with its centre where a crop of `out` pixels lies inside the picture, if it fits.

    Along a side that it does not fit it is centred, give or take an eighth. anchor: (y, x) of a pixel
    that it must show, which comes first: corners of a turned crop may then hang over.
    """
    half, middle = (np.array(out) - 1) / 2, (np.array(frame) - 1) / 2
    reach = np.abs(motion.matrix) @ half
    room = np.where(middle > reach, middle - reach, reach / 4)
    low, high = middle - room, middle + room
    if anchor is not None:
        low, high = np.maximum(low, anchor - reach), np.minimum(high, anchor + reach)
    centre = rng.uniform(low, high)
    if anchor is not None:
        # Of a turned crop the reach is that of its corners, which not every pixel so near lies in.
        moved = 0.0 if motion.nodes is None else np.abs(motion.nodes).max()
        inner = np.maximum(half - 1 - moved, 0)
        there = np.linalg.solve(motion.matrix, anchor - centre)
        centre = anchor - motion.matrix @ np.clip(there, -inner, inner)
    # On the grid of the picture's own pixels, so that one that is not warped is not interpolated.
    y, x = np.rint(centre - reach) + reach
    return replace(motion, centre=(float(y), float(x)))


def _ended(
    motion: Motion, side: tuple[int, int], out: tuple[int, int], frame: tuple[int, int]
) -> tuple[slice, slice]:
    """The rows and columns that are left of a picture that ends where the crop does, at this side of it.

    A flip or a turn shows another side of the picture there than the same one. A crop that hangs over
    the picture at that side has its end there already.
    """
    there = motion.matrix @ np.array(side)
    axis = int(np.argmax(np.abs(there)))
    reach = abs(there[axis]) * (out[0 if side[0] else 1] - 1) / 2
    left = [slice(0, frame[0]), slice(0, frame[1])]
    if there[axis] > 0:
        left[axis] = slice(0, int(np.clip(round(motion.centre[axis] + reach) + 1, 1, frame[axis])))
    else:
        left[axis] = slice(int(np.clip(round(motion.centre[axis] - reach), 0, frame[axis] - 1)), frame[axis])
    return left[0], left[1]
