"""A camera on the network: RTSP, or MJPEG over HTTP, through OpenCV's FFmpeg."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

from inspector.camera.capture import grab_of, open_capture, picture_of, size_of
from inspector.errors import CameraError
from inspector.types import Grab

VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
FFMPEG_OPTIONS = "rtsp_transport;tcp|fflags;nobuffer"
"""Given options replace OpenCV's own, so TCP is named again; without `nobuffer` frames start a second old."""
_OPEN_TIMEOUT_MS = 2000
_UNREAD_S = 1.0
_SECRET = re.compile(r"(?<=://)[^/?#]+@")  # up to the last @: a password may hold one


def without_secret(url: str) -> str:
    """The URL without user and password, as it may be shown, logged and stored."""
    return _SECRET.sub("", url)


@contextmanager
def _stream_options() -> Iterator[None]:
    """FFmpeg's options for a stream, unless the user set some; FFmpeg reads them when it opens.

    They are taken back, since a video file opened with `nobuffer` loses its first frame.
    """
    if VARIABLE in os.environ:
        yield
        return
    os.environ[VARIABLE] = FFMPEG_OPTIONS
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)


class StreamCamera:
    """A live stream; whoever reads must read all the time, or the frames grow old in FFmpeg's buffer.

    What grew old there is dropped, not taken for new: after a pause (the engine is compiled, the
    disk hangs) the next read connects again. After a timeout FFmpeg never delivers again, even when
    the server is back, so every failed read releases the capture and has to be answered by opening
    again.
    """

    live = True
    total: int | None = None

    def __init__(self, url: str, camera_id: str, read_timeout_s: float = 2.0) -> None:
        self.url = url
        self.camera_id = camera_id
        self.size: tuple[int, int] | None = None
        self._read_timeout_ms = max(1, round(read_timeout_s * 1000))
        self._capture: cv2.VideoCapture | None = None
        self._read = 0
        self._read_at = 0.0

    def open(self) -> None:
        """Connect within 2 s, or raise CameraError naming the URL without its password."""
        self.close()
        timeouts = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_MS,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC, self._read_timeout_ms,
        ]  # fmt: skip
        refusal = (
            f"The stream {without_secret(self.url)} does not open; check the address, the password,"
            " and that the camera is on."
        )
        with _stream_options():
            self._capture = open_capture(refusal, self.url, cv2.CAP_FFMPEG, timeouts)
        self._read_at = time.monotonic()
        self.size = size_of(self._capture)

    def read(self) -> Grab | None:
        """The next frame; after a pause of a second the first one of a new connection.

        Raises CameraError, never CameraStalled, when the time limit passed in silence or the
        server ended the connection: reading again would not help, it has to be opened again.
        """
        if self._capture is not None and time.monotonic() - self._read_at > _UNREAD_S:
            self.open()
        if self._capture is None:
            raise CameraError(
                f"The stream {without_secret(self.url)} is not connected; open it before reading."
            )
        began = time.monotonic()
        image = picture_of(self._capture)
        self._read_at = time.monotonic()
        if image is not None:
            self._read += 1
            return grab_of(image, f"{self.camera_id}#{self._read}")
        self.close()
        waited = self._read_at - began
        if waited * 1000 >= self._read_timeout_ms * 0.9:
            raise CameraError(f"The stream {without_secret(self.url)} gave no frame for {waited:.1f} s.")
        raise CameraError(f"The stream {without_secret(self.url)} was ended by its server.")

    def close(self) -> None:
        """Release the connection."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
