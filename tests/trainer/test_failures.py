"""Memory that is full and a process that is gone are told in a sentence with what to do."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tiny_run import Silent, request, resumption

from trainer.cli.fit import fit
from trainer.config import FitConfig, RecipeName
from trainer.failures import OutOfMemory, ProcessLost, memory_told
from trainer.fit import _for_each_process, prepare, run
from trainer.ranks import Ranks
from trainer.recipes import fit_config
from trainer.resume import prepare_resume
from trainer.sampler import TileSampler
from trainer.stock import Picture, Stock

FULL_OPENCV = cv2.error(
    "OpenCV(5.0.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 12441600 bytes"
)
"""No RuntimeError, as those of torch are."""


def raising(error: BaseException) -> Any:
    def fails(*_: object, **__: object) -> None:
        raise error

    return fails


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        FULL_OPENCV,
        cv2.error("std::bad_alloc"),
    ],
)  # fmt: skip
def test_a_step_that_memory_does_not_hold_says_what_to_lower(
    data: Path, tmp_path: Path, error: BaseException
) -> None:
    prepared = prepare(request(data, tmp_path / "r", steps=3))
    prepared.training._learner.gradients = raising(error)  # type: ignore[method-assign]
    words = r"memory of cpu .*3 x 36x36 px at base 4, .* lower step_px \(now 4000\) to 1296 in a file"
    with pytest.raises(OutOfMemory, match=words):
        run(prepared, Silent())


def test_a_network_that_memory_does_not_hold_leaves_nothing_behind(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory")
    monkeypatch.setattr("trainer.learner.UNet", raising(full))
    with pytest.raises(OutOfMemory, match=r"at base 4, depth 3; lower .*or --base"):
        prepare(request(data, tmp_path / "r", steps=3))
    assert not (tmp_path / "r").exists()


def test_so_does_one_whose_tiles_cannot_be_cut(data: Path, tmp_path: Path) -> None:
    prepared = prepare(request(data, tmp_path / "r", steps=3, step_px=1))
    prepared.training._sampler.batch = raising(MemoryError())  # type: ignore[method-assign]
    words = r"1 x 36x36 px at base 4, depth 3; lower tile_px \(now 36\) to 18 in a file"
    with pytest.raises(OutOfMemory, match=words):
        run(prepared, Silent())


def large_pictures() -> Stock:
    mask = np.zeros((1000, 1000), np.uint8)
    mask[5:9, 5:9] = 1
    picture = Picture(mask, mask, None, {1: np.argwhere(mask)}, Path("here"))
    return Stock((picture,), np.ones(2, np.float32), ((128.0,), (32.0,)))


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("modern", {}),
        ("modern", {"depth": 5}),
        ("modern", {"step_px": 2 * 4 * 204**2, "tile_px": 150}),
        ("modern", {"augmentation": "strong"}),
        ("paper", {}),
        ("paper", {"step_px": 3 * 516**2}),
    ],
)
def test_whoever_lowers_what_is_named_has_less_in_memory(
    recipe: RecipeName, settings: dict[str, Any], world: int
) -> None:
    """The default is one tile of four crops: tile_px alone would make more of them, with more halo."""
    stock, ranks = large_pictures(), Ranks(0, world)

    def input_px(config: FitConfig) -> int:
        sampler = TileSampler(stock, config)
        height, width = (side + 2 * sampler.halo for side in sampler.out)
        return -(-sampler.tiles // world) * height * width

    config = _for_each_process(fit_config(recipe, steps=1, classes=("a",), **settings), stock, world)
    for _ in range(3):
        with pytest.raises(OutOfMemory) as told, memory_told(config, ranks, TileSampler(stock, config)):
            raise MemoryError
        named = re.findall(r"(step_px|tile_px) \(now \d+\) to (\d+)", str(told.value))
        lowered = config.model_copy(update={name: int(value) for name, value in named})
        assert input_px(lowered) < 0.8 * input_px(config), told.value
        assert TileSampler(stock, lowered).tiles >= world, "none for one of the processes"
        config = lowered


def test_pictures_smaller_than_a_tile_count_with_the_size_that_they_have(data: Path, tmp_path: Path) -> None:
    """At 60x44 px, tile_px makes no difference from 204 down to 60."""
    prepared = prepare(request(data, tmp_path / "r", steps=3, step_px=1, tile_px=204))
    prepared.training._sampler.batch = raising(MemoryError())  # type: ignore[method-assign]
    with pytest.raises(OutOfMemory, match=r"1 x 60x44 px .* lower tile_px \(now 204\) to 30 in"):
        run(prepared, Silent())


@pytest.mark.parametrize("error", [MemoryError(), FULL_OPENCV])
def test_pictures_that_memory_does_not_hold_are_told_as_such(
    data: Path, interrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    words = rf"does not hold the pictures of {re.escape(str(data))}, .*; give fewer or smaller ones"
    monkeypatch.setattr("trainer.dataset.Sample.read", raising(error))
    with pytest.raises(OutOfMemory, match=words):
        prepare(request(data, tmp_path / "r", steps=3))
    assert not (tmp_path / "r").exists()
    with pytest.raises(OutOfMemory, match=words):
        prepare_resume(resumption(data, interrupted))


def test_memory_that_is_full_in_earnest(data: Path, tmp_path: Path) -> None:
    """A process that may have 400 MB more than it has takes a step that needs gigabytes."""
    code = f"""
