"""The bench's camera gives its pictures as fast as they are taken, or as they become due."""

from __future__ import annotations

import numpy as np
import pytest

from inspector.cli import bench
from inspector.cli.bench import MemoryCamera


class Clock:
    """A clock that moves by what is slept."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(bench.time, "monotonic", made.monotonic)
    monkeypatch.setattr(bench.time, "sleep", made.sleep)
    return made


def read_all(camera: MemoryCamera, clock: Clock, took: float) -> int:
    """Unopened, as the bench hands it to the station, which opens cameras before it is given them."""
    given = 0
    while camera.read() is not None:
        given += 1
        clock.now += took
    return given


def test_without_a_rate_it_is_never_waited_for(clock: Clock) -> None:
    assert read_all(MemoryCamera([np.zeros((4, 4), np.uint8)], 5), clock, 0.01) == 5
    assert clock.slept == []


def test_pictures_come_when_they_are_due_and_a_late_reader_waits_for_none(clock: Clock) -> None:
    assert read_all(MemoryCamera([np.zeros((4, 4), np.uint8)], 3, 10.0), clock, 0.03) == 3
    assert clock.slept == [0.0, 0.07, 0.07]
    clock.slept.clear()
    assert read_all(MemoryCamera([np.zeros((4, 4), np.uint8)], 3, 10.0), clock, 0.25) == 3
    assert clock.slept == [0.0, 0.0, 0.0]
