"""What the request desk says when the ledger does not answer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from inspector.errors import DiskRefused, LedgerError
from inspector.station import requests


@pytest.mark.parametrize(
    ("error", "said_at"), [(LedgerError("It is locked."), 0.0), (DiskRefused("It is full."), 5.0)]
)
def test_requests_that_wait_are_said_once_and_a_disk_only_if_the_line_goes_on(
    error: LedgerError, said_at: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that refused the requests alone was never said: pause and stop did nothing, without a word."""

    def refuse(*_: object) -> None:
        raise error

    now = 100.0
    monkeypatch.setattr(requests, "pending_requests", refuse)
    monkeypatch.setattr(requests, "time", SimpleNamespace(monotonic=lambda: now))
    desk = requests.RequestDesk(None, SimpleNamespace(run_id="R"), None)  # type: ignore[arg-type]
    for seconds in range(8):
        now = 100.0 + seconds
        desk.serve()
        assert caplog.text.count(f"Requests wait: {error}") == (seconds >= said_at)
