"""The arithmetic of the speed contract: known lines, and what must be true of every line."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.errors import UsageError
from inspector.speed import Condition, LineFacts, conclusion, conditions

WEB = LineFacts(
    frame=(1000, 2000), view_mm=(100.0, 200.0), defect_mm=0.5, rate=10.0, speed_mm_s=500.0, exposure_ms=0.1
)


def states(facts: LineFacts, frame_ms: float = 50.0) -> dict[str, str]:
    return {one.name: one.state for one in conditions(facts, frame_ms)}


@st.composite
def lines(draw: st.DrawFn) -> LineFacts:
    def number(least: float, most: float) -> float:
        return draw(st.floats(least, most))

    height, width = number(1, 2000), number(1, 2000)
    frame = draw(st.tuples(st.integers(16, 9000), st.integers(16, 9000)))
    view = draw(st.sampled_from([(height, width), (height, None), (None, width)]))
    sides = (view[0] or width * frame[0] / frame[1], view[1] or height * frame[1] / frame[0])
    return LineFacts(
        frame=frame,
        view_mm=view,
        defect_mm=min(sides) * number(0.0001, 1),
        rate=number(0.05, 400),
        speed_mm_s=number(0.1, 20_000),
        exposure_ms=number(0.001, 50),
        along=draw(st.integers(0, 1)),
        by_part=draw(st.booleans()),
        most_blur_px=number(0.1, 5),
        square=False,
    )


FRAME_MS = st.floats(0.1, 5000)


def test_a_web_line_by_hand() -> None:
    assert (WEB.scale.y, WEB.scale.x) == (0.1, 0.1)
    assert WEB.defect_px == pytest.approx(5)
    assert WEB.blur_px == pytest.approx(0.5)  # 500 mm/s for 0.1 ms are 0.05 mm
    assert (WEB.period_ms, WEB.advance_mm, WEB.shared_mm) == (100, 50, 50)
    assert states(WEB) == {"defect": "ok", "blur": "ok", "belt": "ok", "exposure": "ok", "time": "ok"}
    assert WEB.largest_speed_mm_s(50) == 1000  # blur and belt: 1 px in 0.1 ms, 100 mm in 100 ms
    assert WEB.largest_speed_mm_s(400) == 250  # 2.5 frames a second of 100 mm


@pytest.mark.parametrize(
    ("change", "name", "state"),
    [
        ({"defect_mm": 0.5}, "defect", "ok"),
        ({"defect_mm": 0.499}, "defect", "warn"),
        ({"defect_mm": 0.3}, "defect", "warn"),  # 2.9999999999999996 px to the processor
        ({"defect_mm": 0.299}, "defect", "fail"),
        ({"exposure_ms": 0.21}, "blur", "fail"),
        ({"exposure_ms": 0.21, "most_blur_px": 2.0}, "blur", "warn"),
        ({"exposure_ms": 0.2, "most_blur_px": 2.0}, "blur", "ok"),
        ({"exposure_ms": 101.0, "speed_mm_s": 0.5}, "exposure", "fail"),
        ({"exposure_ms": 100.0, "speed_mm_s": 0.5}, "exposure", "fail"),
        ({"exposure_ms": 99.0, "speed_mm_s": 0.5}, "exposure", "ok"),
        ({"rate": 4.9}, "belt", "fail"),
        ({"overlap_mm": 51.0}, "belt", "fail"),
        ({"overlap_mm": 50.0}, "belt", "ok"),
        ({"rate": 21.0}, "time", "fail"),
        ({"rate": 17.0}, "time", "warn"),
        ({"rate": 16.0}, "time", "ok"),
    ],
)
def test_each_condition_fails_alone(change: dict[str, float], name: str, state: str) -> None:
    found = states(replace(WEB, **change))  # type: ignore[arg-type]
    assert found.pop(name) == state
    assert set(found.values()) == {"ok"}


def test_gaps_on_the_belt_are_told_in_millimetres() -> None:
    (belt,) = (one for one in conditions(replace(WEB, rate=4.0), 50.0) if one.name == "belt")
    assert belt.words == "125 mm from frame to frame, 100 mm seen: gaps of 25 mm"


def test_a_station_that_stands_still_has_neither_blur_nor_belt() -> None:
    facts = replace(WEB, speed_mm_s=0.0, exposure_ms=None)
    assert set(states(facts)) == {"defect", "time"}
    assert facts.largest_speed_mm_s(50) == 1000  # what the belt would allow


def test_part_by_part_the_belt_between_is_nobodys_business() -> None:
    facts = replace(WEB, by_part=True, rate=2.0)
    assert "belt" not in states(facts)
    assert facts.largest_speed_mm_s(50) == 1000  # by blur; the processor allows 20 parts a second
    assert facts.largest_speed_mm_s(400) == pytest.approx(500 * 2.5 / 2)


def test_one_side_of_the_view_makes_square_pixels_and_the_coarser_side_counts() -> None:
    facts = replace(WEB, view_mm=(None, 200.0))
    assert facts.scale == WEB.scale and facts.length_mm == 100
    oblong = replace(WEB, view_mm=(200.0, 200.0), square=False)
    assert oblong.defect_px == pytest.approx(2.5)
    assert replace(oblong, along=1).blur_px == pytest.approx(0.5)


def test_oblong_pixels_are_refused_unless_they_are_meant() -> None:
    """A size with height and width turned round gave a contract for pixels that no camera has."""
    words = r"pixels of 0\.2 x 0\.05 mm \(height x width\), one side 300 % longer, .*; turn the size or"
    with pytest.raises(UsageError, match=words):
        replace(WEB, view_mm=(200.0, 100.0))
    with pytest.raises(UsageError, match="; correct the size or the view, or say with --non-square-pixels"):
        replace(WEB, view_mm=(100.0, 100.0))
    assert replace(WEB, view_mm=(102.9, 200.0)).oblong == pytest.approx(0.029)
    with pytest.raises(UsageError, match=r"3\.1 % longer"):
        replace(WEB, view_mm=(103.1, 200.0))
    meant = replace(WEB, view_mm=(200.0, 200.0), defect_mm=1.0, square=False)
    (said,) = (one for one in conditions(meant, 50.0) if one.name == "pixels")
    assert (said.state, said.words) == ("ok", "one side is 100 % longer, as --non-square-pixels says")
    assert "pixels" not in states(replace(WEB, square=False))


def test_a_defect_larger_than_the_view_is_refused() -> None:
    assert states(replace(WEB, defect_mm=100.0))["defect"] == "ok"
    with pytest.raises(UsageError, match=r"smallest defect 100\.1 mm wide .* a view of 100 x 200 mm"):
        replace(WEB, defect_mm=100.1)


def test_each_failing_condition_says_why() -> None:
    facts = replace(WEB, defect_mm=0.27, exposure_ms=120.0, most_blur_px=2.0)
    said = {one.name: one.words for one in conditions(facts, 250_432.0)}
    assert said["defect"] == "the smallest defect is 2.7 px wide, at least 3 are needed to find it"
    assert said["blur"] == "a part moves 600 px while exposed, limit 2 px"
    barely = {one.name: one.words for one in conditions(replace(WEB, exposure_ms=0.2008), 50.0)}
    assert barely["blur"] == "a part moves 1.004 px while exposed, limit 1 px"  # not 1.00, which is no more
    assert said["exposure"] == (
        "exposed for 120 ms, longer than the 100 ms between two frames, so no camera gives this rate"
    )
    assert said["time"].startswith("computing takes 250,432 ms, 250,432 % of the 100 ms")
    same = {one.name: one.words for one in conditions(replace(facts, exposure_ms=100.0), 50.0)}
    assert same["exposure"].startswith("exposed for 100 ms, all the 100 ms between two frames")


def test_the_conclusion_is_the_worst_condition() -> None:
    def of(*states: str) -> str:
        return conclusion(Condition("time", state, "") for state in states)

    assert (of(), of("ok"), of("ok", "warn"), of("warn", "fail", "ok")) == (
        "holds", "holds", "doubtful", "fails",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frame": (0, 10)}, "0x10"),
        ({"view_mm": (None, None)}, "field of view"),
        ({"view_mm": (-1.0, None)}, "view height of -1"),
        ({"defect_mm": 0.0}, "smallest defect of 0"),
        ({"defect_mm": math.nan}, "smallest defect of nan"),
        ({"rate": math.inf}, "rate of inf"),
        ({"speed_mm_s": -3.0}, "line speed of -3"),
        ({"exposure_ms": None}, "exposure"),
        ({"exposure_ms": 0.0}, "exposure of 0"),
        ({"overlap_mm": 100.0}, "cannot share 100 mm"),
    ],
)
def test_what_cannot_be_is_refused_by_name(change: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        replace(WEB, **change)  # type: ignore[arg-type]
    assert error.value.exit_code == 2
    with pytest.raises(UsageError, match="measure again"):
        conditions(WEB, math.nan)


@settings(deadline=None)
@given(lines(), FRAME_MS)
def test_the_largest_speed_is_where_a_condition_of_speed_gives_way(facts: LineFacts, frame_ms: float) -> None:
    """At that speed blur, belt and time still hold (at the rate that the processor reaches); beyond, not."""
    most = facts.largest_speed_mm_s(frame_ms)
    assert most is not None and most > 0

    def holds(speed: float) -> bool:
        rate = min(facts.rate, (1 - 1e-9) * 1000 / max(frame_ms, facts.exposure_ms))
        if facts.by_part:
            rate = facts.rate * speed / facts.speed_mm_s
        found = states(replace(facts, speed_mm_s=speed, rate=rate), frame_ms)
        return "fail" not in {found.get("blur"), found.get("belt"), found["exposure"], found["time"]}

    assert holds(most * (1 - 1e-6))
    assert not holds(most * 1.001 + 1e-5 * facts.rate)


@settings(deadline=None)
@given(lines(), FRAME_MS, st.floats(1.01, 10))
def test_faster_lines_and_longer_exposures_are_never_better(
    facts: LineFacts, frame_ms: float, factor: float
) -> None:
    worse = {"ok": 0, "warn": 1, "fail": 2}
    before = states(facts, frame_ms)
    for change in (
        {"speed_mm_s": facts.speed_mm_s * factor},
        {"exposure_ms": facts.exposure_ms * factor},
        {"defect_mm": facts.defect_mm / factor},
    ):
        after = states(replace(facts, **change), frame_ms)
        assert all(worse[after[name]] >= worse[before[name]] for name in before)
    slower = states(facts, frame_ms * factor)
    assert worse[slower["time"]] >= worse[before["time"]]


@settings(deadline=None)
@given(lines(), st.integers(2, 8))
def test_more_pixels_for_the_same_view_scale_defect_and_blur_and_leave_the_belt(
    facts: LineFacts, times: int
) -> None:
    finer = replace(facts, frame=(facts.frame[0] * times, facts.frame[1] * times))
    assert finer.defect_px == pytest.approx(times * facts.defect_px)
    assert finer.blur_px == pytest.approx(times * facts.blur_px)
    assert finer.shared_mm == pytest.approx(facts.shared_mm, abs=1e-6)


@settings(deadline=None)
@given(lines())
def test_what_frames_share_and_what_they_advance_is_the_view(facts: LineFacts) -> None:
    assert facts.shared_mm + facts.advance_mm == pytest.approx(facts.length_mm)
    assert facts.advance_mm * facts.rate == pytest.approx(facts.speed_mm_s)
