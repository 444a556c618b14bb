"""Every name of TensorRT that the project uses exists in the real bindings of 10.16 and 11.4."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / ".venv" / "contracts"
RELEASES = ("10.16.1.11", "11.4.0.106")
LIBRARIES = {
    "libnvinfer": [
        "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
        "getBuilderPluginRegistry", "getPluginRegistry",
    ],
    "libnvonnxparser": [
        "createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion",
    ],
    "libnvinfer_plugin": ["initLibNvInferPlugins"],
}  # fmt: skip
"""The nine functions that the bindings ask of TensorRT's libraries when they are imported."""


@pytest.fixture(scope="module", params=RELEASES)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    release: str = request.param
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not (CONTRACTS / release).is_dir():
        pytest.skip(f"NOT HELD AGAINST TENSORRT {release}: no {CONTRACTS / release}; run `make setup`")
    if compiler is None:
        pytest.skip(f"NOT HELD AGAINST TENSORRT {release}: there is no C compiler for its stub libraries")
    stubs = tmp_path_factory.mktemp("stubs")
    for library, functions in LIBRARIES.items():
        source = stubs / f"{library}.c"
        source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in functions))
        name = f"{library}.so.{release.split('.')[0]}"
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(stubs / name), str(source)]
        subprocess.run(command, check=True)
    places = os.pathsep.join([str(CONTRACTS / release), str(ROOT)])
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("contract_probe.py"))],
        env={**os.environ, "LD_LIBRARY_PATH": str(stubs), "PYTHONPATH": places},
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert told["version"] == release
    return told


def test_every_class_method_and_value_is_there(found: dict[str, Any]) -> None:
    assert found["missing"] == []
    assert {"Builder", "INetworkDefinition", "ICudaEngine", "IExecutionContext", "Runtime"} <= set(
        found["classes"]
    )


def test_every_call_gives_what_some_overload_takes(found: dict[str, Any]) -> None:
    assert len(found["calls"]) > 25
    for name, call in found["calls"].items():
        assert any(real[: len(call["ours"])] == call["ours"] for real in call["real"]), (name, call)


def test_what_pybind_makes_of_a_library_that_does_not_start_is_one_of_our_errors(
    found: dict[str, Any],
) -> None:
    assert found["failures"]["_builder"].startswith("CompileError: TensorRT's builder does not start")
    assert found["failures"]["_runtime"].startswith("EngineError: TensorRT does not start")


def test_logger_and_progress_monitor_derive_from_the_real_classes(found: dict[str, Any]) -> None:
    assert found["logged"] == "said once"
    assert found["steps"] == [True, False]


def test_nothing_that_is_gone_in_11_is_named(found: dict[str, Any]) -> None:
    assert found["fp16_flag"] == found["version"].startswith("10.")
    assert found["names_gone"] == []
