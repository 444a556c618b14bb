"""Counts and quantiles in bounded memory."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest

from inspector.counting import (
    Latencies,
    ReasonCount,
    counted,
    latency_text,
    lost_words,
    rate_words,
    reasons_text,
)
from inspector.recorder import Recorded
from inspector.station.summary import Tally
from inspector.types import Defect, Fault, Frame, Inspection, Reason, Verdict, VerdictWord
from inspector.verdict import judge


def record(number: int, word: VerdictWord, latency_ms: float, *codes: str) -> Recorded:
    verdict = Verdict(word, tuple(Reason(code, "") for code in codes))
    inspection = Inspection(
        Frame(number, None, 0, 10**9 * number, "c"), verdict, coverage=0.5, stages_ms={"infer": 4}
    )
    return Recorded(number, "R", inspection, None, *[10**9 * number + round(latency_ms * 1e6)] * 2)


def test_quantiles_are_close_and_the_largest_is_exact() -> None:
    rng, latencies = random.Random(1), Latencies()
    values = sorted(rng.lognormvariate(3, 1) for _ in range(5000))
    for value in values:
        latencies.add(value)
    for share in (0.5, 0.95, 0.99):
        assert latencies.quantile(share) == pytest.approx(values[int(share * 5000) - 1], rel=0.0006)
    assert latencies.max == values[-1] and latencies.quantile(1.0) == pytest.approx(values[-1], rel=0.0006)
    assert Latencies().quantile(0.5) is None


def test_uninspected_frames_count_but_have_no_latency_and_no_coverage() -> None:
    tally = Tally()
    tally.add([record(1, VerdictWord.PASS, 20), record(2, VerdictWord.REJECT, 30, "area", "area", "count")])
    tally.add([record(3, VerdictWord.UNINSPECTED, 9000, "late")])
    assert tally.counts() == {"PASS": 1, "REJECT": 1, "REVIEW": 0, "UNINSPECTED": 1, "gaps": 0}
    assert tally.reasons.frames() == {"area": 1, "count": 1, "late": 1}
    assert tally.latencies.max == 30.0
    assert tally.coverage() == 0.5
    assert tally.stages_ms() == {"infer": 4.0}
    assert tally.fps() == pytest.approx(3 / 11, rel=0.01)


def test_progress_says_of_how_many_and_how_long() -> None:
    tally = Tally()
    assert tally.progress(132) == "frame 0 of 132: none judged yet, 0.0 fps"
    tally.add([record(number, VerdictWord.PASS, 0) for number in range(1, 22)])  # one a second
    assert tally.progress() == "frame 21: PASS 21, 1.1 fps"
    assert tally.progress(126) == "frame 21 of 126: PASS 21, 1.1 fps, 1 min 40 s left"


def test_a_record_that_comes_after_the_end_is_counted_once() -> None:
    """A recorder that hung committed it later: the verdicts added up to more than was grabbed."""
    tally = Tally()
    tally.add([record(1, VerdictWord.PASS, 20)])
    assert tally.end(3, Reason("crash", "")) == 2
    tally.add([record(2, VerdictWord.REJECT, 30, "area")])
    assert tally.counts() == {"PASS": 1, "REJECT": 0, "REVIEW": 0, "UNINSPECTED": 2, "gaps": 0}
    assert tally.reasons.frames() == {"crash": 2}


def test_files_that_are_no_images_are_counted_apart_from_other_formats() -> None:
    """`format 4` with one file's name left open whether the other three were photographs of another size."""
    tally, fault = Tally(), Reason(Fault.FORMAT, "")
    pictures = {
        "a.png": np.zeros((9, 9), np.uint8),
        "notes.txt": None,
        "small.png": np.zeros((5, 9), np.uint8),
    }
    for number, (name, image) in enumerate({**pictures, "list.csv": None}.items(), 1):
        frame = Frame(number, image, 0, number, "c", name, fault=None if name == "a.png" else fault)
        word, reasons = (VerdictWord.PASS, ()) if name == "a.png" else (VerdictWord.UNINSPECTED, (fault,))
        tally.add([Recorded(number, "R", Inspection(frame, Verdict(word, reasons)), None, number, number)])
    assert tally.reasons.frames() == {"format": 3} and tally.warnings == []
    (words,) = tally.told()
    assert words.startswith("2 of 4 are no images that can be read (format), such as notes.txt;")


def test_reasons_are_counted_by_code_and_by_class_and_the_most_frequent_words_stand_for_them() -> None:
    """One pit stood for all rejects: `unlisted 78 (pit found ...)`, seven dents among them."""
    count = ReasonCount()
    dents, pits = ([Defect(1, name, (0, 0, 1, 1), 9, 4.0, 2.0, 0.9)] for name in ("dent", "pit"))
    for frame in (dents * 3, pits, pits, dents + pits, pits):
        count.add(judge(frame, SimpleNamespace(rules=(), min_coverage=0.0), coverage=1.0).reasons)
    count.add([Reason("late", "")])
    count.add([Reason("coverage", "1.016 % of the area inspected, limit 100 %")])
    for area in ("3.5", "4"):
        count.add([Reason("area", f"dent area {area} px, limit 3 px")])
    assert count.frames() == {"unlisted": 5, "area": 2, "late": 1, "coverage": 1}
    assert count.classes() == {"unlisted": {"pit": 4, "dent": 2}, "area": {"dent": 2}}
    assert reasons_text(count.frames(), count.classes(), count.words()) == {
        "no limit set": "5: pit 4, dent 2 (such as: pit found, any pit rejects: no rule sets a limit for it)",
        "area": "2: dent 2 (such as: dent area 3.5 px, limit 3 px)",
        "late": "1",
        "coverage": "1 (1.016 % of the area inspected, limit 100 %)",
    }


def test_counts_have_the_number_of_their_noun() -> None:
    assert [counted(n, "frame") for n in (0, 1, 2, 1200)] == [
        "0 frames",
        "1 frame",
        "2 frames",
        "1,200 frames",
    ]


def test_frames_that_the_camera_lost_are_said_to_have_no_verdict() -> None:
    """`2 lost by the camera` beside verdicts that add up let a reader think that all parts were judged."""
    assert lost_words(0) == ""
    assert lost_words(1) == (
        "1 frame never reached the line and has no verdict, so parts on it were not inspected"
    )
    assert lost_words(2) == (
        "2 frames never reached the line and have no verdict, so parts on them were not inspected"
    )


def test_a_latency_says_where_it_ends() -> None:
    said = latency_text({"p50": 21.04, "p95": 30.0, "p99": 31.0, "max": 40.0})
    assert said.startswith("p50 21.0  p95 30.0") and "before the disk confirms it" in said


def test_a_slow_rate_is_not_said_as_none() -> None:
    assert [rate_words(fps) for fps in (0.0, 0.00002, 0.021, 0.149, 0.98, 1.0, 29.84)] == [
        "0.0", "0.00002", "0.021", "0.15", "0.98", "1.0", "29.8",
    ]  # fmt: skip
