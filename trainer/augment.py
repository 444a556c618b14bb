"""One composed map for each training tile: shift, flip, turn, scale and elastic in one resampling.

Tiles are read from the infinite plane of the mirrored picture (reflect-101), as the line reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.tiling import mirror_indices
from inspector.types import Image
from trainer.config import AugmentConfig

Map = tuple[NDArray[np.float32], NDArray[np.float32]]
"""For every pixel of a tile the (x, y) that it is read from, float32 (h, w) each."""


@dataclass(frozen=True, slots=True)
class Motion:
    """How a tile lies in the picture."""

    matrix: NDArray[np.float32]
    """2x2: (y, x) offsets from the tile's centre to offsets from `centre`."""
    centre: tuple[float, float]
    """(y, x) in the picture under the tile's centre."""
    nodes: NDArray[np.float32] | None
    """(2, 3, 3) displacements (y, x) in pixels at the nodes of the elastic grid, or None."""


def draw_motion(
    rng: np.random.Generator, config: AugmentConfig, size: tuple[int, int], scale: float = 1.0
) -> Motion:
    """A random motion around the picture's corner for a tile of `size` (height, width), input pixels.

    scale: magnification beside the random one.

    Flips and quarter turns move whole pixels: a tile that draws neither warp nor elastic shows
    the picture's own pixels, not interpolated ones, at a `scale` of 1.
    """
    matrix = np.eye(2) / scale
    if config.flips:
        matrix = np.diag(rng.choice([-1.0, 1.0], 2)) @ matrix
    if config.quarter_turns and rng.random() < 0.5:
        matrix = matrix[::-1]
    if rng.random() < config.warp_chance:
        angle = np.deg2rad(rng.uniform(-config.rotation_deg, config.rotation_deg))
        low, high = np.log(config.scale[0]), np.log(config.scale[1])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = turn @ matrix / np.exp(rng.uniform(low, high))
    nodes = None
    if rng.random() < config.elastic_chance:
        spacing = (min(size) - 1) / 2
        deviation = min(config.elastic_sd_px, config.elastic_sd_share * spacing)
        nodes = rng.normal(0.0, deviation, (2, 3, 3)).astype(np.float32)
    return Motion(matrix.astype(np.float32), (0.0, 0.0), nodes)


def motion_map(motion: Motion, size: tuple[int, int]) -> Map:
    """The map of a tile of `size` (height, width)."""
    h, w = size
    y = np.arange(h, dtype=np.float32)[:, None] - np.float32((h - 1) / 2)
    x = np.arange(w, dtype=np.float32)[None, :] - np.float32((w - 1) / 2)
    (a, b), (c, d) = motion.matrix
    map_y = a * y + (b * x + np.float32(motion.centre[0]))
    map_x = c * y + (d * x + np.float32(motion.centre[1]))
    if motion.nodes is not None:
        map_y += displacement(motion.nodes[0], size)
        map_x += displacement(motion.nodes[1], size)
    return map_x, map_y


def displacement(nodes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """A coarse 3x3 grid, its outer nodes on the tile's corners, made smooth by bicubic interpolation.

    Returns float32 (height, width) that equals the nodes where they lie.
    """
    rows, columns = _cubic_weights(size[0]), _cubic_weights(size[1])
    return np.asarray(rows @ nodes @ columns.T, np.float32)


@cache
def _cubic_weights(length: int) -> NDArray[np.float32]:
    """(length, 3): what each of three nodes gives to each pixel, by cubic convolution (Keys 1981, a = -1/2).

    The two nodes beyond the ends that cubic convolution asks for continue the outer ones in a line.
    """
    at = np.linspace(0.0, 2.0, length)
    weights = np.zeros((length, 5))
    for node in range(-1, 4):
        t = np.abs(at - node)
        weights[:, node + 1] = np.where(
            t < 1, 1.5 * t**3 - 2.5 * t**2 + 1, np.where(t < 2, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2, 0.0)
        )
    inner = weights[:, 1:4]
    inner[:, 0] += 2 * weights[:, 0]
    inner[:, 1] -= weights[:, 0] + weights[:, 4]
    inner[:, 2] += 2 * weights[:, 4]
    return inner.astype(np.float32)


def warp_image(image: Image, where: Map) -> Image:
    """A picture read through a map, bicubic, from its mirrored plane; uint8 of the map's size.

    The part of the plane that the map touches is laid out first: OpenCV's own reflecting border
    folds once only, and a picture smaller than the halo needs more.
    """
    (left, right), (top, bottom) = _span(where[0]), _span(where[1])
    if min(top, left) >= 0 and bottom <= image.shape[0] and right <= image.shape[1]:
        plane = image[top:bottom, left:right]
    else:
        rows = mirror_indices(top, bottom, image.shape[0])
        plane = image[rows[:, None], mirror_indices(left, right, image.shape[1])]
    return np.asarray(cv2.remap(plane, where[0] - left, where[1] - top, cv2.INTER_CUBIC), np.uint8)


def _span(coordinates: NDArray[np.float32]) -> tuple[int, int]:
    """The pixels that bicubic interpolation at these coordinates reads, half-open."""
    return int(np.floor(coordinates.min())) - 1, int(np.ceil(coordinates.max())) + 3


def nearest(where: Map, frame: tuple[int, int], margin: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(y, x) of the pixels nearest to the map's inner part, `margin` cut from each side.

    Masks, instances and weights take these, so that a label is never mixed from two and all
    of them move alike.
    """
    inner = (slice(margin, where[0].shape[0] - margin), slice(margin, where[0].shape[1] - margin))
    y = _mirror(np.rint(where[1][inner]).astype(np.intp), frame[0])
    x = _mirror(np.rint(where[0][inner]).astype(np.intp), frame[1])
    return y, x


def _mirror(index: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    """tiling.mirror_indices for indices in any order."""
    if n == 1:
        return np.zeros_like(index)
    if index.min() >= 0 and index.max() < n:
        return index  # most tiles; a division for each pixel is a tenth of what a tile costs
    period = 2 * (n - 1)
    folded = index % period
    return np.asarray(np.minimum(folded, period - folded))
