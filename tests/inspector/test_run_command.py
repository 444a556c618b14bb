"""`inspector run` as people and scripts call it: config, exit codes, signals, terminal."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import pty
import re
import select
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspector.cli.main import inspector as group
from inspector.config import LineConfig
from inspector.db.counter import FrameCounter, counter_path
from inspector.errors import LedgerError
from inspector.inputs import read_image
from inspector.png import png_parts
from inspector.types import Reason

_PARTS = Path(__file__).parent / "station" / "line_parts.py"
_SPEC = importlib.util.spec_from_file_location("line_parts", _PARTS)
parts = sys.modules.setdefault("line_parts", importlib.util.module_from_spec(_SPEC))
_SPEC.loader.exec_module(parts)

PROGRAM = [sys.executable, "-m", "inspector", "run"]
ROOT = str(Path(__file__).parents[2])


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder with a package to work in; signals and log handlers are put back afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INSPECTION_HOME", raising=False)
    monkeypatch.setenv("PYTHONPATH", ROOT)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    logs = list(logging.getLogger().handlers)
    level = logging.getLogger("inspector").level
    parts.make_package(tmp_path / "package")
    yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for handler in set(logging.getLogger().handlers) - set(logs):
        logging.getLogger().removeHandler(handler)
    logging.getLogger("inspector").setLevel(level)


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of the command in this process, as the entry point gives them."""
    from inspector.cli.group import run_group

    before = sys.argv
    sys.argv = ["inspector", "run", *arguments]
    try:
        code = run_group(group, "inspector")
    finally:
        sys.argv = before
    out = capsys.readouterr()
    return code, out.out, out.err


class FakeCapture:
    """A camera at the OpenCV boundary that never runs out of pictures."""

    def __init__(self, *_: object) -> None:
        self.count = 0

    def isOpened(self) -> bool:
        return True

    def get(self, prop: int) -> float:
        return {cv2.CAP_PROP_FRAME_HEIGHT: 40.0, cv2.CAP_PROP_FRAME_WIDTH: 60.0}.get(prop, 0.0)

    def read(self) -> tuple[bool, np.ndarray]:
        time.sleep(0.03)
        self.count += 1
        picture = np.full((40, 60, 3), 100 + self.count % 50, np.uint8)
        picture[-1, -1] = 90  # one value all over is no picture
        return True, picture

    def release(self) -> None:
        pass


def write_config(folder: Path, package: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "line.toml").write_text(f'[model]\npackage = "{package}"\nengine = "fake"\n')


def test_bare_run_on_a_set_up_machine(workplace: Path, monkeypatch, capsys) -> None:
    write_config(workplace / "station", workplace / "package")
    monkeypatch.setenv("INSPECTION_HOME", str(workplace / "station"))
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    code, out, err = call(capsys, "--camera", "0", "--frames", "6")
    assert code == 0, err
    assert "frames     6 grabbed" in out
    found = parts.rows(workplace, "SELECT number, camera_id FROM inspections ORDER BY number")
    assert found == [(n, "0") for n in range(1, 7)]


def test_the_folder_s_own_config_comes_first(workplace: Path, monkeypatch, capsys) -> None:
    write_config(workplace / "station", workplace / "nowhere")
    write_config(workplace, workplace / "package")
    monkeypatch.setenv("INSPECTION_HOME", str(workplace / "station"))
    source = parts.gray_folder(workplace / "in", [128])
    assert call(capsys, "--camera", str(source))[0] == 0
    code, _, err = call(capsys, "--camera", str(source), "--config", "station/line.toml")
    assert code == 2 and "There is no model package at" in err


def test_without_a_model_the_user_is_sent_to_init(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "--camera", "0")
    assert code == 2 and "inspector init" in err and not out


def test_a_headless_run_says_how_far_it_is_and_where_all_lies(workplace: Path, monkeypatch, capsys) -> None:
    from inspector.station import line

    monkeypatch.setattr(line, "PROGRESS_S", 0.05)
    options = ["--camera", "sim:?fps=20&size=40x60&frames=20", "--model", "package", "--engine", "fake"]
    code, out, err = call(capsys, *options, "--headless")
    assert code == 0
    assert re.search(r"^frame \d+: PASS \d+.*, \d+\.\d fps$", err, re.MULTILINE)
    assert "grabbed, " in out and "Stopping" not in err
    assert "`inspector report --db sqlite:///ledger.db` sums the ledger up" in err
    assert re.search(r"Evidence lies in .*evidence;", err) and "ledger     sqlite:///ledger.db" in out
    assert not re.search(r"^frame \d+:", call(capsys, *options, "--json")[2], re.MULTILINE)


