"""The network in 8 bits, layer by layer, and the graph that serves it."""

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.networks import MEAN, STD, pictures, seeing_network
from inspector.engine.graph import CompileOptions
from inspector.engine.openvino import OpenVinoEngine
from inspector.package import ModelPackage
from trainer.eight_bits import Layer, layers_in_8_bits, readers
from trainer.export import export_package
from trainer.grid import Grid, grid_over
from trainer.int8_graph import int8_graph
from trainer.release import ReleaseGraph, released
from trainer.unet import UNet, UNetConfig, crops

DEPTH, LAST = 3, 13
FLOAT = (1, LAST)
TILE = pictures(1, (108, 108), 1, seed=9)[0, :, :, 0]
Skip = Literal["concat", "sum"]


@pytest.fixture(scope="module", params=["concat", "sum"])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ModelPackage, UNet]:
    """A package of either kind of skip, and its network as it was released; every layer of it matters."""
    skip: Skip = request.param
    torch.manual_seed(3)
    config = UNetConfig(classes=3, depth=DEPTH, base=4, dropout=0.0, skip=skip)
    trained = dataclasses.replace(seeing_network(4, DEPTH), net=UNet(config).eval(), config=config)
    path = tmp_path_factory.mktemp(skip) / "package"
    return export_package(trained, pictures(4, (108, 108), 1), path, skip, "1"), released(trained.net)


def layers_of(net: UNet, float_layers: tuple[int, ...] = FLOAT) -> list[Layer]:
    graph = ReleaseGraph(net, ((MEAN,), (STD,))).eval()
    return layers_in_8_bits(graph, torch.from_numpy(pictures(8, (108, 108), 1, seed=5)), float_layers)


def answers(layers: list[Layer], tile: np.ndarray, skip: str) -> np.ndarray:
    """Probabilities of the layers, computed as their docstrings say and in no hurry."""
    coming = iter(layers)

    def step(
        x: Tensor, grid: Grid | None, up: bool = False, plus: Tensor | None = None
    ) -> tuple[Tensor, Grid | None]:
        layer = next(coming)
        if layer.scale is None:
            x, weight = x if grid is None else grid.values(x), layer.weight
        else:
            assert layer.weight.dtype == torch.int8 and grid is not None
            weight = layer.weight.float() * layer.scale.reshape((1, -1, 1, 1) if up else (-1, 1, 1, 1))
        y = F.conv_transpose2d(x, weight, layer.bias, 2) if up else F.conv2d(x, weight, layer.bias)
        y = y if up or layer is layers[-1] else y.relu()
        y = y if plus is None else y + plus
        return (y if layer.grid is None else layer.grid.whole(y).float()), layer.grid

    x, grid = (torch.from_numpy(tile.astype(np.float32))[None, None] - MEAN) / STD, None
    skips = []
    for level in range(DEPTH):
        if level:
            skips.append((x, grid))
            x = F.max_pool2d(x, 2)
        x, grid = step(*step(x, grid))
    for crop in reversed(crops(DEPTH)):
        other, others = skips.pop()
        other = other[:, :, crop:-crop, crop:-crop]
        if skip == "sum":
            x, grid = step(x, grid, True, other if others is None else others.values(other))
        else:
            x, grid = step(x, grid, True)
            if grid is not None and others is not None:
                x, grid = torch.cat((other, x), 1), others.beside(grid)
            else:
                other = other if others is None else others.values(other)
                x, grid = torch.cat((other, x if grid is None else grid.values(x)), 1), None
        x, grid = step(*step(x, grid))
    x, _ = step(x, grid)
    return torch.softmax(x, 1)[0, 1:].permute(1, 2, 0).numpy()


