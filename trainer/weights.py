"""The weight of every pixel in the loss: w(x) = w_c(x) + w_0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2)).

w_c balances the classes, the second term teaches the thin background between two instances.
Source: Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015, section 3 and equation 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inspector.errors import ShapeMismatch
from inspector.types import Mask

IGNORE = 255
"""The label of pixels that take no part in loss or figures."""
W0 = 10.0
SIGMA = 5.0
TOLERANCE = 5e-5
"""What a border term may be off where it is cut to zero; half of the promised 1e-4."""
CONTOUR_PX = 2
"""Border mode `ignore`: pixels on either side of a contour, as the 5 px void line of PASCAL VOC."""

BorderMode: TypeAlias = Literal["weight", "ignore", "none"]
_EIGHT = np.ones((3, 3), np.uint8)
_FAR = np.float32(1e6)


def class_weights(counts: Sequence[int] | NDArray[np.int64], cap: float) -> NDArray[np.float32]:
    """Inverse frequency of each class, 1 on average over the counted pixels, then capped.

    counts: valid pixels of class 0 (background), 1, 2 ...; 255 is not among them.
    cap: no weight is above it; without one (`math.inf`) a class with 0.016 % of the pixels
    weighs in the thousands. The mean falls below 1 where the cap cuts.
    Returns float32 (K,). A class without pixels gets the cap if that is finite, else 1.
    """
    pixels = np.asarray(counts, np.float64)
    present = pixels > 0
    weights = np.full(pixels.shape, cap if math.isfinite(cap) else 1.0)
    weights[present] = pixels.sum() / (present.sum() * pixels[present])
    return np.asarray(np.minimum(weights, cap), np.float32)


def instances_of(mask: Mask, given: NDArray[np.integer] | None = None) -> NDArray[np.int32]:
    """Every defect pixel's instance: 1, 2 ... without gaps, 0 on background and ignored pixels.

    mask: uint8 (H, W) of class ids, 255 = ignore. given: integer (H, W) of an instance mask;
    it counts only where `mask` names a class. Defect pixels that it leaves out, or all of them
    without it, become 8-connected components of one class.
    Raises ShapeMismatch if the two differ in size.
    """
    if given is not None and given.shape != mask.shape:
        raise ShapeMismatch(
            f"An instance mask of {given.shape} pixels does not fit a mask of {mask.shape}; resize it."
        )
    defect = (mask > 0) & (mask != IGNORE)
    instances = np.zeros(mask.shape, np.int32)
    if given is not None:
        instances[defect] = np.unique(given[defect], return_inverse=True)[1] + (
            0 if (given[defect] == 0).any() else 1
        )
    for class_id in np.unique(mask[defect & (instances == 0)]):
        found, labels = cv2.connectedComponents(
            ((mask == class_id) & (instances == 0)).view(np.uint8), connectivity=8, ltype=cv2.CV_32S
        )
        instances += np.where(labels > 0, labels + instances.max(), 0) if found > 1 else 0
    return instances


def open_touching(mask: Mask, instances: NDArray[np.int32]) -> tuple[Mask, NDArray[np.int32]]:
    """Copies in which instances of one class that touched are parted by a 1 px background ridge.

    Afterwards no two pixels of different instances of one class are 8-neighbours. The larger
    instance gives the pixels, so that a small one does not vanish beside a large one.
    Instances of different classes stay as they are: their labels part them already.
    """
    by_size = np.argsort(np.bincount(instances.ravel())[1:], kind="stable")
    rank = np.zeros(len(by_size) + 1, np.int32)
    rank[by_size + 1] = np.arange(1, len(by_size) + 1)
    ranks = rank[instances]
    ridge = np.zeros(mask.shape, bool)
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here, there = _neighbours(mask.shape, dy, dx)
        touch = (ranks[here] != ranks[there]) & (mask[here] == mask[there])
        touch &= (ranks[here] > 0) & (ranks[there] > 0)
        ridge[here] |= touch & (ranks[here] > ranks[there])
        ridge[there] |= touch & (ranks[there] > ranks[here])
    return np.where(ridge, 0, mask).astype(np.uint8), np.where(ridge, 0, instances).astype(np.int32)


def border_weights(
    instances: NDArray[np.integer], background: NDArray[np.bool_], *, w0: float = W0, sigma: float = SIGMA
) -> NDArray[np.float32]:
    """w0 exp(-(d1 + d2)^2 / (2 sigma^2)) on background pixels, right to 1e-4; 0 elsewhere.

    d1, d2: Euclidean distance in pixels to the nearest pixel of the nearest and of the second
    nearest instance. instances: (H, W), 0 = none. background: bool (H, W), the pixels that get
    the term. Returns float32 (H, W), all 0 with fewer than two instances.

    Only pixels near two instances matter: with d1 >= 1 the term is below the tolerance beyond
    d2 = reach - 1, so one distance transform an instance, in its own box dilated by the reach,
    is enough (sigma 5: 24 px). Time grows with the boxes, not with frame times instances.
    """
    labels = np.ascontiguousarray(instances, np.int32)
    reach = _reach(w0, sigma)
    nearest = np.full(labels.shape, _FAR, np.float32)
    second = nearest.copy()
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        around = tuple(slice(max(0, side.start - reach), side.stop + reach) for side in box)
        outside = (labels[around] != label).view(np.uint8)
        distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        first, runner_up = nearest[around], second[around]
        np.minimum(runner_up, np.maximum(first, distance), out=runner_up)
        np.minimum(first, distance, out=first)
    term = np.zeros(labels.shape, np.float32)
    near = background & (second <= reach)
    term[near] = w0 * np.exp(-((nearest[near] + second[near]) ** 2) / (2 * sigma * sigma))
    return term


def weight_map(
    mask: Mask,
    instances: NDArray[np.int32],
    class_weight: NDArray[np.float32],
    border: BorderMode = "weight",
    *,
    w0: float = W0,
    sigma: float = SIGMA,
) -> NDArray[np.float32]:
    """The weight of every pixel, float32 (H, W): 0 where the mask says 255, else above 0.

    mask and instances as `open_touching` leaves them; class_weight from `class_weights`.
    border: `weight` adds the border term, `ignore` gives pixels within 2 px of a contour the
    weight 0 instead (the way of PASCAL VOC and COCO; thin defects then fall out of the loss),
    `none` leaves the class weights alone.
    """
    by_label = np.zeros(256, np.float32)
    by_label[: len(class_weight)] = class_weight
    by_label[IGNORE] = 0.0
    weights: NDArray[np.float32] = by_label[mask]
    if border == "weight":
        weights += border_weights(instances, mask == 0, w0=w0, sigma=sigma)
    elif border == "ignore":
        weights[contours(instances)] = 0.0
    return weights


def with_instance(
    weights: NDArray[np.float32],
    mask: Mask,
    here: NDArray[np.bool_],
    class_weight: NDArray[np.float32],
    border: tuple[BorderMode, float, float],
) -> NDArray[np.float32]:
    """The weights of a picture to which one more instance came.

    weights: float32 (H, W), of before. mask: uint8 (H, W), with it. here: bool (H, W), where it is, its
    8-neighbours background. border: mode, w0 and sigma as in `weight_map`. One more instance can only
    raise the border term of a pixel, and only near itself, so the others' part need not be known anew:
    what they had stays. Returns a new float32 (H, W).
    """
    mode, w0, sigma = border
    weights = np.where(here, class_weight[mask[here][0]], weights)
    if mode == "ignore":
        weights[contours(here)] = 0.0
    elif mode == "weight":
        box = _around(here, 2 * _reach(w0, sigma))
        others = instances_of(np.where(here[box], 0, mask[box]))
        instances = np.where(here[box], others.max() + 1, others)
        term = border_weights(instances, mask[box] == 0, w0=w0, sigma=sigma)
        raised = np.maximum(weights[box], class_weight[0] + term)
        weights[box] = np.where(mask[box] == 0, raised, weights[box])
    return np.asarray(weights, np.float32)


def contours(instances: NDArray[np.integer] | NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Bool (H, W): the pixels within CONTOUR_PX of the line between an instance and anything else."""
    labels = np.asarray(instances, np.float32)
    size = 2 * CONTOUR_PX + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return np.asarray(cv2.dilate(labels, disc) != cv2.erode(labels, disc))


def _reach(w0: float, sigma: float) -> int:
    """Pixels from an instance beyond which no border term is left."""
    return math.ceil(sigma * math.sqrt(2 * math.log(max(w0 / TOLERANCE, math.e))))


def _around(here: NDArray[np.bool_], by: int) -> tuple[slice, slice]:
    """The box of what is True, wider by so many pixels on each side."""
    rows, columns = (np.flatnonzero(here.any(axis)) for axis in (1, 0))
    return (
        slice(max(0, int(rows[0]) - by), int(rows[-1]) + 1 + by),
        slice(max(0, int(columns[0]) - by), int(columns[-1]) + 1 + by),
    )


def _neighbours(shape: tuple[int, ...], dy: int, dx: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The two views that lay each pixel over its neighbour at (dy, dx); dy >= 0."""
    height, width = shape
    here = (slice(0, height - dy), slice(max(0, -dx), width - max(0, dx)))
    there = (slice(dy, height), slice(max(0, dx), width + min(0, dx)))
    return here, there
