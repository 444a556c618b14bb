"""What tests everywhere share: one tiny package, made once, a cache that is not the user's, and no rights."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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


@pytest.fixture
def as_nobody() -> Iterator[Callable[[], AbstractContextManager[Path]]]:
    """A folder owned by us, and a block in which this process has no special rights there."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)

    @contextmanager
    def drop() -> Iterator[Path]:
        if os.geteuid() != 0:
            folder.chmod(0o555)
            yield folder
            folder.chmod(0o755)
            return
        os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(0)

    yield drop
    folder.chmod(0o755)
    shutil.rmtree(folder)
