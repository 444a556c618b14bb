"""A qualification that was stopped goes on, and never mixes what was measured otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from qualified import row, soaked

from deploy.qualify import __main__ as command
from deploy.qualify import row as rows
from deploy.qualify import session
from deploy.qualify.candidates import Machine
from deploy.qualify.kept import Kept
from deploy.qualify.sample import seeing_package
from deploy.qualify.trial import Trial
from inspector.errors import InspectionError, UsageError
from inspector.package import ModelPackage

HERE = Machine(None, None, "no NVIDIA driver", "tensorrt is not installed")
ORDER = ["openvino f32", "openvino bf16", "torch f32"]
"""What runs on a processor with bf16 and torch; int8 has no package."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    pytest.importorskip("onnx")
    return seeing_package(tmp_path_factory.mktemp("qualify") / "seeing", base=4, depth=3)


class Bench:
    """Trials that nobody runs; Ctrl-C comes as the given one is running."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ran: list[str] = []
        self.stop_at: int | None = None
        self.level = dict.fromkeys(ORDER, 7)
        monkeypatch.setattr(rows, "run_trial", self.trial)
        monkeypatch.setattr(session, "run_trial", self.trial)
        monkeypatch.setattr(session, "this_machine", lambda: HERE)
        monkeypatch.setattr(command, "QUICK_FRAMES", ((40, 60),))

    def trial(self, one: Trial) -> dict[str, Any]:
        if len(self.ran) == self.stop_at:
            raise KeyboardInterrupt
        self.ran.append(f"{one.candidate.name} {one.kind}")
        if one.kind == "soak":
            return soaked()
        assert one.keep is not None
        np.save(one.keep, np.full((*one.frame, 2), self.level[one.candidate.name], np.uint8))
        return {"outcome": "ran", "engine": {"note": ""}, "frame_s": 0.5, "engine_only_s": 0.45,
                "product": {"flop_per_s": 1e12, "tool": "a tool"}, "others_share": 0.0,
                "rss_mb": 300}  # fmt: skip


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def qualify(package: ModelPackage, out: Path, *more: str) -> Result:
    given = ["--quick", "--model", str(package.path), "--out", str(out), *more]
    return CliRunner().invoke(command.qualify, given, standalone_mode=False)


def figures(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "qualification.json").read_text())
    return found


def test_stopped_it_keeps_what_is_finished_and_goes_on(
    package: ModelPackage, bench: Bench, tmp_path: Path
) -> None:
    """Ctrl-C after fifty minutes lost every row."""
    bench.stop_at, bench.level["torch f32"] = 2, 99
    stopped = qualify(package, tmp_path)
    assert isinstance(stopped.exception, click.Abort)
    assert f"Stopped; 3 of 5 measurements are kept in {tmp_path}, the same command goes on." in stopped.stderr
    kept = figures(tmp_path)
    assert kept["finished"] is None and [row["outcome"] for row in kept["rows"]] == ["ran", "ran", "not run"]
    assert "UNFINISHED, 3 of 5 measurements" in (tmp_path / "qualification.md").read_text()

    bench.stop_at = None
    done = qualify(package, tmp_path)
    assert done.return_value == 1  # the last engine gives another answer than the reference of the first go
    assert bench.ran == [f"{name} speed" for name in ORDER] + ["openvino f32 soak"]
    kept = figures(tmp_path)
    assert kept["finished"] is not None and kept["rows"][-1]["parity"]["levels"] == 92
    assert "whole: 5 of 5 measurements" in (tmp_path / "qualification.md").read_text()
    assert kept["notes"][0].startswith("Stopped after 3 of 5 measurements")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["qualification.json", "qualification.md"]


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_reference_that_a_power_cut_took_is_measured_again(
    package: ModelPackage, bench: Bench, tmp_path: Path, damage: str
) -> None:
    bench.stop_at = 1
    qualify(package, tmp_path)
    (reference,) = tmp_path.glob("reference-*.npy")
    if damage == "gone":
        reference.unlink()
    else:
        reference.write_bytes(reference.read_bytes()[:-9])
    bench.stop_at, bench.ran = None, []
    assert qualify(package, tmp_path).return_value == 0
    assert bench.ran == [f"{name} speed" for name in ORDER] + ["openvino f32 soak"]
    kept = figures(tmp_path)["rows"]
    assert [row["engine_name"] for row in kept] == [ORDER[0], ORDER[1], "openvino int8", ORDER[2]]
    assert [row.get("parity") and row["parity"]["verdict"] for row in kept] == [None, "holds", None, "holds"]


def test_a_row_that_is_measured_again_takes_the_place_of_the_first(tmp_path: Path) -> None:
    old, other, new = row(frame_s=1.0), row(engine_name="openvino bf16"), row(frame_s=2.0, frame=(90, 120))
    assert Kept(tmp_path, {"rows": [old, other]}, str).with_row(new) == [new, other]


def test_a_finished_one_is_shown_and_measured_again_only_when_asked(
    package: ModelPackage, bench: Bench, tmp_path: Path
) -> None:
    qualify(package, tmp_path)
    first, bench.ran = figures(tmp_path), []
    again = qualify(package, tmp_path, "--json")
    assert again.return_value == 0 and bench.ran == []
    assert json.loads(again.stdout.splitlines()[-1]) == first == figures(tmp_path)
    assert "nothing is left to measure; --again measures anew" in again.stderr
    bench.stop_at = 1
    stopped = qualify(package, tmp_path, "--again")
    assert "the same command without --again goes on" in stopped.stderr
    assert len(figures(tmp_path)["rows"]) == 1


def test_what_was_measured_otherwise_is_not_gone_on_with(
    package: ModelPackage, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.stop_at = 1
    qualify(package, tmp_path)
    bench.stop_at, before = None, figures(tmp_path)
    other = qualify(package, tmp_path, "--seconds", "3").exception
    assert isinstance(other, UsageError)
    assert "with other sizes, times or limits; give another --out" in str(other)
    elsewhere = {**before["machine"], "device": "another"}
    monkeypatch.setattr(session, "machine_facts", lambda: elsewhere)
    moved = qualify(package, tmp_path).exception
    assert "of another machine; give another --out, or start over with --again" in str(moved)
    assert figures(tmp_path) == before
    assert qualify(package, tmp_path, "--again").return_value == 0


@pytest.mark.parametrize(("text", "words"), [("{", "cannot be read"), ('{"rows": []}', "in another form")])
def test_a_file_that_is_none_of_ours_is_not_written_over(
    package: ModelPackage, bench: Bench, tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "qualification.json").write_text(text)
    refused = qualify(package, tmp_path).exception
    assert isinstance(refused, UsageError) and words in str(refused)
    assert (tmp_path / "qualification.json").read_text() == text and bench.ran == []


def test_a_disk_that_fills_meanwhile_keeps_the_last_whole_one(
    package: ModelPackage, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploy.qualify import kept

    write = kept.write_durably

    def full(target: Path, parts: list[bytes]) -> None:
        if len(bench.ran) == 2:
            raise OSError(28, "No space left on device")
        write(target, parts)

    monkeypatch.setattr(kept, "write_durably", full)
    failed = qualify(package, tmp_path).exception
    assert isinstance(failed, InspectionError) and failed.exit_code == 1 and "free some space" in str(failed)
    assert len(figures(tmp_path)["rows"]) == 1
    monkeypatch.setattr(kept, "write_durably", write)
    assert qualify(package, tmp_path).return_value == 0