def served(
    package: ModelPackage, layers: list[Layer], skip: str, folder: Path
) -> tuple[np.ndarray, OpenVinoEngine]:
    """uint8 probabilities of one tile by the line's own engine, and the engine."""
    graph, weights = int8_graph(package, layers, skip == "concat")
    (folder / "int8.xml").write_bytes(graph)
    (folder / "int8.bin").write_bytes(weights)
    engine = OpenVinoEngine(package, (108, 108), CompileOptions("int8", threads=1), folder / "int8.xml")
    found: list[np.ndarray] = []
    engine.run([TILE], lambda _, probs: found.append(probs.copy()))
    return found[0], engine


@pytest.mark.parametrize("float_layers", [FLOAT, (1, 12, 13), (1, 11, 12, 13), (1, 2, 10, 11, 12, 13)])
def test_what_is_served_is_the_network_in_8_bits(
    made: tuple[ModelPackage, UNet], float_layers: tuple[int, ...], tmp_path: Path
) -> None:
    """And weights that are not its own would be seen."""
    (package, net), skip = made, made[1].config.skip
    layers = layers_of(net, float_layers)
    found, engine = served(package, layers, skip, tmp_path)
    engine.close()
    assert engine.info.layers["int8"] == LAST - len(float_layers)
    changed = [*layers]
    changed[4] = dataclasses.replace(changed[4], weight=-changed[4].weight)
    own, other = (np.abs(found - 255 * answers(each, TILE, skip)).mean() for each in (layers, changed))
    assert own < 3 < 10 < other  # levels of 255; bfloat16 costs the random network up to 2


def test_it_answers_what_the_trained_network_answers(made: tuple[ModelPackage, UNet], tmp_path: Path) -> None:
    (package, net), skip = made, made[1].config.skip
    found, engine = served(package, layers_of(net), skip, tmp_path)
    engine.close()
    with torch.inference_mode():
        prob, _ = ReleaseGraph(net, ((MEAN,), (STD,))).eval()(torch.from_numpy(TILE)[None, :, :, None])
    off = np.abs(found.astype(int) - prob[0].numpy())
    assert off.mean() < 3 and off.max() < 40, (off.mean(), off.max())  # levels of 255, of a random network


def test_layers_in_floating_point_keep_their_maps(made: tuple[ModelPackage, UNet]) -> None:
    layers = layers_of(made[1], (1, 12, 13))
    assert [layer.scale is None for layer in layers] == [n in (1, 12, 13) for n in range(1, 14)]
    assert [layer.grid is None for layer in layers] == [n in (11, 12, 13) for n in range(1, 14)]


def test_readers_of_every_convolution() -> None:
    """Depth 3: 1 2 | 3 4 | 5 6 | 7 8 9 | 10 11 12 | 13; the skips go from 4 to 8 and from 2 to 11."""
    found = {number: readers(number, 3) for number in range(1, 14)}
    assert found.pop(2) == [3, 11] and found.pop(4) == [5, 8] and found.pop(13) == []
    assert all(read == [number + 1] for number, read in found.items())


def test_levels_span_what_was_seen_and_a_little_more() -> None:
    maps = [torch.randn(1, 3, 50, 50, generator=torch.Generator().manual_seed(n)).relu() - n for n in (0, 1)]
    both = torch.cat([one.flatten(2) for one in maps], 2)[0]
    grid = grid_over(maps)
    assert torch.allclose(grid.low, 1.1 * both.amin(1))
    assert torch.allclose(255 * grid.step, 1.1 * (both.amax(1) - both.amin(1)))
    for one in maps:
        off = (grid.values(grid.whole(one)) - one).abs().amax((0, 2, 3))
        assert bool((off <= grid.step / 2 + 1e-6).all())
    assert bool((grid.whole(maps[0] + 100) == 255).all())


def test_a_channel_that_was_hardly_seen_has_room() -> None:
    values = torch.zeros(1, 2, 8, 8)
    values[0, 0] = torch.linspace(0, 10, 64).reshape(8, 8)
    grid = grid_over([values])
    assert float(255 * grid.step[0]) == pytest.approx(11) and float(255 * grid.step[1]) == pytest.approx(0.22)
