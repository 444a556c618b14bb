"""From a package to a verified engine in the store: sizes, memory, lock, atomic writes, records."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.compile import LINT, Request, compile_package
from deploy.progress import Phases, ProgressLine
from deploy.size import MB, bytes_per_input_px, plan_for_gpu, workspace_bytes
from deploy.store import LOCK, compiling, store
from inspector.config import ModelConfig
from inspector.engine import planner
from inspector.engine.cache import cache_folder
from inspector.engine.compiled import (
    Batch,
    Stored,
    contract,
    engines_folder,
    find_compiled,
    plan_for_compiled,
    stored_engines,
    verify,
)
from inspector.engine.cuda import Gpu, check, cuda_runtime, probe_gpu
from inspector.errors import (
    CompiledEngineError,
    CompileError,
    DeviceLost,
    EngineCorrupt,
    EngineError,
    GpuMissing,
    MemoryLimitError,
    UsageError,
)
from inspector.package import ModelPackage

_SPEC = importlib.util.spec_from_file_location(
    "fake_gpu", Path(__file__).parents[1] / "inspector" / "engine" / "fake_gpu.py"
)
assert _SPEC is not None and _SPEC.loader is not None
fake_gpu = sys.modules.setdefault("fake_gpu", importlib.util.module_from_spec(_SPEC))
_SPEC.loader.exec_module(fake_gpu)

GPU = Gpu("NVIDIA Fake", "9.0", "13.1", 1 << 34)
TILE = (60, 64)


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSPECTION_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def rule_package(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    package: ModelPackage = fake_gpu.rule_package(tmp_path_factory.mktemp("rule") / "package")
    return package


def quiet(share: float, phase: str) -> bool:
    return True


def test_a_compiled_package_is_found_and_agrees_with_everything(tiny_package: ModelPackage) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="TENSORRT-RTX IS NOT INSTALLED: nothing is built")
    request = Request(tiny_package.path, tile=TILE, batch=3)
    outcome = compile_package(request, quiet, trt, fake_gpu.FakeCuda())
    stored = find_compiled(tiny_package, TILE, trt.__version__, GPU)
    record = stored.record
    assert outcome.record == str(stored.path) and outcome.gpu == "NVIDIA Fake" and outcome.batch == 3
    assert record.tensors == contract(tiny_package, TILE)
    assert record.layers["CONVOLUTION"] == {"HALF": 11} and record.batch == Batch(least=1, usual=3, most=3)
    assert record.options.workspace_bytes == (1 << 33) // 2  # half of what is free
    assert (record.module, record.driver, record.precision) == ("tensorrt_rtx", "13.1", "fp16")
    assert len(stored.plan_bytes()) == outcome.plan_bytes == record.plan_bytes
    assert not list(engines_folder(tiny_package).glob("*.tmp"))
    again = compile_package(request, quiet, trt, fake_gpu.FakeCuda())
    assert again.record == outcome.record
    assert len(list(engines_folder(tiny_package).glob("*.plan"))) == 1  # the old one gave way


def test_the_lint_keeps_nothing_and_needs_no_gpu(tiny_package: ModelPackage) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="TENSORRT-RTX IS NOT INSTALLED: nothing is built")
    outcome = compile_package(Request(tiny_package.path, engine=LINT, frame=(48, 80)), quiet, trt)
    assert outcome.record is None and outcome.gpu is None
    assert outcome.tile == (88, 120)
    assert not cache_folder().exists()


class NoBuilder:
    """TensorRT that must not be touched."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was touched too early")


def test_a_second_compilation_does_not_begin(rule_package: ModelPackage) -> None:
    untouched: Any = NoBuilder()
    with compiling(), pytest.raises(CompileError, match="Another compilation runs"):
        compile_package(Request(rule_package.path, tile=TILE), quiet, untouched, fake_gpu.FakeCuda())


def test_without_a_gpu_no_builder_is_made(tiny_package: ModelPackage) -> None:
    with pytest.raises(GpuMissing, match="nvidia-smi"):
        compile_package(Request(tiny_package.path), quiet, NoBuilder(), fake_gpu.FakeCuda(code=35))  # type: ignore[arg-type]


