"""The grab stage: reads the camera all the time, numbers what it returns, reopens it when it is lost."""

from __future__ import annotations

import time
from collections import deque

from inspector.camera.protocol import Camera
from inspector.counting import counted
from inspector.errors import CameraError, CameraStalled
from inspector.pipeline import refused
from inspector.recorder import Recorder
from inspector.station.control import Control, log
from inspector.station.intake import Intake
from inspector.station.mailbox import Mailbox
from inspector.station.summary import Tally
from inspector.types import Fault, Frame, Grab

REOPENS = 12
"""Attempts to get a lost camera back, counted since its last frame; then the line ends."""
BACKOFF_S = (0.25, 0.5, 1.0, 2.0, 5.0)
"""Waits before the attempts; the last one repeats."""


class GrabStage:
    """Camera -> numbered frames in the inbox. Every frame that is displaced or refused gets its row.

    A live camera is read whatever happens downstream, and while paused; a file waits.
    Ends at the end of the source, after `frames` frames, when told to stop, or with CameraError
    when a lost camera does not come back.
    """

    def __init__(
        self,
        camera: Camera,
        intake: Intake,
        inbox: Mailbox,
        recorder: Recorder,
        control: Control,
        tally: Tally,
    ) -> None:
        self.frames: int | None = None
        """End after so many frames; None: no limit."""
        self.state = "open"
        """What an operator reads of the camera."""
        self.last_ns = time.monotonic_ns()
        self._camera, self._intake, self._inbox = camera, intake, inbox
        self._recorder, self._control, self._tally = recorder, control, tally
        self._early: deque[Grab] = deque()
        self._number = 0
        self._lost_since: float | None = None

    def begin_with(self, grabs: deque[Grab]) -> None:
        """Take these, read before the run existed, first; they are taken out of `grabs`."""
        self._early = grabs

    def work(self) -> None:
        """The stage's loop."""
        while not self._control.stop.is_set() and (self.frames is None or self._number < self.frames):
            if self._control.paused.is_set() and not self._camera.live:
                self._control.stop.wait(0.1)
                continue
            if self._inbox.wait_for_room(self._control.stop) and not self._one():
                return self._ended()

    def _one(self) -> bool:
        """Read and pass on one frame, of which nothing is kept here; False at the end of the source."""
        grab = self._early.popleft() if self._early else self._read()
        if grab is None:
            return False
        self._take(grab)
        return True

    def _take(self, grab: Grab) -> None:
        frame = self._intake.frame(grab)
        if grab.lost_before > 0:
            words = f"{self._camera.camera_id} lost {counted(grab.lost_before, 'frame')} before this one."
            self._recorder.gap(self._number, grab.lost_before, words)
            self._tally.add_gap(grab.lost_before)
        self._number, self.last_ns, self.state = frame.number, frame.mono_ns, "open"
        self._found_again()
        if frame.fault is not None:
            self._recorder.submit(refused(frame, frame.fault))
        elif self._control.paused.is_set():
            words = f"The line was paused by {self._control.paused_by}."
            self._recorder.submit(refused(frame, Fault.PAUSED, words))
        else:
            self._send(frame)

    def _send(self, frame: Frame) -> None:
        displaced = self._inbox.put(frame, self._control.stop)
        if displaced is frame:
            self._recorder.submit(refused(frame, Fault.SHUTDOWN, "The line was stopped."))
        elif displaced is not None:
            words = f"Frame {frame.number} came before the engine was free."
            self._recorder.submit(refused(displaced, Fault.OVERRUN, words))

    def _ended(self) -> None:
        """The source is at its end: say so when it had promised more."""
        total = self._camera.total
        if self._control.stop.is_set():
            return
        if total is not None and not self._camera.live and self._number < total:
            words = (
                f"{self._camera.camera_id} ended after {self._number} of {counted(total, 'frame')},"
                " so it seems cut off or damaged; record or copy it again to inspect the rest."
            )
            log.warning("%s", words)
            self._tally.warnings.append(words)
            self._recorder.event("camera_ended_early", words, {"frames": self._number, "promised": total})

    def _read(self) -> Grab | None:
        """The next grab, through stalls and reconnects; None at the end and when stopping."""
        attempts = 0
        while not self._control.stop.is_set():
            try:
                return self._camera.read()
            except CameraStalled as error:
                self._lost(error, "stalled")
            except CameraError as error:
                self._lost(error, "lost")
                if not self._camera.live:
                    raise
                attempts = self._reopen(attempts, error)
        return None

    def _reopen(self, attempts: int, cause: CameraError) -> int:
        """Close and open until it opens, within the budget that all attempts since the last frame share."""
        self._camera.close()
        while attempts < REOPENS:
            if self._control.stop.wait(BACKOFF_S[min(attempts, len(BACKOFF_S) - 1)]):
                return attempts
            attempts += 1
            try:
                self._camera.open()
                return attempts
            except CameraError as error:
                cause = error
        raise CameraError(f"The camera did not come back after {attempts} attempts: {cause}")

    def _lost(self, error: CameraError, state: str) -> None:
        self.state = f"{state}: {error}"
        if self._lost_since is None:
            self._lost_since = time.monotonic()
            log.warning("%s", error)
            self._recorder.event(f"camera_{state}", str(error))

    def _found_again(self) -> None:
        if self._lost_since is not None:
            seconds = time.monotonic() - self._lost_since
            self._lost_since = None
            words = f"{self._camera.camera_id} is back after {seconds:.1f} s."
            log.warning("%s", words)
            self._recorder.event("camera_back", words)
