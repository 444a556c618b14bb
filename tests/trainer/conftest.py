"""A tiny line's pictures, and a run on them that was interrupted; whoever changes either takes a copy.

Imports stand in the fixtures: the folders below have tests that need no torch.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_run import make_data

    return make_data(tmp_path_factory.mktemp("line"))


@pytest.fixture(scope="session")
def half(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ten steps, interrupted after four: last.pt and previous.pt are of steps 4 and 3."""
    from tiny_run import Silent, request

    from trainer.fit import prepare, run

    out = tmp_path_factory.mktemp("runs") / "half"
    assert run(prepare(request(data, out, steps=10)), Silent(), lambda step: step == 4) is None
    return out


@pytest.fixture
def interrupted(half: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(half, tmp_path / "run"))
