"""The time that is left, by the clock or by the pace of the steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_run import Silent, request

import trainer.train
from trainer.config import FitConfig
from trainer.fit import prepare, run
from trainer.schedule import Schedule


class Clock:
    now = 50.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("trainer.schedule.time", clock)
    return clock


def test_what_comes_before_the_first_step_is_no_part_of_the_pace(clock: Clock) -> None:
    schedule = Schedule(FitConfig(steps=100))
    clock.now += 300  # a look for false alarms
    assert schedule.left_s(1) is None
    clock.now += 10
    assert schedule.left_s(6) == pytest.approx(94 * 2)


def test_nor_is_what_is_done_once_between_two_steps(clock: Clock) -> None:
    schedule = Schedule(FitConfig(steps=100))
    for step in (1, 2):
        clock.now += 1
        schedule.left_s(step)
    clock.now += 400
    schedule.pace_anew()
    assert schedule.left_s(3) is None
    clock.now += 1
    assert schedule.left_s(4) == pytest.approx(96)


def test_nothing_is_left_after_the_last_step(clock: Clock) -> None:
    assert Schedule(FitConfig(steps=1)).left_s(1) == 0


def test_a_resumed_run_has_a_pace_of_its_own(clock: Clock) -> None:
    schedule = Schedule(FitConfig(steps=100), elapsed_s=9000)
    assert schedule.left_s(41) is None
    clock.now += 3
    assert schedule.left_s(44) == pytest.approx(56)
    assert schedule.elapsed_s() == pytest.approx(9003)


def test_a_run_of_minutes_ends_when_they_are_over(clock: Clock) -> None:
    schedule = Schedule(FitConfig(minutes=2), elapsed_s=30)
    assert schedule.left_s(1) == pytest.approx(90)
    clock.now += 100
    assert schedule.left_s(2) == 0


def test_a_look_for_false_alarms_in_mid_run_is_no_part_of_the_pace(
    clock: Clock, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of a second, and a thousand seconds once, after six of ten."""
    left: list[float | None] = []

    class Told(Silent):
        def step(self, step: int, progress: float, left_s: float | None, loss: float) -> None:
            left.append(left_s)
            clock.now += 1

    look = trainer.train.find_false_alarms

    def long_look(*given: Any) -> Any:
        clock.now += 1000
        return look(*given)

    monkeypatch.setattr(trainer.train, "find_false_alarms", long_look)
    run(prepare(request(data, tmp_path / "r", steps=10, false_alarm_share=0.5)), Told())
    assert left[1:6] == pytest.approx([8, 7, 6, 5, 4])
    assert left[6] is None and left[7:] == pytest.approx([2, 1, 0])
    assert clock.now > 1000
