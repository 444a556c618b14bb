"""`inspector plan`: figures, exit codes and clear refusals; the arithmetic is tested apart."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from inspector.cli.plan import line_facts, parse_duration_ms, plan
from inspector.cli.plan_contract import measured_tile, scale_condition
from inspector.engine.fake import FakeEngine
from inspector.engine.measured import measured_plan
from inspector.engine.rivals import Rivals
from inspector.errors import GpuMissing, UsageError
from inspector.package import ModelPackage
from inspector.tiling import TilePlan, plan_tiles

STILL = ("--size", "120x160", "--view-width-mm", "16", "--defect-mm", "0.6")
WEB = (*STILL, "--speed-mm-s", "2", "--exposure", "2ms", "--fps", "0.2")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Rivals, "share", lambda _: 0.0)  # whatever else this machine does


def call(package: ModelPackage | None, *options: str) -> Result:
    model = () if package is None else ("--model", str(package.path))
    return CliRunner().invoke(plan, [*options, *model], standalone_mode=False)


def figures(result: Result) -> dict[str, Any]:
    assert result.exception is None, result.exception
    found: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return found


def test_a_contract_that_holds_on_the_real_engine(tiny_package: ModelPackage) -> None:
    result = call(tiny_package, *WEB, "--json")
    found = figures(result)
    assert result.return_value == 0 and found["holds"] is True and found["conclusion"] == "holds"
    assert found["mm_per_px"] == {"y": 0.1, "x": 0.1}
    assert (found["defect_px"], found["blur_px"], found["advance_mm"], found["shared_mm"]) == (6, 0.04, 10, 2)
    assert (found["tiles"], found["tile"]) == (1, {"h": 160, "w": 200})
    assert found["measured_tiles"] >= 3 and 0 < found["frame_ms"] < 5000
    assert found["margin"] == pytest.approx(1 - found["frame_ms"] / 5000, abs=1e-3)
    assert found["engine"]["name"] == "openvino" and found["engine"]["certificate"] != "none"
    assert 300 < found["memory_mb"]["predicted"] < found["memory_mb"]["limit"] == 4096
    assert {one["name"] for one in found["conditions"]} == {"defect", "blur", "belt", "exposure", "time"}


def test_a_contract_that_fails_says_where_and_exits_1(tiny_package: ModelPackage) -> None:
    result = call(tiny_package, *STILL, "--speed-mm-s", "30", "--exposure", "60ms", "--fps", "0.5")
    assert result.exception is None and result.return_value == 1
    assert "fail  blur      a part moves 18 px while exposed, limit 1 px" in result.stdout
    assert "fail  belt      60 mm from frame to frame, 12 mm seen: gaps of 48 mm" in result.stdout
    assert result.stdout.splitlines()[-1] == "The contract fails on: blur, belt."


def thin(millimetres: str) -> tuple[str, ...]:
    """A defect so wide, at 0.1 mm a pixel, on a line that is quick enough."""
    return ("--size", "120x160", "--view-width-mm", "16", "--defect-mm", millimetres, "--parts-per-s", "0.2")


def test_a_thin_defect_is_in_doubt_and_the_last_line_says_so(tiny_package: ModelPackage) -> None:
    result = call(tiny_package, *thin("0.4"))
    assert result.return_value == 0
    assert "warn  defect    the smallest defect is 4 px wide; it is found reliably from 5 on" in result.stdout
    assert re.search(r"memory  at most \d+ MB resident, the limit model.memory_mb is 4096", result.stdout)
    assert result.stdout.splitlines()[-1] == "The contract is in doubt: defect; all else holds."
    found = figures(call(tiny_package, *thin("0.4"), "--json"))
    assert found["holds"] is False and found["conclusion"] == "doubtful"


def test_a_defect_below_three_pixels_fails(tiny_package: ModelPackage) -> None:
    """2.7 px were a warning, above a last line that said the contract holds."""
    result = call(tiny_package, *thin("0.27"))
    assert result.return_value == 1
    assert "fail  defect    the smallest defect is 2.7 px wide, at least 3 are needed" in result.stdout
    assert result.stdout.splitlines()[-1] == "The contract fails on: defect."


def test_the_fake_engine_shows_nothing_of_the_time(tiny_package: ModelPackage) -> None:
    result = call(tiny_package, *STILL, "--fps", "0.2", "--engine", "fake")
    assert result.return_value == 1
    assert "fail  engine    the fake engine computes no network, so its time says nothing" in result.stdout
    assert result.stdout.splitlines()[-1] == "The contract fails on: engine."


def test_tensorrt_without_a_gpu_is_not_sent_to_compile(
    tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It named the command that compiles, which named a library to install, which then found no GPU."""
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    monkeypatch.setattr("inspector.engine.cuda._has_driver", lambda: False)
    error = call(tiny_package, *STILL, "--fps", "1", "--engine", "tensorrt").exception
    assert isinstance(error, GpuMissing) and "This machine has no NVIDIA driver" in str(error)


