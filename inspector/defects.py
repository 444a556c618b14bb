"""ProbMap -> Mask -> Defects: which pixels are damaged, and what each piece of damage measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import ShapeMismatch, UsageError
from inspector.regions import damaged_box, regions
from inspector.ruler import Ruler
from inspector.types import Defect, Mask, ProbMap, Scale, Segmentation
from inspector.zones import Zones

_MARK_PX = 1 << 16
"""Pixels that are marked at once."""


def mask_of(probs: ProbMap, thresholds: Sequence[float]) -> Mask:
    """Class of each pixel: argmax over the defect classes of p / t where that is >= 1, else 0 (good).

    probs: uint8 (H, W, K), 255 = certain. thresholds: one for each class, above 0 up to 1;
    p = t counts as reached. Of equal ratios the lower class wins. Returns uint8 (H, W).
    Raises ShapeMismatch when the counts differ, UsageError for a threshold out of range.
    """
    found = Segmentation.of_nothing((probs.shape[0], probs.shape[1]))
    mark_damage(probs, thresholds, found)
    return found.mask


def mark_damage(probs: ProbMap, thresholds: Sequence[float], onto: Segmentation) -> None:
    """Write class (see `mask_of`) and certainty of the damaged pixels; good ones are left as they are.

    probs: uint8 (H, W, K), C-contiguous or not; onto: of the same (H, W), 0 so far, views are fine.
    Raises ShapeMismatch when sizes or counts differ, UsageError for a threshold out of range.
    """
    height, width, classes = probs.shape
    if len(thresholds) != classes:
        raise ShapeMismatch(f"{len(thresholds)} thresholds do not fit {classes} classes; give one for each.")
    if onto.mask.shape != (height, width) or onto.certainty.shape != (height, width):
        raise ShapeMismatch(f"Probabilities of {probs.shape} do not fit a mask of {onto.mask.shape}.")
    for threshold in thresholds:
        if not 0 < threshold <= 1:
            raise UsageError(
                f"A threshold of {threshold} is not a probability above 0 up to 1; choose another."
            )
    levels = 255 * np.asarray(thresholds, np.float64)
    lowest = np.ceil(levels - 1e-9).astype(np.uint8)
    # Good rows, mostly all of them, end at the first look; what is sorted out further stays small.
    step = max(1, _MARK_PX // max(1, width))
    for y in range(0, height, step):
        rows = slice(y, y + step)
        if probs[rows].size and int(probs[rows].max()) >= lowest.min():
            _mark_rows(probs[rows], levels, lowest, Segmentation(onto.mask[rows], onto.certainty[rows]))


def _mark_rows(
    probs: ProbMap, levels: NDArray[np.float64], lowest: NDArray[np.uint8], onto: Segmentation
) -> None:
    height, width, classes = probs.shape
    # Rows of all classes side by side, so that the comparison runs over long lines.
    rows = np.ascontiguousarray(probs).reshape(height, width * classes)
    reached = rows >= np.tile(lowest, width)
    pixels = np.flatnonzero(reached) // classes
    pixels = pixels[np.diff(pixels, prepend=-1) > 0]
    values = rows.reshape(-1, classes)[pixels]
    chosen = np.where(values >= lowest, values / levels, 0.0).argmax(axis=1)
    at = np.divmod(pixels, width)
    onto.mask[at] = chosen + 1
    onto.certainty[at] = values[np.arange(len(values)), chosen]


def find_defects(
    found: Segmentation,
    classes: Sequence[str],
    *,
    scale: Scale | None = None,
    join_gap_px: int = 0,
    zones: Zones | None = None,
) -> tuple[Defect, ...]:
    """Every 8-connected region of one class that counts, largest first.

    found: of a frame of any size; memory on top of it does not grow with the frame. Class k of
    its mask is classes[k - 1].
    scale: millimetres per pixel, or None for sizes in pixels only. join_gap_px: pieces of one
    class with at most so many pixels between them, along y and along x, are one defect; its
    area still counts mask pixels only. zones: a defect without a pixel in the counted area is
    left out, and one belongs to each named area where any of its pixels lies.
    Lengths run from pixel edge to pixel edge: a line of n pixels is n long and 1 wide; a width
    above 128 px may be off by 3 % in a region whose box has more than 2 million pixels.
    Raises ShapeMismatch when mask, certainty, classes or zones do not fit each other.
    """
    _check_fit(found, classes, zones)
    box, defects = damaged_box(found.mask), []
    for class_id, name in enumerate(classes, start=1):
        ruler = Ruler(found, class_id, scale, zones)
        for pieces in regions(found.mask, box, class_id, join_gap_px, ruler.measure):
            defect = ruler.defect(name, pieces)
            if defect is not None:
                defects.append(defect)
    return tuple(sorted(defects, key=lambda defect: (-defect.area_px, defect.box, defect.class_id)))


@dataclass(frozen=True, slots=True)
class MatchCounts:
    """Defects of one class against the truth; add the counts of several frames."""

    found: int = 0
    total: int = 0
    """True defects, of which `found` were found."""
    false_alarms: int = 0
    predicted: int = 0
    """Predicted defects, of which `false_alarms` lie where nothing is."""

    def __add__(self, other: MatchCounts) -> MatchCounts:
        return MatchCounts(
            self.found + other.found,
            self.total + other.total,
            self.false_alarms + other.false_alarms,
            self.predicted + other.predicted,
        )


def match_defects(
    truth: Mask, instances: NDArray[np.integer] | None, predicted: Mask, classes: Sequence[str]
) -> dict[str, MatchCounts]:
    """Predicted defects against true ones, by class name.

    truth: uint8 (H, W) of class ids, 255 = ignore. instances: (H, W) ids of the true defects,
    0 = none, or None for the 8-connected components of each class. predicted: uint8 (H, W).
    A true defect is found when predicted pixels of its class cover at least 10 % of it. A
    predicted one is a false alarm unless at least 30 % of its area lies in true defects (of any
    class) dilated by 3 px; ignored pixels count for neither.
    Raises ShapeMismatch when the sizes differ.
    """
    if truth.shape != predicted.shape or (instances is not None and instances.shape != truth.shape):
        raise ShapeMismatch(f"A truth of {truth.shape} does not fit a prediction of {predicted.shape}.")
    valid = truth != 255
    y, x = np.mgrid[-3:4, -3:4]
    disc = (y**2 + x**2 <= 9).astype(np.uint8)
    near = cv2.dilate((valid & (truth > 0)).astype(np.uint8), disc) > 0
    counts = {}
    for class_id, name in enumerate(classes, start=1):
        true, said = truth == class_id, predicted == class_id
        ids = _true_ids(true, instances)
        sizes = np.bincount(ids[true])
        hits = np.bincount(ids[true & said], minlength=sizes.size)
        labels = _labels(said)
        areas = np.bincount(labels[said & valid])
        inside = np.bincount(labels[said & valid & near], minlength=areas.size)
        counts[name] = MatchCounts(
            found=int(np.count_nonzero((sizes > 0) & (10 * hits >= sizes))),
            total=int(np.count_nonzero(sizes)),
            false_alarms=int(np.count_nonzero((areas > 0) & (10 * inside < 3 * areas))),
            predicted=int(np.count_nonzero(areas)),
        )
    return counts


def _true_ids(true: NDArray[np.bool_], instances: NDArray[np.integer] | None) -> NDArray[np.int64]:
    """Defect ids of the true pixels of one class; pixels that no instance claims form components."""
    if instances is None:
        return _labels(true).astype(np.int64)
    unclaimed = true & (instances == 0)
    extra = _labels(unclaimed).astype(np.int64) + int(instances.max(initial=0))
    return np.where(unclaimed, extra, instances.astype(np.int64))


def _labels(region: NDArray[np.bool_]) -> NDArray[np.int32]:
    return np.asarray(cv2.connectedComponents(region.astype(np.uint8), connectivity=8)[1], np.int32)


def _check_fit(found: Segmentation, classes: Sequence[str], zones: Zones | None) -> None:
    mask = found.mask
    if found.certainty.shape != mask.shape:
        raise ShapeMismatch(f"A mask of {mask.shape} and a certainty of {found.certainty.shape} do not fit.")
    if int(mask.max(initial=0)) > len(classes):  # a class that nobody names would be left out
        raise ShapeMismatch(f"A mask with class {mask.max()} does not fit {len(classes)} classes.")
    if zones is not None and zones.frame != mask.shape:
        raise ShapeMismatch(f"Zones for frames of {zones.frame} do not fit a mask of {mask.shape}.")
