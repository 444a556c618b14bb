"""Going on from a served package: its weights back into a network that can be trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from inspector.errors import PackageError
from inspector.package import ModelPackage
from trainer.unet import UNet, UNetConfig


@dataclass(frozen=True, slots=True)
class Start:
    """A package's network as a start for training."""

    config: UNetConfig
    state: dict[str, Tensor]
    """float32 weights under the names of a UNet without batch norm (it was folded)."""


def start_from(package: ModelPackage) -> Start:
    """The weights of a package's release graph, read from the ONNX file.

    Convolutions are matched by their order in the graph, which is the order of computation.
    Raises PackageError when the graph is not the network that its manifest describes.
    """
    manifest = package.manifest
    found = _convolutions(onnx.load(str(package.onnx)).graph)
    shapes = [weight.shape for weight, _ in found]
    for skip in ("concat", "sum"):
        config = _config(package, skip)
        net = UNet(config)
        layers = {
            name: module
            for name, module in net.named_modules()
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        }
        if shapes == [tuple(module.weight.shape) for module in layers.values()]:
            state: dict[str, Tensor] = {}
            for name, (weight, bias) in zip(layers, found, strict=True):
                state[f"{name}.weight"] = torch.from_numpy(weight.astype(np.float32))
                state[f"{name}.bias"] = torch.from_numpy(bias.astype(np.float32))
            return Start(config, state)
    raise PackageError(
        f"{package.onnx} holds {len(found)} convolutions that are not those of a U-Net of depth"
        f" {manifest.depth} and base {manifest.base}; go on from a package that `trainer export` wrote."
    )


def _config(package: ModelPackage, skip: str) -> UNetConfig:
    manifest = package.manifest
    kind: Literal["concat", "sum"] = "concat" if skip == "concat" else "sum"
    return UNetConfig(
        channels=manifest.channels,
        classes=len(manifest.classes) + 1,
        depth=manifest.depth,
        base=manifest.base,
        skip=kind,
        norm="none",
        dropout=0.0,
    )


def _convolutions(graph: Any) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """(weight, bias) of every convolution and up-convolution, in the graph's order."""
    arrays = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            arrays[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type in ("Cast", "Identity") and node.input[0] in arrays:
            arrays[node.output[0]] = arrays[node.input[0]]
    found = []
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose") and node.input[1] in arrays:
            weight = arrays[node.input[1]]
            outputs = weight.shape[1] if node.op_type == "ConvTranspose" else weight.shape[0]
            bias = arrays[node.input[2]] if len(node.input) > 2 else np.zeros(outputs, weight.dtype)
            found.append((weight, bias))
    return found