def test_json_is_the_last_line_of_stdout(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = parts.gray_folder(workplace / "in", [128, 5, None])
    options = ["--camera", str(source), "--model", "package", "--engine", "fake", "--db", "own.db", "--json"]
    code, out, _ = call(capsys, *options)
    assert code == 0
    result = json.loads(out.splitlines()[-1])
    assert list(result) == [
        "grabbed", "verdicts", "reasons", "reason_classes", "gaps", "fps", "latency_ms", "stages_ms",
        "engine", "coverage", "db", "waiting", "others_share", "truth", "warnings",
    ]  # fmt: skip
    assert result["verdicts"] == {"PASS": 1, "REJECT": 1, "REVIEW": 0, "UNINSPECTED": 1}
    assert result["reasons"]["format"] == 1 and "1 of 3 is no image" in result["warnings"][0]
    assert result["db"] == "sqlite:///own.db" and (workplace / "own.db").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "names"),
    [
        (["--camera", "nowhere.mp4"], 2, "`nowhere.mp4`"),
        (["--camera", "notes.mp4"], 1, "notes.mp4 is not a video"),
        (["--camera", "empty"], 1, "The folder empty holds no files"),
        (["--camera", "sim:?fps=x"], 2, "fps=x"),
        (["--camera", "in", "--model", "nowhere"], 2, "no model package at nowhere"),
        (["--camera", "in", "--engine", "warp"], 2, "--engine warp"),
        (["--camera", ""], 2, "--camera is empty"),
        (["--camera", "in", "--config", "nowhere.toml"], 2, "nowhere.toml"),
        (["--camera", "in", "--frames", "0"], 2, "--frames"),
        (["--camera", "in", "--db", "/proc/nowhere/ledger.db"], 2, "/proc/nowhere"),
        (
            ["--camera", "in", "--db", "notes.mp4/ledger.db"],
            2,
            "notes.mp4 of the ledger is not there and cannot be made",
        ),
        (["--camera", "in", "--db", "notes.mp4"], 1, "is not an SQLite database"),
        (["--camera", "in", "--db", "empty"], 2, "empty is a folder and no ledger"),
        (["--camera", "in", "--db", "nonsense://x"], 2, "nonsense"),
        (["--camera", "in", "--db", "postgresql://host:port/x"], 2, "is no database URL"),
        (["--camera", "dataset"], 2, "its pictures are in dataset/images"),
        (["--camera", "in", "--model", "changed"], 3, "was changed"),
    ],
)
def test_bad_input_is_one_sentence_and_its_exit_code(workplace: Path, capsys, arguments, code, names) -> None:
    parts.gray_folder(workplace / "in", [128])
    (workplace / "empty").mkdir()
    (workplace / "dataset" / "images").mkdir(parents=True)
    (workplace / "notes.mp4").write_text("notes")
    parts.make_package(workplace / "changed")
    (workplace / "changed" / "model.onnx").write_bytes(b"another network")
    defaults = [] if "--model" in arguments else ["--model", "package"]
    defaults += [] if "--engine" in arguments else ["--engine", "fake"]
    got, out, err = call(capsys, *arguments, *defaults)
    assert (got, out) == (code, "")
    assert names in err and "Traceback" not in err
    assert not list(workplace.glob("evidence/*"))
    assert not list(workplace.glob("ledger.db*"))  # a start that fails begins no ledger


def test_a_new_ledger_is_said_once(workplace: Path, caplog: pytest.LogCaptureFixture, capsys) -> None:
    """A mistyped --db began another ledger in silence, and the frames seemed to be lost."""
    source = parts.gray_folder(workplace / "in", [128])
    options = ["--camera", str(source), "--model", "package", "--engine", "fake", "--db", "own.db", "--json"]
    for said in (True, False):
        caplog.clear()
        assert call(capsys, *options)[0] == 0
        assert (f"begins a new ledger {workplace / 'own.db'};" in caplog.text) == said


