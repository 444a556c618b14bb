"""What was kept of one frame, made ready for the screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from inspector.dashboard.snapshot import Judged
from inspector.errors import InspectionError
from inspector.inputs import read_image, to_input
from inspector.live import Mark, Picture, shrink
from inspector.types import Image, Mask

MAX_SIDE = 960
MOST_LINES = 6


@dataclass(frozen=True, slots=True)
class Evidence:
    """One kept frame, or the sentence why there is no picture of it."""

    number: int
    picture: Picture | None
    words: str
    details: str
    """The defects, largest first, one a line."""


class EvidenceReader(Protocol):
    """Reads from disk; slow, so it is called in a worker thread. Never raises."""

    def read(self, judged: Judged) -> Evidence: ...


@dataclass(frozen=True, slots=True)
class KeptDefect:
    """A defect's row as the screen needs it."""

    mark: Mark
    words: str


def evidence_of(
    judged: Judged, image: Path | None, mask: Path | None, defects: Sequence[KeptDefect]
) -> Evidence:
    """The picture with its defects. image, mask: files that may be missing; then words say so."""
    details = "\n".join(defect.words for defect in defects[:MOST_LINES])
    if len(defects) > MOST_LINES:
        details += f"\nand {len(defects) - MOST_LINES} more"
    if image is None:
        return Evidence(judged.number, None, "The picture of this frame was not kept.", details)
    try:
        pixels = _as_picture(image)
        labels = None if mask is None else _as_mask(mask)
    except InspectionError as error:
        return Evidence(judged.number, None, str(error), details)
    if labels is not None and labels.shape != pixels.shape[:2]:
        labels = None
    frame = (int(pixels.shape[0]), int(pixels.shape[1]))
    small, small_mask, scale = shrink(pixels, labels, MAX_SIDE)
    marks = tuple(defect.mark for defect in defects)
    reasons = (judged.why,) if judged.why else ()
    picture = Picture(
        judged.number, judged.word, reasons, judged.utc_ns, frame, scale, small, small_mask, marks
    )
    return Evidence(judged.number, picture, "", details)


def _as_picture(path: Path) -> Image:
    image = read_image(path)
    return to_input(image, 1 if image.ndim == 2 else 3)


def _as_mask(path: Path) -> Mask:
    mask = read_image(path)
    return np.asarray(mask if mask.ndim == 2 else cv2.extractChannel(mask, 0), np.uint8)
