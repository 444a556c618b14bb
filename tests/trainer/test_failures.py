"""Memory that is full and a process that is gone are told in a sentence with what to do."""

from __future__ import annotations

import logging
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import Silent, request

from trainer.cli.fit import fit
from trainer.failures import OutOfMemory, ProcessLost
from trainer.fit import prepare, run
from trainer.ranks import Ranks


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
    ],
)  # fmt: skip
def test_a_step_that_memory_does_not_hold_says_what_to_lower(
    data: Path, tmp_path: Path, error: BaseException
) -> None:
    prepared = prepare(request(data, tmp_path / "r", steps=3))
    prepared.training._learner.gradients = raising(error)  # type: ignore[method-assign]
    words = r"memory of cpu .*3 x 36x36 px at base 4, .* lower step_px \(now 4000\), then tile_px \(now 36\)"
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
    with pytest.raises(OutOfMemory, match=r"1 x 36x36 px at base 4, depth 3; lower tile_px \(now 36\)"):
        run(prepared, Silent())


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


def test_another_error_stays_what_it_is(data: Path, tmp_path: Path) -> None:
    prepared = prepare(request(data, tmp_path / "r", steps=3))
    prepared.training._learner.gradients = raising(RuntimeError("a bug"))  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="a bug"):
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
