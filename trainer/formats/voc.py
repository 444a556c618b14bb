"""PASCAL VOC: SegmentationClass and SegmentationObject as palette PNG; 255 and its colour mean ignore.

labelmap.txt (CVAT: `name:r,g,b::`) or class_names.txt (LabelMe) names the classes. PNGs in true
colour are read by their colours. Annotations with boxes alone are refused.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.errors import DatasetError
from inspector.inputs import IMAGE_SUFFIXES
from trainer.folder import IGNORE
from trainer.formats.known import NO_CLASS
from trainer.formats.ours import OurSet
from trainer.formats.regions import Region, Size, regions_of
from trainer.formats.source import LabelledPicture, ReadOptions, Source, require_folder, unlabelled
from trainer.formats.voc_masks import (
    LABELMAP,
    Colour,
    Names,
    class_mask,
    indices_of,
    object_codes,
    palette,
    write_palette,
)

CLASSES, OBJECTS, PICTURES, SETS = (
    "SegmentationClass",
    "SegmentationObject",
    "JPEGImages",
    "ImageSets/Segmentation",
)


def read(where: Path, options: ReadOptions) -> Source:
    """A VOC folder. Raises DatasetError when it has boxes and no masks."""
    require_folder(where, CLASSES)
    masks = {path.stem: path for path in sorted((where / CLASSES).glob("*.png"))}
    if not masks:
        boxes = any((where / "Annotations").glob("*.xml")) or any(where.glob("*.xml"))
        raise DatasetError(
            f"{where} has boxes (XML) but no {CLASSES}/, and a box is no mask; draw masks, for example in"
            " CVAT from these boxes."
            if boxes
            else f"{where} holds no {CLASSES}/*.png; name the folder of a VOC set with masks."
        )
    colours, names = _names(where)
    splits = _splits(where)
    pictures, forgotten = [], []
    found = _pictures(options.images or where / PICTURES)
    for stem in [*masks, *(stem for stem in found if stem not in masks and not splits)]:
        name = found[stem].name if stem in found else f"{stem}.jpg"
        if stem not in masks:
            forgotten.append(name)
            continue
        regions = partial(_regions, masks[stem], where / OBJECTS / f"{stem}.png", colours)
        pictures.append(LabelledPicture(name, regions, split=splits.get(stem)))
    pictures += unlabelled(forgotten, options, "VOC")
    notes = [] if names else [f"No {LABELMAP} or class_names.txt: classes are class_1, class_2 ... by index."]
    used = names or {i: f"class_{i}" for i in range(1, _highest(masks) + 1)}
    roots = [options.images] if options.images else [where / PICTURES, where]
    return Source(where, pictures, used, roots, objects=(where / OBJECTS).is_dir(), notes=notes)


def write(ours: OurSet, out: Path, *, polygons: bool) -> None:
    """A VOC folder; masks keep our class ids as palette indices. There are no polygons in VOC."""
    if polygons:
        raise DatasetError("PASCAL VOC has no polygons; leave out --polygons, masks are exact.")
    known = ours.known
    folders = [CLASSES, PICTURES, SETS, *([OBJECTS] if known.objects else [])]
    for name in folders:
        (out / name).mkdir(parents=True)
    lists: dict[str, list[str]] = {}
    for frame in ours.frames():
        shutil.copyfile(frame.picture, out / PICTURES / frame.picture.name)
        write_palette(out / CLASSES / f"{frame.stem}.png", frame.mask)
        if known.objects:
            instances = frame.instances if frame.instances is not None else np.zeros(frame.size, np.uint16)
            if int(instances.max(initial=0)) >= IGNORE:
                raise DatasetError(
                    f"{frame.stem} has instance ids up to {instances.max()}, and VOC's go to 254; export to"
                    " coco instead."
                )
            write_palette(out / OBJECTS / f"{frame.stem}.png", instances.astype(np.uint8))
        lists.setdefault(frame.split or "trainval", []).append(frame.stem)
    for name, stems in lists.items():
        (out / SETS / f"{name}.txt").write_text("\n".join(stems) + "\n", encoding="utf-8")
    colours = palette()
    rows = ["# label:color_rgb:parts:actions", "background:0,0,0::"]
    for class_id, name in known.names.items():
        if ":" in name:
            raise DatasetError(f"The class {name!r} has a colon, which {LABELMAP} cannot hold; rename it.")
        rows.append(f"{name}:{','.join(map(str, colours[class_id]))}::")
    (out / LABELMAP).write_text("\n".join(rows) + "\n", encoding="utf-8")


def _names(where: Path) -> tuple[Names, dict[int, str]]:
    """(name by colour, or names by index with '' for no class), and class id -> name."""
    listed = where / "class_names.txt"
    try:
        if (where / LABELMAP).is_file():
            return _labelmap(where / LABELMAP)
        if not listed.is_file():
            return [], {}
        lines = [line.strip() for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DatasetError(f"{where} has a list of classes that cannot be read ({error}).") from error
    lines = [line for line in lines if line != "__ignore__"]
    by_index = ["" if line in NO_CLASS else line for line in lines]
    return by_index, {index: name for index, name in enumerate(by_index) if name}


def _labelmap(path: Path) -> tuple[Names, dict[int, str]]:
    by_colour: dict[Colour, str] = {}
    ordered: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, colour, *_ = [*line.split(":"), ""]
        ordered.append("" if name in NO_CLASS else name)
        if colour:
            try:
                red, green, blue = (int(value) for value in colour.split(","))
            except ValueError as error:
                raise DatasetError(f"{path} has the line {line!r}; write name:r,g,b::.") from error
            by_colour[(red, green, blue)] = ordered[-1]
    names = dict(enumerate((name for name in ordered if name), start=1))
    return (by_colour if len(by_colour) == len(ordered) else ordered), names


def _splits(where: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, side in (("trainval", "train"), ("val", "train"), ("train", "train"), ("test", "test")):
        path = where / SETS / f"{name}.txt"
        if path.is_file():
            stems = [
                line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()
            ]
            found |= dict.fromkeys(stems, side)
    return found


def _pictures(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES}


def _highest(masks: dict[str, Path]) -> int:
    highest = 0
    for path in masks.values():
        indices = indices_of(path)
        highest = max(highest, int(indices[indices != IGNORE].max(initial=0)))
    return highest


def _regions(path: Path, objects: Path, names: Names, size: Size) -> list[Region]:
    mask, by_id = class_mask(path, names)
    if mask.shape != size:
        raise DatasetError(
            f"{path} is {mask.shape[0]}x{mask.shape[1]} but its picture is {size[0]}x{size[1]}; nothing is"
            " resized, since that moves edges. Export both again together."
        )
    instances: NDArray[np.int64] | None = None
    if objects.is_file():
        codes = object_codes(objects)
        if codes.shape != mask.shape:
            raise DatasetError(
                f"{objects} is {codes.shape[0]}x{codes.shape[1]}, its class mask {size[0]}x{size[1]}."
            )
        instances = codes
    return regions_of(mask, instances, by_id)
