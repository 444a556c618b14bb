"""The trainer with one idea of the paper taken out, for benchmarks.ablation and nothing else.

    python -m benchmarks.altered mirror fit DATA --out RUN --minutes 6
    python -m benchmarks.altered mirror evaluate RUN DATA --json

mirror: beyond a frame lies nothing, zero after normalisation, in training, validation and evaluation;
what a training tile shows of it takes no part in the loss. valid: convolutions padded with zeros, so
that output and input have one size and there is no halo. Everything else is `trainer` itself, whose
packages and line know neither, so nothing that is trained here can be served.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `trainer fit` sets it, before torch is loaded

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import inspector.engine.segment
import trainer.checkpoint
import trainer.evaluate
import trainer.sampler
import trainer.train
import trainer.validate
import trainer.vector_scaling
from inspector.tiling import Geometry, Tile, TilePlan, cut_tile
from inspector.types import Image
from trainer.augment import Map
from trainer.checkpoint import TrainedNetwork
from trainer.cli.main import main as trainer_command
from trainer.config import FitConfig
from trainer.places import Places
from trainer.sampler import TileSampler
from trainer.stock import Picture, Stock
from trainer.unet import UNet, UNetConfig, UpLevel
from trainer.weights import IGNORE

_nothing: list[float] = []
"""The gray value of each channel that normalisation makes zero, once a network or its data is known."""


def without_mirror() -> None:
    """Take the mirrored plane out of this process."""
    plain_load = trainer.checkpoint.load_run

    def load_run(path: Any) -> TrainedNetwork:
        trained = plain_load(path)
        _nothing[:] = trained.normalisation[0]
        return trained

    _put(trainer.checkpoint, "load_run", load_run)
    _put(trainer.train, "TileSampler", ZeroTiles)
    _put(trainer.sampler, "warp_image", warp_over_nothing)
    _put(trainer.sampler, "nearest", nearest_or_nothing)
    for module in (trainer.validate, trainer.vector_scaling, inspector.engine.segment):
        _put(module, "cut_tile", cut_over_nothing)


class ZeroTiles(TileSampler):
    """Training tiles whose pixels beyond the picture are zero and carry no weight."""

    def __init__(self, stock: Stock, config: FitConfig) -> None:
        super().__init__(stock, config)
        _nothing[:] = stock.normalisation[0]
        self._stock = replace(stock, pictures=tuple(map(_with_a_place_for_nothing, stock.pictures)))
        self._places = Places(self._stock, config, self._crop)


def _with_a_place_for_nothing(picture: Picture) -> Picture:
    """Labels and weights in one line, with an ignored pixel at its end."""
    weights = None if picture.weights is None else np.append(picture.weights.ravel(), np.float32(0))
    return replace(picture, mask=np.append(picture.mask.ravel(), np.uint8(IGNORE)), weights=weights)


def warp_over_nothing(image: Image, where: Map) -> Image:
    """trainer.augment.warp_image without the mirror."""
    border = tuple(_nothing)
    warped = cv2.remap(image, *where, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=border)
    return np.asarray(warped, np.uint8)


def nearest_or_nothing(
    where: Map, frame: tuple[int, int], margin: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """trainer.augment.nearest, with the pixel after the last one for what lies beyond the frame."""
    inner = (slice(margin, where[0].shape[0] - margin), slice(margin, where[0].shape[1] - margin))
    x, y = (np.rint(axis[inner]).astype(np.intp) for axis in where)
    inside = (y >= 0) & (y < frame[0]) & (x >= 0) & (x < frame[1])
    return np.where(inside, y, frame[0]), np.where(inside, x, 0)


def cut_over_nothing(
    image: NDArray[Any], plan: TilePlan, tile: Tile, into: NDArray[Any] | None = None
) -> NDArray[Any]:
    """inspector.tiling.cut_tile without the mirror."""
    cut = cut_tile(image, plan, tile, into)
    rows, columns = (
        np.arange(origin - plan.geometry.halo, origin - plan.geometry.halo + size)
        for origin, size in ((tile.y, cut.shape[0]), (tile.x, cut.shape[1]))
    )
    cut[(rows < 0) | (rows >= plan.frame[0])] = _value(cut)
    cut[:, (columns < 0) | (columns >= plan.frame[1])] = _value(cut)
    return cut


def _value(tile: NDArray[Any]) -> NDArray[Any] | int:
    return int(_nothing[0]) if tile.ndim == 2 else np.asarray(_nothing, tile.dtype)


def without_valid() -> None:
    """Take valid convolutions, and with them the halo, out of this process."""
    halo_at: dict[int, int] = {depth: Geometry(depth).halo for depth in range(2, 7)}
    plain_init, plain_evaluate = UNet.__init__, trainer.evaluate.evaluate

    def init(self: UNet, config: UNetConfig, coarse_heads: bool = False) -> None:
        plain_init(self, config, coarse_heads)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                module.padding = (1, 1)

    def evaluate(samples: Any, segmenter: Any, *rest: Any, **named: Any) -> Any:
        # "Near the border" means the same pixels for every arm.
        return plain_evaluate(
            samples, segmenter, *rest, **named | {"halo": halo_at[segmenter.geometry.depth]}
        )

    _put(UNet, "__init__", init)
    _put(UpLevel, "forward", _uncropped)
    _put(Geometry, "halo", property(lambda _geometry: 0))
    _put(Geometry, "_first_output", property(lambda geometry: geometry.grid))
    _put(trainer.evaluate, "evaluate", evaluate)


def _uncropped(self: UpLevel, x: Tensor, skip: Tensor) -> Tensor:
    x = self.up(x)
    joined: Tensor = self.convs(torch.cat((skip, x), 1) if self.concat else skip + x)
    return joined


def _put(owner: Any, name: str, value: object) -> None:
    """Put `value` in the place of something that is there."""
    getattr(owner, name)
    setattr(owner, name, value)


WITHOUT: dict[str, Callable[[], None]] = {"mirror": without_mirror, "valid": without_valid}


def main() -> int:
    """`trainer` without the idea that the first argument names."""
    if len(sys.argv) < 2 or sys.argv[1] not in WITHOUT:
        print(__doc__, file=sys.stderr)
        return 2
    WITHOUT[sys.argv.pop(1)]()
    return trainer_command()


if __name__ == "__main__":
    sys.exit(main())
