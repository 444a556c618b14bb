"""The infer stage: frames through the engine, and a new engine when it fails."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspector.errors import DeviceLost, EngineError, GpuMissing
from inspector.pipeline import Pipeline, refused
from inspector.recorder import Recorder
from inspector.station.control import Control, submit_last
from inspector.station.mailbox import Mailbox
from inspector.types import Fault, Frame, Segmentation
from inspector.units import shown

if TYPE_CHECKING:
    from inspector.config import LineConfig
    from inspector.engine.protocol import Engine

FAILURES = 3
"""Engine faults in a row that get the engine opened again; a lost device does at once."""
RESTARTS = 3
RESTART_WINDOW_S = 600.0
"""So many restarts within so many seconds are the budget; then the line ends."""


@dataclass(frozen=True, slots=True)
class Serving:
    """An open engine and the pipeline around it, for one frame size."""

    size: tuple[int, int]
    engine: Engine
    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Segmented:
    """A frame that went through the engine, for the judge."""

    frame: Frame
    found: Segmentation
    stages_ms: dict[str, float]
    pipeline: Pipeline


class InferStage:
    """Inbox -> engine -> judge's queue. Owns the engine while the line runs.

    A frame too old on arrival is `stale` or `late` and not computed; one that the engine fails
    on is `engine`; what still waits when the line stops is `shutdown`.
    """

    def __init__(
        self, serving: Serving, open_for: Callable[[tuple[int, int]], Serving], config: LineConfig,
        inbox: Mailbox, recorder: Recorder, control: Control,
    ) -> None:  # fmt: skip
        """open_for: makes a Serving for a frame size (height, width)."""
        self.outbox: queue.Queue[Segmented | None] = queue.Queue(1)
        self.alone = False
        """Begin a frame only after the one before was judged: for frames so large that two are many."""
        self.serving = serving
        self._open_for = open_for
        self._stale_ms, self._deadline_ms = config.camera.stale_ms, config.recipe.deadline_ms
        self._inbox, self._recorder, self._control = inbox, recorder, control
        self._failures = 0
        self._restarts: deque[float] = deque()
        self._current: Frame | None = None

    def work(self) -> None:
        """The stage's loop: until the inbox has ended and is empty."""
        while not self._inbox.done:
            self._current = self._inbox.get(0.1)
            if self._current is not None:
                self._one(self._current)
                self._current = None

    def end(self) -> None:
        """Account for what is left and tell the judge."""
        self._inbox.end()
        left = [self._current] if self._current is not None else []
        while (frame := self._inbox.get(0.0)) is not None:
            left.append(frame)
        for frame in left:
            submit_last(self._recorder, refused(frame, Fault.ENGINE, "The engine stopped before this frame."))
        self.outbox.put(None)

    def _one(self, frame: Frame) -> None:
        if self._control.stop.is_set():
            return self._refuse(frame, Fault.SHUTDOWN, "The line was stopped.")
        began = time.monotonic_ns()
        age = (began - frame.mono_ns) / 1e6
        if self._stale_ms is not None and age > self._stale_ms:
            words = f"The frame was {age:.0f} ms old on reaching the engine"
            return self._refuse(frame, Fault.STALE, f"{words}, limit {shown(self._stale_ms)} ms.")
        if self._deadline_ms is not None and age > self._deadline_ms:
            words = f"The frame was {age:.0f} ms old before it was computed"
            return self._refuse(frame, Fault.LATE, f"{words}, limit {shown(self._deadline_ms)} ms.")
        try:
            found = self._segment(frame)
        except EngineError as error:
            return self._failed(frame, error)
        self._failures = 0
        stages = {"wait": age, "infer": (time.monotonic_ns() - began) / 1e6}
        self.outbox.put(Segmented(frame, found, stages, self.serving.pipeline))  # the judge always takes on
        if self.alone:
            self.outbox.join()

    def _segment(self, frame: Frame) -> Segmentation:
        image = frame.image
        if image is not None and image.shape[:2] != self.serving.size:
            # The camera had announced another size than its first picture has.
            self._reopen((int(image.shape[0]), int(image.shape[1])))
        return self.serving.pipeline.segment(frame)

    def _refuse(self, frame: Frame, fault: Fault, words: str) -> None:
        self._recorder.submit(refused(frame, fault, words))
        self._current = None  # accounted for, whatever happens next

    def _failed(self, frame: Frame, error: EngineError) -> None:
        self._refuse(frame, Fault.ENGINE, str(error))
        self._failures += 1
        if self._failures == 1:
            self._recorder.event("engine_fault", str(error), {"frame": frame.number})
        if self._failures < FAILURES and not isinstance(error, DeviceLost):
            return
        now = time.monotonic()
        while self._restarts and now - self._restarts[0] > RESTART_WINDOW_S:
            self._restarts.popleft()
        if len(self._restarts) >= RESTARTS:
            raise EngineError(f"The engine failed again after {RESTARTS} restarts: {error}")
        self._restarts.append(now)
        self._failures = 0
        try:
            self._reopen(self.serving.size)
        except (EngineError, GpuMissing) as again:
            # A GPU that was just lost may be back in a moment; the next frame tries, within the budget.
            self._failures = FAILURES - 1
            self._recorder.event("engine_restart_failed", str(again), {"restarts": len(self._restarts)})

    def _reopen(self, size: tuple[int, int]) -> None:
        self.serving.engine.close()
        self.serving = self._open_for(size)
        words = f"The engine was opened again for frames of {size[0]}x{size[1]}."
        info = self.serving.engine.info
        identity = {"precision": info.precision, "certificate": info.certificate, "tile": info.tile}
        self._recorder.event("engine_restarted", words, {"restarts": len(self._restarts), **identity})