def test_oblong_pixels_are_refused_until_they_are_meant(tiny_package: ModelPackage) -> None:
    turned = ("--size", "160x120", "--view-height-mm", "12", "--view-width-mm", "16", "--defect-mm", "0.8")
    error = call(tiny_package, *turned, "--fps", "0.2").exception
    assert isinstance(error, UsageError) and error.exit_code == 2
    assert "makes pixels of 0.075 x 0.1333 mm (height x width)" in str(error)
    assert "turn the size or the view round" in str(error)
    found = figures(call(tiny_package, *turned, "--fps", "0.2", "--non-square-pixels", "--json"))
    assert found["mm_per_px"] == {"y": 0.075, "x": 0.133333}
    assert "pixels" in {one["name"] for one in found["conditions"]}


def test_the_zones_of_the_config_make_fewer_tiles(tiny_package: ModelPackage) -> None:
    zone = '[[recipe.zones]]\nname = "face"\npolygon_px = [[0, 0], [0, 30], [30, 30], [30, 0]]\n'
    Path("line.toml").write_text(
        f'[model]\npackage = "{tiny_package.path}"\ntile = "60x60"\nengine = "fake"\n{zone}'
    )
    found = figures(call(None, *STILL, "--fps", "1", "--json"))
    assert (found["tiles"], found["tile"]) == (4, {"h": 60, "w": 60})
    assert found["tiles_all"] == 48
    of_rounding = 13 * 0.5e-3  # both are said to the microsecond, and one of them counts twelve times
    assert found["frame_ms_all_tiles"] == pytest.approx(12 * found["frame_ms"], abs=of_rounding)
    nowhere = zone.replace('"face"', '"face"\nkind = "exclude"').replace("30", "400")
    Path("line.toml").write_text(Path("line.toml").read_text().replace(zone, nowhere))
    with pytest.raises(UsageError, match="leave nothing"):
        raise call(None, *STILL, "--fps", "1").exception or AssertionError


def test_another_scale_than_the_package_was_trained_at_fails(tiny_package: ModelPackage) -> None:
    def package(trained: tuple[float, float] | None) -> ModelPackage:
        manifest = tiny_package.manifest.model_copy(update={"mm_per_px": trained})
        return replace(tiny_package, manifest=manifest)

    given = {
        "size": "100x100", "view_height_mm": 10.0, "view_width_mm": None, "defect_mm": 1.0, "fps": 1.0,
        "parts_per_s": None, "speed_mm_s": 0.0, "exposure": None, "along": "y", "overlap_mm": 0.0,
        "blur_px": 1.0, "non_square_pixels": False,
    }  # fmt: skip
    facts = line_facts(given)
    assert scale_condition(facts, package(None)) == ()
    assert scale_condition(facts, package((0.105, 0.1)))[0].state == "ok"
    assert scale_condition(facts, package((0.2, 0.2)))[0].state == "fail"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((*STILL,), "either --fps or --parts-per-s"),
        ((*STILL, "--fps", "2", "--parts-per-s", "2"), "either --fps or --parts-per-s"),
        ((*STILL, "--fps", "2", "--exposure", "200"), "not a duration"),
        ((*STILL, "--fps", "0"), "rate of 0"),
        (("--size", "120x", "--defect-mm", "1", "--view-width-mm", "9", "--fps", "1"), "not HEIGHTxWIDTH"),
        (("--size", "120x160", "--defect-mm", "1", "--fps", "1"), "field of view"),
        ((*STILL, "--fps", "2", "--speed-mm-s", "9"), "exposure"),
        ((*STILL, "--fps", "2", "--engine", "abacus"), "--engine abacus"),
        ((*STILL, "--fps", "2"), "No model is chosen"),
        ((*STILL, "--fps", "2", "--view-height-mm", "6"), "6 x 16 mm on 120x160 pixels"),
        ((*STILL[:-1], "13", "--fps", "2"), "smallest defect 13 mm wide"),
    ],
)
def test_what_cannot_be_exits_2_with_a_sentence(options: tuple[str, ...], words: str) -> None:
    error = call(None, *options).exception
    assert isinstance(error, UsageError) and error.exit_code == 2
    assert words in str(error)


