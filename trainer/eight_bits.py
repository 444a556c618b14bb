"""A trained network in 8 bits, layer by layer in the order of computation.

The calibration tiles pass through the trained network and through the one in 8 bits side by side.
Each layer is fitted to answer what the trained one answers, from what the layers before it give in
8 bits. Every map becomes whole numbers of 0 to 255, for each channel over the range that it was
seen to take, and every weight one of -127 to 127. A layer's scale and bias lead from the whole numbers
that it reads to those that it answers, so that nothing but whole numbers passes between two layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.grid import LEVELS, Grid, grid_over, picture_grid
from trainer.release import ReleaseGraph
from trainer.rounding import Moments, fit_and_round
from trainer.unet import ConvPair, UpLevel
from trainer.validate import Tell

_Conv: TypeAlias = nn.Conv2d | nn.ConvTranspose2d

PIXELS = 49_152
"""On which a layer is fitted, drawn from all tiles."""
UNSURE = 0.02
"""Least probability of the second class from which a pixel counts as near a decision."""
REACH_PX = 8
"""Around such pixels lie those that decide; half of PIXELS are drawn there."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One convolution of the network in 8 bits."""

    weight: Tensor
    """int8, -127 to 127; in torch's order of axes."""
    scale: Tensor
    """float32 (outputs,)."""
    bias: Tensor
    """float32 (outputs,)."""
    up: bool
    """Whether it is an up-convolution."""

    def answer(self, whole: Tensor) -> Tensor:
        """float32: scale * convolution + bias of whole numbers, uint8 or float32.

        Sums are exact as long as they stay below 2^24, as those of trained layers do by far.
        """
        x, weight = whole.float(), self.weight.float()
        sums = F.conv_transpose2d(x, weight, stride=2) if self.up else F.conv2d(x, weight)
        return sums * self.scale[:, None, None] + self.bias[:, None, None]


@dataclass(slots=True)
class _Map:
    """An inner map of every tile, in both networks."""

    trained: list[Tensor]
    """float32 (1, channels, h, w)."""
    served: list[Tensor]
    """uint8, whole numbers of `grid`."""
    grid: Grid

    def each(self, change: Callable[[Tensor], Tensor]) -> _Map:
        """The same change in both networks; one that moves values but makes no new ones."""
        return _Map([change(one) for one in self.trained], [change(one) for one in self.served], self.grid)


def layers_in_8_bits(
    graph: ReleaseGraph, tiles: Tensor, seed: int = 0, tell: Tell = lambda *_: None
) -> list[Layer]:
    """Every convolution, in the order of computation; the head, the last one, answers scores.

    graph: of float32, its skip maps joined by concatenation. tiles: uint8 (n, h, w, channels) of a
    legal size. tell: called before the first layer and after each, since all of them take minutes.
    """
    net = graph.net
    count = sum(isinstance(module, _Conv) for module in net.modules())
    with torch.inference_mode():
        walk = _Walk([_chances(graph, tile) for tile in tiles], seed, partial(_tell_layer, tell, count))
        whole = [tile[None].permute(0, 3, 1, 2) for tile in tiles]
        pictures = [(one.float() - graph.mean) / graph.std for one in whole]
        x, skips = _Map(pictures, whole, picture_grid(graph.mean, graph.std)), list[_Map]()
        for level, pair in enumerate(net.down):
            if level:
                skips.append(x)
                # torch pools no whole numbers; the largest is the largest in float as well.
                x = x.each(lambda one: F.max_pool2d(one.float(), 2).to(one.dtype))
            assert isinstance(pair, ConvPair)
            x = walk.pair(pair, x)
        for up in net.up:
            assert isinstance(up, UpLevel) and up.concat
            skip = skips.pop().each(partial(_cropped, by=up.crop))
            x = walk.pair(up.convs, _joined(skip, walk.layer(up.up, x)))
        walk.head(net.head, x)
    return walk.layers


