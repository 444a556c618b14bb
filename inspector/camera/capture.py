"""OpenCV's VideoCapture as every camera uses it: opened or refused, its size, reads that do not raise."""

from __future__ import annotations

import time
from typing import Any

import cv2
from numpy.typing import NDArray

from inspector.errors import CameraError
from inspector.types import Grab, Reason


def open_capture(refusal: str, *arguments: Any) -> cv2.VideoCapture:
    """VideoCapture(*arguments), open. Raises CameraError(refusal) however OpenCV says that it is not."""
    try:
        capture = cv2.VideoCapture(*arguments)
    except cv2.error as error:
        raise CameraError(refusal) from error
    if not capture.isOpened():
        capture.release()
        raise CameraError(refusal)
    return capture


def size_of(capture: cv2.VideoCapture) -> tuple[int, int] | None:
    """(height, width) that the source announces, None where it does not."""
    height, width = capture.get(cv2.CAP_PROP_FRAME_HEIGHT), capture.get(cv2.CAP_PROP_FRAME_WIDTH)
    return (int(height), int(width)) if height > 0 and width > 0 else None


def picture_of(capture: cv2.VideoCapture) -> NDArray[Any] | None:
    """The next picture; None when there is none, for an error inside OpenCV as well."""
    try:
        ok, image = capture.read()
    except cv2.error:
        return None
    return image if ok else None


def grab_of(
    image: NDArray[Any] | None, source: str, fault: Reason | None = None, lost_before: int = 0
) -> Grab:
    """A Grab stamped with both clocks now; the image as the source gave it, whatever its depth."""
    return Grab(image, time.time_ns(), time.monotonic_ns(), source, lost_before, fault)
