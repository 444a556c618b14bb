"""Where operators ask the line for something: the station decides, answers and records it."""

from __future__ import annotations

import logging
import time

import sqlalchemy

from inspector.db.writes import PendingRequest, finish_request, pending_requests
from inspector.errors import DiskRefused, LedgerError
from inspector.recorder import Recorder
from inspector.station.control import Control

log = logging.getLogger("inspector.station")

POLL_S = 0.25
HANGS_S = 2.0
"""How long an answer waits for a recorder that takes nothing; the line must still hear its stop event."""
RECORDER_S = 5.0
"""Within this time the recorder, which writes a beat each second, ends the line on a disk that refuses."""


class RequestDesk:
    """Serves pause, resume and stop from the ledger's requests table. Used by one thread."""

    def __init__(self, ledger: sqlalchemy.Engine, recorder: Recorder, control: Control) -> None:
        self._ledger, self._recorder, self._control = ledger, recorder, control
        self._next = 0.0
        self._trouble = ""
        self._refused_since: float | None = None

    def serve(self) -> None:
        """Look for requests, at most a few times a second. A ledger that is busy is asked again later."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + POLL_S
        try:
            for request in pending_requests(self._ledger, self._recorder.run_id):
                answer = self._act(request)
                done = answer is not None
                finish_request(
                    self._ledger, request.id, done=done, answer=answer or "The line does not know this."
                )
        except LedgerError as error:
            self._waits(error)
        else:
            self._trouble, self._refused_since = "", None

    def _waits(self, error: LedgerError) -> None:
        """Say once why requests wait; of a disk only where the recorder does not end the line with it."""
        if isinstance(error, DiskRefused):
            self._refused_since = self._refused_since or time.monotonic()
            if time.monotonic() - self._refused_since < RECORDER_S:
                return
        if str(error) != self._trouble:
            log.warning("Requests wait: %s", error)
        self._trouble = str(error)

    def _act(self, request: PendingRequest) -> str | None:
        """Do what was asked and say so; None for a kind that this station does not know."""
        control = self._control
        if request.kind == "pause":
            control.paused_by = request.by
            control.paused.set()
            words = f"The line was paused by {request.by}."
        elif request.kind == "resume":
            control.paused.clear()
            words = f"The line was resumed by {request.by}."
        elif request.kind == "stop":
            words = f"The line was asked to stop by {request.by}."
        else:
            return None
        if request.kind == "stop":
            control.stop.set()
        about = {"by": request.by, "request": request.id}
        self._recorder.event(request.kind, words, about, timeout_s=HANGS_S)
        return words
