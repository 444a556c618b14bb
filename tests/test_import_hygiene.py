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
        "inspector.dashboard.app",
    ],
)
def test_the_line_never_loads_the_trainer_or_torch(module: str):
    assert not loaded_by(f"import {module}") & {"torch", "trainer", "onnx", "onnxscript", "skimage"}


def test_the_core_loads_without_the_dashboard():
    assert "textual" not in loaded_by("import inspector.station, inspector.pipeline, inspector.recorder")


def test_help_is_quick_because_it_loads_nothing_heavy():
    assert not loaded_by("import inspector.cli.main") & {"cv2", "openvino", "sqlalchemy", "textual", "numpy"}


def test_geometry_and_rules_load_neither_database_nor_engine():
    assert not loaded_by("import inspector.tiling, inspector.defects, inspector.verdict") & {
        "sqlalchemy",
        "openvino",
    }