def test_a_ledger_that_does_not_open_is_known_before_the_engine_loads(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from inspector.station import opening

    source = parts.gray_folder(workplace / "in", [128])
    (workplace / "letter.db").write_text("certainly not a database\n" * 50)
    monkeypatch.setattr(opening, "open_serving", lambda *_: pytest.fail("the engine was loaded"))
    options = ["--camera", str(source), "--model", "package", "--engine", "fake", "--db", "letter.db"]
    code, _, err = call(capsys, *options)
    assert code == 1 and "is not an SQLite database" in err


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [*PROGRAM, "--model", "package", "--engine", "fake", *arguments]
    # A background job of a shell ignores SIGINT, and what it starts would, too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for_rows(folder: Path, least: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if len(parts.rows(folder)) >= least:
                return
        except Exception:  # the ledger is not there yet
            pass
        time.sleep(0.05)
    raise AssertionError("no rows came")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_cleanly_and_the_summary_is_printed(workplace: Path, number: signal.Signals) -> None:
    line = start("--camera", "sim:?fps=20&size=40x60", "--json")
    try:
        wait_for_rows(workplace, 3)
        line.send_signal(number)
        out, err = line.communicate(timeout=60)
    finally:
        line.kill()
    assert line.returncode == 0, err
    result = json.loads(out.splitlines()[-1])
    assert result["grabbed"] == sum(result["verdicts"].values()) == len(parts.rows(workplace))
    assert "Traceback" not in err and err.count("Stopping after the frame in hand ...") == 1


def test_ctrl_c_is_answered_at_once_and_not_when_the_frame_is_done(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A line whose frames take seconds said nothing for so long, and Ctrl-C was pressed again."""
    from inspector.cli import run
    from inspector.errors import InspectionError

    def interrupted(_config: object, *, stop: threading.Event, **_: object) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.is_set() and capfd.readouterr().err == "Stopping after the frame in hand ...\n"
        raise InspectionError("told and stopped")

    monkeypatch.setattr("inspector.station.run_station", interrupted)
    monkeypatch.setattr(run, "line_config", lambda _: None)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(InspectionError, match="told and stopped"):
        options = dict.fromkeys(("model", "config", "db", "frames", "engine", "ready_fd"))
        run.run.callback(camera="0", headless=True, as_json=False, **options)


def on_a_terminal(arguments: list[str], keys: list[bytes], errors: Path | None = None) -> tuple[int, bytes]:
    """(exit code, everything shown) on a terminal of its own; keys come in turn once the line is shown."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        if errors is not None:
            os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
        os.execv(sys.executable, [*PROGRAM, "--model", "package", "--engine", "fake", *arguments])
    shown, next_key, deadline = b"", time.monotonic() + 1.0, time.monotonic() + 120
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                data = os.read(terminal, 65536)
            except OSError:
                break
            if not data:
                break
            shown += data
        if keys and b"sim:" in shown.partition(b"\x1b[?1049h")[2] and time.monotonic() > next_key:
            os.write(terminal, keys[0])
            keys.append(keys.pop(0))
            next_key = time.monotonic() + 0.5
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown


def test_with_stderr_in_a_file_no_dashboard_is_started(workplace: Path) -> None:
    """The dashboard draws on stderr: with `2>log` the terminal stayed blank until somebody guessed `q`."""
    camera = ["--camera", "sim:?fps=20&size=40x60", "--frames", "3"]
    code, shown = on_a_terminal(camera, [], errors=workplace / "log")
    assert code == 0
    assert b"verdicts   PASS" in shown and b"\x1b[?1049h" not in (workplace / "log").read_bytes()


def test_on_a_terminal_a_line_that_cannot_start_says_why(workplace: Path) -> None:
    (workplace / "notes.mp4").write_text("notes")
    code, shown = on_a_terminal(["--camera", "notes.mp4"], [])
    assert code == 1
    assert b"notes.mp4 is not a video" in shown and b"Traceback" not in shown


def test_on_a_terminal_the_line_runs_beside_the_dashboard_until_it_is_stopped_there(workplace: Path) -> None:
    try:
        code, shown = on_a_terminal(["--camera", "sim:?fps=5&size=40x60"], [b"q", b"s"])
    finally:
        for (pid,) in parts.rows(workplace, "SELECT pid FROM runs WHERE ended_at IS NULL"):
            os.kill(pid, signal.SIGKILL)
    assert code == 0
    assert b"verdicts   PASS" in shown.rpartition(b"\x1b[?1049l")[2]
    found = parts.rows(workplace, "SELECT kind, state FROM requests")
    assert found == [("stop", "done")]
    assert parts.rows(workplace, "SELECT end FROM runs") == [("closed",)]


def test_a_line_whose_terminal_went_while_it_started_runs_on(workplace: Path) -> None:
    reading, writing = os.pipe()
    arguments = ["--camera", "sim:?fps=30&size=40x60&frames=5", "--json", "--ready-fd", str(writing)]
    command = [*PROGRAM, "--model", "package", "--engine", "fake", *arguments]
    line = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=(writing,)
    )
    os.close(writing)
    os.close(reading)
    err = line.communicate(timeout=60)[1]
    assert line.returncode == 0 and "Traceback" not in err, err
    assert parts.rows(workplace, "SELECT end FROM runs") == [("closed",)]


def test_a_dashboard_that_dies_at_once_is_said_and_the_line_is_not_touched(
    workplace: Path, monkeypatch, capsys
) -> None:
    from inspector.cli import beside

    monkeypatch.setattr(beside, "_start_line", lambda *_: (LineThatRuns(), 0))
    monkeypatch.setattr(beside, "_wait_until_ready", lambda *_: "RUN")
    monkeypatch.setattr(beside, "LEAVE_S", 0.0)
    monkeypatch.setattr(beside.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1))
    assert beside.run_beside_dashboard(LineConfig(), []) == 0
    err = capsys.readouterr().err
    assert "The dashboard failed (exit code 1)" in err and "The line goes on running" in err


