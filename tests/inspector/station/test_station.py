"""The whole line with a fake engine: every frame once, in words, on file and live cameras."""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from line_parts import fake_serving, gray_folder, line_config, rows

from inspector.cli.audit import audit
from inspector.cli.report import report
from inspector.counting import lost_words
from inspector.db.connect import open_ledger
from inspector.db.figures import figures
from inspector.db.queries import events, gaps, health, is_alive
from inspector.db.writes import add_request
from inspector.engine.measured import KeptPlan
from inspector.errors import ConfigError, InspectionError
from inspector.pipeline import Pipeline
from inspector.recorder import Recorded
from inspector.station import RunSummary, line, opening, run_station
from inspector.station.outcome import nothing_inspected
from inspector.station.summary import Tally
from inspector.types import Frame, Inspection, Reason, Segmentation, Verdict, VerdictWord

KEYS = {
    "grabbed",
    "verdicts",
    "reasons",
    "reason_classes",
    "gaps",
    "waiting",
    "others_share",
    "fps",
    "latency_ms",
    "stages_ms",
    "engine",
    "coverage",
    "db",
    "truth",
    "warnings",
}


@pytest.fixture(autouse=True)
def fake_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    use_engine(monkeypatch)


def use_engine(monkeypatch: pytest.MonkeyPatch, **engine: object) -> None:
    monkeypatch.setattr(opening, "open_serving", fake_serving(**engine))
    monkeypatch.setattr(line, "open_serving", fake_serving(**engine))


def kinds(folder: Path, summary: RunSummary) -> list[str]:
    ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}")
    try:
        return [event.kind for event in events(ledger, summary.run_id)]
    finally:
        ledger.dispose()


def test_a_folder_is_judged_frame_by_frame(tmp_path: Path) -> None:
    source = gray_folder(tmp_path / "in", [128, 5, None, 128, 0, 128])
    summary = run_station(line_config(tmp_path, str(source)))
    assert summary.error is None
    assert rows(tmp_path) == [
        (1, "PASS", None), (2, "REJECT", "unlisted"), (3, "UNINSPECTED", "format"),
        (4, "PASS", None), (5, "REJECT", "unlisted"), (6, "PASS", None),
    ]  # fmt: skip
    result = summary.json()
    assert set(result) == KEYS
    assert result["grabbed"] == 6
    assert result["verdicts"] == {"PASS": 3, "REJECT": 2, "REVIEW": 0, "UNINSPECTED": 1}
    assert result["reasons"] == {"unlisted": 2, "format": 1}
    assert result["reason_classes"] == {"unlisted": {"hole": 2}}
    assert set(result["latency_ms"]) == {"p50", "p95", "p99", "max"} and result["latency_ms"]["max"] > 0
    assert set(result["engine"]) == {"name", "precision", "device", "package", "certificate"}
    assert result["coverage"] == 1.0
    assert "PASS 3  REJECT 2" in summary.text()
    assert (
        "no limit set 2: hole 2 (hole found, any hole rejects: no rule sets a limit for it)" in summary.text()
    )


def test_outputs_tell_each_verdict_once_and_only_pass_passes(tmp_path: Path) -> None:
    source = gray_folder(tmp_path / "in", [128, 5, None])
    run_station(line_config(tmp_path, str(source)))
    lines = [json.loads(text) for text in (tmp_path / "out.jsonl").read_text().splitlines()]
    told = [
        (one["frame"], one["verdict"], one["pass"]) for one in sorted(lines, key=lambda one: one["frame"])
    ]
    assert told == [(1, "PASS", True), (2, "REJECT", False), (3, "UNINSPECTED", False)]
    by_frame = {one["frame"]: one for one in lines}
    assert by_frame[2]["defects"][0]["class"] == "hole" and by_frame[2]["defects"][0]["box"] == [
        10,
        10,
        20,
        20,
    ]
    assert by_frame[3]["source"] == "02.png"


def test_a_slow_engine_never_makes_a_file_drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_engine(monkeypatch, delay_s=0.02)
    source = gray_folder(tmp_path / "in", [128] * 12)
    summary = run_station(line_config(tmp_path, str(source)))
    assert summary.json()["verdicts"]["PASS"] == 12


