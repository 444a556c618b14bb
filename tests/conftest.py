"""What tests everywhere share: one tiny package, made once, and a cache that is not the user's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before torch is loaded: threads that spin while they wait take the cores from the other processes.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


from inspector.package import ModelPackage


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Certificates and compiled models of the tests go to a folder of their own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSPECTION_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny_package(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    """Base 4, depth 3, gray: gray below 96 is class `dark`, above 160 `bright`, by the real exporter."""
    pytest.importorskip("torch")
    from benchmarks.networks import seeing_package

    return seeing_package(tmp_path_factory.mktemp("package") / "tiny", base=4, depth=3)
