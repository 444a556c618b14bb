"""Going on from a served package: its weights back into a network that can be trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from inspector.engine.onnx_weights import unet_weights
from inspector.errors import UsageError
from inspector.package import ModelPackage
from trainer.unet import UNet, UNetConfig


@dataclass(frozen=True, slots=True)
class Start:
    """A package's network as a start for training."""

    config: UNetConfig
    state: dict[str, Tensor]
    """float32 weights under the names of a UNet without batch norm (it was folded)."""
    package: ModelPackage


def start_from(package: ModelPackage) -> Start:
    """The weights of a package's release graph, read from the ONNX file.

    Raises PackageError when the graph is not the network that its manifest describes.
    """
    weights = unet_weights(package)
    config = _config(package, "concat" if weights.concat else "sum")
    layers = [
        name
        for name, module in UNet(config).named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    ]
    state: dict[str, Tensor] = {}
    for name, convolution in zip(layers, weights.in_order(), strict=True):
        state[f"{name}.weight"] = torch.tensor(convolution.weight)
        state[f"{name}.bias"] = torch.tensor(convolution.bias)
    return Start(config, state, package)


def kept_settings(start: Start, asked: dict[str, Any]) -> dict[str, Any]:
    """The settings that the package decides, where training goes on from it.

    Raises UsageError when the user asked for another network than the package holds.
    """
    for name, value in (
        *((name, getattr(start.config, name)) for name in ("channels", "depth", "base", "skip")),
        ("classes", start.package.classes),
    ):
        given = asked.get(name)
        if given is not None and given != value:
            raise UsageError(
                f"{name} = {given!r} does not fit {start.package.path}, which has {value!r}; leave"
                f" {name} out."
            )
    return {
        "channels": start.config.channels,
        "depth": start.config.depth,
        "base": start.config.base,
        "skip": start.config.skip,
        "norm": start.config.norm,
        "mm_per_px": asked.get("mm_per_px") or start.package.manifest.mm_per_px,
    }


def _config(package: ModelPackage, skip: Literal["concat", "sum"]) -> UNetConfig:
    manifest = package.manifest
    return UNetConfig(
        channels=manifest.channels,
        classes=len(manifest.classes) + 1,
        depth=manifest.depth,
        base=manifest.base,
        skip=skip,
        norm="none",
        dropout=0.0,
    )
