"""Runs and inspections made up for the ledger's tests and benchmarks: no camera, no network."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from ulid import ULID

from inspector.config import Recipe
from inspector.engine.protocol import EngineInfo
from inspector.package import Manifest, ModelPackage, Normalisation, Threshold
from inspector.recorder import RunStart
from inspector.types import Defect, Frame, Inspection, Reason, Verdict, VerdictWord

WORDS = (VerdictWord.PASS, VerdictWord.PASS, VerdictWord.PASS, VerdictWord.REJECT, VerdictWord.REVIEW)


def sample_package() -> ModelPackage:
    """A package that names itself and has no files."""
    manifest = Manifest(
        name="sample", version="1", classes=("scratch",), channels=1, depth=3, base=4, halo=20, grid=4,
        normalisation=Normalisation(mean=(0.0,), std=(255.0,)), thresholds={"scratch": Threshold(value=0.5)},
        training_data_sha256="0" * 64, seed=1,
    )  # fmt: skip
    return ModelPackage(Path("sample"), manifest, manifest.package_id())


def sample_start(run_id: str | None = None) -> RunStart:
    """The start of a run with a new id, or the given one."""
    package = sample_package()
    info = EngineInfo("fake", "1", "f32", "processor", package.id, "none", (60, 60))
    recipe = Recipe(name="sample", mm_per_px=(0.1, 0.1))
    return RunStart(run_id or str(ULID()), "sim:", package, info, recipe, "lot 7")


def sample_inspection(
    number: int, word: VerdictWord | None = None, size: tuple[int, int] = (48, 64)
) -> Inspection:
    """Frame `number` with a picture of its own; without a word, 3 of 5 pass, 1 is a reject, 1 a review."""
    word = word or WORDS[number % len(WORDS)]
    image = np.random.default_rng(number).integers(0, 255, size, np.uint8)
    now = time.monotonic_ns()
    frame = Frame(number, image, time.time_ns(), now, "sim:", f"sim#{number}", f"part {number // 10}")
    if word is VerdictWord.PASS:
        return Inspection(frame, Verdict(word), (), np.zeros(size, np.uint8), 1.0, now + 1000, {"wait": 0.5})
    defect = Defect(1, "scratch", (4, 5, 8, 9), 16, 4.0, 4.0, 0.75, ("all",), 0.16, 0.4, 0.4)
    mask = np.zeros(size, np.uint8)
    mask[4:8, 5:9] = 1
    verdict = Verdict(word, (Reason("area", "scratch area 0.16 mm², limit 0.1 mm²"),))
    return Inspection(frame, verdict, (defect,), mask, 1.0, now + 1000, {"wait": 0.5})
