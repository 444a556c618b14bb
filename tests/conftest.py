"""What tests everywhere share: one tiny package, made once, a cache that is not the user's, and no rights."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import cv2
import numpy as np
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


@pytest.fixture(scope="session")
def spots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset for the tiny package; its two test frames cannot be read, so nobody does."""
    pytest.importorskip("torch")
    from benchmarks.networks import pictures

    folder = tmp_path_factory.mktemp("spots")
    stems = [f"{number:02}" for number in range(12)]
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for stem, picture in zip(stems, pictures(len(stems), (120, 150), 1, seed=3), strict=True):
        mask = np.where(picture < 60, 1, np.where(picture > 196, 2, 0)).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / f"{stem}.png"), picture)
        cv2.imwrite(str(folder / "masks" / f"{stem}.png"), mask)
    (folder / "split.json").write_text(json.dumps({"train": stems[2:], "test": stems[:2]}))
    (folder / "classes.json").write_text('{"1": "dark", "2": "bright"}')
    for stem in stems[:2]:
        (folder / "images" / f"{stem}.png").write_bytes(b"an exam frame")
        (folder / "masks" / f"{stem}.png").write_bytes(b"an exam frame")
    return folder


@pytest.fixture(scope="session")
def tiny_int8_package(
    tiny_package: ModelPackage, spots: Path, tmp_path_factory: pytest.TempPathFactory
) -> ModelPackage:
    """The tiny package in int8, by the real exporter."""
    pytest.importorskip("torch")
    from trainer.dataset import load_dataset
    from trainer.quantise import export_int8

    dataset = load_dataset([spots], channels=1, classes=tiny_package.classes)
    out = tmp_path_factory.mktemp("int8") / "tiny-int8"
    return export_int8(tiny_package, dataset, out, ("tiny-int8", "1"), tiles=12)


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
