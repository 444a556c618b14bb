"""PASCAL VOC: SegmentationClass and SegmentationObject as palette PNG; 255 and its colour mean ignore.

labelmap.txt (CVAT: `name:r,g,b::`) or class_names.txt (LabelMe) names the classes. PNGs in true
colour are read by their colours. Annotations with boxes alone are refused.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from inspector.errors import DatasetError
from inspector.inputs import IMAGE_SUFFIXES
from inspector.types import Mask
from trainer.folder import IGNORE
from trainer.formats.known import NO_CLASS
from trainer.formats.ours import OurSet
from trainer.formats.regions import Region, Size, regions_of
from trainer.formats.source import LabelledPicture, ReadOptions, Source, require_folder, unlabelled

CLASSES, OBJECTS, PICTURES, SETS = (
    "SegmentationClass",
    "SegmentationObject",
    "JPEGImages",
    "ImageSets/Segmentation",
)
LABELMAP = "labelmap.txt"
Colour = tuple[int, int, int]


def palette() -> list[Colour]:
    """The 256 colours of VOC: bits of the index, three at a time, from the highest bit of R, G, B on."""
    colours = []
    for index in range(256):
        colour = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                colour[channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
        colours.append((colour[0], colour[1], colour[2]))
    return colours


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
        _write_palette(out / CLASSES / f"{frame.stem}.png", frame.mask)
        if known.objects:
            instances = frame.instances if frame.instances is not None else np.zeros(frame.size, np.uint16)
            if int(instances.max(initial=0)) >= IGNORE:
                raise DatasetError(
                    f"{frame.stem} has instance ids up to {instances.max()}, and VOC's go to 254; export to"
                    " coco instead."
                )
            _write_palette(out / OBJECTS / f"{frame.stem}.png", instances.astype(np.uint8))
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


def _write_palette(path: Path, indices: Mask) -> None:
    picture = PIL.Image.fromarray(indices)
    picture.putpalette([channel for colour in palette() for channel in colour])
    picture.save(path)


def _names(where: Path) -> tuple[dict[Colour, str] | list[str], dict[int, str]]:
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


def _labelmap(path: Path) -> tuple[dict[Colour, str] | list[str], dict[int, str]]:
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


def _stored(path: Path) -> tuple[NDArray[np.uint8], list[Colour] | None]:
    """(indices (H, W), their colours) of a palette PNG, or (RGB (H, W, 3), None)."""
    try:
        with PIL.Image.open(path) as picture:
            if picture.mode in ("P", "L"):
                flat = picture.getpalette("RGB") if picture.mode == "P" else None
                colours = (
                    None if flat is None else [(r, g, b) for r, g, b in zip(*[iter(flat)] * 3, strict=True)]
                )
                return np.asarray(picture, np.uint8), colours or []
            return np.asarray(picture.convert("RGB"), np.uint8), None
    except (OSError, SyntaxError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); export it again.") from error


def _highest(masks: dict[str, Path]) -> int:
    highest = 0
    for path in masks.values():
        indices = _indices(path)
        highest = max(highest, int(indices[indices != IGNORE].max(initial=0)))
    return highest


def _indices(path: Path) -> NDArray[np.uint8]:
    """Palette indices; those of VOC's own palette for a PNG in true colour."""
    stored, colours = _stored(path)
    if colours is not None:
        return stored
    codes = _codes(stored)
    table = {_code(colour): index for index, colour in enumerate(palette())}
    mask = np.zeros(codes.shape, np.uint8)
    for code in np.unique(codes).tolist():
        if code not in table:
            raise _unknown(path, _colour_words(code))
        mask[codes == code] = table[code]
    return mask


def _codes(rgb: NDArray[np.uint8]) -> NDArray[np.int64]:
    wide = rgb.astype(np.int64)
    return np.asarray((wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2])


def _code(colour: Colour) -> int:
    return (colour[0] << 16) | (colour[1] << 8) | colour[2]


def _colour_words(code: int) -> str:
    return f"the colour {code >> 16},{code >> 8 & 255},{code & 255}"


def _unknown(path: Path, what: str) -> DatasetError:
    return DatasetError(
        f"{path} holds {what}, which is no class; name it in {LABELMAP}, and save masks without soft edges"
        " or JPEG."
    )


def _regions(path: Path, objects: Path, names: dict[Colour, str] | list[str], size: Size) -> list[Region]:
    mask, by_id = _class_mask(path, names)
    if mask.shape != size:
        raise DatasetError(
            f"{path} is {mask.shape[0]}x{mask.shape[1]} but its picture is {size[0]}x{size[1]}; nothing is"
            " resized, since that moves edges. Export both again together."
        )
    instances: NDArray[np.int64] | None = None
    if objects.is_file():
        stored, colours = _stored(objects)
        codes = stored.astype(np.int64) if colours is not None else _codes(stored)
        if codes.shape != mask.shape:
            raise DatasetError(
                f"{objects} is {codes.shape[0]}x{codes.shape[1]}, its class mask {size[0]}x{size[1]}."
            )
        instances = codes
    return regions_of(mask, instances, by_id)


def _class_mask(path: Path, names: dict[Colour, str] | list[str]) -> tuple[Mask, dict[int, str]]:
    """The mask with ids that the second value names."""
    stored, colours = _stored(path)
    if isinstance(names, dict):
        codes = _codes(stored) if colours is None else None
        if codes is None:
            assert colours is not None
            own = colours or [(value, value, value) for value in range(256)]
            lookup = np.array([_code(own[i]) if i < len(own) else -1 for i in range(256)], np.int64)
            codes = lookup[stored]
        return _by_colour(codes, path, names)
    indices = _indices(path)
    by_id = {index: name for index, name in enumerate(names) if name}
    for value in np.unique(indices[(indices > 0) & (indices != IGNORE)]).tolist():
        if not names:
            by_id[value] = f"class_{value}"
        elif value not in by_id:
            raise _unknown(path, f"the index {value}")
    return indices, by_id


def _by_colour(codes: NDArray[np.int64], path: Path, names: dict[Colour, str]) -> tuple[Mask, dict[int, str]]:
    by_id = dict(enumerate((name for name in names.values() if name), start=1))
    ids = {name: class_id for class_id, name in by_id.items()}
    values = {_code(colour): ids.get(name, 0) for colour, name in names.items()}
    values.setdefault(_code(palette()[IGNORE]), IGNORE)
    values.setdefault(0, 0)
    mask = np.zeros(codes.shape, np.uint8)
    for code in np.unique(codes).tolist():
        if code not in values:
            raise _unknown(path, _colour_words(code))
        mask[codes == code] = values[code]
    return mask, by_id
