"""What moves the weights: the optimizer, and batch norm's statistics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trainer.config import FitConfig
from trainer.muon import Muon
from trainer.unet import COARSE, UNet

MUON_RATE = 5.0
"""Muon's learning rate beside AdamW's: its step has a set size, whatever the gradient's."""
MUON_MOMENTUM = 0.95
SMALL_SIDE = 128
"""Of the largest Gram matrix, that of base 16 at depth 4. There one thread of a CPU takes 8 ms for all of
them and two take 11; in the midst of a training step one takes 9 to 13, two 21 to 30."""


class Optimizer:
    """One or two of torch's optimizers behind one learning rate, for the whole network."""

    def __init__(self, net: UNet, config: FitConfig) -> None:
        """net: in the memory layout that it trains in; its weights stay the same tensors from then on."""
        self._net = net
        self._matrices: list[tuple[Tensor, Tensor]] = []
        """Weights and the same memory seen as matrices, for Muon."""
        if config.optimizer == "sgd":
            self._parts: list[tuple[torch.optim.Optimizer, float]] = [(_sgd(net, config), 1.0)]
        elif config.optimizer == "adamw":
            self._parts = [(_adamw(list(net.parameters()), config), 1.0)]
        else:
            heads = "head.", COARSE
            inner = [p for name, p in net.named_parameters() if p.ndim == 4 and not name.startswith(heads)]
            inner_ids = {id(p) for p in inner}
            rest = [p for p in net.parameters() if id(p) not in inner_ids]
            self._matrices = [(p, _matrix(p.detach())) for p in inner]
            assert all(p.data_ptr() == m.data_ptr() for p, m in self._matrices), (
                "weights must be channels last"
            )
            matrices = [matrix for _, matrix in self._matrices]
            muon = Muon(matrices, config.learning_rate, config.weight_decay, MUON_MOMENTUM)
            self._parts = [(muon, MUON_RATE), (_adamw(rest, config), 1.0)]
        sides = [min(matrix.shape) for _, matrix in self._matrices]
        on_cpu = next(net.parameters()).device.type == "cpu"
        self._small = on_cpu and bool(sides) and max(sides) <= SMALL_SIDE

    def clear(self) -> None:
        """Forget the gradients."""
        self._net.zero_grad(set_to_none=True)

    def step(self, learning_rate: float) -> None:
        """Move the weights by their gradients."""
        for weight, matrix in self._matrices:
            matrix.grad = None if weight.grad is None else _matrix(weight.grad)
        for part, share in self._parts:
            for group in part.param_groups:
                group["lr"] = share * learning_rate
            part.step()

    @contextmanager
    def threads(self) -> Iterator[None]:
        """One inside, where all of Muon's products are small: waking a second takes longer than they do."""
        before = torch.get_num_threads()
        few = self._small and before > 1
        if few:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if few:
                torch.set_num_threads(before)

    def state_dict(self) -> list[dict[str, Any]]:
        """What a checkpoint keeps."""
        return [part.state_dict() for part, _ in self._parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Go on from what `state_dict` gave."""
        for (part, _), state in zip(self._parts, states, strict=True):
            part.load_state_dict(state)


def _sgd(net: UNet, config: FitConfig) -> torch.optim.Optimizer:
    """As in the paper."""
    return torch.optim.SGD(
        net.parameters(), config.learning_rate, config.momentum, weight_decay=config.weight_decay
    )


def _adamw(parameters: Sequence[Tensor], config: FitConfig) -> torch.optim.Optimizer:
    """Without decay on biases and batch norm."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, config.learning_rate, fused=True)


def _matrix(weight: Tensor) -> Tensor:
    """A convolution's weights (A, B, h, w) as (A, h w B): a view, when they lie channels last in memory."""
    return weight.permute(0, 2, 3, 1).flatten(1)


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