def test_frames_ends_the_run_and_the_last_one_is_judged(tmp_path: Path) -> None:
    source = gray_folder(tmp_path / "in", [128] * 9)
    summary = run_station(line_config(tmp_path, str(source)), frames=4)
    assert rows(tmp_path) == [(n, "PASS", None) for n in range(1, 5)]
    assert summary.grabbed == 4


def test_a_live_camera_that_is_too_fast_gives_overruns_not_holes(tmp_path: Path, monkeypatch) -> None:
    use_engine(monkeypatch, delay_s=0.05)
    summary = run_station(line_config(tmp_path, "sim:?fps=60&size=40x60&frames=40"))
    found = rows(tmp_path)
    assert [number for number, _, _ in found] == list(range(1, summary.grabbed + 1))
    reasons = {reason for _, word, reason in found if word == "UNINSPECTED"}
    assert reasons == {"overrun"}
    assert any(word == "PASS" for _, word, _ in found)
    assert found[-1][1] == "PASS"


def test_the_queue_policy_keeps_what_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_engine(monkeypatch, delay_s=0.05)
    camera = {"policy": "queue", "queue": 64}
    summary = run_station(line_config(tmp_path, "sim:?fps=60&size=40x60&frames=20", camera=camera))
    assert summary.json()["verdicts"]["UNINSPECTED"] == 0
    assert summary.grabbed + summary.tally.gaps == 20


def test_faults_of_the_simulator_arrive_as_reasons(tmp_path: Path) -> None:
    log = tmp_path / "sim.jsonl"
    faults = "black@3,broken@5,size@7,frozen@9-11,lost@13"
    spec = f"sim:?fps=15&size=40x60&frames=16&fault={faults}&log={log}"
    camera = {"frozen_frames": 2, "policy": "queue"}
    summary = run_station(line_config(tmp_path, spec, camera=camera))
    emitted = [
        entry for text in log.read_text().splitlines() if (entry := json.loads(text))["event"] == "emitted"
    ]
    codes = {"black": "black", "broken": "camera", "size": "format", "frozen": "frozen", None: None}
    assert rows(tmp_path) == [
        (n, "UNINSPECTED" if entry["fault"] else "PASS", codes[entry["fault"]])
        for n, entry in enumerate(emitted, 1)
    ]
    assert summary.tally.gaps == 16 - len(emitted) >= 1
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert sum(gap.count for gap in gaps(ledger, summary.run_id)) == summary.tally.gaps
    ledger.dispose()
    never_seen = f"{lost_words(summary.tally.gaps)}\n"
    assert f"\nlost       {never_seen}" in summary.text()
    for command, begins in ((report, "Lost by the camera: "), (audit, "LOST     ")):
        said = CliRunner().invoke(command, ["--db", str(tmp_path / "ledger.db")], standalone_mode=False)
        assert f"\n{begins}{never_seen}" in said.stdout


def test_frames_that_fill_the_memory_go_from_engine_to_recorder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_engine(monkeypatch)
    order: list[str] = []
    segment, judge = Pipeline.segment, Pipeline.judge

    def slow_judge(self: Pipeline, frame: Frame, *given: Any) -> Inspection:
        time.sleep(0.02)
        said = judge(self, frame, *given)
        order.append(f"judged {frame.number}")
        return said

    def noted_segment(self: Pipeline, frame: Frame) -> Segmentation:
        order.append(f"begun {frame.number}")
        return segment(self, frame)

    monkeypatch.setattr(Pipeline, "judge", slow_judge)
    monkeypatch.setattr(Pipeline, "segment", noted_segment)
    source = gray_folder(tmp_path / "in", [128, 0, 128, 128, 0])
    summary = run_station(line_config(tmp_path, str(source), model={"memory_mb": 64}))
    assert order == [f"{what} {n}" for n in range(1, 6) for what in ("begun", "judged")]
    assert summary.json()["verdicts"]["REJECT"] == 2


