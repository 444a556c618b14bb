"""Cameras that wait: a video file and a folder of images, each frame read exactly once."""

from __future__ import annotations

import os
from pathlib import Path

import cv2

from inspector.camera.capture import grab_of, open_capture, picture_of, size_of
from inspector.errors import CameraError, DatasetError, UsageError
from inspector.inputs import IMAGE_SUFFIXES, read_image
from inspector.types import Fault, Grab, Reason


class VideoFile:
    """Every frame of a video file in order, none dropped, each named `line.mp4#12`.

    total is what the container promises; a damaged or truncated file ends before it, and the
    station records that. Raises CameraError on open when the file cannot be decoded at all.
    """

    live = False

    def __init__(self, path: Path, camera_id: str) -> None:
        self.path = path
        self.camera_id = camera_id
        self.total: int | None = None
        self.size: tuple[int, int] | None = None
        self._capture: cv2.VideoCapture | None = None
        self._read = 0

    def open(self) -> None:
        """Open at the first frame."""
        self.close()
        refusal = (
            f"{self.path} is not a video that can be decoded, or its end is cut off;"
            " play it elsewhere, or convert it again."
        )
        capture = open_capture(refusal, str(self.path), cv2.CAP_FFMPEG)
        self._capture, self._read = capture, 0
        frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.total = frames if frames > 0 else None
        self.size = size_of(capture)

    def read(self) -> Grab | None:
        """The next frame as BGR, or None after the last one that decodes."""
        if self._capture is None:
            raise CameraError(f"{self.path} is not open; open it before reading.")
        image = picture_of(self._capture)
        if image is None:
            return None
        self._read += 1
        return grab_of(image, f"{self.path.name}#{self._read}")

    def close(self) -> None:
        """Release the file."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


class ImageFolder:
    """Every visible file of a folder, sorted by name; one that is no image is a Grab with a fault.

    Pictures come as stored (gray, BGR, BGRA, 8 or 16 bits); the station applies the input
    policy, because it must notice a change of depth. Raises CameraError on open when the
    folder cannot be listed or holds no file.
    """

    live = False

    def __init__(self, path: Path, camera_id: str) -> None:
        self.path = path
        self.camera_id = camera_id
        self.total: int | None = None
        self.size: tuple[int, int] | None = None
        self._files: list[Path] = []
        self._at = 0

    def open(self) -> None:
        """List the folder; files that arrive later are not seen."""
        try:
            entries = sorted(self.path.iterdir(), key=lambda entry: entry.name)
        except OSError as error:
            raise CameraError(
                f"The folder {self.path} cannot be listed ({error.strerror}); give this user read access."
            ) from error
        self._files = [entry for entry in entries if entry.is_file() and not entry.name.startswith(".")]
        if (self.path / "images").is_dir() and not any(
            f.suffix.lower() in IMAGE_SUFFIXES for f in self._files
        ):
            raise UsageError(f"{self.path} is a dataset folder; its pictures are in {self.path / 'images'}.")
        if not self._files:
            raise CameraError(f"The folder {self.path} holds no files; put images into it.")
        self._at, self.total = 0, len(self._files)

    def read(self) -> Grab | None:
        """The next file, or None after the last."""
        if self._at >= len(self._files):
            return None
        file = self._files[self._at]
        self._at += 1
        name = _readable(file.name)
        try:
            return grab_of(read_image(file), name)
        except DatasetError as error:
            return grab_of(None, name, Reason(Fault.FORMAT, _readable(str(error))))

    def close(self) -> None:
        """Forget the listing."""
        self._files = []


def _readable(name: str) -> str:
    """A file's name as text: bytes that are no UTF-8, as older systems left them, as `\\xe4`.

    No ledger and no output takes such bytes, and a frame must not lack its row for its name.
    """
    return os.fsencode(name).decode(errors="backslashreplace")
