"""The `sim:` camera: a live line in real time, with faults on demand and a log of its own."""

from __future__ import annotations

import json
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

from inspector.camera.belt import Belt
from inspector.camera.capture import grab_of
from inspector.camera.files import ImageFolder, VideoFile
from inspector.camera.simspec import SimFault, SimSpec
from inspector.errors import CameraError, CameraStalled, UsageError
from inspector.types import Fault, Grab, Reason


class Simulator:
    """A live camera of known truth: frame k appears (k - 1) / fps after the first read.

    A frame that nobody reads before the next one is due is lost, and the next grab says so.
    The log gets one JSON line a frame (`seq`, `event` emitted or lost, `fault`, `crc32` of the
    pixels, `utc_ns`), written and flushed before the frame is handed over, so that it can
    contradict the ledger: after a kill it has at most one frame more than were numbered.
    Opening again goes on where the line is by then, as with a real camera.
    """

    live = True

    def __init__(self, spec: SimSpec, camera_id: str, read_timeout_s: float = 2.0) -> None:
        self.spec = spec
        self.camera_id = camera_id
        self.total = spec.frames
        self.size: tuple[int, int] | None = None if spec.path else spec.size
        self._read_timeout_s = read_timeout_s
        self._source: VideoFile | ImageFolder | None = None
        self._belt: Belt | None = None
        self._log: IO[str] | None = None
        self._seq = 0
        self._lost = 0
        self._epoch: float | None = None
        self._freezes = any(one.kind == "frozen" for one in spec.faults)
        self._before: Grab | None = None
        """The last picture without a fault, kept only where a later frame is to repeat it."""
        self._happened: set[SimFault] = set()
        self._gone_until = 0.0

    def open(self) -> None:
        """Draw the belt or open the path that is replayed."""
        if time.monotonic() < self._gone_until:
            raise CameraError(f"{self.camera_id} is not there; plug it in (simulated).")
        if self.spec.path is None:
            self._belt = self._belt or Belt(self.spec.size, self.spec.seed)
        elif self._source is None:
            self._source = self._open_path(self.spec.path)
        if self.spec.log is not None and self._log is None:
            try:
                self.spec.log.parent.mkdir(parents=True, exist_ok=True)
                self._log = self.spec.log.open("a", encoding="utf-8")
            except OSError as error:
                raise UsageError(
                    f"The simulator's log {self.spec.log} cannot be written ({error.strerror})."
                ) from error

    def read(self) -> Grab | None:
        """The next frame when it is due; frames that were due before it are counted as lost.

        After the read timeout one comes however late it is: a video may play slower than it should.
        """
        if self._epoch is None:
            self._epoch = time.monotonic()
        until = time.monotonic() + self._read_timeout_s
        while self.spec.frames is None or self._seq < self.spec.frames:
            number = self._seq + 1
            fault = self.spec.fault_at(number)
            if fault is not None:
                self._interrupt(fault)
            self._wait(number)
            now = time.monotonic()
            overdue = number != self.spec.frames and self._due(number + 1) < now < until
            # Not drawn when it is lost, or a machine slower than the belt would never catch up with it.
            drawn = self._belt is None or not overdue
            grab = self._make(number) if drawn else grab_of(None, f"sim#{number}")
            if grab is None:
                return None
            self._seq = number
            if not overdue and (fault is None or fault.kind != "lost"):
                return self._hand_over(number, fault, grab)
            self._lost += 1
            self._note(number, "lost", fault, grab)
        return None

    def close(self) -> None:
        """Let go of the log; the line itself moves on."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def _wait(self, number: int) -> None:
        """Sleep until the frame is due, at most for the read timeout."""
        wait = self._due(number) - time.monotonic()
        if wait > self._read_timeout_s:
            time.sleep(self._read_timeout_s)
            raise CameraStalled(
                f"{self.camera_id} gave no frame for {self._read_timeout_s:g} s; check its cable."
            )
        time.sleep(max(0.0, wait))

    def _hand_over(self, number: int, fault: SimFault | None, grab: Grab) -> Grab:
        handed = self._spoil(grab, fault)
        self._note(number, "emitted", fault, handed)
        self._lost = 0
        if self._freezes and (fault is None or self._before is None):
            self._before = grab
        return handed

    def _due(self, number: int) -> float:
        return (self._epoch or 0.0) + (number - 1) / self.spec.fps

    def _open_path(self, path: Path) -> VideoFile | ImageFolder:
        if not path.exists():
            raise UsageError(f"{path} (in {self.camera_id}) is not there; check the path.")
        source = ImageFolder(path, path.name) if path.is_dir() else VideoFile(path, path.name)
        source.open()
        if self.total is None and not self.spec.loop:
            self.total = source.total
        self.size = source.size
        return source

    def _make(self, number: int) -> Grab | None:
        """The picture of that number before anything goes wrong, or None at the end of the path."""
        if self._belt is not None:
            return grab_of(self._belt.picture(number), f"sim#{number}")
        if self._source is None:
            raise CameraError(f"{self.camera_id} is not open; open it before reading.")
        grab = self._source.read()
        if grab is None and self.spec.loop:
            self._source.open()
            grab = self._source.read()
        return grab

    def _interrupt(self, fault: SimFault) -> None:
        """A stall or a death, once each; the belt stands still while nothing comes."""
        if fault.kind not in ("stall", "dead") or fault in self._happened:
            return
        self._happened.add(fault)
        self._epoch = (self._epoch or 0.0) + fault.seconds
        if fault.kind == "dead":
            self._gone_until = time.monotonic() + fault.seconds
            raise CameraError(f"{self.camera_id} was lost; plug it in (simulated).")

    def _spoil(self, grab: Grab, fault: SimFault | None) -> Grab:
        """The grab as it arrives: stamped now, and with this frame's fault applied."""
        image, reason = grab.image, grab.fault
        kind = fault.kind if fault else ""
        if kind == "broken":
            image, reason = None, Reason(Fault.CAMERA, f"{self.camera_id} marked this frame as broken.")
        elif kind == "frozen" and self._before is not None:
            image, reason = self._before.image, self._before.fault
        elif image is not None and kind == "black":
            image = np.zeros_like(image)
        elif image is not None and kind == "size":
            image = np.ascontiguousarray(image[: max(1, image.shape[0] // 2), : max(1, image.shape[1] // 2)])
        return replace(grab_of(image, grab.source, reason), lost_before=self._lost)

    def _note(self, number: int, event: str, fault: SimFault | None, grab: Grab) -> None:
        if self._log is None:
            return
        pixels = grab.image if event == "emitted" else None
        line = {
            "seq": number,
            "event": event,
            "fault": fault.kind if fault else None,
            "source": grab.source,
            "crc32": None if pixels is None else zlib.crc32(np.ascontiguousarray(pixels).data),
            "utc_ns": grab.utc_ns,
        }
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()
