"""The verdict tells right answers from speeds that may be trusted, and the page is for a buyer."""

from __future__ import annotations

from typing import Any

import pytest
from qualified import WRONG, figures, row, soaked

from deploy.qualify.report import page
from deploy.qualify.verdict import soak_doubts, verdict

QUIET = "Other programs took at most 2% of the processor meanwhile."


def words(rows: list[dict[str, Any]], soak: dict[str, Any] | None = None) -> str:
    return str(verdict(rows, soak or soaked(), 4096)["verdict"])


def test_right_answers_at_speeds_that_may_be_trusted_hold() -> None:
    found = verdict([row()], soaked(), 4096)
    assert (
        found["verdict"].startswith("HOLDS: 1 run, each with its certificate") and QUIET in found["verdict"]
    )
    assert found["answers_hold"] and found["doubts"] == []
    assert words([row(), row(outcome="not run", words="no driver")]).startswith("HOLDS: 1 run")
    assert "3% of the processor" in words([row(others_share=0.03), row()])
    assert "was not measured" in words([row(others_share=None), row()])


@pytest.mark.parametrize(
    ("rows", "soak", "clause"),
    [
        ([row(parity=WRONG)], {}, "openvino f32 on seeing-4-3, 90x120 gives another answer"),
        ([row(), row(outcome="refused", words="x")], {}, "openvino f32 on seeing-4-3, 90x120: refused"),
        ([row(outcome="failed", words="x")], {}, "openvino f32 on seeing-4-3, 90x120: failed"),
        ([row()], {"wrong": 2}, "2 answers of the soak changed"),
        ([row()], {"outcome": "refused", "words": "x"}, "the soak refused"),
        ([row(rss_mb=4097)], {}, "openvino f32 on seeing-4-3, 90x120 took 4097 MB, limit 4096 MB"),
        ([row()], {"rss_last_mb": 441}, "the soak began with 400 MB and ended with 441 MB"),
    ],
)
def test_anything_that_ran_wrong_falls_short(
    rows: list[dict[str, Any]], soak: dict[str, Any], clause: str
) -> None:
    found = verdict(rows, soaked(**soak), 4096)
    assert found["verdict"].startswith(f"FALLS SHORT: {clause}") and not found["answers_hold"]


@pytest.mark.parametrize(
    ("changes", "soak"),
    [
        ({"rss_mb": 4096}, {}),
        ({"rss_mb": 9000, "on_gpu": True}, {}),  # its maps are not there, and the limit is not meant for it
        ({}, {"rss_last_mb": 440}),
        ({"parity": {**WRONG, "verdict": "told"}}, {}),
    ],
)
def test_what_is_within_its_limit_holds(changes: dict[str, Any], soak: dict[str, Any]) -> None:
    assert words([row(**changes)], soaked(**soak)).startswith("HOLDS: 1 run")


def test_speeds_in_doubt_leave_the_answers_and_say_so() -> None:
    """A share of 1.96 of the matrix product stood under a bare HOLDS."""
    busy = row(doubts=["other programs took 45% of the processor"])
    impossible = row(
        engine_name="openvino bf16", doubts=["a network cannot run at 1.96 times the matrix product"]
    )
    found = verdict([row(), busy, impossible], soaked(), 4096)
    assert found["answers_hold"] and len(found["doubts"]) == 2
    assert found["verdict"].startswith("ANSWERS HOLD, SPEEDS ARE NOT TO BE TRUSTED: 3 runs")
    for part in (
        "90x120: other programs took 45%",
        "of 2 of 3 runs",
        "the others in the table",
        "`--again`",
        "quiet",
    ):
        assert part in found["verdict"]
    wrong = words([busy, row(parity=WRONG)])
    assert wrong.startswith("FALLS SHORT") and "The speeds of 1 of 2 runs are not to be trusted" in wrong
    of_soak = words([row()], soaked(doubts=["other programs took 20% of it"]))
    assert of_soak.startswith("HOLDS: 1 run") and "times of the soak are not to be trusted (other" in of_soak


@pytest.mark.parametrize(
    ("changes", "doubts"),
    [
        ({}, 0),
        ({"others_share": 0.3}, 1),
        ({"last_ms": {"p50": 126.0, "max": 130.0}}, 1),
        ({"last_ms": {"p50": 79.0, "max": 130.0}}, 1),
        ({"last_ms": {"p50": 124.0, "max": 130.0}}, 0),
        ({"last_ms": {"p50": 900.0, "max": 900.0}, "frames": 49}, 0),
        ({"outcome": "not run"}, 0),
    ],
)
def test_the_times_of_a_soak_are_doubted_too(changes: dict[str, Any], doubts: int) -> None:
    assert len(soak_doubts(soaked(**changes))) == doubts


