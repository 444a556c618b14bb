"""What the stages of a line share: the wish to stop, the pause, and why it failed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from inspector.errors import InspectionError, LedgerError
from inspector.recorder import Recorder
from inspector.types import Inspection

log = logging.getLogger("inspector.station")


class Control:
    """One stop event for everybody, and the first error that set it."""

    def __init__(self, stop: threading.Event) -> None:
        """stop: set by whoever wants the line to end, signals included."""
        self.stop = stop
        self.paused = threading.Event()
        self.paused_by = ""
        self.error: InspectionError | None = None
        self._lock = threading.Lock()

    def fail(self, error: InspectionError) -> None:
        """Stop the line because of this; only the first cause is kept."""
        with self._lock:
            if self.error is None:
                self.error = error
        self.stop.set()


class Stage(threading.Thread):
    """A thread of the line; whatever ends it early stops the line and is said."""

    def __init__(
        self, name: str, control: Control, work: Callable[[], None], end: Callable[[], None]
    ) -> None:
        """work: the stage's loop. end: run afterwards in any case, to tell the next stage."""
        super().__init__(name=name, daemon=True)
        self._control, self._work, self._end = control, work, end

    def run(self) -> None:
        try:
            self._work()
        except InspectionError as error:
            self._control.fail(error)
        except Exception as error:  # the thread's outermost edge: the line must not go on without a stage
            log.exception("stage %s", self.name)
            self._control.fail(
                InspectionError(
                    f"The {self.name} stage failed ({type(error).__name__}: {error}); see the log."
                )
            )
        finally:
            self._end()


def submit_last(recorder: Recorder, inspection: Inspection) -> None:
    """Submit while a stage ends; what a dead recorder does not take gets its row at the next open."""
    with suppress(LedgerError):
        recorder.submit(inspection)
