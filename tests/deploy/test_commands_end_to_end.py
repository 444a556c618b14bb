"""Compile, show and run as an operator types them, on an NVIDIA machine that is faked below the libraries.

The builder is TensorRT-RTX's real one; what runs is the package's own graph behind a TensorRT and a
CUDA that hold us to their contracts. So certificates, masks and verdicts are those of the network.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from inspector.package import ModelPackage

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

pytest.importorskip("tensorrt_rtx", reason="TENSORRT-RTX IS NOT INSTALLED: nothing is built")


class Machine:
    """Runs commands with a cache of its own. gpu: with the fake NVIDIA libraries; code: what CUDA says."""

    def __init__(self, folder: Path, package: ModelPackage) -> None:
        self.folder, self.package = folder, package
        self.environment = {**os.environ, "INSPECTION_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}

    def with_gpu(self, code: int = 0, **more: str) -> Machine:
        other = Machine(self.folder, self.package)
        places = [HERE / "fake_libraries", ROOT / "tests" / "inspector" / "engine", ROOT]
        other.environment |= {
            "PYTHONPATH": os.pathsep.join(str(place) for place in places),
            "FAKE_CUDA_CODE": str(code), "FAKE_PACKAGE": str(self.package.path), **more,
        }  # fmt: skip
        return other

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *command], env=self.environment, cwd=self.folder,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *command: str) -> tuple[int, str, str]:
        process = self.start(*command)
        out, err = process.communicate(timeout=200)
        assert "Traceback" not in err, err
        return process.returncode, out, err


@pytest.fixture
def machine(tmp_path: Path, tiny_package: ModelPackage) -> Machine:
    return Machine(tmp_path, tiny_package)


def frames(folder: Path) -> Path:
    folder.mkdir()
    for number, gray in enumerate([128, 5, 128]):
        picture = np.full((50, 70), 128, np.uint8)
        picture[20:30, 30:44] = gray
        picture[0, 0] = 120 + number
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    return folder


def last_json(text: str) -> Any:
    return json.loads(text.strip().splitlines()[-1])


def test_compile_show_and_run(machine: Machine) -> None:
    gpu, package = machine.with_gpu(), str(machine.package.path)
    line = ["inspector", "run", "--camera", str(frames(machine.folder / "in")), "--model", package,
            "--engine", "tensorrt", "--json"]  # fmt: skip

    code, _, err = gpu.run(*line)
    assert code == 3 and f"inspector models compile {package}" in err

    code, out, err = gpu.run("inspector", "models", "compile", package, "--frame", "50x70", "--json")
    assert code == 0, err
    made = last_json(out)
    assert made["gpu"] == "NVIDIA Fake" and made["layers"]["CONVOLUTION"] == {"HALF": 11}

    code, out, err = gpu.run(*line)
    assert code == 0, err
    summary = last_json(out)
    assert summary["verdicts"] == {"PASS": 2, "REJECT": 1, "REVIEW": 0, "UNINSPECTED": 0}
    engine = summary["engine"]
    assert (engine["name"], engine["precision"], engine["device"]) == ("tensorrt", "fp16", "NVIDIA Fake")
    assert len(engine["certificate"]) == 64 and "Certificate" in err

    code, out, _ = gpu.run("inspector", "models", "show", package, "--json")
    shown = last_json(out)
    assert code == 0 and [one["refused"] for one in shown["engines"]] == [None]
    assert engine["certificate"] in [one["id"] for one in shown["certificates"]]

    code, out, _ = machine.run("inspector", "models", "show", package)  # the same disk without a GPU
    assert code == 0 and "REFUSED here: CUDA finds no NVIDIA" in out

    (plan,) = (machine.folder / "cache" / "engines").glob("*/*.plan")
    data = bytearray(plan.read_bytes())
    data[len(data) // 2] ^= 1
    plan.write_bytes(data)
    code, _, err = gpu.run(*line)
    assert code == 3 and "was changed: sha256" in err and "inspector models compile" in err


def test_without_a_gpu_nothing_ends_by_a_signal(machine: Machine) -> None:
    """TensorRT's own Runtime would be a SIGSEGV here: exit 139, nothing to catch."""
    gpu, package = machine.with_gpu(), str(machine.package.path)
    code, _, err = gpu.run("trainer", "compile", package, "--tile", "60x64")
    assert code == 0, err
    gone = machine.with_gpu(code=35)
    for command in (
        ["inspector", "models", "compile", package],
        ["inspector", "run", "--camera", str(frames(machine.folder / "in")), "--model", package,
         "--engine", "tensorrt", "--headless"],
    ):  # fmt: skip
        code, _, err = gone.run(*command)
        assert code == 2 and "CUDA finds no NVIDIA GPU" in err and "nvidia-smi" in err
    unguarded = (
        "import tensorrt; from inspector.engine.tensorrt_api import logger_of\n"
        "tensorrt.Runtime(logger_of(tensorrt))"
    )
    died = subprocess.run([sys.executable, "-c", unguarded], env=gone.environment, cwd=machine.folder)
    assert died.returncode == -signal.SIGSEGV  # so that the two above mean something


def test_a_compiler_that_dies_is_a_fault_with_words(machine: Machine) -> None:
    code, out, err = machine.with_gpu(FAKE_BUILDER="die").run(
        "inspector", "models", "compile", str(machine.package.path)
    )
    assert code == 1 and out == "" and "ended by signal 11" in err and "nothing was kept" in err


def test_the_check_of_the_graph_needs_no_gpu_and_says_that_it_is_no_engine(machine: Machine) -> None:
    code, out, _ = machine.run(
        "trainer", "compile", str(machine.package.path), "--engine", "tensorrt-rtx", "--precision", "fp16"
    )
    assert code == 0 and "no engine of this product" in out
    assert not (machine.folder / "cache" / "engines").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "NVIDIA driver"),
        (["--frame", "10"], "--frame 10 is not HEIGHTxWIDTH"),
        (["--engine", "tensorrt-rtx", "--tile", "61x64"], "61 pixels does not fit depth 3"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_2(
    options: list[str], words: str, machine: Machine
) -> None:
    try:
        import tensorrt  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("TensorRT is installed here")
    code, out, err = machine.run("inspector", "models", "compile", str(machine.package.path), *options)
    assert code == 2 and out == "" and words in err and len(err.strip().splitlines()) == 1


def test_a_package_that_is_not_there_is_exit_2(machine: Machine) -> None:
    code, _, err = machine.run("inspector", "models", "compile", "nowhere")
    assert code == 2 and "no model package at nowhere" in err


def test_ctrl_c_cancels_frees_the_lock_and_keeps_nothing(machine: Machine) -> None:
    """Held back at its first step by a progress that nobody reads, the child sees the parent go."""
    gpu = machine.with_gpu()
    process = gpu.start("inspector", "models", "compile", str(machine.package.path), "--frame", "1000x1400")
    lock = machine.folder / "cache" / "engines" / "compile.lock"
    deadline = time.monotonic() + 100
    while not (lock.exists() and lock.read_text()) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    stored = list((machine.folder / "cache" / "engines").glob("*/*.json"))
    if process.returncode == 0:
        pytest.skip("the compilation was faster than Ctrl-C")
    assert process.returncode == 130 and "Traceback" not in err
    assert stored == []
    code, _, err = gpu.run("inspector", "models", "compile", str(machine.package.path), "--tile", "60x64")
    assert code == 0, err
