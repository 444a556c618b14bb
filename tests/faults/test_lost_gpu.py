"""A GPU that is lost while the line runs costs its frame, and a fresh process serves the next one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from inspector.db.connect import open_ledger
from inspector.db.queries import events
from inspector.engine.process import ProcessEngine
from inspector.errors import EngineError, GpuMissing
from inspector.pipeline import Pipeline
from inspector.station import line, opening, run_station
from inspector.station.infer import Serving
from inspector.tiling import plan_tiles

HERE = Path(__file__).parents[1] / "inspector"
ENGINES = HERE / "engine"


def load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules.setdefault(name, importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


parts = load("line_parts", HERE / "station" / "line_parts.py")
fake_gpu = load("fake_gpu", ENGINES / "fake_gpu.py")

GOOD, DEADLY = 128, 140


@pytest.fixture(autouse=True)
def child_finds_the_fake_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSPECTION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ENGINES))


class Openings:
    """Stands in for open_serving: the TensorRT engine on the fake GPU, in its own process."""

    def __init__(self, how: str, gone: int = 0) -> None:
        """gone: how many openings after the first find no GPU."""
        self.how, self.gone, self.children = how, gone, []

    def __call__(self, config: Any, package: Any, size: tuple[int, int]) -> Serving:
        plan = plan_tiles(size, (24, 24), package.geometry)
        fake_gpu.store_plan(package, plan.input)
        given = {"package": str(package.path), "tile": plan.input, "die_on": DEADLY, "how": self.how}
        if self.children and self.gone:
            self.gone -= 1
            given["code"] = 100
        engine = ProcessEngine("fake_gpu:open_fake", given, package)
        self.children.append(engine._child.process)
        return Serving(size, engine, Pipeline(package, engine, plan, config.recipe))


def run_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, openings: Openings, grays: list[int]) -> Any:
    monkeypatch.setattr(opening, "open_serving", openings)
    monkeypatch.setattr(line, "open_serving", openings)
    package = fake_gpu.rule_package(tmp_path / "rule")
    (tmp_path / "in").mkdir()
    for number, gray in enumerate(grays):
        picture = np.full((40, 60), gray, np.uint8)
        picture[20, 30] = 100  # one value all over is no picture
        cv2.imwrite(str(tmp_path / "in" / f"{number:02d}.png"), picture)
    return run_station(parts.line_config(tmp_path, str(tmp_path / "in"), model={"package": package.path}))


def words(folder: Path) -> list[str]:
    return [reason or word for _, word, reason in parts.rows(folder)]


def kinds(folder: Path, run_id: str) -> list[str]:
    ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}")
    try:
        return [event.kind for event in events(ledger, run_id)]
    finally:
        ledger.dispose()


@pytest.mark.parametrize("how", ["kill", "lost", "break"])
def test_the_frame_in_hand_is_uninspected_and_the_next_one_is_served(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openings = Openings(how)
    summary = run_line(tmp_path, monkeypatch, openings, [GOOD, GOOD, DEADLY, GOOD, GOOD])
    assert words(tmp_path) == ["PASS", "PASS", "engine", "PASS", "PASS"]
    assert summary.error is None
    assert len(openings.children) == 2 and openings.children[0].pid != openings.children[1].pid
    assert all(child.poll() is not None for child in openings.children)
    assert "engine_restarted" in kinds(tmp_path, summary.run_id)


def test_a_gpu_that_comes_back_later_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = run_line(tmp_path, monkeypatch, Openings("lost", gone=2), [GOOD, DEADLY, GOOD, GOOD, GOOD])
    assert words(tmp_path) == ["PASS", "engine", "engine", "engine", "PASS"]
    assert summary.error is None
    assert kinds(tmp_path, summary.run_id).count("engine_restart_failed") == 2


def test_a_gpu_that_stays_away_ends_the_line_with_every_frame_accounted_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = run_line(tmp_path, monkeypatch, Openings("kill", gone=99), [GOOD, DEADLY, *[GOOD] * 8])
    assert isinstance(summary.error, EngineError) and not isinstance(summary.error, GpuMissing)
    assert "after 3 restarts" in str(summary.error)
    found = words(tmp_path)
    assert found[0] == "PASS" and set(found[1:]) <= {"engine", "shutdown"}
    assert len(found) == summary.grabbed
