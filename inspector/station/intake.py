"""From a grab to a numbered Frame, with everything that can be wrong with it before the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inspector.errors import ShapeMismatch
from inspector.inputs import to_input
from inspector.types import Fault, Frame, Grab, Image, Reason

if TYPE_CHECKING:
    from inspector.config import CameraConfig


class Counter(Protocol):
    """What gives out frame numbers; a FrameCounter on the line."""

    def next(self) -> int: ...


class Intake:
    """Numbers every grab, holds it against the run's first picture and applies the input policy.

    A picture of another size, depth or colour than the first one is a `format` fault, one with
    nothing in it `black`, a live camera's repeated one `frozen`. Nothing raises: a fault is
    said in the Frame. Used by one thread.
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
        return image, self._frozen(raw) or self._black(image)

    def _black(self, image: Image) -> Reason | None:
        brightest, level = int(image.max()), self._config.black_level
        if brightest > level:
            return None
        return Reason(
            Fault.BLACK, f"The brightest pixel is {brightest} (black up to {level}); check the light."
        )

    def _frozen(self, raw: NDArray[Any]) -> Reason | None:
        """A fault from the `frozen_frames`-th equal picture in a row on."""
        if self._frozen_from <= 0:
            return None
        before, self._last = self._last, raw
        self._same = self._same + 1 if before is not None and np.array_equal(before, raw) else 0
        if self._same + 1 < max(2, self._frozen_from):
            return None
        return Reason(Fault.FROZEN, f"The camera sent the same picture {self._same + 1} times; restart it.")


def _described(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    colour = {1: "gray", 3: "colour", 4: "colour with alpha"}[shape[2] if len(shape) == 3 else 1]
    return f"{shape[0]}x{shape[1]} {colour} {dtype.itemsize * 8}-bit"
