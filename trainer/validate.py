"""Whole frames through the network in training, tile by tile as the line cuts them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from inspector.tiling import Geometry, cheapest_plan, cut_tile, paste_tile
from inspector.types import Image, Mask, ProbMap
from trainer.dataset import Sample
from trainer.ranks import Ranks
from trainer.sampler import network_input
from trainer.standing import Standing
from trainer.stock import Normalisation
from trainer.thresholds import ClassChoice, ProbabilityHistogram
from trainer.unet import UNet

TILE_PX = 1_500_000
"""Largest input of one forward pass, which bounds its memory."""


Tell: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being done, and how many of how many frames are done."""
Item = TypeVar("Item")


class Shown(NamedTuple):
    """A validation frame."""

    image: Image
    mask: Mask
    """Class ids, 255 = ignore."""
    instances: NDArray[np.uint16] | None
    """Where its folder has them."""
    part: str
    """The physical part that it shows."""

    @classmethod
    def of(cls, sample: Sample) -> Shown:
        """Raises DatasetError where the files do not fit."""
        return cls(*sample.read(), sample.part)


@dataclass(frozen=True, slots=True)
class Validation:
    """What the validation frames say of a network."""

    score: float
    """Mean over the shown classes of the best IoU that a threshold reaches."""
    choices: tuple[ClassChoice, ...]
    called: tuple[int, ...] = ()
    """Pixels that it gives to each defect class for more than half; () where nobody counted."""
    standing: Standing | None = None
    """The score part by part; None where nobody counted."""


def validate(
    net: UNet,
    frames: Sequence[Shown],
    normalisation: Normalisation,
    prior: Sequence[float | None],
    autocast: torch.autocast,
    ranks: Ranks,
) -> Validation:
    """Score a network in evaluation mode; the frames are shared out among the ranks.

    prior: one threshold for each defect class, or None for each.
    """
    names = units(frames)
    histogram = ProbabilityHistogram(len(prior), names)
    for frame, unit in ranks.own(list(zip(frames, names, strict=True))):
        with torch.inference_mode(), autocast:
            probs = segment_frame(net, frame.image, Geometry(net.config.depth), normalisation)
        histogram.add(probs, frame.mask, unit)
    ranks.add_up(histogram.counts())
    standing = histogram.standing()
    return Validation(standing.score, histogram.choose(prior), histogram.called(), standing)


def units(frames: Sequence[Shown]) -> list[str]:
    """What each frame is told apart by: its part, or where all show one part the frame itself.

    As validation was cut from train; see Dataset.validation.
    """
    parts = [frame.part for frame in frames]
    return parts if len(set(parts)) > 1 else [str(number) for number in range(len(parts))]


def told(items: Iterable[Item], count: int, words: str, tell: Tell) -> Iterator[Item]:
    """The items, `tell` being called before each and after the last of the `count`."""
    for number, item in enumerate(items):
        tell(words, number, count)
        yield item
    tell(words, count, count)


def segment_frame(net: nn.Module, image: Image, geometry: Geometry, normalisation: Normalisation) -> ProbMap:
    """uint8 (H, W, K) probabilities of the defect classes of one frame, reckoned where the network is."""
    device = next(net.parameters()).device
    frame = image.shape[0], image.shape[1]
    plan = cheapest_plan(frame, geometry, TILE_PX)
    whole: NDArray[np.uint8] | None = None
    for tile in plan.tiles:
        logits = net(network_input([cut_tile(image, plan, tile)], normalisation).to(device))
        probs = torch.softmax(logits.float(), 1)[0, 1:].mul(255).round().to(torch.uint8).cpu()
        if whole is None:
            whole = np.empty((*frame, probs.shape[0]), np.uint8)
        paste_tile(probs.permute(1, 2, 0).numpy(), plan, tile, whole)
    assert whole is not None
    return whole
