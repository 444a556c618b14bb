"""A camera on this machine, by index or by device path, through OpenCV."""

from __future__ import annotations

import math
import os

import cv2

from inspector.camera.capture import grab_of, open_capture, picture_of, size_of
from inspector.errors import CameraError
from inspector.types import Grab


class DeviceCamera:
    """A live camera that the operating system lists; each read blocks until its next frame.

    source: an index such as 0, or a path such as /dev/video0.
    """

    live = True
    total: int | None = None

    def __init__(self, source: int | str, camera_id: str, read_timeout_s: float = 2.0) -> None:
        self.source = source
        self.camera_id = camera_id
        self.size: tuple[int, int] | None = None
        self._read_timeout_s = read_timeout_s
        self._capture: cv2.VideoCapture | None = None
        self._read = 0

    def open(self) -> None:
        """Open the device; streaming starts with the first read, so no frame grows old before it."""
        self.close()
        # V4L2 waits 10 s for a frame unless told otherwise, in whole seconds.
        os.environ.setdefault(
            "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(max(1, math.ceil(self._read_timeout_s)))
        )
        refusal = (
            f"Camera {self.source} does not open; check that it is plugged in, that no other program"
            " uses it, and that you may read it (group `video`)."
        )
        backend = () if isinstance(self.source, int) else (cv2.CAP_V4L2,)
        self._capture = open_capture(refusal, self.source, *backend)
        self.size = size_of(self._capture)

    def read(self) -> Grab | None:
        """The next frame. Raises CameraError when the device gave none: it has to be opened again."""
        if self._capture is None:
            raise CameraError(f"Camera {self.source} is not open; open it before reading.")
        image = picture_of(self._capture)
        if image is None:
            raise CameraError(f"Camera {self.source} gave no frame; check its cable and its power.")
        self._read += 1
        return grab_of(image, f"{self.camera_id}#{self._read}")

    def close(self) -> None:
        """Release the device."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