def test_click_refuses_what_is_no_number_with_2() -> None:
    error = call(None, *STILL, "--fps", "fast").exception
    assert isinstance(error, click.ClickException) and error.exit_code == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--view-width-mm", "20cm"),
            "20cm is not a plain number; it counts in mm and takes no unit: 20cm is 200.",
        ),
        (("--speed-mm-s", "18m/min"), "it counts in mm/s and takes no unit: 18m/min is 300."),
        (("--fps", "30Hz"), "it counts in fps and takes no unit: 30Hz is 30."),
        (("--blur-px", "1mm"), "1mm is not a plain number; it counts in px and takes no unit."),
    ],
)
def test_a_unit_that_is_not_taken_is_converted_in_the_remedy(options: tuple[str, ...], words: str) -> None:
    """`'20cm' is not a valid float` left the integrator to guess which unit was meant."""
    error = call(None, "--size", "9x9", "--defect-mm", "1", *options).exception
    assert isinstance(error, click.ClickException) and error.exit_code == 2
    assert words in error.format_message() and options[0] in error.format_message()


def test_the_optics_are_said_before_the_measurement(
    tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever had mistyped a lens waited for the measurement to be told."""

    def broken(*_: object, **__: object) -> None:
        raise UsageError("nothing is measured in this test")

    monkeypatch.setattr("inspector.cli.plan_contract.contract", broken)
    result = call(tiny_package, *WEB)
    assert result.stdout.splitlines() == [
        "scale   0.1 x 0.1 mm a pixel (height x width)",
        "ok    defect    the smallest defect is 6 px wide",
        "ok    blur      a part moves 0.04 px while exposed, limit 1 px",
        "ok    belt      10 mm from frame to frame, 12 mm seen: 2 mm shared",
        "ok    exposure  exposed for 2 ms of the 5,000 ms between two frames",
    ]
    assert call(tiny_package, *WEB, "--json").stdout == ""


def test_each_condition_is_said_once(tiny_package: ModelPackage) -> None:
    said = call(tiny_package, *WEB).stdout.splitlines()
    names = [line.split()[1] for line in said if line.split()[0] in ("ok", "warn", "fail")]
    assert sorted(names) == ["belt", "blur", "defect", "exposure", "time"]


def test_again_measures_what_is_remembered(
    tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    real = measured_plan

    def noted(*given: Any, again: bool) -> TilePlan:
        asked.append(again)
        return real(*given, again=again)

    monkeypatch.setattr("inspector.engine.measured.measured_plan", noted)
    for options in ((), ("--again",)):
        assert call(tiny_package, *STILL, "--fps", "1", "--engine", "fake", *options).exception is None
    assert asked == [False, True]


def test_durations() -> None:
    assert [parse_duration_ms(text) for text in ("200us", "200\u03bcs", "0.2ms", ".5 ms", None)] == [
        0.2,
        0.2,
        0.2,
        0.5,
        None,
    ]


def test_the_measure_is_that_of_a_tile(tiny_package: ModelPackage) -> None:
    tiles = plan_tiles((40, 40), (16, 16), tiny_package.geometry)
    began = time.perf_counter()
    tile = measured_tile(FakeEngine(2, tiny_package.geometry, tiles.input, delay_s=0.02), tiles, 1)
    seconds = time.perf_counter() - began
    assert 20 <= tile.ms <= 1000 * seconds / tile.tiles and 3 <= tile.tiles <= 50


def test_a_figure_from_a_busy_machine_says_so(
    tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rivals, "share", lambda _: 0.62)
    result = call(tiny_package, *STILL, "--fps", "0.2")
    assert result.return_value == 0  # the line may be quick enough all the same
    assert result.stdout.splitlines()[-1] == "The contract is in doubt: quiet; all else holds."
    assert "warn  quiet     other programs took 62% of the processor while this was measured" in result.stdout
    found = figures(call(tiny_package, *STILL, "--fps", "0.2", "--json"))
    assert found["others_share"] == 0.62