def test_a_judge_that_dies_holds_nobody_where_frames_go_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_engine(monkeypatch)
    monkeypatch.setattr(Pipeline, "judge", lambda *_: (_ for _ in ()).throw(ValueError("broken")))
    source = gray_folder(tmp_path / "in", [128] * 4)
    summary = run_station(line_config(tmp_path, str(source), model={"memory_mb": 64}))
    assert summary.error is not None
    assert [word for _, word, _ in rows(tmp_path)] == ["UNINSPECTED"] * summary.grabbed


def test_stop_refuses_what_waits_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_engine(monkeypatch, delay_s=0.2)
    source = gray_folder(tmp_path / "in", [128] * 30)
    stop = threading.Event()
    timer = threading.Timer(0.5, stop.set)
    summary = run_station(line_config(tmp_path, str(source)), stop=stop, on_ready=lambda _: timer.start())
    found = rows(tmp_path)
    assert [number for number, _, _ in found] == list(range(1, summary.grabbed + 1))
    assert 0 < summary.grabbed < 30
    assert {reason for _, word, reason in found if word == "UNINSPECTED"} == {"shutdown"}
    assert summary.error is None
    assert "stopped" in kinds(tmp_path, summary)


def ask(config, run_id: str, *requests: tuple[float, str]) -> threading.Thread:
    """Put these (seconds from now, kind) into the requests table."""

    def work() -> None:
        ledger = open_ledger(config.recording.db)
        for wait_s, kind in requests:
            threading.Event().wait(wait_s)
            add_request(ledger, run_id, kind, "ada")
        ledger.dispose()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_pause_resume_and_stop_are_asked_in_the_ledger(tmp_path: Path) -> None:
    config = line_config(tmp_path, "sim:?fps=20&size=40x60")
    threads = []
    asked = ((0.3, "pause"), (0.8, "resume"), (0.8, "stop"))
    summary = run_station(config, on_ready=lambda run_id: threads.append(ask(config, run_id, *asked)))
    threads[0].join()
    found = rows(tmp_path)
    assert [number for number, _, _ in found] == list(range(1, summary.grabbed + 1))
    words = [reason or word for _, word, reason in found]
    assert "paused" in words
    assert words.index("paused") > 0 and words[0] == "PASS"
    assert "PASS" in words[len(words) - words[::-1].index("paused") :]
    assert kinds(tmp_path, summary).count("pause") == 1
    assert {"pause", "resume", "stop"} <= set(kinds(tmp_path, summary))
    states = rows(tmp_path, "SELECT kind, state FROM requests ORDER BY id")
    assert states == [("pause", "done"), ("resume", "done"), ("stop", "done")]


def test_the_last_beat_says_that_the_line_ended_and_nobody_holds_the_run(tmp_path: Path) -> None:
    summary = run_station(line_config(tmp_path, str(gray_folder(tmp_path / "in", [128, 5]))))
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    beat = health(ledger, summary.run_id)
    assert beat.state == "ended"
    assert beat.engine == "fake" and beat.package == summary.engine.package
    assert not is_alive(ledger, summary.run_id)
    ledger.dispose()


