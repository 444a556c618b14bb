"""The bench says what other programs took meanwhile, and marks figures that are not to be trusted."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from inspector.cli.bench import bench, doubt_line, measure
from inspector.engine import rivals
from inspector.package import ModelPackage

ENGINE = SimpleNamespace(name="openvino", precision="f32", device="a processor", package="p", certificate="c")


class Bench:
    """A line of 10 frames a second around an engine that computes so many frames a second."""

    size, plan = (1000, 1000), SimpleNamespace(input=(1040, 1040), tiles=[None])
    engine = SimpleNamespace(info=ENGINE)

    def __init__(self, engine_fps: float) -> None:
        self.engine_fps, self.measured = engine_fps, 0

    def engine_only(self, frames: int) -> tuple[float, float]:
        self.measured += 1
        return 1 / self.engine_fps, 0.0

    def line(self, frames: int, folder: Path) -> tuple[Any, float]:
        self.measured += 1
        summary = {"latency_ms": {"p50": 1.0, "p95": 1.0, "p99": 1.0, "max": 1.0}}
        return SimpleNamespace(tally=SimpleNamespace(fps=lambda: 10.0), json=lambda: summary), 0.0


@pytest.mark.parametrize(
    ("engine_fps", "others", "doubts"),
    [
        (10.5, 0.02, []),
        (8.0, 0.02, ["end to end cannot be 1.25 times as fast as the engine alone"]),
        (10.5, 0.31, ["other programs took 31% of the processor"]),
    ],
)
def test_figures_that_are_not_to_be_trusted_are_marked(
    monkeypatch: pytest.MonkeyPatch, engine_fps: float, others: float, doubts: list[str]
) -> None:
    """An efficiency of 1.25 was printed as if it could be."""
    one: Any = Bench(engine_fps)
    asked: list[int] = []

    def share(_: rivals.Rivals) -> float:
        asked.append(one.measured)
        return others

    monkeypatch.setattr(rivals.Rivals, "share", share)
    figures = measure(one, 20, 3)
    assert figures["others_share"] == others and figures["doubts"] == doubts
    assert asked == [7]  # after the warm-up and three rounds of two
    line = doubt_line(figures)
    if not doubts:
        assert line is None
    else:
        assert line is not None and doubts[0] in line and "again while the machine is quiet" in line


@pytest.mark.parametrize("busy", [False, True])
def test_the_command_says_it_before_the_figures(
    tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    monkeypatch.setattr(rivals.Rivals, "share", lambda _: 0.45 if busy else 0.0)
    given = ["--model", str(tiny_package.path), "--size", "100x140", "--rounds", "1", "--engine", "fake"]
    said = CliRunner().invoke(bench, given, standalone_mode=False).stdout
    assert said.startswith("The figures of speed are not to be trusted: other programs took 45%") == busy
    assert f"other programs took {'45' if busy else '0'}% of the processor." in said.splitlines()[-1]
    found = CliRunner().invoke(bench, [*given, "--json"], standalone_mode=False).stdout
    assert json.loads(found.splitlines()[-1])["others_share"] == (0.45 if busy else 0.0)