@pytest.mark.parametrize(("state", "words"), [("stopping", "0 grabbed"), ("running", "goes on running")])
def test_a_line_that_is_stopping_is_waited_for(workplace: Path, monkeypatch, capsys, state, words) -> None:
    from inspector.cli import beside

    class Line(LineThatRuns):
        code: int | None = None

        def poll(self) -> int | None:
            return self.code

        def wait(self) -> int:
            self.code = 0
            return 0

    source = parts.gray_folder(workplace / "in", [128])
    given = ["--camera", str(source), "--model", "package", "--engine", "fake", "--json"]
    summary = call(capsys, *given)[1].replace('"grabbed": 1', '"grabbed": 0')
    ((run_id,),) = parts.rows(workplace, "SELECT id FROM runs")
    connection = sqlite3.connect(workplace / "ledger.db")
    connection.execute("UPDATE health SET beat = json_set(beat, '$.state', ?)", (state,))
    connection.commit()
    connection.close()

    def start_line(_arguments: list[str], _log: Path, result: Path) -> tuple[Line, int]:
        result.write_text(summary)
        return Line(), 0

    monkeypatch.setattr(beside, "_start_line", start_line)
    monkeypatch.setattr(beside, "_wait_until_ready", lambda *_: run_id)
    monkeypatch.setattr(beside, "LEAVE_S", 0.0)
    monkeypatch.setattr(beside.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    assert beside.run_beside_dashboard(LineConfig(), []) == 0
    out = capsys.readouterr()
    assert words in out.out + out.err


def test_two_lines_started_in_one_second_write_to_two_logs(workplace: Path, monkeypatch) -> None:
    from inspector.cli import beside

    logs: list[Path] = []

    def start_line(_arguments: list[str], log: Path, _result: Path) -> None:
        logs.append(log)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(beside, "_start_line", start_line)
    monkeypatch.setattr(beside, "datetime", FrozenClock)
    for pid in (41, 42):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        with pytest.raises(LedgerError, match="No space left"):
            beside.run_beside_dashboard(LineConfig(), [])
    assert len(set(logs)) == 2


class FrozenClock:
    """A clock on which it is always the same second."""

    @staticmethod
    def now(zone: timezone) -> datetime:
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=zone)


class LineThatRuns:
    """A line's process that has not ended."""

    pid = 1

    def poll(self) -> None:
        return None


def test_a_line_that_was_killed_while_starting_is_a_fault(workplace: Path, monkeypatch, capsys) -> None:
    from inspector.cli import beside

    class Killed(LineThatRuns):
        def wait(self) -> int:
            return -signal.SIGKILL

    monkeypatch.setattr(beside, "_start_line", lambda *_: (Killed(), 0))
    monkeypatch.setattr(beside, "_wait_until_ready", lambda *_: None)
    assert beside.run_beside_dashboard(LineConfig(), []) == 1