def test_what_is_missing_first_is_said_first(
    tiny_package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`install it with pip` was said on machines without a GPU, where no library helps."""
    request = Request(tiny_package.path, tile=TILE)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(GpuMissing, match="CUDA finds no NVIDIA GPU"):
        compile_package(request, quiet, cuda=fake_gpu.FakeCuda(code=35))
    with pytest.raises(UsageError, match=r"TensorRT cannot be imported .*pip install '\.\[tensorrt\]'"):
        compile_package(request, quiet, cuda=fake_gpu.FakeCuda())
    for name in ("cuda.bindings", "cuda.bindings.runtime"):
        monkeypatch.setitem(sys.modules, name, None)
    for driver, kind, words in (
        (False, GpuMissing, "This machine has no NVIDIA driver"),
        (True, UsageError, r"CUDA runtime cannot be imported .*pip install '\.\[tensorrt\]'"),
    ):
        monkeypatch.setattr("inspector.engine.cuda._has_driver", lambda driver=driver: driver)
        with pytest.raises(kind, match=words) as failure:
            compile_package(request, quiet)
        assert type(failure.value) is kind and failure.value.exit_code == 2


def test_a_request_survives_its_message() -> None:
    for request in (
        Request(Path("a/b"), frame=(10, 20), workspace_mb=7),
        Request(Path("p"), engine=LINT, tile=(60, 64), batch=4, level=5),
    ):
        assert Request.of(json.loads(json.dumps(request.message()))) == request


def test_no_batch_below_one_reaches_tensorrt(tiny_package: ModelPackage) -> None:
    """TensorRT accepts a least batch of 0 and builds."""
    trt = pytest.importorskip("tensorrt_rtx", reason="TENSORRT-RTX IS NOT INSTALLED: nothing is built")
    with pytest.raises(UsageError, match="--batch 0"):
        compile_package(Request(tiny_package.path, engine=LINT, tile=TILE, batch=0), quiet, trt)
    for wrong in ({"least": 0}, {"least": 2, "usual": 1, "most": 2}, {"usual": 3, "most": 2}):
        with pytest.raises(ValueError, match=r"batch|greater than or equal"):
            Batch(**wrong)


def test_the_workspace_is_half_of_what_is_free_and_never_more_than_that() -> None:
    assert workspace_bytes(None, None) == 1024 * MB
    assert workspace_bytes(None, 6000 * MB) == 3000 * MB
    assert workspace_bytes(500, 6000 * MB) == 500 * MB
    with pytest.raises(UsageError, match=r"--workspace-mb 7000 is more than the 6000 MB"):
        workspace_bytes(7000, 6000 * MB)


def test_the_tile_is_the_whole_frame_where_it_fits_and_smaller_where_not(rule_package: ModelPackage) -> None:
    frame = (1080, 1920)
    assert len(plan_for_gpu(rule_package, frame, 1, None).tiles) == 1
    free = bytes_per_input_px(rule_package) * 400 * 400 * 2
    small = plan_for_gpu(rule_package, frame, 1, free)
    assert len(small.tiles) > 1 and small.input[0] * small.input[1] <= 400 * 400
    half = plan_for_gpu(rule_package, frame, 2, free)
    assert half.input[0] * half.input[1] <= 400 * 400 // 2
    with pytest.raises(MemoryLimitError, match="No tile for frames of 1080x1920"):
        plan_for_gpu(rule_package, frame, 1, 1000)
    wide = 1 << 17  # more elements than TensorRT's tensors may have
    assert len(plan_for_gpu(rule_package, (wide, wide), 1, None).tiles) > 1


def test_one_compilation_at_a_time() -> None:
    with compiling():
        with pytest.raises(CompileError, match=rf"process {os.getpid()}\); wait"), compiling():
            pass
        assert (cache_folder() / "engines" / LOCK).read_text() == str(os.getpid())
    with compiling():
        pass


def test_the_lock_is_free_again_when_its_holder_was_killed() -> None:
    code = (
        "import sys; from deploy.store import compiling\n"
        "with compiling(): print(1, flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"1\n"
    with pytest.raises(CompileError, match=f"process {holder.pid}"), compiling():
        pass
    holder.kill()
    holder.communicate()
    with compiling():
        pass


def test_a_crash_at_any_point_leaves_an_engine_that_is_whole(
    rule_package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step of the second write fails once; the first engine stays, or the second is there."""
    first = fake_gpu.store_plan(rule_package, TILE)
    plan = first.plan_bytes() + b" "
    digest = __import__("hashlib").sha256(plan).hexdigest()
    changed = {"plan": f"{first.record.key()}-{digest[:12]}.plan", "plan_sha256": digest,
               "plan_bytes": len(plan), "build_s": 9.0}  # fmt: skip
    record = first.record.model_copy(update=changed)
    real_sync, real_replace = os.fsync, Path.replace
    for step in range(6):
        left = step

        def fail_at(*_: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda fd: fail_at() or real_sync(fd))
            patch.setattr(Path, "replace", lambda a, b: fail_at() or real_replace(a, b))
            with pytest.raises(CompileError, match=r"No space left on device.*INSPECTION_CACHE"):
                store(rule_package, record, plan)
        (found,) = stored_engines(rule_package)
        assert isinstance(found, Stored)
        found.plan_bytes()
        # On a full disk the half of a plan that was written would keep it full.
        assert not list(engines_folder(rule_package).glob("*.tmp"))
    stored = store(rule_package, record, plan)
    assert stored.record.build_s == 9.0 and stored.plan_bytes() == plan
    names = sorted(path.name for path in engines_folder(rule_package).iterdir())
    assert not [name for name in names if name.endswith(".tmp")]


def test_a_changed_record_is_refused_and_another_one_still_serves(rule_package: ModelPackage) -> None:
    stored = fake_gpu.store_plan(rule_package, TILE)
    fields = json.loads(stored.path.read_text())
    stored.path.write_text(json.dumps({**fields, "gpu": "NVIDIA Better"}))
    with pytest.raises(EngineCorrupt, match=f"was changed.*rm '{stored.path}'"):
        find_compiled(rule_package, TILE, "11.4.0.106", GPU)
    other = fake_gpu.store_plan(rule_package, TILE, batch=(1, 1, 1))
    assert find_compiled(rule_package, TILE, "11.4.0.106", GPU) == other
    stored.path.write_text("{")
    assert [type(one) for one in stored_engines(rule_package)] == [Stored, EngineCorrupt]


def test_engines_of_several_versions_live_side_by_side(rule_package: ModelPackage) -> None:
    old = fake_gpu.store_plan(rule_package, TILE, version="10.16.1.11")
    new = fake_gpu.store_plan(rule_package, TILE, built_utc="2026-12-01T00:00:00.000+00:00")
    assert find_compiled(rule_package, TILE, "10.16.1.11", GPU) == old
    assert find_compiled(rule_package, TILE, "11.4.0.106", GPU) == new
    verify(new.record, rule_package, "11.4.0.106", Gpu("NVIDIA Fake", "9.0", "13.5", 1))  # a newer driver


def test_the_plan_takes_the_compiled_tile_that_costs_least(rule_package: ModelPackage) -> None:
    fake_gpu.store_plan(rule_package, (60, 60))
    fake_gpu.store_plan(rule_package, (140, 220))
    assert plan_for_compiled(rule_package, (100, 180)).input == (140, 220)
    assert plan_for_compiled(rule_package, (20, 20)).input == (60, 60)


@pytest.mark.parametrize(
    "other", [{"version": "10.16.1.11"}, {"gpu": "NVIDIA Older"}, {"compute_capability": "8.6"}]
)
def test_an_engine_that_cannot_serve_here_does_not_choose_the_tile(
    rule_package: ModelPackage, other: dict[str, str]
) -> None:
    """After an update of TensorRT the old engine was planned for, and refused, beside a new one."""
    fake_gpu.store_plan(rule_package, (140, 220), **other)
    here = "11.4.0.106", GPU
    alone = plan_for_compiled(rule_package, (100, 180), *here)
    with pytest.raises(CompiledEngineError, match="compile it again with"):  # nothing else: refused by name
        find_compiled(rule_package, alone.input, *here)
    fits = fake_gpu.store_plan(rule_package, (60, 60))
    planned = plan_for_compiled(rule_package, (100, 180), *here)
    assert planned.input == (60, 60) and find_compiled(rule_package, planned.input, *here) == fits
    assert plan_for_compiled(rule_package, (100, 180)).input == (140, 220)  # where nobody knows what is here


def test_the_line_plans_for_the_tensorrt_and_the_gpu_that_are_here(
    rule_package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpu.store_plan(rule_package, (140, 220), version="10.16.1.11")
    fake_gpu.store_plan(rule_package, (144, 220), gpu="NVIDIA Older")
    fake_gpu.store_plan(rule_package, (60, 60))
    settings = ModelConfig(engine="tensorrt")
    monkeypatch.setattr(planner, "installed_version", lambda: "11.4.0.106")
    monkeypatch.setattr(planner, "cuda_runtime", lambda: fake_gpu.FakeCuda())
    assert planner.choose_plan(rule_package, (100, 180), settings).input == (60, 60)
    monkeypatch.setattr(planner, "cuda_runtime", lambda: fake_gpu.FakeCuda(devices=0))
    with pytest.raises(GpuMissing, match="it counts none"):
        planner.choose_plan(rule_package, (100, 180), settings)


def test_probing_this_machine_gives_a_gpu_or_says_what_is_missing() -> None:
    pytest.importorskip("cuda.bindings", reason="CUDA-BINDINGS ARE NOT INSTALLED")
    try:
        gpu = probe_gpu(cuda_runtime())
    except GpuMissing as missing:
        assert missing.exit_code == 2 and "nvidia-smi" in str(missing)
    else:
        assert gpu.name and gpu.compute_capability.count(".") == 1 and gpu.memory_bytes > 0


def test_a_driver_library_that_is_not_there_is_the_same_refusal() -> None:
    class NoDriver:
        def cudaGetDeviceCount(self) -> Any:
            raise RuntimeError('"cuda" is an NVIDIA driver library and can only be found via system search.')

    with pytest.raises(GpuMissing, match="finds no NVIDIA driver"):
        probe_gpu(NoDriver())  # type: ignore[arg-type]


def test_codes_of_cuda_become_errors() -> None:
    assert check((0,), "x") == () and check((0, 5), "x") == 5 and check((0, 1, 2), "x") == (1, 2)
    for code, kind in (
        (2, EngineError),
        (1, EngineError),
        (700, DeviceLost),
        (46, DeviceLost),
        (999, DeviceLost),
    ):
        with pytest.raises(EngineError, match=f"when y .*{code}") as failure:
            check((code, None), "y")
        assert type(failure.value) is kind


def test_progress_is_the_share_of_the_outermost_phase() -> None:
    phases = Phases()
    phases.start("all", None, 4)
    assert phases.share() == 0.0
    phases.step("all", 0)
    phases.start("inner", "all", 2)
    phases.step("inner", 0)
    assert phases.share() == pytest.approx((1 + 0.5) / 4)
    phases.start("innermost", "inner", 10)
    phases.step("innermost", 4)
    assert phases.share() == pytest.approx((1 + (1 + 0.5) / 2) / 4) and phases.name() == "innermost"
    phases.finish("inner")
    assert phases.share() == 0.25 and phases.name() == "all"
    phases.finish("all")
    assert phases.share() == 1.0


def test_progress_is_a_bar_on_a_terminal_and_rare_lines_elsewhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ProgressLine()
    line.show(0.5, "Timing")
    line.close()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    line = ProgressLine()
    line.show(0.5, "Timing")
    line.close()
    shown = capsys.readouterr().err
    assert "[###############---------------]  50%" in shown and shown.endswith("\n")
