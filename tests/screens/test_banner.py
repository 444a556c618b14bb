"""Blind is never PASS: the large word over every state that a station can be in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inspector.counting import age_words
from inspector.dashboard.app import status_line
from inspector.dashboard.banner import SYMBOLS, banner_of
from inspector.dashboard.facts_panel import facts_text
from inspector.dashboard.letters import GLYPHS, HEIGHT, block_letters, dots_of, fitting_letters
from inspector.dashboard.snapshot import Beat, Judged, RunFacts, Snapshot
from inspector.dashboard.tones import GROUND, INK
from inspector.types import VerdictWord

NOW = 1_800_000_000 * 10**9
S = 10**9
RUN = RunFacts("01R", "cam", "openvino", "f32", "cpu", "cert", "tiny 1", "id", "doors", "hash", "")
PASSED = Judged("01R", 812, VerdictWord.PASS, "", NOW - S // 10)
GOOD = Snapshot(
    NOW, run=RUN, beat=Beat("running", "", NOW - S // 2, "ok", 30.0, None), current=PASSED, newest=PASSED
)


def with_beat(**changes: object) -> Snapshot:
    assert GOOD.beat is not None
    return replace(GOOD, beat=replace(GOOD.beat, **changes))


def test_a_fresh_verdict_of_a_living_station_is_shown() -> None:
    banner = banner_of(GOOD)
    assert (banner.word, banner.symbol, banner.tone) == ("PASS", "✓", "pass")
    assert "812" in banner.words


@pytest.mark.parametrize(
    ("snapshot", "word"),
    [
        (replace(GOOD, trouble="The ledger is locked."), "BLIND"),
        (with_beat(utc_ns=NOW - 4 * S), "BLIND"),
        (with_beat(utc_ns=NOW + 3600 * S), "BLIND"),  # the clock was set back and the station died
        (with_beat(state="blind", words="no frame for 5 s"), "BLIND"),
        (with_beat(state="failed"), "FAILED"),
        (with_beat(state="ended"), "ENDED"),
        (with_beat(state="paused"), "PAUSED"),
        (with_beat(state="stopping"), "STOPPING"),
        (replace(GOOD, current=replace(PASSED, utc_ns=NOW - 9 * S)), "WAITING"),
        (replace(GOOD, current=replace(PASSED, utc_ns=NOW + 3600 * S)), "WAITING"),
        (replace(GOOD, current=None), "WAITING"),
        (replace(GOOD, beat=None), "WAITING"),
        (Snapshot(NOW), "WAITING"),
    ],
)
def test_an_old_pass_is_never_the_verdict_of_now(snapshot: Snapshot, word: str) -> None:
    banner = banner_of(snapshot)
    assert banner.word == word
    assert banner.tone in ("blind", "idle") and banner.words


def slow(waiting: int, grabbed_s: int, judged_s: int, frame_s: float = 0.0) -> Snapshot:
    """A living line whose newest frame was grabbed and judged so long ago, while others wait.

    frame_s: what a frame takes there.
    """
    frame = replace(PASSED, utc_ns=NOW - grabbed_s * S, committed_utc_ns=NOW - judged_s * S)
    return replace(with_beat(waiting=waiting, frame_s=frame_s), current=frame, newest=frame)


@pytest.mark.parametrize(
    ("snapshot", "age", "words"),
    [
        (slow(12, 17, 4), "17 S", "12 frames behind, the newest judged is 17 s old. Frame 812"),
        (slow(1, 17, 9), "17 S", "1 frame behind, the newest judged is 17 s old. Frame 812"),
        (slow(2, 63, 31, 16.0), "1 MIN", "2 frames behind, the newest judged is 1 min 03 s old. Frame 812"),
        (slow(0, 6, 1), "6 S", "The newest judged is 6 s old. Frame 812"),  # the last has just been judged
        (slow(9, 7300, 1), "2 H", "9 frames behind, the newest judged is 2 h 01 min old. Frame 812"),
    ],
)
def test_a_line_that_judges_late_says_in_large_how_old_its_pass_is(
    snapshot: Snapshot, age: str, words: str
) -> None:
    """It was a large green PASS, with its age in small letters under it."""
    banner = banner_of(snapshot)
    assert (banner.word, banner.age, banner.tone, banner.words) == ("PASS", age, "idle", words)


def test_a_late_reject_keeps_its_colour_and_says_its_age() -> None:
    late = slow(12, 17, 4)
    assert late.current is not None
    banner = banner_of(replace(late, current=replace(late.current, word=VerdictWord.REJECT)))
    assert (banner.word, banner.age, banner.tone) == ("REJECT", "17 S", "reject")
    assert banner_of(GOOD).age == ""


@pytest.mark.parametrize(
    ("snapshot", "words"),
    [
        (slow(12, 17, 11), "12 frames wait, none was judged for 11 s. Last verdict: PASS, frame 812."),
        (slow(2, 70, 33, 16.0), "2 frames wait, none was judged for 33 s. Last verdict: PASS, frame 812."),
        (
            slow(0, 17, 4, 16.0),
            "No frame for 17 s. Last verdict: PASS, frame 812.",
        ),  # the camera gives no more
        (
            slow(12, 17, -3600),
            "12 frames wait, none was judged for 1 h 00 min. Last verdict: PASS, frame 812.",
        ),
    ],
)
def test_frames_that_wait_do_not_keep_an_old_pass_alive(snapshot: Snapshot, words: str) -> None:
    banner = banner_of(snapshot)
    assert (banner.word, banner.tone, banner.words) == ("WAITING", "idle", words)


@pytest.mark.parametrize("state", ["blind", "paused", "failed", "ended", "stopping"])
def test_a_line_that_is_behind_and_blind_is_blind(state: str) -> None:
    behind = slow(12, 17, 4)
    assert behind.beat is not None
    banner = banner_of(replace(behind, beat=replace(behind.beat, state=state)))
    assert banner.word != "PASS" and banner.tone in ("blind", "idle")


def test_silence_is_told_with_its_age_and_the_last_verdict() -> None:
    words = banner_of(with_beat(utc_ns=NOW - 75 * S)).words
    assert "1 min 15 s" in words and "PASS, frame 812" in words


def test_a_station_that_is_over_or_silent_is_not_alive() -> None:
    assert GOOD.alive
    assert not with_beat(state="ended").alive
    assert not with_beat(utc_ns=NOW - 4 * S).alive
    assert not replace(GOOD, trouble="locked").alive


@pytest.mark.parametrize("word", VerdictWord)
def test_each_verdict_has_word_symbol_and_a_tone_that_can_be_read(word: VerdictWord) -> None:
    banner = banner_of(replace(GOOD, current=replace(PASSED, word=word, why="oil")))
    assert banner.word == word.value and banner.symbol == SYMBOLS[word]
    assert len(set(SYMBOLS.values())) == len(VerdictWord)
    assert contrast(GROUND[banner.tone], INK[banner.tone]) >= 4.5  # WCAG 2.1, level AA


def test_every_tone_can_be_read() -> None:
    for tone, ground in GROUND.items():
        assert contrast(ground, INK[tone]) >= 4.5, tone


def contrast(one: str, other: str) -> float:
    lights = sorted(luminance(one) for one in (one, other))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_glyph_is_rectangular_and_its_own() -> None:
    for letter, drawn in GLYPHS.items():
        rows = drawn.split()
        assert len(rows) == HEIGHT and len({len(row) for row in rows}) == 1, letter
    names = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    assert len({GLYPHS[letter] for letter in names}) == len(names)


def test_letters_shrink_to_what_fits() -> None:
    assert len(dots_of("AB")[0]) == 11
    assert [len(block_letters("PASS", scale)) for scale in (1, 2, 3)] == [3, 5, 8]
    assert len(fitting_letters("! UNINSPECTED", 76, 4)) == 3
    assert fitting_letters("! UNINSPECTED", 40, 4) == ("! UNINSPECTED",)
    for late in ("✓ PASS 17 S", "✓ PASS 59 MIN", "✗ REJECT 17 S"):  # the age stays large at 80 columns
        assert len(fitting_letters(late, 76, 4)) == 3, late


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 01 s"), (7322, "2 h 02 min")]
)
def test_ages(seconds: float, words: str) -> None:
    assert age_words(seconds) == words


def test_the_budget_is_shown_in_shares_and_the_warning_in_the_status_line() -> None:
    shares = {"infer": 0.87, "judge": 0.04, "record": 0.09}
    beat = with_beat(
        budget_ms={"infer": 87.0, "judge": 4.0, "record": 9.0, "total": 101.0},
        budget_share=shares,
        warning="infer uses 87% of the frame period",
    )
    narrow = facts_text(beat, 43).plain.splitlines()
    assert "budget   ! infer 87%  judge 4%  record 9%" in narrow
    assert len(narrow) <= 10 and max(map(len, narrow)) <= 43
    assert "infer uses 87% of the frame period" in status_line(beat) and len(status_line(beat)) <= 80
    assert "infer uses" not in status_line(replace(beat, utc_ns=NOW + 60 * S))  # nobody knows any more


@pytest.mark.parametrize(
    ("warning", "age_s", "words"),
    [
        ("", 0, "infer 87%  record 9%  total 99%"),
        ("tight", 0, "! infer 87%  record 9%  total 99%"),
        ("tight", 60, "was ! infer 87%  total 99%"),  # a station that fell silent
    ],
)
def test_a_budget_wider_than_the_screen_leaves_out_the_smallest_shares(
    warning: str, age_s: int, words: str
) -> None:
    """The total, which says whether frames are late, was cut off at 80 columns."""
    shares = {"infer": 0.87, "judge": 0.04, "record": 0.09, "total": 0.99}
    beat = with_beat(budget_ms={"infer": 87.0}, budget_share=shares, warning=warning)
    shown = facts_text(replace(beat, utc_ns=NOW + age_s * S), 43).plain.splitlines()
    assert f"budget   {words}" in shown
    whole = "infer 87%  judge 4%  record 9%  total 99%"
    assert whole in facts_text(beat, 60).plain


def test_frames_that_the_camera_lost_are_said_to_have_no_verdict() -> None:
    good = with_beat()
    assert "frames/s   gaps 0" in facts_text(good, 43).plain and "verdict" not in facts_text(good, 43).plain
    lost = facts_text(replace(good, gaps=37), 43).plain.splitlines()
    assert lost[2].endswith("frames/s  gaps 37, no verdict") and max(map(len, lost)) <= 43


def test_a_budget_that_nothing_limits_is_shown_in_milliseconds_and_none_is_left_out() -> None:
    beat = with_beat(budget_ms={"infer": 87.0, "judge": 4.0, "record": 9.0, "total": 101.0})
    assert "budget   infer 87  judge 4  record 9 ms" in facts_text(beat, 43).plain
    silent = with_beat(budget_ms={"infer": 525.0, "judge": 18.0, "record": 47.0}, utc_ns=NOW - 60 * S)
    assert "budget   was infer 525  record 47 ms" in facts_text(silent, 43).plain  # it ended in `record 4…`
    assert "budget" not in facts_text(GOOD, 43).plain
