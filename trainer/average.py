"""Probabilities averaged over several views of a frame, to compare with papers. The line never does this.

A network that saw every orientation in training still answers a little differently to each. The mean
is better and costs as many passes as there are views.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.types import Image, ProbMap

Average: TypeAlias = Literal["rotations", "flips"]
ROTATIONS = 7
"""As Ronneberger, Fischer, Brox 2015, table 1; evenly over the circle, the unturned frame among them."""
Segmenting: TypeAlias = Callable[[Image], ProbMap]


def averaged(segmenter: Segmenting, how: Average) -> Segmenting:
    """A segmenter that gives the mean over 7 rotations, or over the 4 flips, of each frame."""
    views = _rotated if how == "rotations" else _flipped

    def mean(image: Image) -> ProbMap:
        total, count = np.zeros(()), 0
        for probs in views(image, segmenter):
            total, count = total + probs, count + 1
        return np.asarray(np.rint(total / count), np.uint8)

    return mean


def _flipped(image: Image, segmenter: Segmenting) -> Iterator[NDArray[np.float32]]:
    for axes in ((), (0,), (1,), (0, 1)):
        probs = segmenter(np.ascontiguousarray(np.flip(image, axes)))
        yield np.flip(probs, axes).astype(np.float32)


def _rotated(image: Image, segmenter: Segmenting) -> Iterator[NDArray[np.float32]]:
    """The frame is turned on its mirrored plane into a canvas that holds it all, and the answer back."""
    yield segmenter(image).astype(np.float32)
    for turn in range(1, ROTATIONS):
        there, canvas = _turn(image.shape[0], image.shape[1], 360 * turn / ROTATIONS)
        turned = cv2.warpAffine(
            image, there, canvas, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        probs = segmenter(np.asarray(turned, np.uint8)).astype(np.float32)
        frame = image.shape[1], image.shape[0]
        inverse = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        # Class by class: OpenCV turns at most four planes at once.
        planes = [np.ascontiguousarray(plane) for plane in np.moveaxis(probs, 2, 0)]
        back = [cv2.warpAffine(plane, there, frame, flags=inverse) for plane in planes]
        yield np.stack(back, axis=2).astype(np.float32)


def _turn(height: int, width: int, degrees: float) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """(2x3 map about the frame's centre into the canvas, canvas as OpenCV's (width, height))."""
    cos, sin = abs(np.cos(np.radians(degrees))), abs(np.sin(np.radians(degrees)))
    canvas = int(np.ceil(width * cos + height * sin)) + 2, int(np.ceil(width * sin + height * cos)) + 2
    turn = np.array(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0), np.float64)
    turn[:, 2] += np.array([canvas[0] - width, canvas[1] - height]) / 2
    return turn, canvas
