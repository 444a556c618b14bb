"""`kill -9` in the middle of a run, judged by the simulator's own log: no frame is lost or told twice."""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def load(name: str, path: Path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules.setdefault(name, importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def accounted() -> Iterator[ModuleType]:
    """The benchmark's own code, so that test and benchmark cannot differ."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        patch.setenv("PYTHONPATH", str(ROOT))
        import benchmarks.frames_accounted as module

        yield module


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory: pytest.TempPathFactory, accounted: ModuleType) -> Path:
    """A folder as `kill -9` left it."""
    folder = tmp_path_factory.mktemp("killed") / "line"
    parts = load("line_parts", ROOT / "tests" / "inspector" / "station" / "line_parts.py")
    parts.make_package(folder.parent / "package")
    folder.mkdir()
    (folder / "line.toml").write_text(accounted.CONFIG)
    options = ["--model", str(folder.parent / "package"), "--engine", "fake"]
    accounted.killed_run(folder, folder / "sim.jsonl", options, random.Random(4))
    return folder


@pytest.fixture
def killed(tmp_path: Path, killed_once: Path) -> tuple[Path, Path]:
    """(folder, simulator's log) of a line that was killed and not opened since."""
    shutil.copytree(killed_once, tmp_path / "line")
    return tmp_path / "line", tmp_path / "line" / "sim.jsonl"


def test_a_killed_run_is_accounted_for(killed: tuple[Path, Path], accounted: ModuleType) -> None:
    found = accounted.check(*killed)
    assert found.problems == []
    assert found.counts["told"] >= 1
    assert found.counts["frames"] >= found.counts["PASS"] >= 1


def test_the_check_notices_a_frame_that_the_ledger_hides(
    killed: tuple[Path, Path], accounted: ModuleType
) -> None:
    folder, log = killed
    accounted.check(folder, log)
    connection = sqlite3.connect(folder / "ledger.db")
    connection.execute("DELETE FROM inspections WHERE number = (SELECT max(number) FROM inspections)")
    connection.execute("DELETE FROM inspections WHERE number = 1")
    connection.commit()
    connection.close()
    assert any("rows for" in text for text in accounted.check(folder, log).problems)


def test_the_check_notices_a_verdict_that_was_told_without_a_row(
    killed: tuple[Path, Path], accounted
) -> None:
    folder, log = killed
    told = folder / "out.jsonl"
    last = json.loads(told.read_text().splitlines()[-1])
    with told.open("a") as file:
        file.write(json.dumps({**last, "frame": 99999}) + "\n")
    assert any("was told as" in text for text in accounted.check(folder, log).problems)