def test_a_truncated_video_is_said_aloud_and_in_the_ledger(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import cv2
    import numpy as np

    writer = cv2.VideoWriter(str(tmp_path / "w.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 30, (60, 40))
    for _ in range(30):
        writer.write(np.arange(100, 160, dtype=np.uint8)[None, :, None].repeat(40, axis=0).repeat(3, axis=2))
    writer.release()
    whole = (tmp_path / "w.avi").read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: len(whole) // 2])
    summary = run_station(line_config(tmp_path, str(cut)))
    assert summary.error is None and 0 < summary.grabbed < 30
    assert "camera_ended_early" in kinds(tmp_path, summary)
    assert f"cut.avi ended after {summary.grabbed} of 30 frames" in caplog.text
    assert "record or copy it again" in caplog.text
    (warning,) = summary.json()["warnings"]
    assert f"cut.avi ended after {summary.grabbed} of 30 frames" in warning
    assert f"\nevent      {warning}" in summary.text()
    said = CliRunner().invoke(report, ["--db", str(tmp_path / "ledger.db")], standalone_mode=False)
    assert f"  event       {warning}\n" in said.stdout


def test_a_line_at_its_limit_warns_once_in_the_ledger_and_in_its_beat(tmp_path: Path, monkeypatch) -> None:
    use_engine(monkeypatch, delay_s=0.045)
    camera = {"policy": "queue", "queue": 64}
    summary = run_station(line_config(tmp_path, "sim:?fps=20&size=40x60&frames=60", camera=camera))
    assert kinds(tmp_path, summary).count("budget_warning") == 1
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    beat = health(ledger, summary.run_id)
    ledger.dispose()
    assert beat is not None and "of the frame period" in beat.warning
    assert beat.budget_ms["infer"] >= 45 and beat.budget_share["infer"] > 0.8
    assert {"infer", "judge", "record", "total"} == set(beat.budget_ms)


def test_a_line_with_time_to_spare_says_so_and_warns_of_nothing(tmp_path: Path) -> None:
    summary = run_station(line_config(tmp_path, "sim:?fps=15&size=40x60&frames=40"))
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    beat = health(ledger, summary.run_id)
    ledger.dispose()
    assert "budget_warning" not in kinds(tmp_path, summary)
    assert beat is not None and beat.warning == "" and 0 < beat.budget_share["infer"] < 0.8


def test_a_zone_beyond_the_frame_is_said_at_the_start(tmp_path: Path, caplog) -> None:
    zone = {"name": "face", "polygon_px": [[2, 2], [55, 2], [55, 38], [2, 38]]}
    source = str(gray_folder(tmp_path / "in", [128]))
    summary = run_station(line_config(tmp_path, source, recipe={"zones": [zone]}))
    assert kinds(tmp_path, summary) == ["config_warning"]
    assert "event      zone 'face' reaches beyond the 40x60 frame" in summary.text()
    assert "zone 'face' reaches beyond the 40x60 frame; corners are [y, x] in pixels" in caplog.text
    zone["polygon_px"] = [[50, 2], [55, 2], [55, 38]]
    with pytest.raises(ConfigError, match="'face' lies outside the 40x60 frame"):
        run_station(line_config(tmp_path, source, recipe={"zones": [zone]}))
    unread = str(gray_folder(tmp_path / "none", [None]))  # no picture: nothing to hold the zone against
    assert "(format 1)" in str(run_station(line_config(tmp_path, unread, recipe={"zones": [zone]})).error)


def test_summary_and_report_give_the_same_latencies(tmp_path: Path) -> None:
    grays = [128, 5, None, 128, 0, 128] * 4
    summary = run_station(line_config(tmp_path, str(gray_folder(tmp_path / "in", grays))))
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert summary.json()["latency_ms"] == figures(ledger, summary.run_id).latency_ms
    ledger.dispose()


def test_without_an_inspected_frame_there_is_no_latency(tmp_path: Path) -> None:
    summary = run_station(line_config(tmp_path, str(gray_folder(tmp_path / "in", [None]))))
    assert summary.json()["latency_ms"] == {"p50": None, "p95": None, "p99": None, "max": None}
    assert "latency    none" in summary.text()
    assert "frames     1 grabbed, none inspected, 0 lost by the camera\nverdicts" in summary.text()


@pytest.mark.parametrize(
    ("grays", "recipe", "words"),
    [
        (
            [None, None],
            {},
            r"None of 2 frames was inspected \(format 2\), so nothing was judged; give pictures",
        ),
        ([None], {}, r"The only frame was not inspected \(format 1\)"),
        ([128] * 3, {"deadline_ms": 0.01}, r"None of 3 frames .*\(late 3\).*; raise recipe.deadline_ms"),
    ],
)
def test_a_run_that_inspected_nothing_is_no_success(
    tmp_path: Path, grays: list[int | None], recipe: dict[str, Any], words: str
) -> None:
    """A deadline below what a frame takes ended with exit code 0, and so did a folder of no images."""
    summary = run_station(line_config(tmp_path, str(gray_folder(tmp_path / "in", grays)), recipe=recipe))
    assert type(summary.error) is InspectionError and summary.error.exit_code == 1
    assert re.match(words, str(summary.error))


def test_a_line_that_was_told_to_stop_or_pause_has_not_failed(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    source = str(gray_folder(tmp_path / "in", [128]))
    summary = run_station(line_config(tmp_path, source), stop=stop)
    assert (summary.grabbed, summary.error) == (0, None)
    assert nothing_inspected(left_out("paused", "shutdown"), stopped=False) is None
    assert nothing_inspected(left_out("shutdown", "overrun"), stopped=True) is None
    assert "(overrun 1)" in str(nothing_inspected(left_out("shutdown", "overrun"), stopped=False))


def left_out(*codes: str) -> Tally:
    """The counts of a run whose frames were left out for these reasons."""
    tally = Tally()
    for number, code in enumerate(codes, 1):
        frame, verdict = Frame(number, None, 0, 0, "c"), Verdict(VerdictWord.UNINSPECTED, (Reason(code, ""),))
        tally.add([Recorded(number, "R", Inspection(frame, verdict), None, 1, 1)])
    return tally


def kept(frame_ms: float, others: float = 0.0) -> KeptPlan:
    return KeptPlan((60, 60), frame_ms, others, "2026-11-23T08:00:00+00:00")


@pytest.mark.parametrize(
    ("plan", "deadline_ms", "words"),
    [
        (kept(206.0), 100, "takes about 206 ms on this machine, more than recipe.deadline_ms = 100"),
        (kept(20.0, others=0.4), None, "The plan of 2026-11-23 is doubtful: other programs took 40% of"),
        (kept(20.0, others=0.4), None, "measure them again with `inspector plan --again`"),
        (kept(90.0), 100, None),
        (kept(206.0), None, None),
        (None, 100, None),
    ],
)
def test_what_the_measured_plan_says_against_a_line_is_said_at_its_start(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plan: KeptPlan | None,
    deadline_ms: float | None,
    words: str | None,
) -> None:
    monkeypatch.setattr("inspector.engine.measured.kept_plan", lambda *_: plan)
    source, said = str(gray_folder(tmp_path / "in", [128])), []
    config = line_config(tmp_path, source, recipe={"deadline_ms": deadline_ms})
    summary = run_station(config, on_ready=lambda run_id: said.append(run_id))
    assert said and (words is None) == (summary.tally.warnings == [])
    assert words is None or any(words in warning for warning in summary.tally.warnings)
    assert ("config_warning" in kinds(tmp_path, summary)) == (words is not None)


def test_the_summary_says_when_others_had_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(gray_folder(tmp_path / "in", [128]))
    for share, said in ((0.09, False), (0.34, True)):
        monkeypatch.setattr(line.Rivals, "share", lambda _, share=share: share)
        summary = run_station(line_config(tmp_path, source))
        assert summary.json()["others_share"] == share
        assert ("processor  other programs took 34% of it during the run" in summary.text()) == said


def test_how_far_a_run_is_names_the_whole_and_the_time_left(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(line, "PROGRESS_S", 0.0)
    use_engine(monkeypatch, delay_s=0.05)
    folder, said = str(gray_folder(tmp_path / "in", [128] * 12)), []
    run_station(line_config(tmp_path, folder), on_progress=said.append)
    assert any(re.fullmatch(r"frame \d+ of 12: PASS \d+, [\d.]+ fps, .+ left", words) for words in said), said


@pytest.mark.parametrize(
    ("live", "total", "frames", "of"),
    [
        (False, 132, None, 132),
        (False, 132, 9, 9),
        (False, 5, 9, 5),
        (False, None, None, None),
        (True, 132, None, None),
        (True, 132, 9, 9),
    ],
)
def test_only_a_camera_decides_how_many_frames_there_will_be(
    live: bool, total: int | None, frames: int | None, of: int | None
) -> None:
    camera = SimpleNamespace(live=live, total=total)
    assert line.frames_in_all(camera, frames) == of  # type: ignore[arg-type]
