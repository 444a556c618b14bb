"""The judge stage: damage to verdicts, beside the engine's next frame."""

from __future__ import annotations

import queue

from inspector.pipeline import refused
from inspector.recorder import Recorder
from inspector.station.control import submit_last
from inspector.station.infer import Segmented
from inspector.types import Fault


class JudgeStage:
    """Judge's queue -> verdict -> recorder, until the infer stage says with None that it has ended."""

    def __init__(self, inbox: queue.Queue[Segmented | None], recorder: Recorder) -> None:
        self._inbox, self._recorder = inbox, recorder
        self._current: Segmented | None = None
        self._finished = False

    def work(self) -> None:
        """The stage's loop."""
        while self._one():
            pass

    def _one(self) -> bool:
        """Judge what comes next, of which nothing is kept here; False for None."""
        item = self._inbox.get()
        try:
            if item is None:
                self._finished = True
                return False
            self._current = item
            self._recorder.serve(item.pipeline.served_by)
            self._recorder.submit(item.pipeline.judge(item.frame, item.found, item.stages_ms))
            self._current = None
            return True
        finally:
            self._inbox.task_done()  # the infer stage may be waiting for it

    def end(self) -> None:
        """After a failure: refuse what is under way, and go on taking, so that nobody waits."""
        item = self._current
        while not self._finished:
            if item is not None:
                words = "The judge stopped before this frame."
                submit_last(self._recorder, refused(item.frame, Fault.ENGINE, words))
            item = self._inbox.get()
            self._inbox.task_done()
            self._finished = item is None
