"""A stopped run goes on where it was, and the page says what holds, what falls short and what was not run."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import rows
from benchmarks.speed import line, record, table
from benchmarks.speed.arms import Arm
from benchmarks.speed.bars import GPU_ENGINE, OURS, PEERS
from benchmarks.speed.gpu import held_bars
from benchmarks.speed.line import rate_figures
from benchmarks.speed.peers import held_ratios

ENGINE = {"name": "openvino", "version": "1", "precision": "bf16", "certificate": "c" * 64, "note": ""}
STAMP = {
    "settings": {"rounds": 3},
    "machine": {**rows.machine(), "processor": "Some CPU"},
    "commit": "abc1234",
    "date": "2026-11-22T00:00:00+00:00",
    "command": "python -m benchmarks.speed",
    "tile": [1172, 2012],
    "tiles": 1,
    "engine": ENGINE,
    "frames": {"line": 20},
}


def rate_row(useful: float, efficiency: float) -> dict[str, Any]:
    found = {"product": [100e9], "engine only": [1.0], "line": [efficiency]}
    figures = rate_figures(100e9 * useful / efficiency / 1e6, found)
    held = {"useful": useful >= 0.70, "efficiency": efficiency >= 0.95}
    return {"group": "rate-4-1080p", **figures, "product_of": "bf16", "held": held, **STAMP}


def line_of(page: str, start: str) -> str:
    return next(line for line in page.splitlines() if line.startswith(f"| {start}"))


def test_rate_figures():
    figures = rate_figures(
        70e3, {"product": [3e11, 4e11, 9e11], "engine only": [5.0, 4.0, 4.0], "line": [4.0] * 3}
    )
    assert figures["useful"] == {"line": 0.7, "engine only": 0.7}
    assert figures["efficiency"] == 1.0 and figures["product_flop_per_s"] == 4e11


def test_page_says_what_holds_and_what_was_not_run():
    page = table.page({"rate-4-1080p": rate_row(0.72, 0.90)})
    assert "| HOLDS | rate-4-1080p |" in line_of(page, "useful rate, 1080p, depth 4")
    assert "| FALLS SHORT | rate-4-1080p |" in line_of(page, "end to end over engine alone, 1080p, depth 4")
    for start in ("useful rate, 12 MP, depth 5", "int8", "the line end to end against MONAI", "NVIDIA GPU"):
        assert "| not run |" in line_of(page, start)
    assert "Some CPU" in page and "abc1234" in page and "3 rounds of line 20" in page


def test_page_without_any_row():
    page = table.page({})
    assert page.count("| not run |") == sum(bar.held is None for bar in table.bars({}))
    assert "HOLDS" not in page and "FALLS SHORT" not in page


def test_int8_that_was_refused_falls_short_and_says_why():
    trained = {"package": "demo 2", "base": 16, "refused": "does not bear 8 bits"}
    drawn = {
        "package": "seeing 1",
        "base": 16,
        "ratios": {"line": 1.7, "engine only": 1.8},
        "mpx_per_s": {"int8": {"line": 8.5}, "bf16": {"line": 5.0}},
        "layers": {"int8": 18},
        "served": {"int8": {"engine": ENGINE, "tile": [8, 8], "tiles": 1}},
    }
    given = {**drawn, "package": "tiles 1", "iou": {"frames": 60, "change": -0.0012}}
    models = {"trained": trained, "given": given, "drawn": drawn}
    row = {**STAMP, "group": "int8", "models": models, "held": {"int8": False}}
    page = table.page({"int8": {key: value for key, value in row.items() if key != "engine"}})
    assert "refused: does not bear 8 bits | FALLS SHORT" in line_of(page, "int8 against bf16, 1080p, trained")
    second = line_of(page, "int8 against bf16, 1080p, given")
    assert "mean IoU -0.12 points against f32 on 60 frames | FALLS SHORT" in second
    other = line_of(page, "int8 against bf16, 1080p, drawn")
    assert "1.70 times end to end" in other and "18 of 18 convolutions" in other and "reported" in other


def test_a_missing_tool_names_what_installs_it():
    row = {
        "group": "peers",
        "ratios": {"torch bf16": {"fastest": "torch bf16 eager", "ratio": 1.2, "low": 1.1, "high": 1.3}},
        "held": {bar: False if bar == "torch bf16" else None for bar in PEERS},
        "not_run": {"MONAI": "No module named 'monai'; `pip install --target FOLDER monai`"},
        "arms": {},
        "mpx_per_s": {},
        **STAMP,
    }
    page = table.page({"peers": row})
    assert "pip install --target FOLDER monai" in line_of(page, "the line end to end against MONAI")
    assert "| not run |" in line_of(page, "the line end to end against MONAI")
    assert "| FALLS SHORT |" in line_of(page, "the line end to end against torch bf16")


def test_the_bar_is_held_against_the_fastest_form():
    def arm(name: str, bar: str) -> Arm:
        return Arm(name, bar, "", "", lambda: 0.0, lambda: None)  # type: ignore[arg-type,return-value]

    arms = [arm(OURS, ""), arm("slow", "torch bf16"), arm("fast", "torch bf16")]
    found = held_ratios(arms, {OURS: [1.0, 1.0, 2.0], "slow": [9.0] * 3, "fast": [3.0] * 3})
    assert found == {"torch bf16": {"fastest": "fast", "ratio": 3.0, "low": 1.5, "high": 3.0}}


def gpu_engine(**changes: Any) -> dict[str, Any]:
    parity = {"changed_px": 300, "pixels": 8_294_400}
    return {
        "outcome": "ran",
        "share": 0.63,
        "end_to_end": 0.97,
        "mpx_per_s": 150.0,
        "parity": parity,
        **changes,
    }


def test_the_gpu_is_held_against_its_three_bars():
    held = held_bars(gpu_engine())
    assert held == {"useful": True, "efficiency": True, "masks": True}
    assert held_bars(gpu_engine(share=None, end_to_end=0.9))["useful"] is False
    assert held_bars(gpu_engine(parity={"changed_px": 900, "pixels": 8_294_400}))["masks"] is False
    assert not any(held_bars({"outcome": "failed", "words": "x"}).values())
    assert held_bars(None) == {}
    row = {**STAMP, "group": "gpu", "engines": {GPU_ENGINE: gpu_engine()}, "not_run": {}, "held": held}
    page = table.page({"gpu": {key: value for key, value in row.items() if key != "engine"}})
    assert "| 0.630 (150.0 Mpx/s) | HOLDS | gpu |" in line_of(
        page, "NVIDIA GPU, torch fp16, 4K, base 64 depth 5: useful"
    )
    assert "300 of 8294400 pixels differ" in page


def test_without_a_gpu_the_page_says_why():
    row = {**STAMP, "group": "gpu", "not_run": {"GPU": "no NVIDIA driver; install it"}, "held": {}}
    page = table.page({"gpu": {key: value for key, value in row.items() if key != "engine"}})
    assert page.count("| not run: no NVIDIA driver | not run | gpu |") == 3


@pytest.mark.parametrize(("kept", "share", "words"), [(True, 0.8, "at 80% of"), (False, 1.0, "at 100% of")])
def test_the_paced_run_says_the_rate_that_it_had(
    kept: bool, share: float, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A camera that ignored its pace was reported to have kept it."""
    info = SimpleNamespace(**ENGINE)

    class Bench:
        size, plan = (1000, 1000), SimpleNamespace(input=(8, 8), tiles=[None])
        engine = SimpleNamespace(info=info, close=lambda: None)

        def engine_only(self, frames: int) -> None: ...

        def line(self, frames: int, folder: Path, fps: float | None = None) -> tuple[Any, float]:
            said = {"latency_ms": {"p50": 5.0}, "stages_ms": {}, "verdicts": {}, "grabbed": frames}
            came = fps if fps is not None and kept else 10.0
            return SimpleNamespace(json=lambda: said, tally=SimpleNamespace(fps=lambda: came)), 0.0

    monkeypatch.setattr(line, "seeing_package", lambda *_: None)
    monkeypatch.setattr(line, "open_line", lambda *_: Bench())
    row = line.measure_latency("1080p", line.Scope(1, 100, {"1080p": (1000, 1000)}, 1), tmp_path)
    assert row["paced"]["of_full"] == share and row["paced"]["fps"] == 10 * share
    page = table.page({"latency-1080p": {**STAMP, "group": "latency-1080p", **row}})
    assert words in line_of(page, "latency, 1080p, depth 4")


