"""What moves the weights: the optimizer, the arithmetic, and batch norm's statistics."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from trainer.config import FitConfig
from trainer.unet import UNet


def optimizer_of(net: UNet, config: FitConfig) -> torch.optim.Optimizer:
    """SGD as in the paper, or AdamW without decay on biases and batch norm."""
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            net.parameters(), config.learning_rate, config.momentum, weight_decay=config.weight_decay
        )
    groups = [
        {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in net.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, config.learning_rate, fused=True)


def autocast_of(config: FitConfig) -> torch.autocast:
    """bf16 where the processor computes it natively, or where the config insists."""
    native = bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    wanted = config.precision == "bf16" or (config.precision == "auto" and native)
    return torch.autocast("cpu", torch.bfloat16, enabled=wanted)


def freeze_norm(net: nn.Module) -> None:
    """Make batch norm use the statistics it has."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


@torch.no_grad()
def reestimate_norm(net: nn.Module, batches: Iterable[Tensor], autocast: torch.autocast) -> None:
    """Replace batch norm's running statistics by the plain average over the batches."""
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    net.train()
    for images in batches:
        with autocast:
            net(images)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
