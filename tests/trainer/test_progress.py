"""How a run is shown where no bar can move: never silent for long, and no class left out."""

from __future__ import annotations

import threading

import pytest

from trainer import progress
from trainer.progress import SILENT_S, Display, StillAtWork
from trainer.thresholds import ClassChoice
from trainer.validate import Validation


class Clock:
    """Time that passes when a test says so."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_a_long_silence_is_broken_with_what_was_done_last(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    display = Display(("dent",))
    work = display._work
    assert SILENT_S <= 55, "with the pause between two looks at least one line a minute"
    clock.now += SILENT_S - 1
    work.say_when_silent()
    assert capsys.readouterr().err == ""
    clock.now += 1
    work.say_when_silent()
    assert capsys.readouterr().err == "still at work after 0:50: no step is done yet\n"
    display.step(7, 0.1, 60.0, 0.5)
    assert capsys.readouterr().err == "", "said a moment ago"
    clock.now += SILENT_S
    work.say_when_silent()
    assert "step 7 is done" in capsys.readouterr().err
    display.finishing("calibrating", 0, 20)
    display.finishing("calibrating", 3, 20)
    clock.now += SILENT_S
    work.say_when_silent()
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "calibrating: 0 of 20 validation frames",
        "still at work after 2:30: calibrating, 3 of 20 validation frames",
    ]


def test_it_looks_by_itself_until_the_run_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOOK_EVERY_S", 0.001)
    looked = threading.Event()
    monkeypatch.setattr(StillAtWork, "say_when_silent", lambda _self: looked.set())
    with Display(("dent",)):
        assert looked.wait(60)
        (thread,) = [one for one in threading.enumerate() if one.name == "progress"]
    thread.join(60)
    assert not thread.is_alive()


def test_a_class_that_no_validation_frame_shows_keeps_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    shown, unshown = ClassChoice(0.5, 0.4, 3, 60), ClassChoice(0.5, None, 0, 0)
    display = Display(("dent", "rare"))
    display.validated(5, Validation(0.4, (shown, unshown)), kept=True)
    display.validated(6, Validation(0.0, (unshown, unshown)), kept=False)
    first, second = capsys.readouterr().err.splitlines()
    assert "(dent 0.400, rare not shown)" in first and first.endswith("kept") and "kept" not in second
    assert "(no validation frame shows a defect)" in second
