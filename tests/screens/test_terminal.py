"""A dashboard on a real terminal that goes away under it."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from pathlib import Path

import pytest
from small_line import SmallLine

from inspector.dashboard import terminal as module

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0


def shown_on_a_terminal(url: str) -> tuple[int, int]:
    """(process, terminal) of a dashboard that is on the screen and ignores SIGHUP, as under nohup."""
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "inspector", "dashboard", "--db", url]
        os.execve(sys.executable, command, environment)
    shown, deadline = b"", time.monotonic() + 2 * PATIENCE_S
    while b"UTC" not in shown:  # the status line is drawn from the ledger
        assert time.monotonic() < deadline, shown
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 65536)
    return pid, terminal


def test_a_dashboard_ends_when_its_terminal_is_gone(line: SmallLine) -> None:
    """Its reading thread took 70 % of a core for ever, where the hang-up's own signal was ignored."""
    line.judge("PASS")
    line.beat()
    pid, terminal = shown_on_a_terminal(line.url)
    try:
        os.close(terminal)
        deadline = time.monotonic() + PATIENCE_S
        while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        if ended[0] == 0:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert ended[0] == pid, "it goes on without a terminal"
    assert os.waitstatus_to_exitcode(ended[1]) == 0


def test_a_screen_that_cannot_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written to a terminal that is gone may block, and the screen with it."""
    done: list[object] = []
    monkeypatch.setattr(module, "GRACE_S", 0.0)
    monkeypatch.setattr(os, "_exit", done.append)
    theirs, ours = pty.openpty()
    os.close(theirs)
    module.when_it_hangs_up(ours, lambda: done.append("asked"))
    deadline = time.monotonic() + 20
    while len(done) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.close(ours)
    assert done == ["asked", 0]