def test_the_terminal_hears_why_a_line_failed_whose_words_found_no_room(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Log and summary of the line lie beside its ledger: on a full disk both are cut off."""
    from inspector.cli import beside

    class Failed(LineThatRuns):
        def poll(self) -> int:
            return 1

    def start_line(_arguments: list[str], log: Path, result: Path) -> tuple[Failed, int]:
        result.write_text('{"grabbed": 40, "verd')
        log.write_text("Traceback (most rec")
        return Failed(), 0

    counter = FrameCounter(counter_path(workplace, "R1"))
    counter.failed(Reason("disk", "The disk of this test is full; free some space."))
    counter.close()
    monkeypatch.setattr(beside, "_start_line", start_line)
    monkeypatch.setattr(beside, "_wait_until_ready", lambda *_: "R1")
    monkeypatch.setattr(beside.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    assert beside.run_beside_dashboard(LineConfig(), []) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines()[-1] == "inspector: The disk of this test is full; free some space."
    assert "Traceback" not in err


def test_the_summary_is_the_last_line_whatever_a_library_said_before(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from inspector.cli import beside
    from inspector.station import summary

    class Ended(LineThatRuns):
        def poll(self) -> int:
            return 0

    result = workplace / "result.json"
    result.write_text('a driver says hello\n{"grabbed": 40}\n')
    monkeypatch.setattr(summary, "summary_text", lambda found, _: f"{found['grabbed']} grabbed")
    assert beside._say_how_it_is(Ended(), result, workplace / "log", "sqlite:///none.db", "R1") == 0
    assert capsys.readouterr().out == "40 grabbed\n"


def test_a_station_folder_that_may_not_be_entered_is_passed_over(monkeypatch, capsys) -> None:
    def refuse(self: Path, **_: object) -> object:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", refuse)  # what Path.is_file meets there; os.path.isfile says no
    code, _, err = call(capsys, "--camera", "0")
    assert code == 2 and "inspector init" in err


@pytest.mark.parametrize("command", ["audit", "report"])
def test_audit_and_report_find_the_ledger_that_run_writes(workplace: Path, monkeypatch, command) -> None:
    from click.testing import CliRunner

    write_config(workplace / "station", workplace / "package")
    monkeypatch.setenv("INSPECTION_HOME", str(workplace / "station"))
    with (workplace / "station" / "line.toml").open("a") as file:
        file.write('[recording]\ndb = "sqlite:///plant.db"\n')
    from inspector.db.connect import open_ledger

    open_ledger("sqlite:///plant.db").dispose()
    result = CliRunner().invoke(group, [command, "--json"], standalone_mode=False)
    assert result.exception is None and json.loads(result.stdout)["runs"] == []


def test_when_the_terminal_hangs_up_the_line_goes_on(workplace: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests themselves run under nohup
        os.environ["TERM"] = "xterm-256color"
        camera = ["--camera", "sim:?fps=20&size=40x60"]
        os.execv(sys.executable, [*PROGRAM, "--model", "package", "--engine", "fake", *camera])
    shown, deadline = b"", time.monotonic() + 60
    while b"\x1b[?1049h" not in shown and time.monotonic() < deadline:  # the dashboard is on the screen
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 65536)
    wait_for_rows(workplace, 1)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    ((line,),) = parts.rows(workplace, "SELECT pid FROM runs")
    try:
        wait_for_rows(workplace, len(parts.rows(workplace)) + 10)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGHUP
        assert parts.rows(workplace, "SELECT end FROM runs") == [(None,)]
    finally:
        os.kill(line, signal.SIGTERM)
    deadline = time.monotonic() + 30
    while parts.rows(workplace, "SELECT end FROM runs") != [("closed",)]:
        assert time.monotonic() < deadline, "the line does not hear SIGTERM any more"
        time.sleep(0.05)


def test_a_line_scan_of_30_megapixels_is_judged_and_kept_within_its_memory(workplace: Path) -> None:
    picture = np.full((5000, 6000), 128, np.uint8)
    cv2.line(picture, (20, 30), (5980, 4960), 0, 5)
    picture[0, 0] = picture[-1, -1] = 0
    (workplace / "in").mkdir()
    (workplace / "in" / "scan.png").write_bytes(b"".join(png_parts(picture)))
    (workplace / "line.toml").write_text('[model]\npackage = "package"\nengine = "fake"\nmemory_mb = 900\n')
    done = subprocess.run([*PROGRAM, "--camera", "in", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["grabbed"], summary["verdicts"]["REJECT"], summary["coverage"]) == (1, 1, 1.0)
    image, mask = sorted((workplace / "evidence").rglob("*.png"), key=lambda file: "mask" in file.name)
    assert np.array_equal(read_image(image), picture)
    assert np.array_equal(read_image(mask), picture == 0)
    found = parts.rows(workplace, "SELECT area_px FROM defects ORDER BY area_px DESC")
    assert found == [(int(np.count_nonzero(picture == 0)) - 2,), (1,), (1,)]


def test_a_limit_below_what_the_frame_needs_is_refused_with_the_way_out(workplace: Path) -> None:
    (workplace / "line.toml").write_text('[model]\npackage = "package"\nengine = "fake"\nmemory_mb = 900\n')
    command = [*PROGRAM, "--camera", "sim:?size=10000x10000", "--frames", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert re.search(r"10000x10000 need \d+ MB .* model.memory_mb = 900 leaves no room", done.stderr)
    assert "raise it" in done.stderr
