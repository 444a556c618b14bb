"""Packages and frames to qualify with: the same on every machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.qualify.graph import release_onnx
from deploy.qualify.network import CLASSES, MEAN, STD, flop_per_px, seeing_network
from deploy.qualify.reference import compute
from inspector.package import Golden, Manifest, ModelPackage, Normalisation, Threshold, write_package
from inspector.tiling import Geometry
from inspector.types import Image

_GOLDEN_TILES, _GOLDEN_OUT_PX = 2, 64


def seeing_package(path: Path, base: int, depth: int) -> ModelPackage:
    """A package of a network that knows dark and bright, its golden answers from plain numpy.

    Raises UsageError without the onnx library, or where the place is taken.
    """
    geometry = Geometry(depth)
    side = geometry.input(geometry.output_at_least(_GOLDEN_OUT_PX))
    tiles = np.stack([spotted((side, side), seed) for seed in range(_GOLDEN_TILES)])
    network = seeing_network(base, depth)
    network = network.with_deep_scores(compute(network, tiles[0]).features)
    answers = [compute(network, tile) for tile in tiles]
    manifest = Manifest(
        name=f"seeing-{base}-{depth}",
        version="1",
        classes=CLASSES,
        channels=1,
        depth=depth,
        base=base,
        halo=geometry.halo,
        grid=geometry.grid,
        normalisation=Normalisation(mean=(MEAN,), std=(STD,)),
        thresholds={name: Threshold(value=0.5) for name in CLASSES},
        training_data_sha256="0" * 64,
        seed=0,
        metrics={"half": {"activation": max(one.activation for one in answers)}},
    )
    golden = Golden(tiles[..., None], np.stack([one.probs for one in answers]))
    return write_package(path, manifest, release_onnx(network), golden)


def spotted(size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """uint8 (h, w): mid gray with fine noise, and in its middle half dark and bright spots."""
    random = np.random.default_rng(seed)
    picture = random.normal(128, 6, size).clip(100, 156).astype(np.uint8)
    y, x = np.mgrid[: size[0], : size[1]]
    for value in (20, 240, 20, 240):
        centre = [random.uniform(0.35 * n, 0.65 * n) for n in size]
        axes = random.uniform(3, 6), random.uniform(6, 12)
        picture[((y - centre[0]) / axes[0]) ** 2 + ((x - centre[1]) / axes[1]) ** 2 <= 1] = value
    return picture


def frame_of(package: ModelPackage, size: tuple[int, int]) -> Image:
    """A frame of (height, width) laid with the package's golden tiles: pictures it was made for."""
    tiles = package.golden().tiles
    n, h, w, channels = tiles.shape
    rows, columns = -(-size[0] // h), -(-size[1] // w)
    laid = [np.concatenate([tiles[(r + c) % n] for c in range(columns)], axis=1) for r in range(rows)]
    frame = np.concatenate(laid)[: size[0], : size[1]]
    return np.ascontiguousarray(frame[..., 0] if channels == 1 else frame)


def package_flop_per_px(package: ModelPackage) -> float:
    """See flop_per_px."""
    manifest = package.manifest
    return flop_per_px(manifest.base, manifest.depth, manifest.channels, len(manifest.classes) + 1)