class _Walk:
    """The layers that were passed so far."""

    def __init__(self, chances: list[Tensor], seed: int, tell: Callable[[int], None]) -> None:
        """chances: of each tile, float32 (h, w), how likely a pixel is to be drawn. tell: called with how
        many layers are passed."""
        self.layers: list[Layer] = []
        self._tell = tell
        tell(0)
        self._chances = chances
        self._random = torch.Generator().manual_seed(seed)

    def pair(self, pair: ConvPair, x: _Map) -> _Map:
        for conv in (pair.conv1, pair.conv2):
            x = self.layer(conv, x, F.relu)
        return x

    def layer(self, conv: _Conv, x: _Map, then: Callable[[Tensor], Tensor] | None = None) -> _Map:
        """The map after one more convolution, in whole numbers. then: what follows it in the trained network.

        The least whole number stands for the least value seen, which after a ReLU is 0: to cut
        off below it is the ReLU.
        """
        answers = [conv(one) for one in x.trained]
        trained = [then(one) for one in answers] if then else answers
        grid = grid_over(trained)
        fitted = self._fitted(conv, x, answers)
        made = Layer(fitted.weight, fitted.scale / grid.step, (fitted.bias - grid.low) / grid.step, fitted.up)
        served = [nearest(made.answer(one)).to(torch.uint8) for one in x.served]
        self._pass(made)
        return _Map(trained, served, grid)

    def head(self, conv: nn.Conv2d, x: _Map) -> None:
        """The last convolution."""
        self._pass(self._fitted(conv, x, [conv(one) for one in x.trained]))

    def _pass(self, made: Layer) -> None:
        self.layers.append(made)
        self._tell(len(self.layers))

    def _fitted(self, conv: _Conv, x: _Map, trained: list[Tensor]) -> Layer:
        """The layer that answers what the trained one answers, on pixels drawn from every tile."""
        up = isinstance(conv, nn.ConvTranspose2d)
        # Rows are answers, columns what is read: of an up-convolution four pixels answer to one.
        by_row = conv.weight.permute(2, 3, 1, 0) if up else conv.weight
        by_row = by_row * x.grid.step.reshape((1, 1, 1, -1) if up else (1, -1, 1, 1))
        weights = (by_row.flatten(0, 2) if up else by_row.flatten(1)).double()
        moments = Moments(weights.shape[1], weights.shape[0])
        for n, (read, answer) in enumerate(zip(x.served, trained, strict=True)):
            moments.add(*self._read(n, read, answer, conv))
        found = fit_and_round(weights, moments, 4 if up else 1)
        whole = found.whole.to(torch.int8).reshape(by_row.shape)
        whole = whole.permute(3, 2, 0, 1).contiguous() if up else whole
        bias = found.bias.reshape(-1, conv.out_channels).mean(0).float()
        return Layer(whole, found.scale[: conv.out_channels].float(), bias, up)

    def _some(self, tile: int, one: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(values (n, channels), y, x) of pixels of a map, drawn by the tile's chances."""
        height, width = one.shape[2:]
        chances = self._chances[tile]
        # Valid convolutions take the same from both sides: every map lies around the tile's middle.
        level = 2 ** round(math.log2(chances.shape[0] / height))
        rows, columns = (
            (have // 2 + (torch.arange(size) - size // 2) * level).clamp(0, have - 1)
            for have, size in zip(chances.shape, (height, width), strict=True)
        )
        count = PIXELS // len(self._chances) + 1
        drawn = chances[rows][:, columns].flatten().multinomial(count, True, generator=self._random)
        y, x = drawn // width, drawn % width
        return one[0, :, y, x].T, y, x

    def _read(self, tile: int, read: Tensor, answer: Tensor, conv: _Conv) -> tuple[Tensor, Tensor]:
        """(n, columns) of what a convolution reads, and (n, rows) of its answers, at pixels of a tile."""
        if isinstance(conv, nn.ConvTranspose2d):
            values, y, x = self._some(tile, read)
            four = [answer[0, :, 2 * y + dy, 2 * x + dx] for dy in range(2) for dx in range(2)]
            return values.float(), torch.cat(four).T
        answers, y, x = self._some(tile, answer)
        height, width = conv.weight.shape[2:]
        around = [read[0, :, y + dy, x + dx] for dy in range(height) for dx in range(width)]
        return torch.stack(around, 1).permute(2, 0, 1).flatten(1).float(), answers


def _tell_layer(tell: Tell, count: int, done: int) -> None:
    tell("fitting layers to 8 bits", done, count)


def nearest(answers: Tensor) -> Tensor:
    """float32 whole numbers of 0 to 255; halves go to the even one, as in the processor."""
    return answers.round().clamp(0, LEVELS)


def _chances(graph: ReleaseGraph, tile: Tensor) -> Tensor:
    """float32 (h, w) of a tile's input: half to all pixels alike, half to those around decisions."""
    sure = graph(tile[None])[1].amax(1, keepdim=True)
    near = F.max_pool2d((sure < 1 - UNSURE).float(), 2 * REACH_PX + 1, 1, REACH_PX)
    halo = (tile.shape[0] - near.shape[2]) // 2
    near = F.pad(near, (halo,) * 4)[0, 0]
    return 1 / near.numel() + near / near.sum().clamp(min=1)


def _cropped(one: Tensor, by: int) -> Tensor:
    return one[:, :, by:-by, by:-by]


def _joined(skip: _Map, x: _Map) -> _Map:
    """The skip map's channels, then the others."""
    trained, served = (
        [torch.cat(both, 1) for both in zip(*pair, strict=True)]
        for pair in ((skip.trained, x.trained), (skip.served, x.served))
    )
    return _Map(trained, served, skip.grid.beside(x.grid))
