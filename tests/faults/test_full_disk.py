"""A disk that is full or read-only for real: nothing is hidden, nothing is lost, and it can be looked at."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

HERE = Path(__file__).parent


def load(name: str, path: Path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules.setdefault(name, importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


small_disk = load("small_disk", HERE / "small_disk.py")
parts = load("line_parts", HERE.parent / "inspector" / "station" / "line_parts.py")

pytestmark = pytest.mark.skipif(not small_disk.can_mount(), reason=small_disk.NO_MOUNTS)

FILLED = """
run = ["run", "--model", "../package", "--engine", "fake", "--config", "../line.toml", "--json"]
found = {"run": call(*run, "--camera", CAMERA)}
for command in ("audit", "report"):
    found[command + " while full"] = call(command, "--db", "ledger.db", "--json")
found["flag while full"] = call("flag", "--db", "ledger.db", "--frame", "1", "--kind", "unsure")
found["again while full"] = call(*run, "--camera", CAMERA)
remount("size=100m")
for command in ("audit", "report"):
    found[command] = call(command, "--db", "ledger.db", "--json")
done(found)
"""


def frames(folder: Path, count: int) -> Path:
    """Pictures that take 12 kB each as evidence."""
    folder.mkdir()
    noise = np.random.default_rng(0).integers(100, 200, (100, 120), np.uint8)
    for number in range(count):
        noise[0, 0] = 100 + number % 100
        cv2.imwrite(str(folder / f"{number:04d}.png"), noise)
    return folder


def filled(place: Path, size: str, config: str, count: int) -> dict[str, Any]:
    parts.make_package(place / "package")
    (place / "line.toml").write_text(f'[recording]\ndb = "sqlite:///ledger.db"\n{config}')
    camera = frames(place / "in", count)
    return small_disk.on_small_disk(place / "disk", size, f"CAMERA = {str(camera)!r}\n{FILLED}")


@pytest.fixture(scope="module")
def full_of_rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each command said while and after rows alone filled the disk, 1 kB each, however few commits."""
    return filled(tmp_path_factory.mktemp("rows"), "1m", "", 1500)


@pytest.fixture(scope="module")
def full_of_pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same where evidence filled it."""
    return filled(tmp_path_factory.mktemp("pictures"), "2m", "pass_every = 1\n", 300)


@pytest.fixture(params=["full_of_rows", "full_of_pictures"])
def full(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.getfixturevalue(request.param)


def last_json(said: list[Any]) -> Any:
    return json.loads(said[1].splitlines()[-1])


def test_the_summary_adds_up_and_says_how_many_frames_wait_for_their_row(full: dict[str, Any]) -> None:
    code, out, err = full["run"]
    summary = json.loads(out)
    assert code == 1
    assert sum(summary["verdicts"].values()) == summary["grabbed"] > 5
    assert summary["waiting"] >= 1
    assert summary["reasons"] == {"disk": summary["verdicts"]["UNINSPECTED"]}
    assert summary["verdicts"]["UNINSPECTED"] >= summary["waiting"]
    sentence = err.splitlines()[-1].removeprefix("inspector: ")
    assert "; free some space" in sentence and out.count(sentence) + err.count(sentence) == 1


def test_a_full_disk_can_be_looked_at_and_says_what_is_missing(full: dict[str, Any]) -> None:
    waiting, grabbed = last_json(full["run"])["waiting"], last_json(full["run"])["grabbed"]
    code, _, err = full["audit while full"]
    audit = last_json(full["audit while full"])
    assert code == 1 and len(err.splitlines()) == 1
    assert "It is only read now" in err and f"{waiting} frame" in err
    (run,) = audit["runs"]
    assert (run["counter"], run["rows"], len(run["missing"])) == (grabbed, grabbed - waiting, waiting)
    code, _, err = full["report while full"]
    assert code == 0 and f"{waiting} frame" in err
    assert last_json(full["report while full"])["frames"] == grabbed - waiting


def test_what_must_write_says_so_in_one_sentence(full: dict[str, Any]) -> None:
    for what in ("flag while full", "again while full"):
        code, out, err = full[what]
        assert (code, out) == (1, ""), what
        assert len([line for line in err.splitlines() if line.startswith("inspector: ")]) == 1
        assert "free some space" in err and "Traceback" not in err


def test_with_space_again_each_frame_has_the_row_that_the_summary_promised(full: dict[str, Any]) -> None:
    promised = last_json(full["run"])
    code, _, err = full["audit"]
    audit = last_json(full["audit"])
    assert (code, err, audit["problems"]) == (0, "", [])
    (run,) = audit["runs"]
    assert run["rows"] == run["counter"] == promised["grabbed"]
    assert run["crashed"] == promised["waiting"]
    report = last_json(full["report"])
    assert {word: share["n"] for word, share in report["verdicts"].items()} == promised["verdicts"]
    assert report["reasons"] == promised["reasons"]
    assert any("free some space" in words for words in report["warnings"])


READ_ONLY = """
run = ["run", "--model", "../package", "--engine", "fake", "--camera", "../in", "--json"]
found = {"run": call(*run)}
remount("ro")
found["audit"] = call("audit", "--json")
found["report"] = call("report", "--json")
found["flag"] = call("flag", "--frame", "1", "--kind", "unsure")
found["again"] = call(*run)
found["doctor"] = call("doctor", "--json")
found["init"] = call("init", "mine.toml")
found["init nowhere"] = call("init", "../nowhere/mine.toml")
found["csv"] = call("report", "--csv", "frames.csv")
remount("rw")
found["flag later"] = call("flag", "--frame", "1", "--kind", "missed")
remount("ro")
found["export"] = call("export", "--flagged", "doubts")
found["files"] = sorted(os.listdir("."))
done(found)
"""


@pytest.fixture(scope="module")
def read_only(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each command said in a folder on a disk that was remounted read-only."""
    place = tmp_path_factory.mktemp("ro")
    parts.make_package(place / "package")
    parts.gray_folder(place / "in", [128, 128, 5])
    return small_disk.on_small_disk(place / "disk", "20m", READ_ONLY)


def test_a_ledger_on_a_read_only_disk_can_be_looked_at(read_only: dict[str, Any]) -> None:
    assert read_only["run"][0] == 0
    code, _, err = read_only["audit"]
    audit = last_json(read_only["audit"])
    assert (code, audit["balances"], audit["total"]["rows"]) == (0, True, 3), err
    assert read_only["report"][0] == 0 and last_json(read_only["report"])["frames"] == 3
    assert read_only["files"] == ["counters", "evidence", "ledger.db", "live"], "and nothing was left there"


def test_run_and_doctor_say_the_same_of_a_folder_that_cannot_be_written(read_only: dict[str, Any]) -> None:
    code, out, err = read_only["again"]
    sentence = err.splitlines()[-1].removeprefix("inspector: ")
    assert (code, out) == (1, "")
    assert "(Read-only file system); make that disk writable, or name a ledger elsewhere" in sentence
    findings = {one["check"]: one for one in last_json(read_only["doctor"])["findings"]}
    assert findings["ledger"]["state"] == "fail" and findings["ledger"]["found"] == sentence
    assert read_only["flag"][0] == 1 and sentence in read_only["flag"][2]


def test_one_kind_of_fault_has_one_exit_code_whatever_was_to_be_written(read_only: dict[str, Any]) -> None:
    for what in ("init", "csv", "export"):
        code, _, err = read_only[what]
        assert code == 1 and "cannot be written (Read-only file system); make that disk" in err, what
    code, _, err = read_only["init nowhere"]
    assert code == 2 and "cannot be written (No such file or directory); name another." in err
