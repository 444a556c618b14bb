"""Compiled models in the cache, threads and streams."""

import logging
from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from inspector.config import ModelConfig
from inspector.engine import blobs, cpu, graph
from inspector.engine.graph import CompileOptions, compile_graph
from inspector.engine.open import open_engine
from inspector.engine.openvino import OpenVinoEngine
from inspector.engine.segment import segment
from inspector.package import ModelPackage
from inspector.tiling import plan_tiles, whole_plan

IMAGE = np.random.default_rng(0).normal(128, 50, (133, 150)).clip(0, 255).astype(np.uint8)
TILE = (60, 60)


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.model"))


def answer(compiled: ov.CompiledModel) -> np.ndarray:
    picture = np.random.default_rng(1).integers(0, 256, (1, *TILE, 1), np.uint8)
    return np.array(compiled(picture)[0])


def test_the_second_start_compiles_nothing(
    tiny_package: ModelPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = CompileOptions("f32", cache=tmp_path)
    first = answer(compile_graph(tiny_package.onnx, TILE, options))
    assert len(kept(tmp_path)) == 1
    monkeypatch.setattr(graph, "_compiled", lambda *_: pytest.fail("compiled again"))
    assert np.array_equal(answer(compile_graph(tiny_package.onnx, TILE, options)), first)


def test_what_the_model_depends_on_has_its_own_file(
    tiny_package: ModelPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_graph(tiny_package.onnx, TILE, CompileOptions("f32", cache=tmp_path))
    compile_graph(tiny_package.onnx, (64, 60), CompileOptions("f32", cache=tmp_path))
    compile_graph(tiny_package.onnx, TILE, CompileOptions("f32", threads=1, cache=tmp_path))
    compile_graph(tiny_package.onnx, TILE, CompileOptions("f32", cache=tmp_path), "prob_f32")
    assert len(kept(tmp_path)) == 4
    monkeypatch.setattr(graph, "cpu_name", lambda: "Z80")
    compile_graph(tiny_package.onnx, TILE, CompileOptions("f32", cache=tmp_path))
    assert len(kept(tmp_path)) == 5


@pytest.mark.parametrize("damage", ["cut", "flipped", "weights", "empty", "foreign"])
def test_a_damaged_file_is_made_again_aloud(
    damage: str, tiny_package: ModelPackage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = CompileOptions("f32", cache=tmp_path)
    first = answer(compile_graph(tiny_package.onnx, TILE, options))
    (path,) = kept(tmp_path)
    data = path.read_bytes()
    if damage == "foreign":  # whole, but not what this OpenVINO exports
        blobs.write_blob(path, b"not a model" * 100)
    else:
        flipped = data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]
        # Among the weights, which OpenVINO itself takes for what they are.
        weights = data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
        damaged = {"cut": data[: len(data) // 2], "flipped": flipped, "weights": weights, "empty": b""}
        path.write_bytes(damaged[damage])
    assert np.array_equal(answer(compile_graph(tiny_package.onnx, TILE, options)), first)
    assert "again" in caplog.text and str(path) in caplog.text
    assert blobs.read_blob(path) is not None


def test_a_cache_that_cannot_be_written_costs_only_time(
    tiny_package: ModelPackage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    compile_graph(tiny_package.onnx, TILE, CompileOptions("f32", cache=tmp_path / "missing"))
    assert "cannot be kept" in caplog.text


def test_models_unused_for_longest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "KEPT", 2)
    paths = [tmp_path / f"{name}.model" for name in "abc"]
    for age, path in enumerate(paths[:2]):
        blobs.write_blob(path, b"model")
        blobs.os.utime(path, (1000 + age, 1000 + age))
    assert blobs.read_blob(paths[0]) == b"model"  # used just now
    blobs.write_blob(paths[2], b"model")
    assert kept(tmp_path) == [paths[0], paths[2]]


def test_a_model_that_another_process_dropped_meanwhile_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A start said that nothing could be kept where all was well."""
    glob = Path.glob
    monkeypatch.setattr(
        Path, "glob", lambda folder, what: [folder / "dropped just now.model", *glob(folder, what)]
    )
    blobs.write_blob(tmp_path / "new.model", b"model")
    assert caplog.text == "" and blobs.read_blob(tmp_path / "new.model") == b"model"


def test_latency_and_throughput_in_openvinos_words() -> None:
    latency = CompileOptions("f32", threads=3).properties()
    assert latency["PERFORMANCE_HINT"] == "LATENCY" and latency["NUM_STREAMS"] == 1
    assert latency["INFERENCE_NUM_THREADS"] == 3
    throughput = CompileOptions("f32", hint="throughput", at_once=4).properties()
    assert throughput["PERFORMANCE_HINT"] == "THROUGHPUT" and throughput["PERFORMANCE_HINT_NUM_REQUESTS"] == 4
    assert "NUM_STREAMS" not in throughput


def test_several_tiles_at_once_give_what_one_at_a_time_gives(tiny_package: ModelPackage) -> None:
    plan = plan_tiles(IMAGE.shape, (44, 60), tiny_package.geometry)
    one = OpenVinoEngine(tiny_package, plan.input, CompileOptions("f32"))
    several = OpenVinoEngine(tiny_package, plan.input, CompileOptions("f32", hint="throughput", at_once=4))
    assert len(several._requests) >= len(one._requests)
    whole = whole_plan(IMAGE.shape, tiny_package.geometry)
    exact = segment(IMAGE, whole, OpenVinoEngine(tiny_package, whole.input, CompileOptions("f32")))
    for engine in (one, several):
        assert np.abs(segment(IMAGE, plan, engine).astype(int) - exact).max() <= 1


def test_throughput_from_the_config_serves_with_its_certificate(tiny_package: ModelPackage) -> None:
    plan = plan_tiles(IMAGE.shape, (44, 60), tiny_package.geometry)
    engine = open_engine(tiny_package, plan, ModelConfig(precision="f32", hint="throughput"))
    assert str(engine.compiled.get_property("PERFORMANCE_HINT")) == "THROUGHPUT"
    assert len(engine.info.certificate) == 64


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("flags\t\t: fpu avx2 avx512_vnni", True),
        ("flags\t\t: fpu avx2 avx512f", False),
        ("Features\t: fp asimd asimddp", True),
        ("", False),
    ],
)
def test_vnni_is_what_the_kernel_says(
    text: str, has: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{text}\n")
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "cpuinfo")
    assert cpu.cpu_has_vnni() is has


def test_a_system_that_does_not_tell_has_no_vnni_and_a_usual_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "none")
    monkeypatch.setattr(cpu, "_CACHES", tmp_path)
    cpu.last_cache_bytes.cache_clear()
    assert not cpu.cpu_has_vnni() and cpu.last_cache_bytes() == 16 << 20
    (tmp_path / "index3").mkdir()
    (tmp_path / "index3" / "size").write_text("32768K\n")
    cpu.last_cache_bytes.cache_clear()
    assert cpu.last_cache_bytes() == 32 << 20
    cpu.last_cache_bytes.cache_clear()