def write(folder: Path, **fields: Any) -> None:
    row = {"group": "int8", "settings": {"rounds": 3}, "machine": rows.machine(), "line": "abc", **fields}
    with (folder / "speed.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def test_finished_only_for_this_line_machine_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(record, "line_code", lambda: "abc")
    assert not record.finished("int8", {"rounds": 3}, tmp_path)
    write(tmp_path)
    assert record.finished("int8", {"rounds": 3}, tmp_path)
    assert not record.finished("int8", {"rounds": 4}, tmp_path)
    assert not record.finished("gpu", {"rounds": 3}, tmp_path)
    write(tmp_path, line="older")
    assert not record.finished("int8", {"rounds": 3}, tmp_path)
    write(tmp_path, machine={**rows.machine(), "processor": "another"})
    assert not record.finished("int8", {"rounds": 3}, tmp_path)


def test_a_line_with_edits_is_never_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(record, "line_code", lambda: "abc+changes")
    write(tmp_path, line="abc+changes")
    assert not record.finished("int8", {"rounds": 3}, tmp_path)


def test_a_run_goes_on_with_what_is_left(monkeypatch: pytest.MonkeyPatch):
    from benchmarks.speed import __main__ as command

    kept: list[str] = []
    monkeypatch.setattr(command, "finished", lambda group, _: group == "int8")
    monkeypatch.setattr(command, "keep", lambda group, *_: kept.append(group))
    figures = {"holds": None, "held": {"int8": None}, "not_run": {"GPU": "none", "int8": "none"}}
    monkeypatch.setattr(command, "GROUPS", {name: lambda *_: figures for name in ("int8", "gpu")})
    done = CliRunner().invoke(command.main, [])
    assert done.exit_code == 0, done.output
    assert kept == ["gpu"] and "int8: has its row" in done.output and "not run: none" in done.output
    assert CliRunner().invoke(command.main, ["--quick"]).exit_code == 0 and kept == ["gpu"]


def test_the_command_of_a_package_is_what_a_person_types(monkeypatch: pytest.MonkeyPatch):
    spec = SimpleNamespace(name="benchmarks.speed.__main__")
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=spec))
    monkeypatch.setattr(sys, "argv", ["x", "int8"])
    assert rows.command() == "python -m benchmarks.speed int8"


def test_no_folder_of_the_machine_gets_into_a_row(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["x", "int8", "--int8", "/home/me/models/tiles-1", "datasets/tiles"])
    assert rows.command().endswith(" int8 --int8 tiles-1 datasets/tiles")
