"""Networks of any size that need no training and still see something, for speed, memory and tests.

All weights are drawn as for training, and two paths through the first level are set by hand:
dark regions are class `dark`, bright ones class `bright`. So the arithmetic is that of a trained
network of the same size, and golden tiles, masks and defects mean something.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inspector.package import ModelPackage
from inspector.tiling import Geometry
from trainer.checkpoint import TrainedNetwork
from trainer.export import export_package
from trainer.unet import ConvPair, UNet, UNetConfig

CLASSES = ("dark", "bright")
MEAN, STD = 128.0, 64.0
STEEPNESS, OFFSET = 8.0, 4.0
"""Score of a class = 8 * how far it is from mid gray in units of 64 levels - 4: half at gray 96 and 160."""


def seeing_network(base: int, depth: int, channels: int = 1, seed: int = 0) -> TrainedNetwork:
    """A network of this size for gray or colour pictures, base at least 2, that knows dark and bright."""
    torch.manual_seed(seed)
    config = UNetConfig(channels=channels, classes=3, depth=depth, base=base, dropout=0.0)
    net = UNet(config).eval()
    with torch.no_grad():
        top, last = net.down[0], net.up[-1].convs
        assert isinstance(top, ConvPair) and isinstance(last, ConvPair)
        for pair in (top, last):
            _pass_through(pair)
        first = top.conv1.weight
        first[0, :, 1, 1], first[1, :, 1, 1] = -1.0 / channels, 1.0 / channels
        net.head.weight *= 0.01
        net.head.weight[:, :2] = 0.0
        net.head.weight[1, 0] = net.head.weight[2, 1] = STEEPNESS
        assert net.head.bias is not None
        net.head.bias[:] = torch.tensor([0.0, -OFFSET, -OFFSET])
    return TrainedNetwork(
        net=net,
        config=config,
        classes=CLASSES,
        channels=channels,
        normalisation=((MEAN,) * channels, (STD,) * channels),
        thresholds=(0.5, 0.5),
        mm_per_px=None,
        data_sha256="0" * 64,
        seed=seed,
        metrics={},
        step=0,
        fit_config="",
    )


def _pass_through(pair: ConvPair) -> None:
    """Output channels 0 and 1 are input channels 0 and 1, unchanged."""
    for conv in (pair.conv1, pair.conv2):
        conv.weight[:2] = 0.0
        for channel in range(2):
            if channel < conv.weight.shape[1]:
                conv.weight[channel, channel, 1, 1] = 1.0


def pictures(count: int, size: tuple[int, int], channels: int, seed: int = 0) -> NDArray[np.uint8]:
    """uint8 (count, h, w, channels): mid gray with fine noise, each with dark and bright spots."""
    random = np.random.default_rng(seed)
    found = random.normal(128, 6, (count, *size, channels)).clip(100, 156).astype(np.uint8)
    for number, picture in enumerate(found):
        for value in (20, 240):
            y, x = (int(random.integers(n // 4, 3 * n // 4)) for n in size)
            axes = (3 + number % 4, 8 + number % 5)
            cv2.ellipse(picture, (x, y), axes, float(random.integers(180)), 0, 360, (value,) * channels, -1)
    return found


def seeing_package(path: Path, base: int, depth: int, channels: int = 1, seed: int = 0) -> ModelPackage:
    """The network as a package, through the exporter."""
    geometry = Geometry(depth)
    side = geometry.input(geometry.output_at_least(64))
    tiles = pictures(4, (side, side), channels, seed)
    return export_package(
        seeing_network(base, depth, channels, seed), tiles, path, f"seeing-{base}-{depth}", "1"
    )
