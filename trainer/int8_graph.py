"""The release graph with its network in 8 bits, as OpenVINO executes it in whole numbers.

What comes before the network and after it stays as it was exported. Between two 8-bit layers stand
FakeQuantize nodes with the levels 0 to 255, and each weight is a stored 8-bit number times its
output's scale: OpenVINO computes such a convolution in whole numbers and rounds as it writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import openvino as ov
from openvino import opset13
from torch import Tensor

from inspector.package import ModelPackage
from trainer.eight_bits import Layer
from trainer.grid import LEVELS, Grid
from trainer.unet import crops

_CONVOLUTIONS = ("Convolution", "ConvolutionBackpropData")


@dataclass(frozen=True, slots=True)
class _Node:
    """A map in the graph: whole numbers where there is a grid."""

    output: ov.Output
    grid: Grid | None

    def values(self) -> ov.Output:
        if self.grid is None:
            return self.output
        step, low = _by_channel(self.grid.step), _by_channel(self.grid.low)
        return opset13.add(opset13.multiply(self.output, step), low).output(0)


def int8_graph(package: ModelPackage, layers: Sequence[Layer], concat: bool) -> tuple[bytes, bytes]:
    """(graph, weights) in OpenVINO's format.

    layers: of `layers_in_8_bits`, made from this package. concat: whether skip maps are joined by
    concatenation, else by addition.
    """
    model = ov.Core().read_model(package.onnx)
    first = next(op for op in model.get_ordered_ops() if op.get_type_name() in _CONVOLUTIONS)
    softmax = model.output("prob_f32").get_node().input_value(0).get_node()
    scores = _network(_in_float32(first.input_value(0)), layers, package.manifest.depth, concat)
    softmax.input(0).replace_source_output(scores)
    model.validate_nodes_and_infer_types()
    with TemporaryDirectory(prefix="int8-") as folder:
        path = Path(folder) / "int8.xml"
        ov.save_model(model, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def _in_float32(picture: ov.Output) -> ov.Output:
    """The normalised picture before the exporter made half of it."""
    node = picture.get_node()
    return node.input_value(0) if node.get_type_name() == "Convert" else picture


def _network(picture: ov.Output, layers: Sequence[Layer], depth: int, concat: bool) -> ov.Output:
    """Scores of a normalised float32 picture (n, channels, h, w)."""
    coming = iter(layers)
    x, skips = _Node(picture, None), list[_Node]()
    for level in range(depth):
        if level:
            skips.append(x)
            pooled = opset13.max_pool(x.output, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
            x = _Node(pooled, x.grid)
        x = _pair(x, coming)
    for crop in reversed(crops(depth)):
        skip = _cropped(skips.pop(), crop)
        layer = next(coming)
        up = _convolution(x, layer, up=True)
        x = _joined(skip, _rounded(up, layer.grid)) if concat else _added(skip, up, layer.grid)
        x = _pair(x, coming)
    return _convolution(x, next(coming))


def _pair(x: _Node, coming: Iterator[Layer]) -> _Node:
    for layer in (next(coming), next(coming)):
        x = _rounded(opset13.relu(_convolution(x, layer)).output(0), layer.grid)
    return x


def _convolution(x: _Node, layer: Layer, up: bool = False) -> ov.Output:
    """A layer's answers in floating point; OpenVINO joins what rounds them to the layer itself."""
    weight = opset13.constant(layer.weight.numpy())
    if layer.scale is None:
        read = x.values()
    else:
        read = x.output
        scale = layer.scale.numpy().reshape((1, -1, 1, 1) if up else (-1, 1, 1, 1))
        weight = opset13.multiply(opset13.convert(weight, "f32"), opset13.constant(scale))
    if up:
        answer = opset13.convolution_backprop_data(read, weight, strides=[2, 2])
    else:
        answer = opset13.convolution(read, weight, [1, 1], [0, 0], [0, 0], [1, 1])
    return opset13.add(answer, _by_channel(layer.bias)).output(0)


def _rounded(values: ov.Output, grid: Grid | None) -> _Node:
    """Whole numbers of 0 to 255, one scale for all channels, which OpenVINO asks for."""
    if grid is None:
        return _Node(values, None)
    low, high = _by_channel(grid.low), _by_channel(grid.low + LEVELS * grid.step)
    ends = [opset13.constant(np.float32(end)) for end in (0, LEVELS)]
    return _Node(opset13.fake_quantize(values, low, high, *ends, LEVELS + 1).output(0), grid)


def _cropped(skip: _Node, by: int) -> _Node:
    sides = (by, by), (-by, -by), (1, 1), (2, 3)
    start, stop, step, axes = (opset13.constant(np.array(pair, np.int64)) for pair in sides)
    return _Node(opset13.slice(skip.output, start, stop, step, axes).output(0), skip.grid)


def _joined(skip: _Node, up: _Node) -> _Node:
    if skip.grid is None or up.grid is None:
        return _Node(opset13.concat([skip.values(), up.values()], 1).output(0), None)
    joined = opset13.concat([skip.output, up.output], 1).output(0)
    return _Node(joined, skip.grid.beside(up.grid))


def _added(skip: _Node, up: ov.Output, grid: Grid | None) -> _Node:
    return _rounded(opset13.add(skip.values(), up).output(0), grid)


def _by_channel(values: Tensor) -> ov.Node:
    return opset13.constant(values.numpy().reshape(1, -1, 1, 1))
