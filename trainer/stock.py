"""The training pictures in memory, and what is measured on all of them before the first tile is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.errors import DatasetError
from inspector.types import Image, Mask
from trainer.config import FitConfig
from trainer.dataset import IGNORE, Sample
from trainer.weights import class_weights, instances_of, open_touching, weight_map

ANCHORS = 512
"""Pixels kept of each class in each picture to aim tiles at."""
FALSE_ALARM = 0
"""Among the anchors' classes: good pixels that an earlier network took for a defect."""
Normalisation = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A training picture as the sampler needs it."""

    image: Image
    mask: Mask
    """Touching instances parted by a ridge."""
    weights: NDArray[np.float32] | None
    """The loss weight of each pixel; None: by class alone."""
    anchors: dict[int, NDArray[np.intp]]
    """Class id or FALSE_ALARM -> (n, 2) some of its pixels, (y, x)."""
    folder: Path


@dataclass(frozen=True, slots=True)
class Stock:
    """All training pictures with what was measured on them."""

    pictures: tuple[Picture, ...]
    class_weight: NDArray[np.float32]
    """(K,), background first."""
    normalisation: Normalisation


def load_stock(samples: Sequence[Sample], config: FitConfig) -> Stock:
    """Decode every sample once and weigh its pixels.

    Raises DatasetError when a file does not fit or no mask shows any defect.
    """
    read = [sample.read() for sample in samples]
    counts = sum((np.bincount(mask.ravel(), minlength=256) for _, mask, _ in read), np.zeros(256, np.int64))
    if not counts[1:IGNORE].any():
        raise DatasetError(
            f"None of the {len(samples)} training masks in {samples[0].folder} shows a defect; there is"
            " nothing to learn. Check the masks or the train list in split.json."
        )
    weight = balanced_weights(counts[: len(config.classes) + 1], config)
    pictures = []
    for sample, (image, mask, given) in zip(samples, read, strict=True):
        weights = None
        if config.border != "none" or given is not None:
            mask, instances = open_touching(mask, instances_of(mask, given))
            if config.border != "none":
                weights = weight_map(
                    mask, instances, weight, config.border, w0=config.w0, sigma=config.sigma_px
                )
        pictures.append(Picture(image, mask, weights, _anchors(mask, config.seed), sample.folder))
    return Stock(tuple(pictures), weight, _normalisation([image for image, _, _ in read]))


def balanced_weights(counts: NDArray[np.int64], config: FitConfig) -> NDArray[np.float32]:
    """float32 (K,) class weights: by inverse frequency, or by its square root with the background at 1."""
    if config.balance == "inverse":
        return class_weights(counts, config.weight_cap)
    most = counts.max()
    root = np.sqrt(most / np.maximum(counts, 1))
    return np.asarray(np.minimum(np.where(counts > 0, root, 1.0), config.weight_cap), np.float32)


def _anchors(mask: Mask, seed: int) -> dict[int, NDArray[np.intp]]:
    rng = np.random.default_rng(seed)
    found: dict[int, NDArray[np.intp]] = {}
    for class_id in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)):
        if 0 < class_id < IGNORE:
            pixels = np.argwhere(mask == class_id)
            some = rng.choice(len(pixels), min(ANCHORS, len(pixels)), replace=False)
            found[int(class_id)] = pixels[some]
    return found


def _normalisation(images: Sequence[Image]) -> Normalisation:
    """A whole number near the mean, a power of two near the standard deviation, of each channel's pixels.

    So a normalised gray value is an integer of at most 8 bits times a power of two, which half and
    bfloat16 hold exactly. With the plain figures bfloat16 would round bright pixels to 0.8 gray
    values, and a faint scratch is hardly more than that.
    """
    channels = 1 if images[0].ndim == 2 else images[0].shape[2]
    histogram = np.zeros((channels, 256), np.int64)
    for image in images:
        for c in range(channels):
            plane = image if image.ndim == 2 else image[..., c]
            histogram[c] += np.bincount(plane.ravel(), minlength=256)
    levels, total = np.arange(256), histogram.sum(1)
    mean = (histogram * levels).sum(1) / total
    variance = (histogram * (levels - mean[:, None]) ** 2).sum(1) / total
    # A flat data set must not blow up its noise: one gray value is the least spread.
    spread = 2.0 ** np.round(np.log2(np.maximum(1.0, np.sqrt(variance))))
    return tuple(map(float, np.round(mean))), tuple(map(float, spread))
