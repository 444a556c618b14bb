"""The real wheelhouse into an empty prefix, without a network, and the line run from there.

`make test_install` makes the wheelhouse and runs this; it takes minutes, so that `make test` does not.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from small_house import install

HOUSE = os.environ.get("INSPECTION_WHEELHOUSE")
ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif(not HOUSE, reason="needs INSPECTION_WHEELHOUSE; `make test_install` sets it"),
    pytest.mark.timeout(1800),
]


def offline() -> list[str]:
    """What a command is started with so that it has no network at all, where the system allows that."""
    without = ["unshare", "--user", "--map-root-user", "--net"]
    allowed = shutil.which("unshare") and subprocess.run([*without, "true"]).returncode == 0
    return without if allowed else []


def test_the_line_runs_from_an_install_without_a_network(tmp_path: Path) -> None:
    assert HOUSE is not None
    said = install(Path(HOUSE), tmp_path)
    assert said.returncode == 0, said.stderr
    bin_folder = tmp_path / "opt/current/bin"
    clean = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "INSPECTION_CACHE": str(tmp_path / "state/cache"),
    }

    def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
        words = [*offline(), *map(str, command)]
        return subprocess.run(words, cwd=tmp_path / "state", env=clean, capture_output=True, text=True)

    config = tmp_path / "etc/line.toml"
    samples = ROOT / "data_samples"
    doctor = (bin_folder / "inspector", "doctor", "--config", config, "--model", samples / "demo_model")
    fit = run(*doctor, "--json")
    assert json.loads(fit.stdout.splitlines()[-1])["ok"] is True, fit.stdout + fit.stderr
    line = run(
        bin_folder / "inspector", "run", "--headless", "--json", "--config", config, "--frames", "3",
        "--camera", samples / "line.mp4", "--model", samples / "demo_model",
    )  # fmt: skip
    assert line.returncode == 0, line.stderr
    summary = json.loads(line.stdout.splitlines()[-1])
    assert summary["grabbed"] == 3 and summary["verdicts"]["UNINSPECTED"] == 0
    assert (tmp_path / "state/ledger.db").is_file()
    alive = run(bin_folder / "python", "-m", "deploy.alive", "--db", f"sqlite:///{tmp_path}/state/ledger.db")
    assert alive.returncode == 1 and "ended" in alive.stderr
    assert run(bin_folder / "python", "-c", "import torch").returncode != 0  # the line never needs it
