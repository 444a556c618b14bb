"""The budget of the stages: shares, the warning before frames are late, and when it ends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.recorder import Recorded
from inspector.speed import WARN_SHARE
from inspector.station.budget import CLEAR_SHARE, LEAST_FRAMES, Budget, BudgetWatch, Spent, budget_of, spent
from inspector.types import Fault, Frame, Inspection, Reason, Verdict, VerdictWord


def frames(count: int, period_ms: float = 100.0, first: int = 1, **ms: float) -> list[Spent]:
    ms = ms or {"infer": 50.0, "judge": 5.0, "record": 10.0, "total": 70.0}
    return [
        Spent(n, n * period_ms / 1e3, n * period_ms / 1e3 + 0.07, ms) for n in range(first, first + count)
    ]


def record(number: int, infer_ms: float, period_ms: float = 100.0) -> Recorded:
    grab_ns = round(number * period_ms * 1e6)
    judged_ns = grab_ns + round((infer_ms + 5) * 1e6)
    stages = {"wait": 1.0, "infer": infer_ms, "defects": 3.0, "judge": 1.0}
    frame = Frame(number, None, 0, grab_ns, "c")
    inspection = Inspection(frame, Verdict(VerdictWord.PASS), (), None, 1.0, judged_ns, stages)
    return Recorded(number, "R", inspection, None, judged_ns + 10_000_000, judged_ns + 10_000_000)


class Line:
    """A watch on a line whose clock is the last commit."""

    def __init__(self, deadline_ms: float | None = None, live: bool = True) -> None:
        self.number = 0
        self.watch = BudgetWatch(deadline_ms, live=live, clock=lambda: self.number * 0.1)

    def run(self, infer_ms: float, count: int = 100) -> tuple[str, str] | None:
        """So many frames, ten a second, then one look."""
        for _ in range(count):
            self.number += 1
            self.watch.add([record(self.number, infer_ms)])
        return self.watch.look()


def test_a_frame_is_taken_apart_into_stages() -> None:
    one = spent(record(3, 40.0))
    assert one.ms == pytest.approx({"infer": 40, "judge": 4, "record": 10, "total": 55})
    refused = Inspection(
        Frame(4, None, 0, 5, "c"), Verdict(VerdictWord.UNINSPECTED, (Reason(Fault.OVERRUN, ""),))
    )
    assert spent(Recorded(4, "R", refused, None, 9, 9)).ms == {}


def test_shares_are_of_the_time_between_frames_and_of_the_deadline() -> None:
    budget = budget_of(frames(30), 200.0, live=True)
    assert budget.period_ms == pytest.approx(100)
    assert budget.shares == pytest.approx({"infer": 0.5, "judge": 0.05, "record": 0.1, "total": 0.35})
    assert budget.worst == pytest.approx(("infer", 0.5)) or budget.worst[0] == "infer"  # type: ignore[index]
    assert budget.words() == "infer uses 50% of the frame period"


def test_a_file_waits_so_only_the_deadline_limits_it() -> None:
    assert budget_of(frames(30), None, live=False).worst is None
    assert budget_of(frames(30), None, live=False).words() == ""
    budget = budget_of(frames(30), 100.0, live=False)
    assert budget.shares == {"total": 0.7} and "70% of the deadline" in budget.words()


def test_the_slowest_frame_in_twenty_counts_and_one_outlier_does_not() -> None:
    quick, slow = frames(95, infer=10.0), frames(6, first=96, infer=90.0)
    assert budget_of([*quick, *slow], None, live=True).ms["infer"] == 90.0
    assert budget_of([*quick, *slow[:3]], None, live=True).ms["infer"] == 10.0


def test_frames_that_were_not_computed_count_for_the_period_only() -> None:
    mixed = [one if one.number % 2 else Spent(one.number, one.grab_s, one.committed_s) for one in frames(40)]
    budget = budget_of(mixed, None, live=True)
    assert (budget.frames, budget.period_ms) == (20, pytest.approx(100))
    late = frames(40)
    later = [*late, *(Spent(n, 60 + n * 0.1, 60.0 + n, {}) for n in range(41, 60))]  # a pause of a minute
    assert budget_of(later, None, live=True).period_ms == pytest.approx(100)


def test_recording_slower_than_the_period_is_shown_and_does_not_warn() -> None:
    budget = budget_of(frames(30, infer=10.0, judge=1.0, record=300.0, total=320.0), None, live=True)
    assert budget.shares["record"] == pytest.approx(3.0)
    assert budget.worst is not None and budget.worst[0] == "infer"


def test_it_warns_once_before_frames_are_late_and_ends_once_below_the_lower_share() -> None:
    line = Line()
    assert line.run(60) is None and line.watch.warning == ""
    kind, words = line.run(85) or ("", "")
    assert kind == "budget_warning" and "infer uses 85%" in words and "100 ms between frames" in words
    assert line.watch.warning == "infer uses 85% of the frame period"
    assert line.run(95) is None and "95%" in line.watch.warning
    assert line.run(75) is None and "75%" in line.watch.warning  # between the two shares: as it was
    kind, words = line.run(60) or ("", "")
    assert kind == "budget_ok" and line.watch.warning == ""
    assert line.run(75) is None and line.watch.warning == ""


def test_the_deadline_warns_as_well_and_of_a_file_too() -> None:
    line = Line(deadline_ms=100.0, live=False)
    assert line.run(50) is None
    kind, words = line.run(70) or ("", "")
    assert kind == "budget_warning" and "grab to ledger uses 85% of the deadline" in words
    assert "between frames" not in words


def test_more_than_all_of_the_time_is_late_and_not_close_to_it() -> None:
    """`One frame in twenty is close to late: infer uses 181% of the frame period`."""
    for load, said in ((95, "in twenty is close to late: infer uses 95%"), (181, "in twenty is late: infer")):
        assert said in (Line().run(load) or ("", ""))[1]


def test_a_few_frames_say_nothing_and_silence_leaves_the_warning_as_it_is() -> None:
    line = Line()
    assert line.run(95, LEAST_FRAMES - 1) is None
    assert line.run(95, 1) is not None
    line.number += 1000  # paused: nothing in the window
    assert line.watch.look() is None and line.watch.warning
    assert line.watch.budget == Budget(0, {}, None, None)


@settings(deadline=None)
@given(st.lists(st.floats(1, 150), min_size=1, max_size=30))
def test_warnings_and_endings_take_turns_and_a_warning_means_a_share_above_the_limit(
    loads: list[float],
) -> None:
    line, told = Line(), []
    for load in loads:
        said = line.run(load)
        told += [said[0]] if said else []
        share = load / 100
        if share > WARN_SHARE * (1 + 1e-9):
            assert line.watch.warning
        elif share < CLEAR_SHARE * (1 - 1e-9):
            assert not line.watch.warning
    assert told == (["budget_warning", "budget_ok"] * len(told))[: len(told)]
