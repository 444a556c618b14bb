"""The network in 8 bits: fitted layer by layer, computed in whole numbers, written as ONNX."""

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.networks import MEAN, STD, pictures, seeing_network
from trainer.eight_bits import Layer, layers_in_8_bits, nearest
from trainer.grid import grid_over, picture_grid
from trainer.int8_graph import EightBitGraph, int8_onnx
from trainer.release import ReleaseGraph, released
from trainer.unet import UNet, UNetConfig, crops

DEPTH, LAST = 3, 13
CONFIG = UNetConfig(classes=3, depth=DEPTH, base=4, dropout=0.0)
TILE = pictures(1, (108, 108), 1, seed=9)


@pytest.fixture(scope="module")
def trained() -> ReleaseGraph:
    """A network of which every layer matters."""
    torch.manual_seed(3)
    network = dataclasses.replace(seeing_network(4, DEPTH), net=UNet(CONFIG).eval(), config=CONFIG)
    return ReleaseGraph(released(network.net), ((MEAN,), (STD,))).eval()


@pytest.fixture(scope="module")
def layers(trained: ReleaseGraph) -> list[Layer]:
    return layers_in_8_bits(trained, torch.from_numpy(pictures(8, (108, 108), 1, seed=5)))


def probabilities(graph: torch.nn.Module) -> np.ndarray:
    with torch.inference_mode():
        found: np.ndarray = graph(torch.from_numpy(TILE))[1].numpy()
    return found


def by_hand(layers: list[Layer], picture: np.ndarray) -> np.ndarray:
    """Probabilities (classes, h, w) with sums of integers, layer by layer as their docstrings say."""

    def step(x: Tensor, layer: Layer) -> Tensor:
        weight, whole = layer.weight.long(), x.long()
        if layer.up:
            sums = torch.zeros(1, weight.shape[1], 2 * x.shape[2], 2 * x.shape[3], dtype=torch.long)
            for dy in range(2):
                for dx in range(2):
                    sums[:, :, dy::2, dx::2] = torch.einsum("ncyx,co->noyx", whole, weight[:, :, dy, dx])
        else:
            k = weight.shape[2]
            parts = whole.unfold(2, k, 1).unfold(3, k, 1)
            sums = torch.einsum("ncyxij,ocij->noyx", parts, weight)
        return sums * layer.scale[:, None, None] + layer.bias[:, None, None]

    coming = iter(layers)
    x, skips = torch.from_numpy(picture).permute(0, 3, 1, 2), []
    for level in range(DEPTH):
        if level:
            skips.append(x)
            x = F.max_pool2d(x.float(), 2)
        for _ in range(2):
            x = nearest(step(x, next(coming)))
    for crop in reversed(crops(DEPTH)):
        x = torch.cat((skips.pop()[:, :, crop:-crop, crop:-crop], nearest(step(x, next(coming)))), 1)
        for _ in range(2):
            x = nearest(step(x, next(coming)))
    return torch.softmax(step(x, next(coming)), 1)[0].numpy()


def test_every_layer_has_whole_weights_and_a_scale(layers: list[Layer]) -> None:
    assert len(layers) == LAST
    for layer in layers:
        assert layer.weight.dtype == torch.int8 and int(layer.weight.abs().max()) <= 127
        assert bool((layer.scale > 0).all()) and layer.bias.shape == layer.scale.shape
    assert [n for n, layer in enumerate(layers, start=1) if layer.up] == [7, 10]


def test_it_computes_what_sums_of_integers_give(layers: list[Layer]) -> None:
    graph = EightBitGraph(layers, CONFIG).eval()
    assert np.abs(probabilities(graph)[0] - by_hand(layers, TILE)).max() < 1e-5
    flipped = [*layers]
    flipped[4] = dataclasses.replace(flipped[4], weight=-flipped[4].weight)
    assert np.abs(probabilities(EightBitGraph(flipped, CONFIG))[0] - by_hand(layers, TILE)).mean() > 0.01


def test_it_answers_what_the_trained_network_answers(trained: ReleaseGraph, layers: list[Layer]) -> None:
    off = np.abs(probabilities(EightBitGraph(layers, CONFIG)) - probabilities(trained))
    assert off.mean() < 0.012 and off.max() < 0.16, (off.mean(), off.max())  # of a random network


def test_the_file_computes_it_for_any_batch_and_size(layers: list[Layer]) -> None:
    graph = EightBitGraph(layers, CONFIG).eval()
    data = int8_onnx(graph)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    for shown in (np.repeat(TILE, 2, 0), TILE[:, :-8, 4:]):
        prob, prob_f32 = session.run(["prob", "prob_f32"], {"image": np.ascontiguousarray(shown)})
        with torch.inference_mode():
            levels, expected = graph(torch.from_numpy(np.ascontiguousarray(shown)))
        assert prob.shape == levels.shape and prob.dtype == np.uint8
        off = np.abs(prob_f32 - expected.numpy())
        # Sums of floats may lie on the other side of a half: a level more or less somewhere.
        assert np.median(off) < 1e-6 and off.max() < 0.05
        assert np.median(np.abs(prob.astype(int) - levels.numpy())) == 0


def test_every_map_and_weight_of_the_file_is_in_whole_numbers(layers: list[Layer]) -> None:
    model = onnx.load_from_string(int8_onnx(EightBitGraph(layers, CONFIG)))
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("QuantizeLinear") == LAST - 1 and kinds.count("DequantizeLinear") == 2 * LAST
    weights = [each for each in model.graph.initializer if len(each.dims) == 4]
    assert len(weights) == LAST and {each.data_type for each in weights} == {onnx.TensorProto.INT8}


def test_levels_span_what_was_seen_and_a_little_more() -> None:
    maps = [torch.randn(1, 3, 50, 50, generator=torch.Generator().manual_seed(n)).relu() - n for n in (0, 1)]
    both = torch.cat([one.flatten(2) for one in maps], 2)[0]
    grid = grid_over(maps)
    assert torch.allclose(grid.low, 1.1 * both.amin(1))
    assert torch.allclose(255 * grid.step, 1.1 * (both.amax(1) - both.amin(1)))


def test_a_channel_that_was_hardly_seen_has_room() -> None:
    values = torch.zeros(1, 2, 8, 8)
    values[0, 0] = torch.linspace(0, 10, 64).reshape(8, 8)
    grid = grid_over([values])
    assert float(255 * grid.step[0]) == pytest.approx(11) and float(255 * grid.step[1]) == pytest.approx(0.22)


def test_gray_values_are_the_whole_numbers_of_the_picture() -> None:
    mean, std = (torch.tensor(pair).reshape(1, 2, 1, 1) for pair in ([100.0, 20.0], [50.0, 10.0]))
    grid = picture_grid(mean, std)
    gray = torch.tensor([0.0, 255.0])
    values = grid.low[:, None] + grid.step[:, None] * gray
    assert torch.allclose(values, (gray - mean.reshape(2, 1)) / std.reshape(2, 1))
