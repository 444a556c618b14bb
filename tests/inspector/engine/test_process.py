"""An engine in a child process: the same answers, and whatever happens to the child costs frames only."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from fake_gpu import rule_package, store_plan

from inspector.engine.certificate import certify
from inspector.engine.fake import dark_and_bright
from inspector.engine.process import ProcessEngine
from inspector.errors import DeviceLost, EngineError, EngineNotCompiled, EngineVersionMismatch, GpuMissing
from inspector.package import ModelPackage
from inspector.types import Image, ProbMap

TILE = (60, 64)
HALO = 20
DEADLY = 201


@pytest.fixture(autouse=True)
def child_finds_the_fake_gpu(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture
def package(tmp_path: Path) -> ModelPackage:
    package = rule_package(tmp_path / "package")
    store_plan(package, TILE)
    return package


def opened(package: ModelPackage, answer_s: float = 20.0, **description: Any) -> ProcessEngine:
    given = {"package": str(package.path), "tile": TILE, **description}
    return ProcessEngine("fake_gpu:open_fake", given, package, answer_s)


def pictures(count: int, seed: int = 0) -> list[Image]:
    found = np.random.default_rng(seed).integers(0, 256, (count, *TILE), np.uint8)
    found[:, 0, 0] = 128
    return list(found)


def run(engine: ProcessEngine, tiles: list[Image]) -> dict[int, ProbMap]:
    found: dict[int, ProbMap] = {}
    engine.run(iter(tiles), lambda index, probs: found.update({index: probs.copy()}))
    return found


def check(found: dict[int, ProbMap], tiles: list[Image]) -> None:
    assert sorted(found) == list(range(len(tiles)))
    for index, tile in enumerate(tiles):
        assert np.array_equal(found[index], dark_and_bright(2)(tile)[HALO:-HALO, HALO:-HALO])


def test_the_same_answers_facts_and_certificate_as_without_the_process(package: ModelPackage) -> None:
    engine = opened(package)
    for count in (0, 1, 5, 12):
        tiles = pictures(count, seed=count)
        check(run(engine, tiles), tiles)
    assert (engine.info.name, engine.info.device, engine.info.tile) == ("tensorrt", "NVIDIA Fake", TILE)
    assert certify(engine, package).parity.mask_equal == 1.0
    engine.close()


def test_closing_ends_the_child_and_may_be_done_twice(package: ModelPackage) -> None:
    engine = opened(package)
    child = engine._child.process
    engine.close()
    engine.close()
    assert child.poll() == 0
    with pytest.raises(EngineError, match="closed"):
        run(engine, pictures(1))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("lost", r"The GPU was lost when .*700"),
        ("kill", "ended by signal 11"),
        ("break", r"process failed \(ValueError: nobody thought of this\)"),
    ],
)
def test_a_lost_gpu_or_process_is_a_lost_device_and_a_new_one_serves(
    how: str, words: str, package: ModelPackage
) -> None:
    engine, tiles = opened(package, die_on=DEADLY, how=how), pictures(6)
    tiles[3][0, 0] = DEADLY
    with pytest.raises(DeviceLost, match=words):
        run(engine, tiles)
    with pytest.raises(DeviceLost):
        run(engine, pictures(1))
    engine._child.process.wait(60)  # of itself: what it holds of the GPU is free before the next one opens
    engine.close()
    fresh = opened(package)
    check(run(fresh, pictures(2)), pictures(2))
    fresh.close()


def test_a_child_that_hangs_is_killed(package: ModelPackage) -> None:
    engine, tiles = opened(package, answer_s=0.5, die_on=DEADLY, how="hang"), pictures(2)
    tiles[1][0, 0] = DEADLY
    began = time.monotonic()
    with pytest.raises(DeviceLost, match=r"no answer for 0.5 s and was killed"):
        run(engine, tiles)
    assert time.monotonic() - began < 10
    engine.close()
    assert engine._child.process.poll() is not None


def test_a_plain_failure_keeps_the_child(package: ModelPackage) -> None:
    engine, tiles = opened(package, die_on=DEADLY, how="refuse"), pictures(7)
    tiles[2][0, 0] = DEADLY
    pid = engine._child.process.pid
    for _ in range(2):
        with pytest.raises(EngineError, match="did not run a batch") as failure:
            run(engine, tiles)
        assert not isinstance(failure.value, DeviceLost)
        check(run(engine, pictures(5)), pictures(5))
    assert engine._child.process.pid == pid and engine._child.process.poll() is None
    engine.close()


def test_an_error_of_the_caller_leaves_the_next_frame_well(package: ModelPackage) -> None:
    engine = opened(package)

    def broken(index: int, probs: ProbMap) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        engine.run(iter(pictures(9)), broken)
    with pytest.raises(EngineError, match=r"tile of \(10, 10\)"):
        run(engine, [*pictures(1), np.zeros((10, 10), np.uint8)])
    check(run(engine, pictures(3, seed=5)), pictures(3, seed=5))
    engine.close()


def test_opening_errors_come_over_in_their_own_kind(package: ModelPackage) -> None:
    with pytest.raises(GpuMissing, match=r"CUDA finds no NVIDIA GPU .*35"):
        opened(package, code=35)
    with pytest.raises(EngineNotCompiled, match=r"inspector models compile .* --tile 60x60"):
        opened(package, tile=(60, 60))
    store_plan(package, (64, 64), version="10.13.0.35")
    with pytest.raises(EngineVersionMismatch, match=r"10.13.0.35"):
        opened(package, tile=(64, 64))


def test_a_maker_that_is_not_there_is_said_and_no_child_is_left(package: ModelPackage) -> None:
    before = set(psutil.Process().children())
    with pytest.raises(Exception, match="No module named"):
        ProcessEngine("no_such_module:open", {}, package)
    assert set(psutil.Process().children()) <= before
