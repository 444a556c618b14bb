import importlib
import json
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from inspector.cli import selftest as selftest_module
from inspector.cli.bench import ScriptedEngine, bench
from inspector.cli.doctor import camera_findings, doctor, line_findings
from inspector.cli.models_show import facts_of, text_of
from inspector.cli.selftest import seam_cases, selftest
from inspector.config import LineConfig
from inspector.defects import mask_of
from inspector.engine.fake import FakeEngine
from inspector.engine.measured import KeptPlan
from inspector.engine.protocol import EngineInfo
from inspector.errors import UsageError
from inspector.package import ModelPackage
from inspector.station.intake import UNWATCHED
from inspector.tiling import Geometry


def last_json(output: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(output.strip().splitlines()[-1])
    return found


def test_bench_says_what_the_design_lists(tiny_package: ModelPackage) -> None:
    arguments = ["--model", str(tiny_package.path), "--size", "100x140", "--rounds", "1", "--json"]
    result = CliRunner().invoke(bench, arguments, standalone_mode=False)
    assert result.exception is None
    figures = last_json(result.stdout)
    assert set(figures) == {
        "frame", "tile", "tiles", "engine", "mpx_per_s", "engine_only_mpx_per_s", "efficiency",
        "overhead_cpu_ms", "latency_ms", "rss_mb", "others_share", "doubts",
    }  # fmt: skip
    assert figures["frame"] == {"h": 100, "w": 140}
    assert figures["tile"] == {"h": 140, "w": 180}
    assert set(figures["latency_ms"]) == {"p50", "p95", "p99", "max"}  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [("--tile", "big", "--tile big cannot be used: must be auto, whole"), ("--size", "wide", "--size wide")],
)
def test_bench_names_an_option_that_cannot_be_used(
    tiny_package: ModelPackage, option: str, value: str, words: str
) -> None:
    given = ["--model", str(tiny_package.path), option, value]
    with pytest.raises(UsageError, match=words):
        CliRunner().invoke(bench, given, standalone_mode=False, catch_exceptions=False)


def test_the_rejects_of_bench_are_rejects_at_any_threshold() -> None:
    engine = ScriptedEngine(FakeEngine(1, Geometry(3), (140, 140)), (100, 100), 1, reject_every=1)
    probs = []
    engine.run([np.zeros((140, 140), np.uint8)], lambda _index, found: probs.append(found.copy()))
    assert mask_of(probs[0], (1.0,)).any()


def test_a_seed_below_zero_is_refused_in_one_sentence(tiny_package: ModelPackage) -> None:
    given = ["--seams", "--model", str(tiny_package.path), "--seed", "-1"]
    with pytest.raises(click.BadParameter, match="-1 is not in the range"):
        CliRunner().invoke(selftest, given, standalone_mode=False, catch_exceptions=False)


def test_seams_hold_for_the_tiny_package(tiny_package: ModelPackage) -> None:
    arguments = ["--seams", "--model", str(tiny_package.path), "--cases", "6", "--json"]
    result = CliRunner().invoke(selftest, arguments, standalone_mode=False)
    assert result.return_value == 0
    figures = last_json(result.stdout)
    assert set(figures) == {"cases", "max_abs_f32", "max_levels_release", "mask_pixels_changed"}
    assert figures["cases"] == 6 and figures["max_abs_f32"] <= 1e-5  # type: ignore[operator]


