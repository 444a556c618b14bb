"""Truth: what is known of each defect in a finished frame, measured on its exact pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.types import Image, Mask
from trainer.synth.defects import CLASSES
from trainer.synth.parts import Part

_DENT = CLASSES.index("dent") + 1
_RING_FROM, _RING_TO = 3, 10


@dataclass(frozen=True, slots=True)
class TrueDefect:
    """One defect as it appears in one frame."""

    id: int
    """Its value in the instance mask."""
    class_id: int
    class_name: str
    part: int
    box: tuple[int, int, int, int]
    """(y0, x0, y1, x1), half-open."""
    area_px: int
    length_px: float
    """Long side of the minimal rectangle around its pixels."""
    width_px: float
    """Largest width, from the distance transform."""
    contrast_to_noise: float
    """|mean inside - mean of the ring| / standard deviation of the ring, on the final gray picture.

    The ring holds the good pixels 3 to 10 px away. The lit and the shaded half of a dent cancel
    each other in a mean, so a dent counts with the stronger of its two halves across the light.
    """

    def json(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return asdict(self)


def true_defects(
    gray: Image, mask: Mask, instances: NDArray[np.uint16], owners: Sequence[tuple[Part, int]]
) -> tuple[NDArray[np.uint16], tuple[TrueDefect, ...]]:
    """Every defect in view, numbered anew from 1, and the instance mask with those numbers.

    gray, mask, instances: (H, W). owners: part and class of defect number n at n - 1.
    A defect that the frame's border cuts is measured on what is left of it.
    """
    renumbered = np.zeros_like(instances)
    found: list[TrueDefect] = []
    for number in np.unique(instances[instances > 0]).tolist():
        part, class_id = owners[number - 1]
        rows, columns = (np.flatnonzero((instances == number).any(axis=axis)) for axis in (1, 0))
        box = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
        around = _grown(box, _RING_TO + 2, gray.shape)
        inside = instances[around] == number
        renumbered[around][inside] = len(found) + 1
        length, width = _length_width(inside)
        contrast = _contrast(
            gray[around], inside, mask[around] > 0, part.light if class_id == _DENT else None
        )
        found.append(
            TrueDefect(
                len(found) + 1,
                class_id,
                CLASSES[class_id - 1],
                part.index,
                box,
                int(inside.sum()),
                round(length, 1),
                round(width, 1),
                round(contrast, 2),
            )
        )
    return renumbered, tuple(found)


def _grown(box: tuple[int, int, int, int], by: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The box enlarged on every side, within the frame."""
    return (
        slice(max(0, box[0] - by), min(shape[0], box[2] + by)),
        slice(max(0, box[1] - by), min(shape[1], box[3] + by)),
    )


def _length_width(inside: NDArray[np.bool_]) -> tuple[float, float]:
    """(length, width) in pixels of a region."""
    ys, xs = np.nonzero(inside)
    (_, (one, other), _) = cv2.minAreaRect(np.stack([xs, ys], axis=-1).astype(np.float32))
    padded = np.pad(inside, 1).astype(np.uint8)
    depth = float(cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max())
    return float(max(one, other)) + 1.0, max(1.0, 2.0 * depth - 1.0)


def _contrast(
    gray: Image, inside: NDArray[np.bool_], bad: NDArray[np.bool_], light: tuple[float, float] | None
) -> float:
    """Contrast to noise of one defect in its surroundings; light: for a dent, else None."""
    near = cv2.dilate(inside.astype(np.uint8), _disc(_RING_FROM - 1)) > 0
    wide = cv2.dilate(inside.astype(np.uint8), _disc(_RING_TO)) > 0
    ring = gray[wide & ~near & ~bad].astype(np.float64)
    if ring.size < 8:
        return 0.0
    pixels = gray[inside].astype(np.float64)
    halves = [pixels]
    if light is not None:
        ys, xs = np.nonzero(inside)
        lit = (ys - ys.mean()) * light[0] + (xs - xs.mean()) * light[1] > 0
        halves = [half for half in (pixels[lit], pixels[~lit]) if half.size]
    noise = max(float(ring.std()), 0.5)
    return max(abs(float(half.mean()) - float(ring.mean())) for half in halves) / noise


def _disc(radius: int) -> NDArray[np.uint8]:
    """A round structuring element."""
    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)
