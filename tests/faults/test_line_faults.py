"""What breaks while a line runs, and that no frame is lost to it: each number has one row."""

from __future__ import annotations

import importlib.util
import sys
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspector.camera import files, simulator
from inspector.camera import open as opening_of_cameras
from inspector.db import writes
from inspector.db.connect import open_ledger
from inspector.db.queries import events
from inspector.errors import CameraError, EngineError, InspectionError, LedgerError
from inspector.outputs import JsonLines
from inspector.pipeline import Pipeline
from inspector.station import grab, line, opening, run_station

_PARTS = Path(__file__).parents[1] / "inspector" / "station" / "line_parts.py"
_SPEC = importlib.util.spec_from_file_location("line_parts", _PARTS)
parts = sys.modules.setdefault("line_parts", importlib.util.module_from_spec(_SPEC))
_SPEC.loader.exec_module(parts)


@pytest.fixture(autouse=True)
def fake_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    use_engine(monkeypatch)


def use_engine(monkeypatch: pytest.MonkeyPatch, **engine: object) -> None:
    monkeypatch.setattr(opening, "open_serving", parts.fake_serving(**engine))
    monkeypatch.setattr(line, "open_serving", parts.fake_serving(**engine))


def good_folder(tmp_path: Path, count: int) -> str:
    return str(parts.gray_folder(tmp_path / "in", [128] * count))


def words(folder: Path) -> list[str]:
    """Reason code or verdict of each frame; fails where a number is missing or twice there."""
    found = parts.rows(folder)
    assert [number for number, _, _ in found] == list(range(1, len(found) + 1))
    return [reason or word for _, word, reason in found]


def event_kinds(folder: Path, run_id: str) -> list[str]:
    ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}")
    try:
        return [event.kind for event in events(ledger, run_id)]
    finally:
        ledger.dispose()


def test_an_engine_fault_is_one_uninspected_frame_and_the_line_goes_on(tmp_path: Path, monkeypatch) -> None:
    use_engine(monkeypatch, fail_runs={2}, missing_runs={4})
    summary = run_station(parts.line_config(tmp_path, good_folder(tmp_path, 5)))
    assert words(tmp_path) == ["PASS", "engine", "PASS", "engine", "PASS"]
    assert summary.error is None
    assert "engine_fault" in event_kinds(tmp_path, summary.run_id)


def test_three_faults_in_a_row_open_the_engine_again(tmp_path: Path, monkeypatch) -> None:
    engines = []

    def open_serving(config, package, size):
        engines.append(parts.fake_serving(fail_runs={2, 3, 4} if not engines else ())(config, package, size))
        return engines[-1]

    monkeypatch.setattr(opening, "open_serving", open_serving)
    monkeypatch.setattr(line, "open_serving", open_serving)
    summary = run_station(parts.line_config(tmp_path, good_folder(tmp_path, 6)))
    assert words(tmp_path) == ["PASS", "engine", "engine", "engine", "PASS", "PASS"]
    assert len(engines) == 2 and engines[0].engine.closed
    assert summary.error is None
    assert "engine_restarted" in event_kinds(tmp_path, summary.run_id)


