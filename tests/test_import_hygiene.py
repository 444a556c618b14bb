"""The line runs on machines that have no torch: proven by what a fresh process loads."""

import subprocess
import sys

import pytest


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a new process holds after running the statement."""
    code = f"{statement}\nimport sys; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "inspector.cli.run",
        "inspector.cli.bench",
        "inspector.cli.selftest",
        "inspector.station",
        "inspector.engine.open",
        "deploy.qualify.session",
        "inspector.dashboard.app",
    ],
)
def test_the_line_never_loads_the_trainer_or_torch(module: str):
    assert not loaded_by(f"import {module}") & {"torch", "trainer", "onnx", "onnxscript", "skimage"}


def test_the_line_loads_no_gpu_library_and_no_compiler_until_one_is_asked_for():
    loaded = loaded_by(
        "import inspector.station, inspector.engine.open, inspector.cli.run, inspector.cli.bench"
    )
    assert not loaded & {"tensorrt", "tensorrt_rtx", "cuda", "deploy"}


def test_the_core_loads_without_the_dashboard():
    assert "textual" not in loaded_by("import inspector.station, inspector.pipeline, inspector.recorder")


@pytest.mark.parametrize(
    ("program", "command"), [("inspector", "run"), ("trainer", "fit"), ("trainer", "evaluate")]
)
def test_help_of_a_command_is_quick_because_it_loads_nothing_heavy(program: str, command: str):
    helped = f"{program}.main(['{command}', '--help'], standalone_mode=False)"
    code = f"import contextlib, io\nfrom {program}.cli.main import {program}\n"
    code += f"with contextlib.redirect_stdout(io.StringIO()): {helped}"
    heavy = {"cv2", "openvino", "sqlalchemy", "textual", "numpy", "torch"}
    assert not loaded_by(code) & heavy


def test_geometry_and_rules_load_neither_database_nor_engine():
    assert not loaded_by("import inspector.tiling, inspector.defects, inspector.verdict") & {
        "sqlalchemy",
        "openvino",
    }
