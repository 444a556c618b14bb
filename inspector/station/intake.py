"""From a grab to a numbered Frame, with everything that can be wrong with it before the engine.

Every frame is looked at here, and a frame of 12 megapixels has a few milliseconds for it: pictures
are read in stripes of every 16th row, and of one that shows something the first stripe tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.counting import counted
from inspector.errors import ShapeMismatch
from inspector.inputs import to_input
from inspector.types import Fault, Frame, Grab, Image, Reason

if TYPE_CHECKING:
    from inspector.config import CameraConfig

FEW = 10_000
"""One pixel in so many may differ from all others and a picture still shows nothing: sensors have hot
and dead pixels, and a single one of them must not make a covered lens a good part."""
UNWATCHED = "camera.frozen_frames = 0, so a camera that repeats one picture for ever would not be seen"
UNWATCHED_REMEDY = "set it to 5, unless a still scene may look exactly the same"
_STRIPES = 16


class Counter(Protocol):
    """What gives out frame numbers; a FrameCounter on the line."""

    def next(self) -> int: ...


class Intake:
    """Numbers every grab, holds it against the run's first picture and applies the input policy.

    A picture of another size, depth or colour than the first one is a `format` fault, a dark one
    `black`, one of the same value all over no picture and so `camera`, a live camera's repeated one
    `frozen`. Nothing raises: a fault is said in the Frame. Used by one thread.
    """

    def __init__(
        self, counter: Counter, camera_id: str, config: CameraConfig, *, channels: int, live: bool
    ) -> None:
        """channels: what the package takes, 1 or 3."""
        self._counter, self._camera_id, self._config = counter, camera_id, config
        self._channels = channels
        self._frozen_from = config.frozen_frames if live else 0
        self._format: tuple[tuple[int, ...], np.dtype[Any]] | None = None
        self._last: NDArray[Any] | None = None
        self._same = 0

    def frame(self, grab: Grab) -> Frame:
        """The numbered frame of this grab; the number is safe before anything else is done."""
        number = self._counter.next()
        fault, image = grab.fault, None
        if grab.image is not None:
            image, found = self._picture(grab.image)
            fault = fault or found
        elif fault is None:
            fault = Reason(Fault.CAMERA, f"{self._camera_id} returned a frame without a picture.")
        return Frame(number, image, grab.utc_ns, grab.mono_ns, self._camera_id, grab.source, fault=fault)

    def _picture(self, raw: NDArray[Any]) -> tuple[Image | None, Reason | None]:
        """The picture as the network takes it, and the first thing that is wrong with it."""
        if raw.size == 0:
            return None, Reason(Fault.FORMAT, "The picture has no pixels.")
        try:
            image = to_input(raw, self._channels, self._config.shift_16bit)
        except ShapeMismatch as error:
            return None, Reason(Fault.FORMAT, str(error))
        found = (raw.shape, raw.dtype)
        if self._format is None:
            self._format = found
        if found != self._format:
            words = f"The picture is {_described(*found)}; the run began with {_described(*self._format)}."
            return image, Reason(Fault.FORMAT, words)
        frozen = self._frozen(raw)  # counts each picture, whatever else is wrong with it
        return image, nothing_shown(image, self._config.black_level) or frozen

    def _frozen(self, raw: NDArray[Any]) -> Reason | None:
        """A fault from the `frozen_frames`-th equal picture in a row on."""
        if self._frozen_from <= 0:
            return None
        before, self._last = self._last, raw
        self._same = self._same + 1 if before is not None and _equal(before, raw) else 0
        if self._same + 1 < max(2, self._frozen_from):
            return None
        words = f"The camera sent the same picture {self._same + 1} times; restart it, or raise"
        return Reason(Fault.FROZEN, f"{words} camera.frozen_frames if a still scene may look exactly so.")


def unwatched(config: CameraConfig, *, live: bool) -> str | None:
    """What this config keeps the line from seeing of its camera, with the remedy; None: nothing."""
    return f"{UNWATCHED}; {UNWATCHED_REMEDY}." if live and not config.frozen_frames else None


def nothing_shown(image: Image, black_level: int) -> Reason | None:
    """Why this picture shows nothing: it is dark, or has one value all over; None: it shows something."""
    return _black(image, black_level) or _blank(image)


def _black(image: Image, level: int) -> Reason | None:
    planes = image.shape[2] if image.ndim == 3 else 1
    brighter = _few_outside(image, (0,) * planes, (level,) * planes)
    if brighter is None:
        return None
    pixels = counted(image.shape[0] * image.shape[1], "pixel")
    words = f"The picture is dark: {brighter or 'none'} of {pixels} brighter than {level}"
    return Reason(Fault.BLACK, f"{words} (camera.black_level); check light and lens.")


def _blank(image: Image) -> Reason | None:
    """A fault of a picture that has one value all over: light stuck full on, or a dead sensor."""
    step_y, step_x = (max(1, side // _STRIPES) for side in image.shape[:2])
    usual = np.median(image[::step_y, ::step_x], axis=(0, 1)).astype(int)
    value = tuple(int(one) for one in np.atleast_1d(usual))
    if _few_outside(image, value, value) is None:
        return None
    shown = ", ".join(str(one) for one in (value if len(set(value)) > 1 else value[:1]))
    words = f"The picture shows nothing, it is {shown} all over; check light, exposure and camera."
    return Reason(Fault.CAMERA, words)


def _few_outside(image: Image, low: tuple[int, ...], high: tuple[int, ...]) -> int | None:
    """How many pixels are outside low ... high in any channel; None where that is more than 1 in FEW."""
    most, found = image.shape[0] * image.shape[1] // FEW, 0
    for first in range(min(_STRIPES, len(image))):
        inside = cv2.inRange(image[first::_STRIPES], low, high)
        found += inside.size - cv2.countNonZero(inside)
        if found > most:
            return None
    return found


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.shape == other.shape and all(
        np.array_equal(one[first::_STRIPES], other[first::_STRIPES]) for first in range(_STRIPES)
    )


def _described(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    colour = {1: "gray", 3: "colour", 4: "colour with alpha"}[shape[2] if len(shape) == 3 else 1]
    return f"{shape[0]}x{shape[1]} {colour} {dtype.itemsize * 8}-bit"
