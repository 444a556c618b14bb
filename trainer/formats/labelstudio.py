"""Label Studio: the JSON export; brush strokes and polygons of one annotation a task.

Every region is one object: Label Studio does not group. So the pieces of one are one polygon, joined by
cuts of no width. JSON-MIN leaves out what is needed.
"""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse

from inspector.errors import DatasetError, UsageError
from trainer.folder import IGNORE
from trainer.formats.brush import brush_pixels, brush_stroke
from trainer.formats.ours import Frame, OurSet
from trainer.formats.polygons import filled, one_outline
from trainer.formats.regions import IGNORE_NAME, IGNORE_NAMES, Region, Size, cropped
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
    size_of,
    unlabelled,
)

TASKS = "tasks.json"
INTERFACE = "labeling.xml"
"""The labels in their order; `category` is the class id, as Label Studio's own COCO export understands it."""
_WITHOUT_PIXELS = ("choices", "textarea", "rating", "number", "taxonomy", "datetime", "pairwise", "relation")
_NO_AREA = (
    "rectanglelabels",
    "ellipselabels",
    "keypointlabels",
    "rectangle",
    "ellipse",
    "keypoint",
    "vectorlabels",
)


def read(where: Path, options: ReadOptions) -> Source:
    """An export of tasks, or the folder that holds its one JSON file."""
    path = _tasks_file(where)
    tasks = read_document(path)
    if not isinstance(tasks, list):
        raise DatasetError(f"{path} holds no list of tasks; export them from Label Studio as JSON.")
    pictures: list[LabelledPicture] = []
    forgotten: list[str] = []
    names: set[str] = set()
    for number, task in enumerate(tasks, start=1):
        place = f"Task {task.get('id', number) if isinstance(task, dict) else number} of {path}"
        name = _picture_name(task, place)
        results = _results(task, place)
        if results is None:
            forgotten.append(name)
            continue
        names |= {label for result in results for label in _labels(result)}
        pictures.append(LabelledPicture(name, partial(_regions, results), _said(results, place)))
    pictures += unlabelled(forgotten, options, "Label Studio")
    roots = [options.images] if options.images else [path.parent]
    if (path.parent / INTERFACE).is_file():
        return Source(where, pictures, _declared(path.parent / INTERFACE), roots)
    return Source(where, pictures, alphabetical(names), roots, invented=ALPHABETICAL)


def write(ours: OurSet, out: Path, *, polygons: bool) -> None:
    """images/, tasks.json to be imported, and labeling.xml, the interface that its labels need.

    The tasks refer to the pictures as local files: make `out` Label Studio's folder of local files.
    """
    (out / "images").mkdir()
    tasks = []
    ignored = False
    for index, frame in enumerate(ours.frames(), start=1):
        shutil.copyfile(frame.picture, out / "images" / frame.picture.name)
        ignored |= any(region.name == IGNORE_NAME for region in frame.regions)
        tasks.append(
            {
                "id": index,
                "data": {"image": f"/data/local-files/?d=images/{frame.picture.name}"},
                "annotations": [{"result": _written(frame, polygons)}],
            }
        )
    (out / TASKS).write_text(json.dumps(tasks), encoding="utf-8")
    tag = "PolygonLabels" if polygons else "BrushLabels"
    labels = "\n".join(
        [f'    <Label value={quoteattr(name)} category="{i}"/>' for i, name in ours.known.names.items()]
        + ([f'    <Label value="{IGNORE_NAME}"/>'] if ignored else [])
    )
    (out / INTERFACE).write_text(
        f'<View>\n  <Image name="image" value="$image" zoom="true"/>\n  <{tag} name="label" toName="image">\n'
        f"{labels}\n  </{tag}>\n</View>\n",
        encoding="utf-8",
    )


def _written(frame: Frame, polygons: bool) -> list[dict[str, Any]]:
    height, width = frame.size
    kind = "polygonlabels" if polygons else "brushlabels"
    results: list[dict[str, Any]] = []
    for region in frame.regions:
        value: dict[str, Any]
        if polygons:
            corners = one_outline(region.pixels, region.top, region.left)
            value = {"points": [[100 * x / width, 100 * y / height] for x, y in corners], "closed": True}
        else:
            value = {"format": "rle", "rle": brush_stroke(region.full(frame.size))}
        results.append(
            {
                "id": f"r{len(results) + 1}",
                "type": kind,
                "from_name": "label",
                "to_name": "image",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {**value, kind: [region.name]},
            }
        )
    return results