def test_each_row_names_the_engine_that_judged_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened again, an engine may serve in another precision, and always by another certificate."""
    engines = []

    def open_serving(config, package, size):
        serving = parts.fake_serving(fail_runs={3, 4, 5} if not engines else ())(config, package, size)
        named = {"precision": ("bf16", "f32")[len(engines)], "certificate": f"proof {len(engines)}"}
        serving.engine.info = replace(serving.engine.info, **named)
        engines.append(serving.engine)
        return serving

    monkeypatch.setattr(opening, "open_serving", open_serving)
    monkeypatch.setattr(line, "open_serving", open_serving)
    summary = run_station(parts.line_config(tmp_path, good_folder(tmp_path, 9)))
    assert words(tmp_path) == ["PASS", "PASS", "engine", "engine", "engine", *["PASS"] * 4]
    judged = parts.rows(
        tmp_path,
        "SELECT number, precision, certificate FROM inspections WHERE verdict = 'PASS' ORDER BY number",
    )
    assert judged == [(n, "bf16", "proof 0") for n in (1, 2)] + [(n, "f32", "proof 1") for n in range(6, 10)]
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    (restart,) = [one for one in events(ledger, summary.run_id) if one.kind == "engine_restarted"]
    ledger.dispose()
    assert (restart.data["precision"], restart.data["certificate"]) == ("f32", "proof 1")


def test_an_engine_that_never_works_uses_up_its_budget_and_ends_the_line(tmp_path: Path, monkeypatch) -> None:
    use_engine(monkeypatch, fail_runs=range(1, 99))
    summary = run_station(parts.line_config(tmp_path, good_folder(tmp_path, 30)))
    assert isinstance(summary.error, EngineError) and "after 3 restarts" in str(summary.error)
    found = words(tmp_path)
    assert len(found) == summary.grabbed >= 12
    assert set(found) <= {"engine", "shutdown"}
    kinds = event_kinds(tmp_path, summary.run_id)
    assert kinds.count("engine_restarted") == 3 and "failed" in kinds


def test_a_camera_that_is_lost_is_opened_again(tmp_path: Path) -> None:
    source = "sim:?fps=30&size=40x60&frames=12&fault=dead@6:0.4"
    summary = run_station(parts.line_config(tmp_path, source))
    assert summary.error is None
    found = words(tmp_path)
    assert len(found) + summary.tally.gaps == 12
    kinds = event_kinds(tmp_path, summary.run_id)
    assert kinds.count("camera_lost") == 1 and kinds.count("camera_back") == 1


def test_a_camera_that_stays_away_ends_the_line_with_its_rows(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(grab, "BACKOFF_S", (0.01,))
    source = "sim:?fps=30&size=40x60&fault=dead@6:3600"
    summary = run_station(parts.line_config(tmp_path, source))
    assert isinstance(summary.error, CameraError)
    assert f"after {grab.REOPENS} attempts" in str(summary.error)
    assert len(words(tmp_path)) == summary.grabbed
    assert "failed" in event_kinds(tmp_path, summary.run_id)


def test_a_stall_is_recorded_and_passes(tmp_path: Path) -> None:
    source = "sim:?fps=30&size=40x60&frames=8&fault=stall@4:0.5"
    summary = run_station(parts.line_config(tmp_path, source, camera={"read_timeout_s": 0.2}))
    assert summary.error is None
    kinds = event_kinds(tmp_path, summary.run_id)
    assert kinds.count("camera_stalled") == 1 and kinds.count("camera_back") == 1


def test_a_ledger_that_dies_stops_the_line_and_the_next_open_has_every_number(tmp_path, monkeypatch) -> None:
    real, calls = writes.add_inspection, []

    def failing(*arguments: object) -> int:
        calls.append(1)
        if len(calls) > 3:
            raise LedgerError("The ledger cannot be written (disk full); make room.")
        return real(*arguments)

    monkeypatch.setattr(writes, "add_inspection", failing)
    summary = run_station(parts.line_config(tmp_path, good_folder(tmp_path, 400)))
    assert isinstance(summary.error, LedgerError) and "disk full" in str(summary.error)
    assert summary.grabbed < 400
    open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}").dispose()
    found = words(tmp_path)
    assert len(found) == summary.grabbed
    assert "crash" in found
    told = (tmp_path / "out.jsonl").read_text().splitlines()
    assert len(told) == sum(word != "crash" for word in found)


def test_an_output_that_cannot_be_written_stops_the_line(tmp_path: Path) -> None:
    config = parts.line_config(tmp_path, good_folder(tmp_path, 200))
    full = config.outputs[0].model_copy(update={"path": Path("/dev/full")})
    summary = run_station(config.model_copy(update={"outputs": (full,)}))
    assert isinstance(summary.error, LedgerError)
    assert "The output /dev/full cannot be written" in str(summary.error)
    open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}").dispose()
    assert len(words(tmp_path)) == summary.grabbed


def test_an_output_that_is_a_folder_is_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").mkdir()
    with pytest.raises(LedgerError, match=r"out\.jsonl cannot be written"):
        run_station(parts.line_config(tmp_path, good_folder(tmp_path, 2)))


def test_a_line_that_cannot_begin_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = []

    def open_serving(config, package, size):
        serving = parts.fake_serving()(config, package, size)
        engines.append(serving.engine)
        return serving

    monkeypatch.setattr(opening, "open_serving", open_serving)
    config = parts.line_config(tmp_path, good_folder(tmp_path, 2))
    (tmp_path / "evidence").write_text("in the way")
    with pytest.raises(LedgerError, match="Evidence cannot be written") as error:
        run_station(config)
    assert engines[0].closed
    JsonLines(config.outputs[0].path).close()  # nobody holds it
    assert error.value is not None, "the error and its frames live until here"


def test_a_judge_that_breaks_stops_the_line_and_its_frames_are_uninspected(tmp_path, monkeypatch) -> None:
    real = Pipeline.judge

    def judge(self, frame, *rest):
        if frame.number == 3:
            raise ZeroDivisionError("made for this test")
        return real(self, frame, *rest)

    monkeypatch.setattr(Pipeline, "judge", judge)
    summary = run_station(parts.line_config(tmp_path, good_folder(tmp_path, 50)))
    assert isinstance(summary.error, InspectionError)
    assert "judge stage failed (ZeroDivisionError" in str(summary.error)
    found = words(tmp_path)
    assert len(found) == summary.grabbed and found[:3] == ["PASS", "PASS", "engine"]
    assert set(found[3:]) <= {"engine", "shutdown"}


def test_a_camera_driver_that_breaks_stops_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = files.ImageFolder.read

    def read(self):
        if self._at == 4:
            raise RuntimeError("made for this test")
        return real(self)

    monkeypatch.setattr(files.ImageFolder, "read", read)
    summary = run_station(parts.line_config(tmp_path, good_folder(tmp_path, 9)))
    assert "grab stage failed (RuntimeError" in str(summary.error)
    assert len(words(tmp_path)) == summary.grabbed == 4


def test_late_and_stale_frames_are_never_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_engine(monkeypatch, delay_s=0.08)
    source = "sim:?fps=30&size=40x60&frames=12"
    late = tmp_path / "late"
    late.mkdir()
    run_station(parts.line_config(late, source, recipe={"deadline_ms": 40}))
    assert set(words(late)) <= {"late", "overrun"} and "late" in words(late)
    stale = tmp_path / "stale"
    stale.mkdir()
    run_station(parts.line_config(stale, source, camera={"policy": "queue", "queue": 8, "stale_ms": 60}))
    assert "stale" in words(stale)


def test_a_first_frame_of_another_size_than_announced_gets_its_own_plan(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(simulator.Simulator, "size", (80, 80), raising=False)
    real = simulator.Simulator.__init__

    def announce_wrongly(self, *arguments: object) -> None:
        real(self, *arguments)
        self.size = (80, 80)

    monkeypatch.setattr(simulator.Simulator, "__init__", announce_wrongly)
    summary = run_station(parts.line_config(tmp_path, "sim:?fps=30&size=40x60&frames=5"))
    assert summary.error is None
    assert words(tmp_path).count("PASS") >= 1 and "format" not in words(tmp_path)


def test_a_black_line_never_passes(tmp_path: Path) -> None:
    run_station(parts.line_config(tmp_path, "sim:?fps=30&size=40x60&frames=6&fault=black@1-6"))
    assert set(words(tmp_path)) == {"black"}


def test_a_live_camera_that_freezes_is_seen_at_defaults(tmp_path: Path) -> None:
    """It gave PASS for ever: frozen_frames had to be set by somebody who thought of it."""
    source = "sim:?fps=15&size=40x60&frames=14&fault=frozen@3-14"
    summary = run_station(parts.line_config(tmp_path, source))
    found = words(tmp_path)
    first = found.index("frozen")
    assert 4 <= first <= 6 and set(found[first:]) == {"frozen"}
    assert summary.tally.warnings == []


def test_a_covered_lens_and_a_light_stuck_full_on_are_seen_at_defaults(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0)
    for number in range(2):
        dark = noise.integers(0, 4, (120, 160), np.uint8)
        dark[50, 70] = 255  # a hot pixel, as most sensors have one
        cv2.imwrite(str(tmp_path / "in" / f"{number}.png"), dark)
    cv2.imwrite(str(tmp_path / "in" / "2.png"), np.full((120, 160), 255, np.uint8))
    summary = run_station(parts.line_config(tmp_path, str(tmp_path / "in")))
    assert words(tmp_path) == ["black", "black", "camera"]
    assert "(black 2, camera 1), so nothing was judged; look at light and lens" in str(summary.error)
    for number in range(2):
        (tmp_path / "in" / f"{number}.png").unlink()
    summary = run_station(parts.line_config(tmp_path, str(tmp_path / "in")))
    assert "look at the camera, its light and its exposure" in str(summary.error)


@pytest.mark.parametrize(("frozen_frames", "said"), [(0, True), (5, False)])
def test_a_line_that_would_not_see_a_frozen_camera_says_so_at_its_start(
    tmp_path: Path, frozen_frames: int, said: bool
) -> None:
    camera = {"frozen_frames": frozen_frames}
    summary = run_station(parts.line_config(tmp_path, "sim:?fps=30&size=40x60&frames=2", camera=camera))
    assert any("frozen_frames = 0, so a camera that" in one for one in summary.tally.warnings) == said
    assert ("config_warning" in event_kinds(tmp_path, summary.run_id)) == said


def test_a_folder_without_one_readable_image_is_all_uninspected(tmp_path: Path) -> None:
    folder = parts.gray_folder(tmp_path / "in", [None, None, None])
    summary = run_station(parts.line_config(tmp_path, str(folder)))
    assert words(tmp_path) == ["format"] * 3
    assert summary.json()["coverage"] == 0.0 and summary.json()["latency_ms"]["max"] is None


def test_a_grab_without_a_picture_or_fault_is_a_camera_fault(tmp_path: Path, monkeypatch) -> None:
    def read(self):
        self._at += 1
        images = [None, np.arange(100, 160, dtype=np.uint8)[None].repeat(40, axis=0)]
        return files.grab_of(images[self._at - 1], "made") if self._at <= 2 else None

    monkeypatch.setattr(files.ImageFolder, "read", read)
    run_station(parts.line_config(tmp_path, good_folder(tmp_path, 1)))
    assert words(tmp_path) == ["camera", "PASS"]


def test_an_error_of_the_line_itself_leaves_no_run_open_and_no_frame_without_a_row(tmp_path, monkeypatch):
    def broken(self) -> None:
        if self._recorder.counter.last >= 3:
            raise ZeroDivisionError("made for this test")

    monkeypatch.setattr(line.RequestDesk, "serve", broken)
    with pytest.raises(ZeroDivisionError):
        run_station(parts.line_config(tmp_path, "sim:?fps=30&size=40x60"))
    assert parts.rows(tmp_path, "SELECT end, counted FROM runs") == [("closed", len(words(tmp_path)))]
    assert not [one for one in threading.enumerate() if one.name in ("grab", "infer", "judge", "recorder")]


def test_a_stream_that_falls_silent_while_its_size_is_learned_is_opened_again(tmp_path, monkeypatch) -> None:
    """Not every camera says its size; the first picture then tells it, and it may not come at once."""
    opened = []

    class Shy(simulator.Simulator):
        def open(self) -> None:
            opened.append(1)
            self.size = None
            super().open()
            self.size = None

        def read(self):
            if len(opened) < 3:
                raise CameraError("The stream sim: gave no frame.")
            return super().read()

    monkeypatch.setattr(opening_of_cameras, "Simulator", Shy)
    summary = run_station(parts.line_config(tmp_path, "sim:?fps=30&size=40x60&frames=4"))
    assert summary.error is None and len(opened) == 3
    assert "PASS" in words(tmp_path)


def test_a_live_camera_that_never_shows_a_picture_starts_and_stops(tmp_path: Path) -> None:
    folder = parts.gray_folder(tmp_path / "in", [None])
    summary = run_station(parts.line_config(tmp_path, f"sim:{folder}?fps=500&loop=1"), frames=60)
    assert words(tmp_path) == ["format"] * summary.grabbed and summary.grabbed == 60


def test_a_driver_that_hangs_cannot_hold_the_stop_and_is_not_closed_under_its_read(tmp_path, monkeypatch):
    stop, gate, closed_at = threading.Event(), threading.Event(), []
    real_read, real_close = simulator.Simulator.read, simulator.Simulator.close

    def read(self):
        if self._seq >= 4:
            stop.set()
            gate.wait(30)
        return real_read(self)

    def close(self):
        closed_at.append(gate.is_set())
        real_close(self)

    monkeypatch.setattr(simulator.Simulator, "read", read)
    monkeypatch.setattr(simulator.Simulator, "close", close)
    monkeypatch.setattr(line, "STOP_S", 0.3)
    config = parts.line_config(tmp_path, "sim:?fps=30&size=40x60", camera={"read_timeout_s": 0.1})
    try:
        summary = run_station(config, stop=stop)
    finally:
        gate.set()
    assert "grab stage did not stop in time" in str(summary.error) and False not in closed_at
    assert len(words(tmp_path)) == summary.grabbed >= 1
    assert parts.rows(tmp_path, "SELECT end FROM runs") == [("closed",)]
    for one in threading.enumerate():
        if one.name == "grab":
            one.join(30)
