"""Defects of the training pictures set into other tiles, so that a rare class is seen in more places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.types import Image, Mask
from trainer.folder import IGNORE

RING_PX = 6
"""Good pixels around a defect that come with it, over which it fades into its new place."""
TRIES = 4
"""Places that are tried for a defect before its tile stays as it is."""


@dataclass(frozen=True, slots=True)
class Cutout:
    """One defect with the ring of good pixels around it."""

    image: Image
    """uint8 (h, w) or (h, w, 3)."""
    mask: NDArray[np.bool_]
    """(h, w): where the defect is. Its outermost RING_PX rows and columns are free of it."""
    class_id: int


def cut_out(image: Image, mask: Mask, largest: tuple[int, int]) -> tuple[Cutout, ...]:
    """The defects of a picture that can be moved: whole ones, alone in their ring, ring included at most
    `largest` (height, width).

    A defect at the picture's edge is not whole, and one beside another or beside ignored pixels would
    take a piece of these with it; both are left out.
    """
    found = []
    for class_id in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)):
        if not 0 < class_id < IGNORE:
            continue
        labels, boxes = cv2.connectedComponentsWithStats((mask == class_id).astype(np.uint8))[1:3]
        for label, (x, y, w, h, _) in enumerate(boxes[1:], start=1):
            rows, columns = (y - RING_PX, y + h + RING_PX), (x - RING_PX, x + w + RING_PX)
            if rows[0] < 0 or columns[0] < 0 or rows[1] > mask.shape[0] or columns[1] > mask.shape[1]:
                continue
            if rows[1] - rows[0] > largest[0] or columns[1] - columns[0] > largest[1]:
                continue
            box = slice(*rows), slice(*columns)
            here = labels[box] == label
            if not mask[box][~here].any():
                found.append(Cutout(image[box].copy(), here, int(class_id)))
    return tuple(found)


def paste(
    rng: np.random.Generator, cutout: Cutout, image: Image, mask: Mask, halo: int
) -> tuple[Image, Mask, NDArray[np.bool_]] | None:
    """The tile with the defect at a random place of its output, flipped and turned by chance, or None.

    image: uint8 tile (h, w) or (h, w, 3), halo included; mask: uint8 (h - 2 halo, w - 2 halo). Half of
    them are blended by their gradients (Perez, Gangnet, Blake 2003), so that the place's light stays;
    the others keep their gray values, moved by the difference of the two surroundings. Returns new
    image and mask, and where the defect now is in the mask. None: no place among a few that were tried
    held only good pixels.
    """
    cutout = _turned(rng, cutout)
    h, w = cutout.mask.shape
    free = mask.shape[0] - h, mask.shape[1] - w
    if free[0] < 0 or free[1] < 0:
        return None
    for _ in range(TRIES):
        y, x = int(rng.integers(free[0] + 1)), int(rng.integers(free[1] + 1))
        if not mask[y : y + h, x : x + w].any():
            break
    else:
        return None
    tile, labels = image.copy(), mask.copy()
    place = tile[halo + y : halo + y + h, halo + x : halo + x + w]
    place[:] = _blended(cutout, place) if rng.random() < 0.5 else _faded(cutout, place)
    here = np.zeros(mask.shape, np.bool_)
    here[y : y + h, x : x + w] = cutout.mask
    labels[here] = cutout.class_id
    return tile, labels, here


def draw_cutout(rng: np.random.Generator, by_class: Sequence[Sequence[Cutout]]) -> Cutout:
    """One of them, the class first. by_class: at least one class, none of them empty."""
    some = by_class[int(rng.integers(len(by_class)))]
    return some[int(rng.integers(len(some)))]


def _turned(rng: np.random.Generator, cutout: Cutout) -> Cutout:
    """Flipped along each axis by chance; a turn by 90 degrees would turn the grain of the surface with it."""
    flip = tuple(axis for axis in (0, 1) if rng.random() < 0.5)
    return Cutout(
        np.ascontiguousarray(np.flip(cutout.image, flip)),
        np.ascontiguousarray(np.flip(cutout.mask, flip)),
        cutout.class_id,
    )


def _blended(cutout: Cutout, place: Image) -> Image:
    """The defect's gradients continued from the place's own gray values."""
    h, w = cutout.mask.shape
    # The outermost pixels are the place's own: what the blend is tied to.
    region = np.zeros((h, w), np.uint8)
    region[1:-1, 1:-1] = 255
    source, target = (
        np.ascontiguousarray(one) if one.ndim == 3 else cv2.cvtColor(one, cv2.COLOR_GRAY2BGR)
        for one in (cutout.image, place)
    )
    said = cv2.seamlessClone(source, target, region, (w // 2, h // 2), cv2.NORMAL_CLONE)
    return np.asarray(said if place.ndim == 3 else said[..., 0], np.uint8)


def _faded(cutout: Cutout, place: Image) -> Image:
    """The defect's gray values, moved to the place's, with a ring that fades out."""
    ring = ~cutout.mask
    distance = cv2.distanceTransform(ring.astype(np.uint8), cv2.DIST_L2, 3)
    share = np.clip(1 - distance / RING_PX, 0, 1).astype(np.float32)
    if place.ndim == 3:
        share = share[..., None]
    moved = cutout.image + (place[ring].mean(axis=0) - cutout.image[ring].mean(axis=0)).astype(np.float32)
    return np.asarray(np.clip(np.rint(share * moved + (1 - share) * place), 0, 255), np.uint8)
