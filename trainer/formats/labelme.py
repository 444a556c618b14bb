"""LabelMe: one JSON beside each picture; polygons, and masks as a small PNG in a box.

LabelMe draws a polygon through pixel centres and with its outline, so a label is half a pixel wider
on every side than COCO's. It is read as LabelMe itself draws it, by Pillow, and written so that this
gives the same pixels. Shapes of one label and group are pieces of one object.
"""

from __future__ import annotations

import base64
import binascii
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw
from numpy.typing import NDArray

from inspector.errors import DatasetError
from inspector.inputs import IMAGE_SUFFIXES, decode_image
from trainer.formats.known import of_class_list
from trainer.formats.ours import Frame, OurSet, write_json
from trainer.formats.pictures import plain_name
from trainer.formats.polygons import centre_outlines, checked_points
from trainer.formats.regions import IGNORE_NAME, Region, Size, cropped
from trainer.formats.source import (
    ALPHABETICAL,
    SIDECAR,
    LabelledPicture,
    ReadOptions,
    Source,
    alphabetical,
    corner,
    item,
    read_document,
    require_folder,
    size_of,
    unlabelled,
)

LABELS = "labels.txt"
_NO_AREA = ("rectangle", "circle", "line", "linestrip", "point", "points", "oriented_rectangle")


def read(where: Path, options: ReadOptions) -> Source:
    """A folder of LabelMe files; labels.txt, where it is, names the classes in order."""
    require_folder(where, "LabelMe's JSON files")
    files = [path for path in sorted(where.glob("*.json")) if path.name != SIDECAR]
    pictures, names = [], set()
    for path in files:
        document = read_document(path)
        shapes = item(document, "shapes", list, path)
        names |= {item(shape, "label", str, f"A shape of {path}") for shape in shapes}
        size = size_of(document.get("imageHeight"), document.get("imageWidth"), path)
        name = plain_name(str(document.get("imagePath") or f"{path.stem}.png"))
        pictures.append(
            LabelledPicture(name, partial(_regions, path), size, embedded=_embedded(document, path))
        )
    folder = options.images or where
    labelled = {Path(picture.name).name for picture in pictures}
    others = [
        path.name
        for path in sorted(folder.iterdir() if folder.is_dir() else [])
        if path.suffix.lower() in IMAGE_SUFFIXES and path.name not in labelled
    ]
    pictures += unlabelled(others, options, "LabelMe")
    if not pictures:
        raise DatasetError(
            f"{where} holds neither LabelMe's JSON files nor pictures; name the labelled folder."
        )
    if (where / LABELS).is_file():
        return Source(where, pictures, of_class_list(where / LABELS).names, [folder])
    return Source(where, pictures, alphabetical(names), [folder], invented=ALPHABETICAL)


def write(ours: OurSet, out: Path, *, polygons: bool) -> None:
    """Each picture with its JSON, and labels.txt for LabelMe's --labels."""
    for frame in ours.frames():
        shutil.copyfile(frame.picture, out / frame.picture.name)
        shapes = [
            shape
            for number, region in enumerate(frame.regions, start=1)
            for shape in (_polygons(region, number) if polygons else [_mask_shape(region)])
        ]
        write_json(out / f"{frame.stem}.json", _document(frame, shapes))
    names = [*ours.known.names.values()]
    (out / LABELS).write_text("\n".join(["__ignore__", "_background_", *names]) + "\n", encoding="utf-8")


def _document(frame: Frame, shapes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": frame.picture.name,
        "imageData": None,
        "imageHeight": frame.size[0],
        "imageWidth": frame.size[1],
    }


def _shape(region: Region, kind: str, points: list[list[float]], group: int | None) -> dict[str, Any]:
    label = "__ignore__" if region.name == IGNORE_NAME else region.name
    return {
        "label": label,
        "points": points,
        "group_id": group,
        "description": "",
        "shape_type": kind,
        "flags": {},
    }


def _mask_shape(region: Region) -> dict[str, Any]:
    rows, columns = region.pixels.shape
    corners = [[region.left, region.top], [region.left + columns - 1, region.top + rows - 1]]
    picture = cv2.imencode(".png", region.pixels.astype(np.uint8) * 255)[1].tobytes()
    return {**_shape(region, "mask", corners, None), "mask": base64.b64encode(picture).decode("ascii")}


def _polygons(region: Region, number: int) -> list[dict[str, Any]]:
    pieces = centre_outlines(region.pixels, region.top, region.left)
    group = number if len(pieces) > 1 else None
    shapes = []
    for piece in pieces:
        points = [[float(x), float(y)] for x, y in piece]
        # LabelMe refuses fewer than three corners; a pixel or a line repeats its last.
        points += [points[-1]] * (3 - len(points))
        shapes.append(_shape(region, "polygon", points, group))
    return shapes


def _embedded(document: Any, path: Path) -> bytes | None:
    data = document.get("imageData")
    if not data:
        return None
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise DatasetError(
            f"{path} carries a picture that cannot be read ({error}); save it again."
        ) from error


def _regions(path: Path, size: Size) -> list[Region]:
    """Read again, so that only one file with its picture is in memory at a time."""
    found = []
    for shape in item(read_document(path), "shapes", list, path):
        label, kind = item(shape, "label", str, path), str(shape.get("shape_type") or "polygon")
        if kind in _NO_AREA:
            raise DatasetError(
                f"There is a {kind} of {label}, which is no mask; draw a polygon in LabelMe, or delete it."
            )
        points = _points(shape, path)
        if kind == "mask":
            plane = _mask_plane(shape, points, size)
        elif kind == "polygon":
            checked_points(points, size)
            plane = drawn(points, size)
        else:
            raise DatasetError(f"{path} has a shape of kind {kind!r}; draw a polygon instead.")
        group = shape.get("group_id")
        if region := cropped(label, plane, group=None if group is None else str(group)):
            found.append(region)
    return found


def _points(shape: Any, path: Path) -> list[tuple[float, float]]:
    return [corner(pair, path) for pair in item(shape, "points", list, path)]


def drawn(points: list[tuple[float, float]], size: Size) -> NDArray[np.bool_]:
    """The pixels (H, W) of a polygon as LabelMe draws it: filled, and its outline on top."""
    plane = PIL.Image.new("L", (size[1], size[0]))
    PIL.ImageDraw.Draw(plane).polygon(points, outline=1, fill=1)
    return np.asarray(plane, np.uint8) > 0


def _mask_plane(shape: Any, points: list[tuple[float, float]], size: Size) -> NDArray[np.bool_]:
    text = item(shape, "mask", str, "A mask")
    try:
        stored = decode_image(base64.b64decode(text, validate=True), "A mask of LabelMe")
    except (binascii.Error, ValueError) as error:
        raise DatasetError(f"A mask of LabelMe cannot be read ({error}); save it again.") from error
    pixels = (stored if stored.ndim == 2 else stored[..., 0]) > 0
    if len(points) != 2:
        raise DatasetError(f"A mask of LabelMe has {len(points)} corners and not two; save it again.")
    left, top = (int(value) for value in points[0])
    right, bottom = (int(value) for value in points[1])
    fits = 0 <= top <= bottom < size[0] and 0 <= left <= right < size[1]
    if not fits or pixels.shape != (bottom - top + 1, right - left + 1):
        raise DatasetError(
            f"A mask of {pixels.shape[0]}x{pixels.shape[1]} at x {left}..{right}, y {top}..{bottom} does not"
            f" fit the picture of {size[0]}x{size[1]}; label it again on this picture."
        )
    plane = np.zeros(size, bool)
    plane[top : bottom + 1, left : right + 1] = pixels
    return plane
