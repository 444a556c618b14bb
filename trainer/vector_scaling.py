"""Probabilities that mean what they say: one temperature and one offset a class, fitted on validation.

A network trained with weighted classes, aimed tiles and Dice calls far too much a defect and is far
too sure of it: its probabilities crowd at 0 and 1, where no threshold can tell one from another.
Scaled, p = 0.3 means that of such validation pixels three in ten were defects. The order of two
pixels of one class hardly changes, so nothing is found or lost by it; thresholds get room.

Source: Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2 (vector scaling, here with
one temperature for all classes).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from inspector.tiling import Geometry, cheapest_plan, cut_tile
from trainer.checkpoint import TrainedNetwork
from trainer.sampler import network_input
from trainer.validate import TILE_PX, Shown, Tell, told
from trainer.weights import IGNORE

PIXELS = 2_000_000
"""About as many are kept of all frames: doubtful ones and defects first, the plain ones by a sample."""
PLAIN = 6.0
"""A good pixel whose best defect score is so far below the background's is plain."""
PLAIN_SHARE = 1 / 64
ITERATIONS = 50
HOLD = 1e-5
"""Pull of the offsets towards 0, so that a class with few validation pixels is not thrown far."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """calibrated = (logits + offsets) / temperature."""

    temperature: float
    """Above 1: a network is made less sure, never surer."""
    offsets: tuple[float, ...]
    """One for each class, the background's 0."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Pixels of the validation frames."""

    logits: Tensor
    """float32 (n, K)."""
    truth: Tensor
    """int64 (n,)."""
    weight: Tensor
    """float32 (n,): how many pixels each stands for."""


def calibrated(
    trained: TrainedNetwork, frames: Sequence[Shown], autocast: torch.autocast, tell: Tell
) -> TrainedNetwork:
    """The network with the scaling that fits these frames best folded into its last layer.

    Thresholds and figures are still those of before. A network that is scaled already, that no defect
    pixel can tell anything about, or whose logits no scaling can be reckoned of, is returned as it is.
    """
    if trained.scaled:
        return trained
    samples = sample_logits(trained, frames, autocast, tell)
    if not bool((samples.truth > 0).any()):
        return trained
    try:
        scaling = fit_scaling(samples)
    except FloatingPointError:
        return trained
    net = copy.deepcopy(trained.net)
    with torch.no_grad():
        assert net.head.bias is not None
        net.head.bias.add_(net.head.bias.new_tensor(scaling.offsets)).div_(scaling.temperature)
        net.head.weight.div_(scaling.temperature)
    return replace(trained, net=net, scaled=True)


@torch.no_grad()
def sample_logits(
    trained: TrainedNetwork, frames: Sequence[Shown], autocast: torch.autocast, tell: Tell
) -> Samples:
    """Scores of all defect and doubtful pixels, thinned to PIXELS, and of some of the plain ones."""
    geometry, kept = Geometry(trained.config.depth), []
    total = sum(frame.mask.size for frame in frames)
    rng = np.random.default_rng(trained.seed)
    device = trained.net.head.weight.device
    for image, mask, *_ in told(frames, len(frames), "calibrating", tell):
        plan = cheapest_plan((image.shape[0], image.shape[1]), geometry, TILE_PX)
        for tile in plan.tiles:
            pixels = network_input([cut_tile(image, plan, tile)], trained.normalisation).to(device)
            with autocast:
                logits = trained.net(pixels).cpu()
            y0, x0, y1, x1 = tile.owns
            inside = logits[0, :, y0 - tile.y : y1 - tile.y, x0 - tile.x : x1 - tile.x]
            scores = inside.float().permute(1, 2, 0).reshape(-1, logits.shape[1]).numpy()
            truth = mask[y0:y1, x0:x1].ravel()
            plain = (truth == 0) & (scores[:, 1:].max(1) < scores[:, 0] - PLAIN)
            share = np.where(plain, PLAIN_SHARE, 1.0) * min(1.0, 8 * PIXELS / total)
            drawn = (rng.random(truth.size) < share) & (truth != IGNORE)
            kept.append((scores[drawn], truth[drawn], 1 / share[drawn]))
    logits_, truth_, weight_ = (np.concatenate(column) for column in zip(*kept, strict=True))
    return Samples(
        torch.from_numpy(logits_),
        torch.from_numpy(truth_.astype(np.int64)),
        torch.from_numpy(weight_.astype(np.float32)),
    )


def fit_scaling(samples: Samples) -> Scaling:
    """The temperature and offsets under which the true classes are most likely.

    A class that no sample shows moves as far as the others do on average. Raises FloatingPointError
    where logits are not finite, or so large that the loss is not.
    """
    classes = samples.logits.shape[1]
    shown = torch.bincount(samples.truth, minlength=classes)[1:] > 0
    excess = torch.zeros(1, requires_grad=True)
    offsets = torch.zeros(int(shown.sum()), requires_grad=True)
    weight = samples.weight / samples.weight.sum()
    optimizer = torch.optim.LBFGS([excess, offsets], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def temperature() -> Tensor:
        # At least 1: on frames that a network knows by heart the likeliest one would be 0.
        return 1.0 + F.softplus(excess)

    def every_offset() -> Tensor:
        of_classes = torch.where(shown, 0.0, offsets.mean()).masked_scatter(shown, offsets)
        return torch.cat((torch.zeros(1), of_classes))

    def loss() -> Tensor:
        optimizer.zero_grad()
        scaled = (samples.logits + every_offset()) / temperature()
        each = F.cross_entropy(scaled, samples.truth, reduction="none")
        value = (each * weight).sum() + HOLD * offsets.square().sum()
        if not bool(value.isfinite()):
            # LBFGS itself would look for a step until its length is no number either.
            raise FloatingPointError("The loss of the scaling is not finite.")
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return Scaling(float(temperature()), tuple(every_offset().tolist()))
