"""Regions: the words between a mask with instances and the shapes that label tools know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inspector.errors import DatasetError
from inspector.types import Mask
from trainer.folder import IGNORE

Size = tuple[int, int]
"""(height, width)."""
IGNORE_NAME = "ignore"
IGNORE_NAMES = frozenset({IGNORE_NAME, "__ignore__"})
"""Label names that mean 255; the second is LabelMe's habit."""
MOST_INSTANCES = 65535


@dataclass(frozen=True, slots=True)
class Region:
    """The pixels of one object of one class."""

    name: str
    """Class name, or one of IGNORE_NAMES."""
    top: int
    left: int
    pixels: NDArray[np.bool_]
    """(h, w), from (top, left) on."""
    group: str | None = None
    """Regions of one class and group are pieces of one object; None: an object of its own."""
    counted: bool = True
    """False for pixels of a class that belong to no object, such as a COCO crowd."""

    def full(self, size: Size) -> NDArray[np.bool_]:
        """The region in a picture of that size."""
        plane = np.zeros(size, bool)
        plane[self.top : self.top + self.pixels.shape[0], self.left : self.left + self.pixels.shape[1]] = (
            self.pixels
        )
        return plane


@dataclass(frozen=True, slots=True)
class Painted:
    """Regions as a mask."""

    mask: Mask
    instances: NDArray[np.uint16]
    """1 .. n in the order of the regions, 0 = none; ignored pixels have none."""
    overlapped: int
    """Pixels that two regions claimed; the later one has them."""


def cropped(
    name: str, plane: NDArray[np.bool_], *, group: str | None = None, counted: bool = True
) -> Region | None:
    """The region of a whole picture's plane; None without a pixel."""
    rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    if not rows.size:
        return None
    top, left = int(rows[0]), int(columns[0])
    pixels = plane[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
    return Region(name, top, left, np.ascontiguousarray(pixels), group, counted)


def regions_of(mask: Mask, instances: NDArray[np.integer] | None, names: Mapping[int, str]) -> list[Region]:
    """Every object of a frame, in the order of the instance ids; then what belongs to none.

    mask: uint8 (H, W) of ids in `names`, 255 = ignore. instances: ids (H, W), 0 = none, or None.
    Without instances each 8-connected piece of a class is an object. With them, class pixels that
    none claims are pieces that are not counted; ignored pixels never are.
    """
    claimed = np.zeros(mask.shape, bool)
    found: list[Region] = []
    if instances is not None:
        claimed = (mask > 0) & (mask != IGNORE) & (instances > 0)
        keys, inverse = np.unique(
            instances[claimed].astype(np.int64) * 256 + mask[claimed], return_inverse=True
        )
        labels = np.zeros(mask.shape, np.int32)
        labels[claimed] = inverse.ravel() + 1
        for key, label, box in _boxes(labels, keys):
            found.append(
                Region(names[key % 256], box[0].start, box[1].start, np.asarray(labels[box] == label))
            )
    for class_id in np.flatnonzero(np.bincount(mask[~claimed], minlength=256)[1:]) + 1:
        name = IGNORE_NAME if class_id == IGNORE else names[int(class_id)]
        counted = instances is None and class_id != IGNORE
        plane = ((mask == class_id) & ~claimed).astype(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(plane, connectivity=8, ltype=cv2.CV_32S)
        for label in range(1, len(stats)):
            left, top, width, height = (int(value) for value in stats[label, :4])
            pixels = labels[top : top + height, left : left + width] == label
            found.append(Region(name, top, left, pixels, counted=counted))
    return found


def paint(regions: Sequence[Region], size: Size, ids: Mapping[str, int]) -> Painted:
    """The mask and instances of regions, painted in their order.

    ids: class name -> id. Raises DatasetError for a class that `ids` does not have, a region
    beyond the picture, or more objects than 16 bits number.
    """
    mask = np.zeros(size, np.uint8)
    objects = np.zeros(size, np.int32)
    numbers: dict[tuple[str, str], int] = {}
    overlapped = 0
    for index, region in enumerate(regions, start=1):
        value = _value(region.name, ids)
        inside = (
            slice(region.top, region.top + region.pixels.shape[0]),
            slice(region.left, region.left + region.pixels.shape[1]),
        )
        if region.top < 0 or region.left < 0 or inside[0].stop > size[0] or inside[1].stop > size[1]:
            raise DatasetError(
                f"A label of {region.name} reaches beyond the picture of {size[0]}x{size[1]}; it was drawn"
                " on another size. Export picture and labels again together."
            )
        overlapped += int(np.count_nonzero(mask[inside][region.pixels]))
        mask[inside][region.pixels] = value
        number = index if region.group is None else numbers.setdefault((region.name, region.group), index)
        objects[inside][region.pixels] = number if region.counted and value != IGNORE else 0
    shown = np.bincount(objects.ravel(), minlength=len(regions) + 1) > 0
    shown[0] = False
    if (count := np.count_nonzero(shown)) > MOST_INSTANCES:
        raise DatasetError(
            f"A picture has {count} objects, and instance ids go to {MOST_INSTANCES}; cut it in pieces."
        )
    # Those that later ones cover have no id, so that ids go without gaps.
    table = np.where(shown, np.cumsum(shown), 0).astype(np.uint16)
    return Painted(mask, table[objects], overlapped)


def _value(name: str, ids: Mapping[str, int]) -> int:
    if name in ids:
        return ids[name]
    if name in IGNORE_NAMES:
        return IGNORE
    raise DatasetError(
        f"The label {name!r} is none of the classes {', '.join(ids)}; correct it in the label tool, or name"
        " it in the class list."
    )


def _boxes(
    labels: NDArray[np.int32], keys: NDArray[np.int64]
) -> Iterator[tuple[int, int, tuple[slice, slice]]]:
    """(key, label, box) of every label 1 .. n."""
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            yield int(keys[label - 1]), label, box
