"""Frames as a person should see them: the picture, and beside it what was found, missed and invented."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inspector.defects import match_defects
from inspector.types import Image, Mask
from trainer.metrics.frames import FrameResult
from trainer.metrics.segments import components
from trainer.report.style import FOUND, INVENTED, MISSED
from trainer.weights import IGNORE, instances_of, open_touching

LONGEST_PX = 1000
"""Longest side of a picture on the page."""
SMALL_PX = 400
"""Pictures up to this are shown with their pixels."""
MOST_BOXES = 60
"""More boxes of one kind would hide the picture; the colours alone say enough then."""
NEAR_PX = 3
"""How far the matching rule looks around a prediction."""
GAP_PX = 4
"""Between a defect and its box."""
_OPACITY = 0.55
Box: TypeAlias = tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class Overlay:
    """Two pictures as data URIs."""

    plain: str
    marked: str
    small: bool
    """So small that it must be enlarged without smoothing."""


def overlay(frame: FrameResult, classes: Sequence[str]) -> Overlay:
    """Read the frame's picture and truth again and draw its outcome."""
    image, truth, instances = frame.sample.read()
    predicted = frame.predicted
    valid = truth != IGNORE
    bgr = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
    drawn = np.asarray(bgr, np.float32)
    shown = truth
    if instances is not None:
        # Where instances touch, the ridge between them is what parts them: said to be damage, it is wrong.
        shown, _ = open_touching(truth, instances_of(truth, instances))
    true, said = (shown > 0) & valid, (predicted > 0) & valid
    right = true & (shown == predicted)
    for region, colour in ((said & ~right, INVENTED), (true & ~right, MISSED), (right, FOUND)):
        drawn[region] = (1 - _OPACITY) * drawn[region] + _OPACITY * _bgr(colour)
    marked = np.asarray(drawn, np.uint8)
    for boxes, colour in (
        (_false_alarms(truth, instances, predicted, classes), INVENTED),
        (_missed(truth, instances, predicted, classes), MISSED),
    ):
        for rows, columns in boxes if len(boxes) <= MOST_BOXES else ():
            first = columns.start - GAP_PX, rows.start - GAP_PX
            last = columns.stop + GAP_PX - 1, rows.stop + GAP_PX - 1
            thick = 2 if max(marked.shape) > SMALL_PX else 1
            cv2.rectangle(marked, first, last, _bgr(colour).tolist(), thick)
    return Overlay(_uri(np.asarray(bgr, np.uint8)), _uri(marked), max(marked.shape[:2]) <= SMALL_PX)


def _missed(
    truth: Mask, instances: NDArray[np.uint16] | None, predicted: Mask, classes: Sequence[str]
) -> list[Box]:
    """Boxes of true defects that the matching rule does not find, asked one by one."""
    ids = instances_of(truth, instances)
    boxes = []
    for number, box in enumerate(ndimage.find_objects(ids), start=1):
        if box is None:
            continue
        own = ids[box] == number
        alone = np.where(own, truth[box], 0).astype(np.uint8)
        counts = match_defects(alone, own.astype(np.int32), predicted[box], classes).values()
        if any(c.found < c.total for c in counts):
            boxes.append(box)
    return boxes


def _false_alarms(
    truth: Mask, instances: NDArray[np.uint16] | None, predicted: Mask, classes: Sequence[str]
) -> list[Box]:
    """Boxes of predicted defects that the matching rule calls false alarms, asked one by one."""
    boxes = []
    for class_id in range(1, len(classes) + 1):
        pieces = components(predicted == class_id, 8)
        for number, box in enumerate(ndimage.find_objects(pieces), start=1):
            rows, columns = (slice(max(0, s.start - NEAR_PX), s.stop + NEAR_PX) for s in box)
            near = rows, columns
            alone = np.where(pieces[near] == number, class_id, 0).astype(np.uint8)
            ids = None if instances is None else instances[near]
            if any(c.false_alarms for c in match_defects(truth[near], ids, alone, classes).values()):
                boxes.append(box)
    return boxes


def _bgr(colour: str) -> NDArray[np.float32]:
    return np.array([int(colour[n : n + 2], 16) for n in (5, 3, 1)], np.float32)


def _uri(picture: Image) -> str:
    """A JPEG within the text of the page."""
    scale = LONGEST_PX / max(picture.shape[:2])
    if scale < 1:
        picture = np.asarray(
            cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
    if max(picture.shape[:2]) <= SMALL_PX:
        return _encoded(picture, ".png", "image/png", [])
    return _encoded(picture, ".jpg", "image/jpeg", [cv2.IMWRITE_JPEG_QUALITY, 88])


def _encoded(picture: Image, suffix: str, kind: str, settings: list[int]) -> str:
    data = cv2.imencode(suffix, picture, settings)[1].tobytes()
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