def test_alone_it_tests_all_that_is_promised_of_the_line_s_model(
    tiny_package: ModelPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Nothing to test was named` was all that it had to say."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INSPECTION_HOME", str(tmp_path))
    with pytest.raises(UsageError, match=r"No model is chosen; give --model PACKAGE, or .*`inspector init`"):
        CliRunner().invoke(selftest, [], standalone_mode=False, catch_exceptions=False)
    (tmp_path / "line.toml").write_text(f'[model]\npackage = "{tiny_package.path}"\n')
    result = CliRunner().invoke(selftest, ["--cases", "2"], standalone_mode=False)
    whole, engine, seams = result.stdout.splitlines()
    assert result.return_value == 0 and f"package {tiny_package.id[:12]}: every file is as exported" in whole
    tiles = len(tiny_package.golden().tiles)
    assert f"agrees with the trained network on {tiles} golden tiles within its limits, cert" in engine
    assert seams.startswith("2 cases, tiled against whole: float32 differs by") and "holds." in seams
    figures = last_json(CliRunner().invoke(selftest, ["--cases", "2", "--json"]).stdout)
    assert set(figures) == {"cases", "max_abs_f32", "max_levels_release", "mask_pixels_changed", "engine"}
    assert len(figures["engine"]["certificate"]) == 64  # type: ignore[index]


def test_seams_of_an_int8_package_are_not_called_those_of_float32(tiny_int8_package: ModelPackage) -> None:
    arguments = ["--seams", "--model", str(tiny_int8_package.path), "--cases", "4"]
    result = CliRunner().invoke(selftest, arguments, standalone_mode=False)
    assert result.return_value == 0 and "float32" not in result.stdout
    assert "int8 before it is rounded to levels differs by" in result.stdout
    assert "(promise 0.00001), served in int8 by" in result.stdout


def test_seams_are_seen_when_tiles_are_cut_one_pixel_off(
    tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inspector import tiling

    real = tiling.cut_tile

    def off_by_one(image, plan, tile, into=None):  # type: ignore[no-untyped-def]
        moved = tiling.Tile(tile.index, tile.y + (tile.index > 0), tile.x, tile.owns)
        return real(image, plan, moved, into)

    monkeypatch.setattr(tiling, "cut_tile", off_by_one)
    arguments = ["--seams", "--model", str(tiny_package.path), "--cases", "4", "--json"]
    result = CliRunner().invoke(selftest, arguments, standalone_mode=False)
    assert result.return_value == 1
    assert last_json(result.stdout)["max_abs_f32"] > selftest_module.MOST_F32  # type: ignore[operator]


def test_a_difference_that_is_no_number_is_null(
    tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Infinity` is no JSON, and a script that reads it stops there."""
    figures = {"cases": 1, "max_abs_f32": np.inf, "max_levels_release": 0, "mask_pixels_changed": 0}
    info = EngineInfo("openvino", "1", "f32", "cpu", tiny_package.id, "none", (60, 60))
    monkeypatch.setattr(selftest_module, "serving_engine", lambda *_: info)
    monkeypatch.setattr(selftest_module, "check_seams", lambda *_: figures)
    arguments = ["--seams", "--model", str(tiny_package.path), "--json"]
    result = CliRunner().invoke(selftest, arguments, standalone_mode=False)
    assert result.return_value == 1 and '"max_abs_f32": null' in result.stdout


def test_seam_cases_hold_the_corners(tiny_package: ModelPackage) -> None:
    frames = [case.frame for case in seam_cases(tiny_package.geometry, 8, 0)]
    assert (1, 1) in frames and any(height == 1 < width for height, width in frames)


def test_doctor_finds_a_machine_fit_and_a_dead_camera(
    tiny_package: ModelPackage, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    fit = CliRunner().invoke(doctor, ["--model", str(tiny_package.path), "--json"], standalone_mode=False)
    findings = last_json(fit.stdout)["findings"]
    states = {one["check"]: one["state"] for one in findings}
    assert fit.return_value == 0
    assert any("megapixels fit model.memory_mb = 4096" in one["found"] for one in findings)
    assert {"python", "opencv", "openvino", "sqlite", "cache", "ledger", "model"} <= set(states)
    assert "trainer evaluate" in next(one["found"] for one in findings if one["check"] == "validation")
    dead = CliRunner().invoke(doctor, ["--camera", str(tmp_path / "no.mp4")], standalone_mode=False)
    assert dead.return_value == 1
    assert "fail  camera" in dead.stdout


def findings(
    tiny_package: ModelPackage, folder: Path, **sections: dict[str, Any]
) -> dict[str, tuple[str, str]]:
    """Check -> (state, what was found) of a line whose ledger lies in `folder`."""
    fields: dict[str, Any] = {
        "model": {"package": tiny_package.path, "engine": "fake"},
        "recording": {"db": f"sqlite:///{folder / 'ledger.db'}"},
        **sections,
    }
    found = line_findings(LineConfig.model_validate(fields))
    return {one.check: (one.state, one.found) for one in found}


def test_doctor_reads_the_config_that_run_reads(
    tiny_package: ModelPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "station").mkdir()
    text = f'[model]\npackage = "{tiny_package.path}"\nengine = "fake"\n'
    (tmp_path / "station" / "line.toml").write_text(text)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("INSPECTION_HOME", str(tmp_path / "station"))
    said = CliRunner().invoke(doctor, ["--json"], standalone_mode=False)
    states = {one["check"]: one["state"] for one in last_json(said.stdout)["findings"]}  # type: ignore[index,attr-defined]
    assert states["model"] == "ok" and said.return_value == 0
    monkeypatch.delenv("INSPECTION_HOME")
    assert (
        CliRunner().invoke(doctor, ["--json"], standalone_mode=False).return_value == 1
    )  # no model, no line


def test_doctor_looks_where_the_line_writes(tiny_package: ModelPackage, tmp_path: Path) -> None:
    ledger = tmp_path / "plant"
    ledger.mkdir()
    (ledger / "evidence").write_text("a file where the pictures should go")
    found = findings(tiny_package, ledger)
    assert found["ledger"][0] == "ok" and found["evidence"][0] == "fail"
    assert str(ledger / "evidence") in found["evidence"][1]


@pytest.mark.parametrize(
    ("source", "frozen_frames", "warns"),
    [("0", 0, True), ("0", 5, False), ("", 0, False), ("gone.mp4", 0, False)],
)
def test_doctor_says_that_a_frozen_camera_would_not_be_seen(
    tiny_package: ModelPackage, tmp_path: Path, source: str, frozen_frames: int, warns: bool
) -> None:
    """Of a live camera: files may hold one picture twice. Nothing is opened for that."""
    camera = {"source": source or str(tmp_path), "frozen_frames": frozen_frames}
    said = findings(tiny_package, tmp_path, camera=camera).get("frozen")
    assert said == (("warn", UNWATCHED) if warns else None)


def test_doctor_finds_what_would_end_the_line(tiny_package: ModelPackage, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("notes " * 200)
    (tmp_path / "out.jsonl").mkdir()
    found = findings(
        tiny_package,
        tmp_path,
        recipe={"rules": [{"class": "rust", "measure": "area_px", "reject_above": 3}]},
        outputs=({"kind": "jsonl", "path": tmp_path / "out.jsonl"},),  # type: ignore[arg-type]
    )
    assert found["ledger"][0] == "fail" and "is not an SQLite database" in found["ledger"][1]
    assert found["model"][0] == "fail" and "rust" in found["model"][1]
    assert found["output"][0] == "fail"


def test_doctor_says_so_where_it_may_not_look(
    tiny_package: ModelPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, **_: object) -> object:
        raise PermissionError(13, "Permission denied", str(self))

    module = importlib.import_module("inspector.cli.doctor")
    monkeypatch.setattr(Path, "stat", refuse)  # what Path.exists meets in a folder that may not be entered
    assert module._writable("cache", tmp_path / "deep" / "folder", "").state == "ok"
    assert module._disk(tmp_path / "deep").check == "disk"


def test_doctor_holds_the_zones_against_the_camera_s_pictures(
    tiny_package: ModelPackage, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "one.png"), np.full((240, 320), 128, np.uint8))
    zone = {"name": "face", "polygon_px": [[20, 20], [300, 20], [300, 220], [20, 220]]}
    fields = {"camera": {"source": str(tmp_path / "in")}, "recipe": {"zones": [zone]}}
    said = {one.check: one for one in camera_findings(LineConfig.model_validate(fields))}
    assert said["zones"].state == "warn" and "reaches beyond the 240x320 frame" in said["zones"].found
    zone["polygon_px"] = [[250, 20], [300, 20], [300, 220]]
    said = {one.check: one for one in camera_findings(LineConfig.model_validate(fields))}
    assert said["zones"].state == "fail"


@pytest.mark.parametrize(
    ("picture", "state", "words"),
    [
        (np.arange(2400, dtype=np.uint8).reshape(40, 60), "ok", "gives pictures of 40x60"),
        (np.full((40, 60), 3, np.uint8), "warn", "of 40x60. The picture is dark: none of 2,400 pixels"),
        (np.full((40, 60, 3), 255, np.uint8), "warn", "The picture shows nothing, it is 255 all over"),
        (np.arange(2400, dtype=np.uint16).reshape(40, 60), "ok", "gives pictures of 40x60"),
    ],
)
def test_doctor_says_that_a_camera_shows_nothing(
    tmp_path: Path, picture: NDArray[Any], state: str, words: str
) -> None:
    """`ok camera` under a lens cap."""
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    camera = {"source": str(tmp_path), "shift_16bit": 4}
    said = {one.check: one for one in camera_findings(LineConfig.model_validate({"camera": camera}))}
    assert said["camera"].state == state and words in said["camera"].found


@pytest.mark.parametrize(
    ("others", "deadline_ms", "state", "words"),
    [
        (0.0, None, "ok", "tiles of 60x60, 206 ms a frame, measured on 2026-11-23"),
        (0.4, None, "warn", "while others had 40% of the processor"),
        (0.4, 100.0, "warn", "more than recipe.deadline_ms = 100, so frames will be late"),
    ],
)
def test_doctor_says_what_was_measured_of_the_plan(
    tiny_package: ModelPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    others: float, deadline_ms: float | None, state: str, words: str,
) -> None:  # fmt: skip
    kept = KeptPlan((60, 60), 206.0, others, "2026-11-23T08:00:00+00:00")
    monkeypatch.setattr("inspector.engine.measured.kept_plan", lambda *_: kept)
    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 50), 128, np.uint8))
    fields = {
        "camera": {"source": str(tmp_path)},
        "model": {"package": tiny_package.path},
        "recipe": {"deadline_ms": deadline_ms},
    }
    (plan,) = [one for one in camera_findings(LineConfig.model_validate(fields)) if one.check == "plan"]
    assert plan.state == state and words in plan.found and bool(plan.remedy) == (state == "warn")
    fields["model"] = {"package": tmp_path / "nowhere"}
    assert "plan" not in {one.check for one in camera_findings(LineConfig.model_validate(fields))}


def test_models_show_asks_nobody_to_compile_for_a_processor(tiny_package: ModelPackage) -> None:
    """`engine none compiled here` read like a step that was left out."""
    said = text_of(facts_of(tiny_package))
    assert "none compiled" not in said
    assert "openvino runs the package as it is; TensorRT is compiled only for an NVIDIA GPU" in said