import resource, sys
from pathlib import Path
sys.path[:0] = [{str(Path.cwd())!r}, {str(Path(__file__).parent)!r}]
from tiny_run import Silent, request
from trainer.fit import prepare, run
from trainer.cli.fit import fit
from trainer.failures import OutOfMemory
data, out = Path({str(data)!r}), Path({str(tmp_path / "r")!r})
prepared = prepare(request(data, out, steps=1, base=64, step_px=400_000))
size = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 400_000_000,) * 2)
try:
    run(prepared, Silent())
except OutOfMemory as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert "lower step_px (now 400000)" in done.stdout, done.stderr[-2000:]


@pytest.mark.parametrize(
    "error",
    [
        torch.distributed.DistBackendError("NCCL communicator was aborted"),
        RuntimeError("[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:5221"),
    ],
)
def test_a_lost_process_is_told_only_where_there_are_several(
    data: Path, tmp_path: Path, error: BaseException
) -> None:
    prepared = prepare(request(data, tmp_path / "r", steps=3))
    training = prepared.training
    training._learner.gradients = raising(error)  # type: ignore[method-assign]
    with pytest.raises(type(error)):
        run(prepared, Silent())
    training._ranks = replace(training._ranks, world=2)
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(Ranks, "total", lambda _self, value: value)
        with pytest.raises(ProcessLost, match="start all processes again with --resume"):
            run(prepared, Silent())


@pytest.mark.parametrize("error", [RuntimeError("a bug"), cv2.error("(-215:Assertion failed) a bug")])
def test_another_error_stays_what_it_is(data: Path, tmp_path: Path, error: Exception) -> None:
    prepared = prepare(request(data, tmp_path / "r", steps=3))
    prepared.training._learner.gradients = raising(error)  # type: ignore[method-assign]
    with pytest.raises(type(error), match="a bug"):
        run(prepared, Silent())


def test_a_process_whose_peer_could_not_begin_says_so(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one found the folder there already; this one loses it while they agree on the data."""
    gone = RuntimeError("[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:5221")
    monkeypatch.setattr(Ranks, "refuse_other_data", raising(gone))
    monkeypatch.setattr(logging, "disable", lambda _level: None)  # which would last beyond this test
    monkeypatch.setattr("trainer.ranks.joined", lambda _device: nullcontext(Ranks(1, 2)))
    arguments = [str(data), "--out", str(tmp_path / "r"), "--steps", "1"]
    with pytest.raises(ProcessLost, match=r"process 1: Another process .* has ended .*; see what it said"):
        fit.main(arguments, standalone_mode=False)
    assert not (tmp_path / "r").exists()
