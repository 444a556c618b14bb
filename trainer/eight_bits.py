"""A trained network in 8 bits, layer by layer in the order of computation.

The calibration tiles pass through the trained network and through the one in 8 bits side by side.
Each layer is fitted to answer what the trained one answers, from what the layers before it give in
8 bits. Activations become whole numbers of 0 to 255, for each channel over the range that it was
seen to take; the next layer's weights take the ranges in, so that to the processor all channels
of a map have one scale.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.grid import Grid, grid_over
from trainer.release import ReleaseGraph
from trainer.rounding import Moments, fit, fit_and_round
from trainer.unet import ConvPair, UpLevel

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
    """int8, or float32 where the layer stays in floating point; in torch's order of axes."""
    scale: Tensor | None
    """float32 (outputs,): what one step of a weight is worth; None in floating point."""
    bias: Tensor
    """float32 (outputs,)."""
    grid: Grid | None
    """Of its answers; None where they stay in floating point. An 8-bit layer reads the whole numbers."""


@dataclass(slots=True)
class _Map:
    """An inner map of every tile, in both networks."""

    trained: list[Tensor]
    """float32 (1, channels, h, w)."""
    served: list[Tensor]
    """uint8 where there is a grid, else float32."""
    grid: Grid | None = None

    def served_values(self) -> Iterator[Tensor]:
        """What the network in 8 bits has here, float32."""
        return (one if self.grid is None else self.grid.values(one) for one in self.served)

    def each(self, change: Callable[[Tensor], Tensor]) -> _Map:
        """The same change in both networks; one that moves values but makes no new ones."""
        return _Map([change(one) for one in self.trained], [change(one) for one in self.served], self.grid)


def layers_in_8_bits(
    graph: ReleaseGraph, tiles: Tensor, float_layers: Collection[int], seed: int = 0
) -> list[Layer]:
    """Every convolution, in the order of computation.

    graph: of float32. tiles: uint8 (n, h, w, channels) of a legal size. float_layers: convolutions that
    stay in floating point, fitted like the others but not rounded. 1 is the one at the picture; it must
    be among them, and so must be the head.
    """
    net = graph.net
    with torch.inference_mode():
        chances = [_chances(graph, tile) for tile in tiles]
        walk = _Walk(frozenset(float_layers), net.config.depth, chances, seed)
        pictures = [(tile[None].float().permute(0, 3, 1, 2) - graph.mean) / graph.std for tile in tiles]
        x, skips = _Map(pictures, list(pictures)), list[_Map]()
        for level, pair in enumerate(net.down):
            if level:
                skips.append(x)
                # torch pools no whole numbers; the largest is the largest in float as well.
                x = x.each(lambda one: F.max_pool2d(one.float(), 2).to(one.dtype))
            assert isinstance(pair, ConvPair)
            x = walk.pair(pair, x)
        for up in net.up:
            assert isinstance(up, UpLevel)
            skip = skips.pop().each(partial(_cropped, by=up.crop))
            x = _joined(skip, walk.layer(up.up, x)) if up.concat else walk.layer(up.up, x, plus=skip)
            x = walk.pair(up.convs, x)
        walk.layer(net.head, x)
    return walk.layers