def test_nothing_that_ran_is_no_success() -> None:
    found = verdict([], {"outcome": "not run", "words": "x"}, 4096)
    assert found["verdict"].startswith("NOTHING RAN") and found["answers_hold"] is None


def test_the_page_begins_with_what_the_machine_can_do() -> None:
    noted = {"note": "first convolution in f32"}
    bf16 = row(engine_name="openvino bf16", precision="bf16", frame_s=0.25, reference=False, engine=noted,
               parity={"levels": 2, "changed_px": 1, "pixels": 10_800, "verdict": "holds"})  # fmt: skip
    wrong = row(engine_name="torch f32", frame_s=0.01, parity=WRONG)
    large = row(frame=[3000, 4000], frame_s=8.0, product={"flop_per_s": 3e11, "tool": "OpenVINO"})
    small = row(product={"flop_per_s": 1e11, "tool": "OpenVINO, sides of 2048"})
    lines = page(figures([small, bf16, wrong, large], soaked())).splitlines()
    titles = [line for line in lines if line.startswith("#")]
    assert titles[0] == "# Qualification of a processor, 2 cores"
    assert titles[1:3] == ["## What this machine can do", "## Every run"]
    assert titles[3:] == ["## Engines", "## Soak", "## Words", "## Files"]
    assert "| network | 90x120 (0.0 MP) | 3000x4000 (12.0 MP) |" in lines
    # The fastest whose answers hold; what gives another answer is no speed.
    can = "4.0 frames/s (openvino bf16) | 0.12 frames/s, 8 s each (openvino f32)"
    assert f"| seeing-4-3: base 4, depth 3 | {can} |" in lines
    assert "2 of 256 levels, 1 of 10,800 px (holds); first convolution in f32 |" in "\n".join(lines)
    assert any("finished 2026-11-23T11:00:00+00:00, whole: 5 of 5 measurements" in line for line in lines)
    product = "| openvino f32 | run | 200 GFLOP/s, 100 to 300 over 2 runs (OpenVINO, sides of 2048) |"
    assert product in lines


def test_speeds_in_doubt_are_marked_wherever_they_stand() -> None:
    quiet, busy = row(), row(frame=[3000, 4000], others_share=0.45, doubts=["other programs took 45% of it"])
    text = page(figures([quiet, busy], soaked(doubts=["other programs took 20% of it"])))
    assert "| 2.0 frames/s (openvino f32) | 2.0 ? frames/s (openvino f32) |" in text
    assert (
        "| 500 ? | 2.00 ? | 100 ? | 0.50 ? | 0.970 ? | reference | 400 | 45%; other programs took 45% of it |"
        in text
    )
    assert "| 500 | 2.00 | 100 | 0.50 | 0.970 | reference | 400 | 2% |" in text
    assert "| openvino f32 | run | 200 ? GFLOP/s (OpenVINO, sides of 2048) |" in text
    assert "Its times are not to be trusted: other programs took 20% of it." in text


def test_an_unfinished_page_says_so_first() -> None:
    text = page(figures([row()], None, finished=None, total=37))
    third = text.splitlines()[2]
    assert third.startswith(
        "**UNFINISHED, 1 of 37 measurements; the same command goes on. So far: HOLDS: 1 run"
    )
    assert "not finished: 1 of 37 measurements" in text and "Still to come." in text
    assert "UNFINISHED" in page(figures([], None, finished=None, total=37, engines=[]))


def test_engines_that_ran_nowhere_say_why_and_how_and_fill_no_table() -> None:
    int8 = row(
        engine_name="openvino int8", outcome="not run", words="it is in floating point; give an int8 one"
    )
    gpu = {"name": "torch fp16 GPU", "lacks": "CUDA finds no NVIDIA GPU; install the driver"}
    shown = figures([row(), int8], soaked())
    text = page({**shown, "engines": [*shown["engines"], gpu]})
    assert "| openvino int8 | not run: it is in floating point; give an int8 one |" in text
    assert "| torch fp16 GPU | not run: CUDA finds no NVIDIA GPU |" in text
    assert text.count("openvino int8") == 1


def test_a_glance_says_that_it_is_one_and_memory_that_nobody_measured_has_no_column() -> None:
    shown = figures([row()], soaked(), scope={"quick": True}, notes=["Stopped once."])
    text = page(shown)
    assert "**Only a glance:**" in text and "Stopped once." in text and "| memory MB |" in text
    without = {key: value for key, value in row().items() if key != "rss_mb"}
    text = page(figures([without], soaked()))
    assert "Only a glance" not in text and "| memory MB |" not in text


def test_two_frames_that_look_alike_are_said_to_prove_nothing() -> None:
    assert "an old answer would not show" in page(figures([row()], soaked(answers_differ=False)))
    assert "an old answer" not in page(figures([row()], soaked()))
