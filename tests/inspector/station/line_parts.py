"""A line for tests: a package without a network, an engine that sees dark pixels, and the ledger's rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from inspector.config import LineConfig
from inspector.engine.fake import FakeEngine
from inspector.package import Golden, Manifest, ModelPackage, Normalisation, Threshold, write_package
from inspector.pipeline import Pipeline
from inspector.station.infer import Serving
from inspector.tiling import Geometry, cheapest_plan


def make_package(path: Path, channels: int = 1) -> ModelPackage:
    """One class, `hole`: with the fake engine every pixel darker than gray 13."""
    geometry = Geometry(3)
    size = geometry.input(4)
    manifest = Manifest(
        name="holes", version="1", classes=("hole",), channels=channels, depth=3, base=4,
        halo=geometry.halo, grid=geometry.grid,
        normalisation=Normalisation(mean=(128.0,) * channels, std=(64.0,) * channels),
        thresholds={"hole": Threshold(value=0.9)}, training_data_sha256="0" * 64, seed=1,
    )  # fmt: skip
    golden = Golden(np.zeros((1, size, size, channels), np.uint8), np.ones((1, 4, 4, 1), np.float32))
    return write_package(path, manifest, b"no network", golden)


def fake_serving(**engine: Any) -> Callable[..., Serving]:
    """Stands in for open_serving: a FakeEngine with these settings for whatever size is asked."""

    def open_serving(config: LineConfig, package: ModelPackage, size: tuple[int, int]) -> Serving:
        plan = cheapest_plan(size, package.geometry)
        fake = FakeEngine(len(package.classes), package.geometry, plan.input, package=package.id, **engine)
        return Serving(size, fake, Pipeline(package, fake, plan, config.recipe))

    return open_serving


def line_config(folder: Path, source: str, **sections: dict[str, Any]) -> LineConfig:
    """Ledger, evidence and outputs below `folder`; sections overlay camera, model, recipe, recording."""
    package = folder / "package"
    if not package.exists():
        make_package(package)
    fields: dict[str, Any] = {
        "camera": {"source": source, **sections.get("camera", {})},
        "model": {"package": package, "engine": "fake", **sections.get("model", {})},
        "recipe": sections.get("recipe", {}),
        "recording": {"db": f"sqlite:///{folder / 'ledger.db'}", **sections.get("recording", {})},
        "outputs": [{"kind": "jsonl", "path": folder / "out.jsonl"}],
    }
    return LineConfig.model_validate(fields)


def rows(
    folder: Path, sql: str = "SELECT number, verdict, reason_code FROM inspections ORDER BY number"
) -> list:
    """What the ledger holds, read past all of our own code."""
    connection = sqlite3.connect(folder / "ledger.db")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def gray_folder(folder: Path, grays: list[int | None], size: tuple[int, int] = (40, 60)) -> Path:
    """Images 00.png ...: good, or below 13 with a hole of that gray; None is no image."""
    folder.mkdir()
    for number, gray in enumerate(grays):
        path = folder / f"{number:02d}.png"
        if gray is None:
            path.write_bytes(b"no image")
            continue
        image = np.full(size, 128, np.uint8)
        image[0, 0] = 100 + number % 100  # neighbours differ
        image[-1, -1] = 90  # and none has one value all over, which is no picture
        if gray < 13:
            image[10:20, 10:20] = gray
        cv2.imwrite(str(path), image)
    return folder
