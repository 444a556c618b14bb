"""Whose work the processor did while something was measured."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from inspector.engine import rivals
from inspector.engine.rivals import Rivals


class Machine:
    """Four cores of which this process may use two; a clock and times that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.busy, self.own = 100.0, [0.0] * 4, 0.0
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 3}, raising=False)
        monkeypatch.setattr(rivals.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(psutil, "cpu_times", lambda percpu: [self.core(spent) for spent in self.busy])
        monkeypatch.setattr(rivals, "_own_s", lambda: self.own)
        monkeypatch.setattr(rivals, "ONLINE", Path("/nowhere"))

    def core(self, spent: float) -> SimpleNamespace:
        return SimpleNamespace(user=spent / 2, system=spent / 4, steal=spent / 4, idle=9e9, iowait=9e9)


@pytest.mark.parametrize(
    ("busy", "own", "share"),
    [
        ([0, 10, 0, 10], 20, 0.0),  # both cores for this process
        ([0, 10, 0, 10], 10, 0.5),
        ([10, 0, 10, 0], 0, 0.0),  # cores that this process may not use
        ([0, 10, 0, 10], 0, 1.0),
        ([0, 3, 0, 0], 9, 0.0),  # the clocks disagree by a tick or more
    ],
)
def test_the_share_of_others(
    monkeypatch: pytest.MonkeyPatch, busy: list[float], own: float, share: float
) -> None:
    machine = Machine(monkeypatch)
    watch = Rivals()
    machine.now, machine.busy, machine.own = machine.now + 10, busy, own
    assert watch.share() == pytest.approx(share)


@pytest.mark.parametrize(("told", "share"), [("0,2-3", 0.25), ("0-1,3", 0.4), ("0-9", 0.15), ("?", 0.15)])
def test_cores_that_are_switched_off_move_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: str, share: float
) -> None:
    """The list of times leaves them out: the work of core 3 was taken for that of core 2."""
    machine = Machine(monkeypatch)
    (tmp_path / "online").write_text(f"{told}\n")
    monkeypatch.setattr(rivals, "ONLINE", tmp_path / "online")
    machine.busy = [0.0] * 3
    watch = Rivals()
    machine.now, machine.busy = machine.now + 10, [1.0, 3.0, 5.0]
    assert watch.share() == pytest.approx(share)


def test_no_time_is_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    watch = Rivals()
    machine.busy = [9.0] * 4
    assert watch.share() == 0.0


def test_a_system_that_does_not_tell_stops_no_measurement(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A sandbox without /proc/stat ended the line on a traceback as it planned its tiles."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    watch = Rivals()
    assert watch.share() == 0.0
    monkeypatch.undo()
    assert watch.share() == 0.0


def test_work_of_this_process_and_its_children_is_its_own() -> None:
    before = rivals._own_s()
    pid = os.fork()
    if pid == 0:
        while psutil.Process().cpu_times().user < 0.3:
            sum(range(10_000))
        os._exit(0)
    os.waitpid(pid, 0)
    assert rivals._own_s() - before >= 0.3
