"""Whole frames through the network in training, tile by tile as the line cuts them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from inspector.tiling import Geometry, cheapest_plan, cut_tile, paste_tile
from inspector.types import Image, Mask, ProbMap
from trainer.sampler import Normalisation, network_input
from trainer.thresholds import ClassChoice, ProbabilityHistogram

TILE_PX = 1_500_000
"""Largest input of one forward pass, which bounds its memory."""


Shown: TypeAlias = tuple[Image, Mask, NDArray[np.uint16] | None]
"""A validation frame: picture, class ids with 255 = ignore, and instances where its folder has them."""


@dataclass(frozen=True, slots=True)
class Validation:
    """What the validation frames say of a network."""

    score: float
    """Mean over the shown classes of the best IoU that a threshold reaches."""
    choices: tuple[ClassChoice, ...]


def validate(
    net: nn.Module,
    frames: Iterable[Shown],
    geometry: Geometry,
    normalisation: Normalisation,
    prior: Sequence[float | None],
    autocast: torch.autocast,
) -> Validation:
    """Score a network in evaluation mode. prior: one threshold for each defect class, or None for each."""
    histogram = ProbabilityHistogram(len(prior))
    for image, mask, _ in frames:
        with torch.inference_mode(), autocast:
            histogram.add(segment_frame(net, image, geometry, normalisation), mask)
    return Validation(histogram.score(), histogram.choose(prior))


def segment_frame(net: nn.Module, image: Image, geometry: Geometry, normalisation: Normalisation) -> ProbMap:
    """uint8 (H, W, K) probabilities of the defect classes of one frame."""
    frame = image.shape[0], image.shape[1]
    plan = cheapest_plan(frame, geometry, TILE_PX)
    whole: NDArray[np.uint8] | None = None
    for tile in plan.tiles:
        logits = net(network_input([cut_tile(image, plan, tile)], normalisation))
        probs = torch.softmax(logits.float(), 1)[0, 1:].mul(255).round().to(torch.uint8)
        if whole is None:
            whole = np.empty((*frame, probs.shape[0]), np.uint8)
        paste_tile(probs.permute(1, 2, 0).numpy(), plan, tile, whole)
    assert whole is not None
    return whole
