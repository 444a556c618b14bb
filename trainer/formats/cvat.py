"""CVAT for images 1.1: one annotations.xml; masks as run lengths by rows in a box, and polygons.

Shapes with the same group id and label are pieces of one object. Boxes, lines and points are refused.
"""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse

from inspector.errors import DatasetError, UsageError
from trainer.formats.ours import Frame, OurSet
from trainer.formats.polygons import Point, filled, outlines
from trainer.formats.regions import IGNORE_NAME, Region, Size, cropped
from trainer.formats.runs import counts_of, pixels_of
from trainer.formats.source import (
    ALPHABETICAL,
    LabelledPicture,
    ReadOptions,
    Source,
    alphabetical,
    size_of,
)

ANNOTATIONS = "annotations.xml"
_NO_AREA = ("box", "polyline", "points", "ellipse", "cuboid", "skeleton")


def read(where: Path, options: ReadOptions) -> Source:
    """An annotations.xml, or the folder of an unpacked export. Raises DatasetError for other XML."""
    path = where / ANNOTATIONS if where.is_dir() else where
    root = _root(path)
    names = [str(name.text).strip() for name in root.iterfind(".//labels/label/name")]
    pictures = []
    for image in root.iterfind("image"):
        name = _attribute(image, "name", path)
        size = size_of(image.get("height"), image.get("width"), f"{name} in {path}")
        pictures.append(
            LabelledPicture(name, partial(_regions, image, set(names)), size, _split(image.get("subset")))
        )
    if not pictures:
        raise DatasetError(f"{path} has no images; export the task again as CVAT for images 1.1.")
    used = [str(shape.get("label")) for image in root.iterfind("image") for shape in image]
    declared = [name for name in names if name != IGNORE_NAME]
    ids = dict(enumerate(declared, start=1)) if declared else alphabetical(used)
    roots = [options.images] if options.images else [path.parent]
    return Source(where, pictures, ids, roots, invented="" if declared else ALPHABETICAL)


def write(ours: OurSet, out: Path, *, polygons: bool) -> None:
    """images/ and annotations.xml, as CVAT takes it for a task with these pictures."""
    (out / "images").mkdir()
    root = ET.Element("annotations")
    ET.SubElement(root, "version").text = "1.1"
    labels = ET.SubElement(ET.SubElement(ET.SubElement(root, "meta"), "task"), "labels")
    ignored = False
    for index, frame in enumerate(ours.frames()):
        shutil.copyfile(frame.picture, out / "images" / frame.picture.name)
        root.append(_image(index, frame, polygons))
        ignored |= any(region.name == IGNORE_NAME for region in frame.regions)
    for name in [*ours.known.names.values(), *([IGNORE_NAME] if ignored else [])]:
        label = ET.SubElement(labels, "label")
        ET.SubElement(label, "name").text = name
        ET.SubElement(label, "type").text = "polygon" if polygons else "mask"
    ET.indent(root)
    ET.ElementTree(root).write(out / ANNOTATIONS, encoding="utf-8", xml_declaration=True)


def _image(index: int, frame: Frame, polygons: bool) -> ET.Element:
    height, width = frame.size
    image = ET.Element("image", id=str(index), name=frame.picture.name)
    if frame.split:
        image.set("subset", frame.split.capitalize())
    image.set("width", str(width))
    image.set("height", str(height))
    for number, region in enumerate(frame.regions, start=1):
        common = {"label": region.name, "source": "file", "occluded": "0"}
        if not polygons:
            rows, columns = region.pixels.shape
            runs = ", ".join(map(str, counts_of(region.pixels)))
            box = {"left": region.left, "top": region.top, "width": columns, "height": rows}
            sides = {key: str(value) for key, value in box.items()}
            ET.SubElement(image, "mask", common | {"rle": runs} | sides | {"z_order": "0"})
            continue
        pieces = outlines(region.pixels, region.top, region.left)
        grouped = {"group_id": str(number)} if len(pieces) > 1 else {}
        for piece in pieces:
            points = ";".join(f"{x}.00,{y}.00" for x, y in piece)
            ET.SubElement(image, "polygon", common | {"points": points, "z_order": "0"} | grouped)
    return image


