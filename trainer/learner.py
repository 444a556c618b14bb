"""The network in training: one step at a time, the moving average that is served, batch norm's end.

Over several ranks each takes its share of a step's tiles, and the gradient is that of the whole batch:
cross entropy is divided by the weights of all tiles, Dice is made of the sums over all tiles. So the
weights are those of one process, up to rounding. Batch norm is the exception: until it is frozen
each rank normalises by its own tiles.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainer.checkpoint import clone_state
from trainer.config import FitConfig
from trainer.device import CPU, autocast_of
from trainer.losses import coarse_entropies, dice_loss, loss_sums
from trainer.optimize import Optimizer, freeze_norm, reestimate_norm
from trainer.ranks import Ranks
from trainer.sampler import Batch
from trainer.unet import UNet, coarse_only, without_coarse


class Learner:
    """A network, its moving average and its optimizer, on one device."""

    def __init__(self, config: FitConfig, ranks: Ranks, start: dict[str, Tensor] | None) -> None:
        """start: weights instead of random ones."""
        self._config, self._ranks = config, ranks
        torch.manual_seed(config.seed)
        self._net = UNet(config.unet(), coarse_heads=bool(config.coarse_shares()))
        if start is not None:
            self._net.load_state_dict(start | coarse_only(self._net.state_dict()))
        channels_last(self._net.to(ranks.device))
        self._average = clone_state(self._net.state_dict())
        state = self._net.state_dict()
        self._fractions = [(self._average[n], v) for n, v in state.items() if v.is_floating_point()]
        self._counts = [(self._average[n], v) for n, v in state.items() if not v.is_floating_point()]
        """The average's tensors and the network's own; both stay the same tensors from here on."""
        self._optimizer = Optimizer(self._net, config)
        self.autocast = autocast_of(config, ranks.device)
        self.whole = True
        """False while weights move, and for good once they are no numbers."""
        self._levels: nn.Module = _Levels(self._net)
        if ranks.world > 1:
            on = None if ranks.device.type == "cpu" else [ranks.device.index]
            self._levels = DistributedDataParallel(self._levels, on)

    def step(self, batch: Batch, number: int, frozen: bool, learning_rate: float) -> float:
        """Learn from batch `number` (0 is the first), this rank's share of it; the loss of the whole batch.

        frozen: whether batch norm keeps its statistics.

        When that is no number nothing moves and `whole` is False from then on.
        """
        # Dropout draws from torch's own generator; seeding it by step makes a resumed run equal.
        torch.manual_seed(self._config.seed * 1_000_003 + number + (self._ranks.rank << 40))
        self._net.train()
        if frozen:
            freeze_norm(self._net)
        self._optimizer.clear()
        value = float(self.gradients(batch))
        self.whole = False
        if value == value and abs(value) != float("inf"):
            self.move(learning_rate)
            self.follow(number + 1)
            self.whole = True
        return value

    def gradients(self, batch: Batch) -> Tensor:
        """Forward and backward; the loss of the whole batch."""
        ranks, dice, shares = self._ranks, self._config.dice, self._config.coarse_shares()
        weight = ranks.total(batch.weights.sum()).clamp(min=1.0)
        with self.autocast:
            logits, *coarse = self._levels(batch.images)
        entropy, own = loss_sums(logits, batch.mask, batch.weights)
        if shares:
            found = coarse_entropies(coarse, batch.mask, batch.weights)
            entropy = entropy + sum(share * one for share, one in zip(shares, found, strict=True))
        loss = entropy / weight
        value = ranks.total(loss)
        if dice > 0:
            every = ranks.total(own)
            # The value of the sums over all ranks with the gradient of this rank's part of them.
            loss = loss + dice * dice_loss(own + (every - own.detach()))
            # Not that loss, in which rounding differs by rank: all must see a divergence at one step.
            value = value + dice * dice_loss(every)
        # The ranks' gradients are averaged where the batch's own is their sum.
        (loss * ranks.world).backward()  # type: ignore[no-untyped-call]
        return value

    def move(self, learning_rate: float) -> None:
        """Move the weights by the gradients, clipped."""
        with self._optimizer.threads():
            nn.utils.clip_grad_norm_(self._net.parameters(), self._config.clip_norm)
            self._optimizer.step(learning_rate)

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move the average towards the network: over the last tenth of the steps so far."""
        weight = 10.0 / (step + 10.0) if self._config.average else 1.0
        kept, own = zip(*self._fractions, strict=True)
        torch._foreach_lerp_(kept, own, weight)
        for count, value in self._counts:
            count.copy_(value)

    def settle_norm(self, batches: Iterable[Tensor]) -> None:
        """Take batch norm's statistics afresh over these batches, this rank's share of them."""
        # Dropout draws here too, and a run that was resumed a moment ago must draw the same.
        torch.manual_seed(self._config.seed + (self._ranks.rank << 40))
        reestimate_norm(self._net, (images.to(self._ranks.device) for images in batches), self.autocast)
        for name, value in self._net.named_buffers():
            if value.is_floating_point():
                value.copy_(self._ranks.total(value) / self._ranks.world)
            self._average[name].copy_(value)

    def averaged(self) -> UNet:
        """A new network with the average's weights, in evaluation mode, on the same device."""
        self._ranks.follow_first(self._average.values())
        net = channels_last(UNet(self._config.unet()).to(self._ranks.device))
        net.load_state_dict(without_coarse(self._average))
        return net.eval()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps; tensors lie where they are."""
        return {
            "net": self._net.state_dict(),
            "average": self._average,
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state(self, content: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._net.load_state_dict(content["net"])
        for name, value in content["average"].items():
            self._average[name].copy_(value)
        self._optimizer.load_state_dict(content["optimizer"])


class _Levels(nn.Module):
    """The network as it learns: called, it answers on every level that is supervised."""

    def __init__(self, net: UNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.net.levels(images)


def channels_last(net: UNet) -> UNet:
    """The network with its weights laid out channels last, in which convolutions are fastest."""
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def pinned(batch: Batch, device: torch.device) -> Batch:
    """The batch in memory that a GPU can read while it computes; as it is for a CPU."""
    if device == CPU:
        return batch
    return replace(
        batch,
        images=batch.images.pin_memory(),
        mask=batch.mask.pin_memory(),
        weights=batch.weights.pin_memory(),
    )


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on the device; the copy of a pinned one overlaps with what the device still does."""
    if device == CPU:
        return batch
    return Batch(*(t.to(device, non_blocking=True) for t in (batch.images, batch.mask, batch.weights)))