def _declared(path: Path) -> dict[int, str]:
    """Class id -> name of a labelling interface: its categories where every label has one, else its order."""
    try:
        root = parse(path, forbid_dtd=True).getroot()
    except (ET.ParseError, DefusedXmlException, ValueError, OSError) as error:
        raise DatasetError(
            f"{path} is not XML that can be read ({error}); repair it, or delete it."
        ) from error
    labels = [label for label in root.iter("Label") if label.get("value", "") not in ("", *IGNORE_NAMES)]
    names = list(dict.fromkeys(str(label.get("value")) for label in labels))
    numbers = [label.get("category", "") for label in labels]
    if len(names) == len(set(numbers)) == len(labels) and all(
        number.isdecimal() and 1 <= int(number) < IGNORE for number in numbers
    ):
        return dict(sorted(zip(map(int, numbers), names, strict=True)))
    return dict(enumerate(names, start=1))


def _tasks_file(where: Path) -> Path:
    if where.is_file():
        return where
    found = [path for path in sorted(where.glob("*.json")) if path.name != SIDECAR] if where.is_dir() else []
    if len(found) != 1:
        raise UsageError(f"{where} holds {len(found)} JSON files; name the one that Label Studio exported.")
    return found[0]


def _picture_name(task: Any, place: str) -> str:
    data = item(task, "data", dict, place)
    if isinstance(data.get("image"), str):
        return str(data["image"])
    texts = [value for value in data.values() if isinstance(value, str) and "." in value]
    if len(texts) != 1:
        raise DatasetError(f"{place} does not say which picture it is; give data an `image`.")
    return texts[0]


def _results(task: Any, place: str) -> list[Any] | None:
    """The one annotation's results; None for a task that nobody has labelled."""
    if "annotations" not in task and "completions" not in task:
        raise DatasetError(f"{place} has no annotations; export as JSON, not as JSON-MIN.")
    given = item(task, "annotations" if "annotations" in task else "completions", list, place)
    done = [one for one in given if isinstance(one, dict) and not one.get("was_cancelled")]
    true = [one for one in done if one.get("ground_truth")]
    if len(true) == 1:
        done = true
    if len(done) > 1:
        raise DatasetError(
            f"{place} has {len(done)} annotations; mark the one that counts as ground truth, or delete the"
            " others."
        )
    return item(done[0], "result", list, place) if done else None


def _said(results: list[Any], place: str) -> Size | None:
    """The size on which the regions of a task were drawn."""
    sizes = {
        size_of(result.get("original_height"), result.get("original_width"), place)
        for result in results
        if isinstance(result, dict) and "original_width" in result
    }
    if len(sizes) > 1:
        raise DatasetError(f"{place} has regions of pictures of two sizes; export it again.")
    return sizes.pop() if sizes else None


def _labels(result: Any) -> list[str]:
    value, kind = (result.get("value"), result.get("type")) if isinstance(result, dict) else (None, None)
    listed = value.get(kind) if isinstance(value, dict) and isinstance(kind, str) else None
    return [label for label in listed if isinstance(label, str)] if isinstance(listed, list) else []


def _regions(results: list[Any], size: Size) -> list[Region]:
    found = []
    for result in results:
        kind = item(result, "type", str, "A region")
        if kind in _WITHOUT_PIXELS:
            continue
        if kind in _NO_AREA:
            raise DatasetError(
                f"There is a region of kind {kind}, which is no mask; draw it with brush or polygon, or"
                " delete it."
            )
        labels = _labels(result)
        if len(labels) != 1:
            raise DatasetError(f"A region of kind {kind} has {len(labels)} labels; give it one.")
        if result.get("image_rotation"):
            raise DatasetError("A picture was turned in Label Studio; turn it back and label again.")
        if region := cropped(labels[0], _plane(kind, item(result, "value", dict, "A region"), size)):
            found.append(region)
    return found


def _plane(kind: str, value: dict[str, Any], size: Size) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if kind == "brushlabels":
        if value.get("format") != "rle":
            raise DatasetError(
                f"A brush stroke has the format {value.get('format')!r}; export the tasks as JSON."
            )
        return brush_pixels(item(value, "rle", list, "A brush stroke"), size)
    if kind != "polygonlabels":
        raise DatasetError(
            f"There is a region of kind {kind!r}; draw it with brush or polygon, or delete it."
        )
    percent = [corner(pair, "A polygon") for pair in item(value, "points", list, "A polygon")]
    points = [(x * size[1] / 100, y * size[0] / 100) for x, y in percent]
    return filled([points], size)
