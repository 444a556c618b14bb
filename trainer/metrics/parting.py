"""Predicted regions told apart as instances: parted where they have necks, specks left out.

For classes whose instances touch; `trainer fit` chooses it on validation frames (trainer/touching.py). It is
the instances' figures alone that know it: the line's own defects are 8-connected regions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from skimage.morphology import reconstruction
from skimage.segmentation import watershed

from inspector.types import Mask

NECK = 0.75
"""A neck is narrower than this share of the narrower of the two bulges that it joins."""
SMOOTH_PX = 1.0
"""Standard deviation of the blur that keeps a ragged outline from having bulges."""
_EPS = 1e-3


@dataclass(frozen=True, slots=True)
class Parting:
    """How the regions of one class become instances."""

    speck_px: int = 0
    """A predicted instance of fewer pixels is none."""
    necks: bool = False
    """Whether a region is parted where it has a neck."""

    @property
    def words(self) -> str:
        """What is done, for a sentence; empty where nothing is."""
        said = ["regions parted at necks"] * self.necks
        return ", ".join(said + [f"specks below {self.speck_px} px left out"] * (self.speck_px > 0))


def partings_of(classes: Sequence[str], metrics: Mapping[str, Any]) -> tuple[Parting, ...]:
    """What `trainer fit` chose for each class, as a run's or a package's metrics keep it."""
    rows = metrics.get("validation", {}).get("classes", {})
    kept = (rows.get(name, {}) for name in classes)
    return tuple(Parting(int(row.get("speck_px", 0)), bool(row.get("necks", False))) for row in kept)


def part_at_necks(instances: NDArray[np.int32], of_class: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The instances, those of one class parted where a neck joins two bulges.

    instances: (H, W) labels, 0 = none. of_class: (H, W), where the class is. A bulge is a maximum of the
    distance to the outline; between two instances the narrowest place is less than NECK times as wide as
    the narrower of them. Scale changes nothing but for the blur. A label that is parted is used no more.
    Source: watershed of the distance transform (Malpica et al. 1997) from its h-maxima (Soille 2003,
    section 6.3.4), h being a share, so of the logarithm.
    """
    mine = np.where(of_class, instances, 0)
    bordered = np.pad(of_class.view(np.uint8), 1)
    distance = cv2.distanceTransform(bordered, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    blurred = cv2.GaussianBlur(distance, (0, 0), SMOOTH_PX, borderType=cv2.BORDER_CONSTANT)
    smooth = np.where(of_class, blurred, 0)
    parted, last = instances.copy(), int(instances.max())
    boxes = find_objects(mine)
    for label in _with_several_maxima(mine, smooth):
        box = boxes[label - 1]
        inside = mine[box] == label
        bulges = _bulges(np.where(inside, smooth[box], 0), inside)
        if bulges.max() > 1:
            parted[box][inside] = bulges[inside] + last
            last += int(bulges.max())
    return parted


def _with_several_maxima(labels: NDArray[np.int32], smooth: NDArray[np.float32]) -> NDArray[np.intp]:
    """The labels that have two bulges or more, however shallow the neck."""
    highest = (labels > 0) & (smooth >= cv2.dilate(smooth, np.ones((3, 3), np.uint8)))
    number = cv2.connectedComponents(highest.view(np.uint8), connectivity=8)[1]
    pairs = np.unique(np.stack([labels[highest], number[highest]]), axis=1)
    return np.flatnonzero(np.bincount(pairs[0]) > 1)


def _bulges(smooth: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.int32]:
    """1, 2 ... for each bulge of one region. smooth: (h, w) distance to its outline."""
    height, least = np.log(np.maximum(smooth, 0.5)), -math.log(NECK)
    levelled = reconstruction(height - least, height, method="dilation")  # type: ignore[no-untyped-call]
    above = height - levelled
    # The top of each bulge, as far down as its necks must lie; lesser bulges have a top as well.
    tops = cv2.connectedComponents((inside & (above > _EPS)).astype(np.uint8), connectivity=8)[1]
    high = np.unique(tops[inside & (above > least - _EPS)])
    seeds = np.where(np.isin(tops, high), np.searchsorted(high, tops) + 1, 0)
    if len(high) < 2:
        return inside.astype(np.int32)
    found = watershed(-smooth, seeds, connectivity=2, mask=inside)  # type: ignore[no-untyped-call]
    return np.asarray(found, np.int32)


def without_specks(
    instances: NDArray[np.int32], mask: Mask, partings: Sequence[Parting]
) -> NDArray[np.int32]:
    """The instances without those that are specks. mask: uint8 (H, W), which names each one's class."""
    sizes = np.bincount(instances.ravel())
    class_of = np.zeros(len(sizes), np.int64)
    named = mask > 0
    class_of[instances[named]] = mask[named]
    least = np.array([0, *(parting.speck_px for parting in partings)])
    keep = sizes >= least[np.minimum(class_of, len(partings))]
    return np.where(keep[instances], instances, 0).astype(np.int32)
