"""COCO: one JSON a side of the split; run lengths (packed or plain) and polygons, crowds, categories.

An annotation is one object; `iscrowd` 1 is pixels of its class that belong to none.
"""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from inspector.errors import DatasetError, UsageError
from trainer.folder import IGNORE
from trainer.formats.ours import OurSet
from trainer.formats.polygons import filled, outlines
from trainer.formats.regions import IGNORE_NAME, Region, Size, cropped
from trainer.formats.runs import column_counts, pixels_of, unpacked
from trainer.formats.source import (
    SIDECAR,
    LabelledPicture,
    ReadOptions,
    Source,
    item,
    read_document,
    size_of,
)

_TEST = ("test",)
_TRAIN = ("train", "val", "valid", "validation")


def read(where: Path, options: ReadOptions) -> Source:
    """A COCO file, or every one below a folder; train or test by the file's or its folder's name.

    Raises DatasetError for a file that does not hold what it must.
    """
    files = _files(where)
    categories: dict[int, str] = {}
    pictures: list[LabelledPicture] = []
    notes: list[str] = []
    roots = [options.images] if options.images else []
    for path, document in files:
        own = _categories(document, path)
        for category, name in own.items():
            if categories.setdefault(category, name) != name:
                raise DatasetError(
                    f"{path} calls category {category} {name!r}, another file {categories[category]!r};"
                    " export them together."
                )
        pictures += _pictures(document, path, own, _split_of(path, where) if len(files) > 1 else None)
        if not options.images:
            roots += [path.parent, path.parent.parent, path.parent / path.stem]
    if any("val" in path.stem or "val" in path.parent.name for path, _ in files):
        notes.append("Frames of val go to train: `trainer fit` cuts its own validation from there.")
    ids = _ids(categories, {name for picture in pictures for name in _used(picture)})
    anew = any(categories.get(number) != name for number, name in ids.items())
    invented = "in the order of the categories, whose own ids are not all 1 to 254" if anew else ""
    return Source(where, pictures, ids, list(dict.fromkeys(roots)), invented=invented, notes=notes)


def write(ours: OurSet, out: Path, *, polygons: bool) -> None:
    """images/ and annotations/instances_SIDE.json, with `default` for a set without a split."""
    (out / "images").mkdir()
    (out / "annotations").mkdir()
    names = {**ours.known.names, IGNORE: IGNORE_NAME}
    ids = {name: category for category, name in names.items()}
    documents: dict[str, dict[str, list[Any]]] = {
        side or "default": {"images": [], "annotations": []} for side in ours.sides
    }
    number = 0
    for index, frame in enumerate(ours.frames(), start=1):
        document = documents[frame.split or "default"]
        shutil.copyfile(frame.picture, out / "images" / frame.picture.name)
        height, width = frame.size
        document["images"].append(
            {"id": index, "file_name": frame.picture.name, "height": height, "width": width}
        )
        for region in frame.regions:
            number += 1
            document["annotations"].append(
                {"id": number, "image_id": index, "category_id": ids[region.name]}
                | _annotation(region, frame.size, polygons)
            )
    used = {a["category_id"] for document in documents.values() for a in document["annotations"]}
    for side, document in documents.items():
        listed = [{"id": i, "name": name} for i, name in names.items() if i != IGNORE or i in used]
        path = out / "annotations" / f"instances_{side}.json"
        path.write_text(json.dumps({**document, "categories": listed}), encoding="utf-8")


def _annotation(region: Region, size: Size, polygons: bool) -> dict[str, Any]:
    height, width = region.pixels.shape
    segmentation: Any
    if polygons and region.counted:
        segmentation = [
            [value for corner in outline for value in corner]
            for outline in outlines(region.pixels, region.top, region.left)
        ]
    else:
        runs = {"size": list(size), "counts": column_counts(region, size)}
        packed = coco_mask.frPyObjects(runs, *size)["counts"]
        segmentation = {"size": list(size), "counts": packed.decode("ascii")}
    return {
        "segmentation": segmentation,
        "area": int(np.count_nonzero(region.pixels)),
        "bbox": [region.left, region.top, width, height],
        "iscrowd": int(not region.counted),
    }


def _files(where: Path) -> list[tuple[Path, dict[str, Any]]]:
    if where.is_file():
        document = read_document(where)
        if not _is_coco(document):
            raise DatasetError(
                f"{where} has no images, annotations and categories, so it is no COCO file of objects; name"
                " the instances file."
            )
        return [(where, document)]
    if not where.is_dir():
        raise UsageError(f"{where} is not there; name a COCO file or a folder with some.")
    found = [(path, read_document(path)) for path in sorted(where.rglob("*.json")) if path.name != SIDECAR]
    files = [(path, document) for path, document in found if _is_coco(document)]
    if not files:
        raise DatasetError(
            f"{where} holds no JSON file with images, annotations and categories; name the COCO file."
        )
    return files


