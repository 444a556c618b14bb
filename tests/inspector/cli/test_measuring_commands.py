import json

import pytest
from click.testing import CliRunner

from inspector.cli import selftest as selftest_module
from inspector.cli.bench import bench
from inspector.cli.doctor import doctor
from inspector.cli.selftest import seam_cases, selftest
from inspector.package import ModelPackage


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
        "overhead_cpu_ms", "latency_ms", "rss_mb",
    }  # fmt: skip
    assert figures["frame"] == {"h": 100, "w": 140}
    assert figures["tile"] == {"h": 140, "w": 180}
    assert set(figures["latency_ms"]) == {"p50", "p95", "p99", "max"}  # type: ignore[call-overload]


def test_seams_hold_for_the_tiny_package(tiny_package: ModelPackage) -> None:
    arguments = ["--seams", "--model", str(tiny_package.path), "--cases", "6", "--json"]
    result = CliRunner().invoke(selftest, arguments, standalone_mode=False)
    assert result.return_value == 0
    figures = last_json(result.stdout)
    assert set(figures) == {"cases", "max_abs_f32", "max_levels_release", "mask_pixels_changed"}
    assert figures["cases"] == 6 and figures["max_abs_f32"] <= 1e-5  # type: ignore[operator]


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


def test_seam_cases_hold_the_corners(tiny_package: ModelPackage) -> None:
    frames = [case.frame for case in seam_cases(tiny_package.geometry, 8, 0)]
    assert (1, 1) in frames and any(height == 1 < width for height, width in frames)


def test_doctor_finds_a_machine_fit_and_a_dead_camera(
    tiny_package: ModelPackage, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    fit = CliRunner().invoke(doctor, ["--model", str(tiny_package.path), "--json"], standalone_mode=False)
    states = {one["check"]: one["state"] for one in last_json(fit.stdout)["findings"]}  # type: ignore[index,attr-defined]
    assert fit.return_value == 0
    assert {"python", "opencv", "openvino", "sqlite", "cache", "ledger", "model"} <= set(states)
    dead = CliRunner().invoke(doctor, ["--camera", str(tmp_path / "no.mp4")], standalone_mode=False)
    assert dead.return_value == 1
    assert "fail  camera" in dead.stdout
