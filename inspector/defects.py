"""ProbMap -> Mask -> Defects: which pixels are damaged, and what each piece of damage measures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import ShapeMismatch, UsageError
from inspector.types import Defect, Mask, ProbMap, Scale
from inspector.zones import Zones


def mask_of(probs: ProbMap, thresholds: Sequence[float]) -> Mask:
    """Class of each pixel: argmax over the defect classes of p / t where that is >= 1, else 0 (good).

    probs: uint8 (H, W, K), 255 = certain. thresholds: one for each class, above 0 up to 1;
    p = t counts as reached. Of equal ratios the lower class wins. Returns uint8 (H, W).
    Raises ShapeMismatch when the counts differ, UsageError for a threshold out of range.
    """
    height, width, classes = probs.shape
    if len(thresholds) != classes:
        raise ShapeMismatch(f"{len(thresholds)} thresholds do not fit {classes} classes; give one for each.")
    for threshold in thresholds:
        if not 0 < threshold <= 1:
            raise UsageError(
                f"A threshold of {threshold} is not a probability above 0 up to 1; choose another."
            )
    mask = np.zeros((height, width), np.uint8)
    levels = 255 * np.asarray(thresholds, np.float64)
    lowest = np.ceil(levels - 1e-9).astype(np.uint8)
    if not probs.size or int(probs.max()) < lowest.min():
        return mask
    # Rows of all classes side by side, so that the comparison runs over long lines.
    rows = np.ascontiguousarray(probs).reshape(height, width * classes)
    reached = rows >= np.tile(lowest, width)
    pixels = np.flatnonzero(reached) // classes
    pixels = pixels[np.diff(pixels, prepend=-1) > 0]
    values = rows.reshape(-1, classes)[pixels]
    ratios = np.where(values >= lowest, values / levels, 0.0)
    mask.reshape(-1)[pixels] = ratios.argmax(axis=1) + 1
    return mask


def find_defects(
    mask: Mask,
    probs: ProbMap,
    classes: Sequence[str],
    *,
    scale: Scale | None = None,
    join_gap_px: int = 0,
    zones: Zones | None = None,
) -> tuple[Defect, ...]:
    """Every 8-connected region of one class that counts, largest first.

    mask: uint8 (H, W), 0 = good, k = classes[k - 1]. probs: uint8 (H, W, K), 255 = certain.
    scale: millimetres per pixel, or None for sizes in pixels only. join_gap_px: pieces of one
    class with at most so many pixels between them, along y and along x, are one defect; its
    area still counts mask pixels only. zones: a defect without a pixel in the counted area is
    left out, and one belongs to each named area where any of its pixels lies.
    Lengths run from pixel edge to pixel edge: a line of n pixels is n long and 1 wide.
    Raises ShapeMismatch when mask, probs, classes or zones do not fit each other.
    Source: minimal rectangle, Toussaint 1983; width from the Euclidean distance transform.
    """
    _check_fit(mask, probs, classes, zones)
    x, y, width, height = cv2.boundingRect(mask)
    window = mask[y : y + height, x : x + width]
    found = []
    for class_id, name in enumerate(classes, start=1):
        plane = probs[..., class_id - 1]
        for region, top, left in _regions(window == class_id, join_gap_px):
            box = (y + top, x + left, y + top + region.shape[0], x + left + region.shape[1])
            inside = slice(box[0], box[2]), slice(box[1], box[3])
            if zones is not None and zones.areas and not zones.counted[inside][region].any():
                continue
            named = () if zones is None else zones.masks
            touched = tuple(zone for zone, area in named if area[inside][region].any())
            confidence = float(np.percentile(plane[inside][region], 95)) / 255
            sizes = _sizes(region, scale)
            found.append(Defect(class_id, name, box, confidence=confidence, zones=touched, **sizes))
    return tuple(sorted(found, key=lambda defect: (-defect.area_px, defect.box, defect.class_id)))


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


def _check_fit(mask: Mask, probs: ProbMap, classes: Sequence[str], zones: Zones | None) -> None:
    if mask.shape != probs.shape[:2] or probs.shape[2] != len(classes):
        raise ShapeMismatch(
            f"A mask of {mask.shape} and probabilities of {probs.shape} do not fit {len(classes)} classes."
        )
    if zones is not None and zones.frame != mask.shape:
        raise ShapeMismatch(f"Zones for frames of {zones.frame} do not fit a mask of {mask.shape}.")


def _regions(binary: NDArray[np.bool_], join_gap_px: int) -> Iterator[tuple[NDArray[np.bool_], int, int]]:
    """Each piece as (bool region of its tight box, top, left)."""
    if not binary.any():
        return
    pieces: NDArray[np.uint8] = binary.astype(np.uint8)
    if join_gap_px:
        # A square grown by the gap in all makes two pieces touch exactly when the gap is that wide.
        square = np.ones((join_gap_px + 1, join_gap_px + 1), np.uint8)
        pieces = np.asarray(cv2.dilate(pieces, square), np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(pieces, connectivity=8, ltype=cv2.CV_32S)
    for label in range(1, count):
        left, top, width, height = (int(v) for v in stats[label, :4])
        inside = slice(top, top + height), slice(left, left + width)
        region = (labels[inside] == label) & binary[inside]
        if join_gap_px:
            x, y, width, height = cv2.boundingRect(region.astype(np.uint8))
            region, top, left = region[y : y + height, x : x + width], top + y, left + x
        yield region, top, left


def _sizes(region: NDArray[np.bool_], scale: Scale | None) -> dict[str, Any]:
    """The fields of a Defect that its shape decides."""
    pixel = Scale(1.0, 1.0)
    area_px = int(np.count_nonzero(region))
    length_px, width_px = _length(region, pixel), _width(region, pixel)
    sizes = {"area_px": area_px, "length_px": length_px, "width_px": width_px}
    if scale is not None:
        square = scale.y == scale.x
        sizes["area_mm2"] = area_px * scale.y * scale.x
        sizes["length_mm"] = length_px * scale.y if square else _length(region, scale)
        sizes["width_mm"] = width_px * scale.y if square else _width(region, scale)
    return sizes


def _length(region: NDArray[np.bool_], scale: Scale) -> float:
    """Long side of the minimal rectangle around the pixels' squares, in units of `scale`."""
    hull = cv2.convexHull(cv2.findNonZero(region.astype(np.uint8)))[:, 0, :]
    corners = hull[:, None, :] + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    points = corners.reshape(-1, 2) * np.array([scale.x, scale.y])
    return float(max(cv2.minAreaRect(points.astype(np.float32))[1]))


def _width(region: NDArray[np.bool_], scale: Scale) -> float:
    """Diameter of the largest circle inside, in units of `scale`.

    Measured on half pixels: there the distance to the background is the width itself, for
    stripes of even and of odd width.
    """
    halves = np.pad(region, 1).repeat(2, axis=0).repeat(2, axis=1)
    if scale.y == scale.x:
        distance = cv2.distanceTransform(halves.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return float(distance.max()) * scale.y
    from scipy import ndimage  # takes a quarter of a second, and most cameras have square pixels

    return float(ndimage.distance_transform_edt(halves, sampling=(scale.y, scale.x)).max())