def _is_coco(document: Any) -> bool:
    keys = ("images", "annotations", "categories")
    return isinstance(document, dict) and all(isinstance(document.get(key), list) for key in keys)


def _split_of(path: Path, where: Path) -> str | None:
    """The side that the file's own name, or a folder's below `where`, tells."""
    named = [
        path.stem,
        *(parent.name for parent in path.parents if parent != where and where in parent.parents),
    ]
    for name in named:
        words = set(name.lower().replace("-", "_").replace(".", "_").split("_"))
        words |= {word.rstrip("0123456789") for word in words}
        for side, known in (("test", _TEST), ("train", _TRAIN)):
            if words & set(known):
                return side
    return None


def _categories(document: dict[str, Any], path: Path) -> dict[int, str]:
    found: dict[int, str] = {}
    for category in document["categories"]:
        number = item(category, "id", int, f"A category of {path}")
        name = item(category, "name", str, f"Category {number} of {path}").strip()
        if not name or found.setdefault(number, name) != name:
            raise DatasetError(f"{path} gives category {number} no name or two; export it again.")
    return found


def _ids(categories: dict[int, str], used: set[str]) -> dict[int, str]:
    """The categories as class ids: kept where they can be, else numbered from 1 in their order.

    `ignore` is no class; neither is an unused category 0, which some exports put above the others.
    """
    names = {
        number: name
        for number, name in sorted(categories.items())
        if name != IGNORE_NAME and (number != 0 or name in used)
    }
    if all(1 <= number < IGNORE for number in names):
        return names
    return dict(enumerate(names.values(), start=1))


def _pictures(
    document: dict[str, Any], path: Path, categories: dict[int, str], split: str | None
) -> list[LabelledPicture]:
    annotations: dict[int, list[dict[str, Any]]] = {}
    for annotation in document["annotations"]:
        image = item(annotation, "image_id", int, f"An annotation of {path}")
        item(annotation, "category_id", int, f"An annotation of {path}")
        annotations.setdefault(image, []).append(annotation)
    found = []
    for image in document["images"]:
        number = item(image, "id", int, f"An image of {path}")
        name = item(image, "file_name", str, f"Image {number} of {path}")
        size = size_of(image.get("height"), image.get("width"), f"Image {number} of {path}")
        own = annotations.pop(number, [])
        found.append(LabelledPicture(name, partial(_regions, own, categories), size, split))
    if annotations:
        raise DatasetError(
            f"{path} has annotations for image {min(annotations)}, which it does not list; export it again."
        )
    return found


def _used(picture: LabelledPicture) -> set[str]:
    assert isinstance(picture.regions, partial)
    annotations, categories = picture.regions.args
    return {categories[a["category_id"]] for a in annotations if a["category_id"] in categories}


def _regions(annotations: list[dict[str, Any]], categories: dict[int, str], size: Size) -> list[Region]:
    found = []
    for annotation in annotations:
        where = f"Annotation {annotation.get('id')}"
        category = annotation["category_id"]
        if category not in categories:
            raise DatasetError(
                f"{where} is of category {category}, which the file does not name; name it under categories."
            )
        plane = _plane(annotation.get("segmentation"), size, where)
        counted = not annotation.get("iscrowd")
        if region := cropped(categories[category], plane, counted=counted):
            found.append(region)
    return found


def _plane(segmentation: Any, size: Size, where: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if not segmentation:
        raise DatasetError(
            f"{where} has a box but no segmentation, and a box is no mask; draw its outline, or delete it."
        )
    if isinstance(segmentation, list):
        polygons = []
        for flat in segmentation:
            numbers = isinstance(flat, list) and all(type(v) in (int, float) for v in flat)
            if not numbers or len(flat) % 2:
                raise DatasetError(f"{where} has a polygon that is no list of x, y; export it again.")
            polygons.append(list(zip(flat[::2], flat[1::2], strict=True)))
        return filled(polygons, size)
    said = item(segmentation, "size", list, where)
    if said != list(size):
        raise DatasetError(
            f"{where} has a run list for {'x'.join(map(str, said))}, but its picture is {size[0]}x{size[1]};"
            " export picture and labels again together."
        )
    counts = item(segmentation, "counts", (str, list), where)
    return pixels_of(unpacked(counts) if isinstance(counts, str) else counts, size, "columns")