def _root(path: Path) -> ET.Element:
    if not path.is_file():
        zipped = f" Unpack it first: unzip {path} -d FOLDER." if path.suffix == ".zip" else ""
        raise UsageError(
            f"{path} is not there; name CVAT's {ANNOTATIONS} or the folder that holds it.{zipped}"
        )
    try:
        root = parse(path, forbid_dtd=True).getroot()
    except (ET.ParseError, DefusedXmlException, ValueError, OSError) as error:
        zipped = f" Unpack it first: unzip {path} -d FOLDER." if path.suffix == ".zip" else ""
        raise DatasetError(
            f"{path} is not XML that can be read ({error}); export it again.{zipped}"
        ) from error
    if root is None or root.tag != "annotations":
        raise DatasetError(f"{path} is no CVAT export; export the task as CVAT for images 1.1.")
    if root.find("track") is not None:
        raise DatasetError(f"{path} holds tracks of a video; export the task as CVAT for images 1.1 instead.")
    found: ET.Element = root
    return found


def _attribute(element: ET.Element, key: str, where: object) -> str:
    value = element.get(key)
    if value is None:
        raise DatasetError(f"A {element.tag} of {where} has no {key}; export it again.")
    return value


def _number(element: ET.Element, key: str) -> int:
    try:
        return int(_attribute(element, key, "an image"))
    except ValueError as error:
        raise DatasetError(f"A {element.tag} has {key} {element.get(key)!r}; export it again.") from error


def _split(subset: str | None) -> str | None:
    name = (subset or "").lower()
    return "test" if name == "test" else "train" if name in ("train", "val", "validation") else None


def _regions(image: ET.Element, declared: set[str], size: Size) -> list[Region]:
    shapes = [shape for shape in image if shape.tag not in ("tag", "attribute")]
    found = []
    for shape in sorted(shapes, key=lambda shape: _number(shape, "z_order") if shape.get("z_order") else 0):
        if shape.tag in _NO_AREA:
            raise DatasetError(
                f"There is a {shape.tag} of {shape.get('label')}, which has no pixels of its own; draw a"
                " mask or a polygon in CVAT, or delete it."
            )
        label = _attribute(shape, "label", "an image")
        if declared and label not in declared:
            raise DatasetError(f"The label {label!r} is not in the task's list; export it again.")
        plane = _mask(shape, size) if shape.tag == "mask" else _polygon(shape, size)
        if region := cropped(label, plane, group=shape.get("group_id")):
            found.append(region)
    return found


def _mask(shape: ET.Element, size: Size) -> np.ndarray[Any, np.dtype[np.bool_]]:
    top, left, rows, columns = (_number(shape, key) for key in ("top", "left", "height", "width"))
    if min(top, left) < 0 or min(rows, columns) < 1 or top + rows > size[0] or left + columns > size[1]:
        raise DatasetError(
            f"A mask lies at y {top}..{top + rows}, x {left}..{left + columns}, beyond the picture of"
            f" {size[0]}x{size[1]}; export picture and labels again together."
        )
    try:
        counts = [int(count) for count in _attribute(shape, "rle", "an image").split(",")]
    except ValueError as error:
        raise DatasetError(f"A mask has a run list with {error}; export it again.") from error
    plane = np.zeros(size, bool)
    plane[top : top + rows, left : left + columns] = pixels_of(counts, (rows, columns), "rows")
    return plane


def _polygon(shape: ET.Element, size: Size) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if shape.tag != "polygon":
        raise DatasetError(f"There is a {shape.tag}, which is no shape of CVAT 1.1; export it again.")
    points: list[Point] = []
    for pair in _attribute(shape, "points", "an image").split(";"):
        try:
            x, y = pair.split(",")
            points.append((float(x), float(y)))
        except ValueError as error:
            raise DatasetError(f"A polygon has the corner {pair!r}; export it again.") from error
    return filled([points], size)
