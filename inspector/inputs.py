"""The input policy: one function that makes a network input of any picture, for trainer and line.

8-bit gray or BGR as the package says; RGBA drops alpha; 16-bit by a fixed shift, never
stretched for each frame; EXIF rotation ignored, so that masks fit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import DatasetError, ShapeMismatch
from inspector.types import Image

_AT_ONCE = 1 << 20
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})


def decode_image(data: bytes, name: str) -> NDArray[Any]:
    """The picture as stored: gray (H, W), BGR (H, W, 3) or BGRA (H, W, 4), uint8 or uint16.

    Raises DatasetError naming the file when the bytes are no picture that OpenCV reads whole.
    """
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:
        decoded = None
    if decoded is None:
        raise DatasetError(f"{name} is not an image that can be read; replace it or take it out.")
    return np.asarray(decoded)


def read_image(path: Path) -> NDArray[Any]:
    """decode_image of a file. Raises DatasetError when it is missing or no picture."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    return decode_image(data, str(path))


def to_input(image: NDArray[Any], channels: int, shift_16bit: int = 8) -> Image:
    """The picture as the network takes it: uint8, (H, W) for one channel, (H, W, 3) BGR for three.

    shift_16bit: how many low bits a 16-bit picture drops; values above 255 after it saturate.
    Raises ShapeMismatch for a dtype or channel count that no rule covers.
    """
    if image.dtype == np.uint16:
        image = _without_low_bits(image, shift_16bit)
    planes = image.shape[2] if image.ndim == 3 else 1
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or planes not in (1, 3, 4):
        raise ShapeMismatch(
            f"A picture of shape {image.shape} and type {image.dtype} is not gray, BGR or BGRA"
            " of 8 or 16 bits; convert it first."
        )
    if image.ndim == 3 and planes == 1:
        image = image[:, :, 0]
    if planes == 4:
        image = image[:, :, :3]
    if channels == 1 and image.ndim == 3:
        image = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2GRAY)
    elif channels == 3 and image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return np.ascontiguousarray(image)


def _without_low_bits(image: NDArray[np.uint16], bits: int) -> NDArray[np.uint8]:
    """The upper bits, saturated; a few rows at a time, since pictures may be large."""
    upper = np.empty(image.shape, np.uint8)
    step = max(1, _AT_ONCE // max(1, image[:1].size))
    for top in range(0, len(image), step):
        upper[top : top + step] = np.minimum(image[top : top + step] >> bits, 255)
    return upper
