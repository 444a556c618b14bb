"""What the station asks of a camera."""

from __future__ import annotations

from typing import Protocol

from inspector.types import Grab


class Camera(Protocol):
    """A source of grabs, used by one thread."""

    camera_id: str
    """Stable name in the ledger, such as `0`, `/dev/video0`, `line.mp4` or `sim:`."""
    live: bool
    """True: frames come whether read or not, and an unread one is lost. False: the source waits."""
    total: int | None
    """How many frames there will be, where that is known."""
    size: tuple[int, int] | None
    """(height, width) in pixels, where the source says so after `open` and before any read."""

    def open(self) -> None:
        """Get ready to read. Raises CameraError naming the source and the remedy."""

    def read(self) -> Grab | None:
        """The next grab, or None at the end of the source.

        A frame that exists but cannot be decoded is a Grab with a fault, not an error.
        Raises CameraStalled when no frame came within the camera's time limit, CameraError
        when the camera was lost and has to be opened again.
        """

    def close(self) -> None:
        """Release the source. May be called twice, and after a failed open."""