class _Walk:
    """The layers that were passed so far."""

    def __init__(self, float_layers: frozenset[int], depth: int, chances: list[Tensor], seed: int) -> None:
        """chances: of each tile, float32 (h, w), how likely a pixel is to be drawn."""
        self.layers: list[Layer] = []
        self._float_layers, self._depth, self._chances = float_layers, depth, chances
        self._random = torch.Generator().manual_seed(seed)

    def pair(self, pair: ConvPair, x: _Map) -> _Map:
        for conv in (pair.conv1, pair.conv2):
            x = self.layer(conv, x, relu=True)
        return x

    def layer(self, conv: _Conv, x: _Map, relu: bool = False, plus: _Map | None = None) -> _Map:
        """The map after one more convolution. plus: a map that is added to the answers."""
        number = len(self.layers) + 1
        trained = [conv(one) for one in x.trained]
        made = self._made(conv, x, trained)
        read = x.served_values() if made.scale is None else (one.float() for one in x.served)
        answer = _with(conv, made)
        found = _Map(trained, [answer(one) for one in read])
        if plus is not None:
            found.trained = [a + b for a, b in zip(found.trained, plus.trained, strict=True)]
            found.served = [a + b for a, b in zip(found.served, plus.served_values(), strict=True)]
        found = found.each(F.relu) if relu else found
        if any(reader not in self._float_layers for reader in readers(number, self._depth)):
            grid = grid_over(found.trained)
            found = _Map(found.trained, [grid.whole(one) for one in found.served], grid)
        self.layers.append(replace(made, grid=found.grid))
        return found

    def _made(self, conv: _Conv, x: _Map, trained: list[Tensor]) -> Layer:
        """The layer fitted to what the trained one answers, on pixels drawn from every tile."""
        assert conv.bias is not None
        number, up = len(self.layers) + 1, isinstance(conv, nn.ConvTranspose2d)
        if number == 1:  # it reads what the trained one reads, and bfloat16 holds its weights exactly
            return Layer(conv.weight.detach(), None, conv.bias.detach(), None)
        rounds = number not in self._float_layers
        # Rows are answers, columns what is read: of an up-convolution four pixels answer to one.
        by_row = conv.weight.permute(2, 3, 1, 0) if up else conv.weight
        if rounds:
            assert x.grid is not None, "what an 8-bit layer reads has a grid"
            by_row = by_row * x.grid.step.reshape((1, 1, 1, -1) if up else (1, -1, 1, 1))
        weights = (by_row.flatten(0, 2) if up else by_row.flatten(1)).double()
        moments = Moments(weights.shape[1], weights.shape[0])
        served = x.served if rounds else x.served_values()
        for n, (read, answer) in enumerate(zip(served, trained, strict=True)):
            moments.add(*self._read(n, read, answer, conv))
        scale = None
        if rounds:
            found = fit_and_round(weights, moments, 4 if up else 1)
            weights, bias, scale = found.whole.to(torch.int8), found.bias, found.scale
            scale = scale[: conv.out_channels].float()
        else:
            weights, bias = fit(weights, moments)
            weights = weights.float()
        weights = weights.reshape(by_row.shape)
        weights = weights.permute(3, 2, 0, 1).contiguous() if up else weights
        return Layer(weights, scale, bias.reshape(-1, conv.out_channels).mean(0).float(), None)

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


def _chances(graph: ReleaseGraph, tile: Tensor) -> Tensor:
    """float32 (h, w) of a tile's input: half to all pixels alike, half to those around decisions."""
    sure = graph(tile[None])[1].amax(1, keepdim=True)
    near = F.max_pool2d((sure < 1 - UNSURE).float(), 2 * REACH_PX + 1, 1, REACH_PX)
    halo = (tile.shape[0] - near.shape[2]) // 2
    near = F.pad(near, (halo,) * 4)[0, 0]
    return 1 / near.numel() + near / near.sum().clamp(min=1)


def readers(number: int, depth: int) -> list[int]:
    """Which convolutions read what convolution `number` answers; none reads the head, the last."""
    last = 5 * depth - 2
    found = [number + 1] if number < last else []
    if number % 2 == 0 and number < 2 * depth:  # the second of a level on the way down: its skip map
        level = number // 2 - 1
        found.append(2 * depth + 3 * (depth - 2 - level) + 2)
    return found


def _with(conv: _Conv, layer: Layer) -> nn.Module:
    """The convolution with the layer's weights."""
    changed = copy.deepcopy(conv)
    weight = layer.weight.float()
    if layer.scale is not None:
        weight = weight * layer.scale.reshape(
            (1, -1, 1, 1) if isinstance(conv, nn.ConvTranspose2d) else (-1, 1, 1, 1)
        )
    changed.weight, changed.bias = nn.Parameter(weight), nn.Parameter(layer.bias)
    return changed


def _cropped(one: Tensor, by: int) -> Tensor:
    return one[:, :, by:-by, by:-by]


def _joined(skip: _Map, x: _Map) -> _Map:
    """The skip map's channels, then the others; whole numbers only where both are."""
    trained = [torch.cat(both, 1) for both in zip(skip.trained, x.trained, strict=True)]
    if skip.grid is None or x.grid is None:
        values = zip(skip.served_values(), x.served_values(), strict=True)
        return _Map(trained, [torch.cat(both, 1) for both in values])
    served = [torch.cat(both, 1) for both in zip(skip.served, x.served, strict=True)]
    return _Map(trained, served, skip.grid.beside(x.grid))
