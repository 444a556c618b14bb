"""int8 beside bf16 on the CPU: the speed of engines that both have their certificate.

The package in floating point serves in bf16, the int8 package that is made of it here in int8. The bar
is held against a trained package, and against a second one where it is named: at least 1.6 times as
fast, at no more than 0.2 points of mean IoU on frames that neither training nor the fitting of
int8 has seen. A drawn network of the same size stands beside them, for the speed alone.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import click
import cv2
import numpy as np

from benchmarks.networks import CLASSES, pictures, seeing_package
from benchmarks.speed import bars
from benchmarks.speed.bars import DRAWN, TRAINED
from benchmarks.speed.line import (
    BASE,
    FRAMES,
    Scope,
    engine_mpx_per_s,
    line_mpx_per_s,
    open_line,
    served,
)
from benchmarks.speed.record import Row
from inspector.cli.bench import LineBench
from inspector.config import ModelConfig
from inspector.engine.cpu import cpu_has_bf16, cpu_has_vnni, cpu_name
from inspector.errors import Refused
from inspector.package import ModelPackage, load_package
from trainer.dataset import Sample, load_dataset
from trainer.evaluate import Reading, evaluate, package_segmenter
from trainer.quantise import export_int8
from trainer.synth.line import LineSpec
from trainer.synth.write import write_dataset

DEMO = Path(__file__).parent.parent.parent / "data_samples" / "demo_model"
SEED, CALIBRATION_FRAMES = 700, 40
EXAM_SEED, EXAM_FRAMES = 701, 60
TILES = 64
SIZE = (720, 1280)
QUICK_FRAMES, QUICK_TILES, QUICK_SIZE = 4, 8, (300, 400)
GIVEN = "given"
"""The network that was named, beside the demo model."""
DEPTH, FRAME = 4, "1080p"
KINDS = ("bf16", "int8")
Speeds: TypeAlias = dict[str, dict[str, list[float]]]
"""Precision -> `line` or `engine only` -> megapixels a second in each round."""


def measure_int8(scope: Scope, folder: Path) -> Row:
    """Both networks in bf16 and int8 in turn, engine alone and the whole line."""
    given = None if scope.int8 is None else given_model(*scope.int8)  # before an hour of measuring
    row: Row = {"bars": {"int8": bars.INT8}, "held": {"int8": None}, "holds": None}
    if not (cpu_has_bf16() and cpu_has_vnni()):
        return {**row, "not_run": {"int8": f"{cpu_name()} has no bf16, or no VNNI"}}
    fitted, judged = (QUICK_FRAMES,) * 2 if scope.quick else (CALIBRATION_FRAMES, EXAM_FRAMES)
    size = QUICK_SIZE if scope.quick else SIZE
    line = generated_line(folder / "line", SEED, fitted, size)
    exam = load_dataset([generated_line(folder / "exam", EXAM_SEED, judged, size)], channels=1).samples
    drawn = seeing_package(folder / "package", BASE, DEPTH), drawn_pictures(folder / "pictures")
    models = {TRAINED: one_model(load_package(_named_from_here(DEMO)), line, scope, folder / TRAINED, exam)}
    if given is not None and scope.int8 is not None:
        models[GIVEN] = one_model(given[0], scope.int8[1], scope, folder / GIVEN, given[1])
    holds = all(_holds(one) for one in models.values())
    models[DRAWN] = one_model(*drawn, scope, folder / DRAWN)
    frames = {"line": FRAMES, "engine only": FRAMES}
    return {**row, "models": models, "frames": frames, "held": {"int8": holds}, "holds": holds}


def given_model(path: Path, data: Path) -> tuple[ModelPackage, Sequence[Sample]]:
    """The package that was named, and the test frames that it is judged on.

    Raises click.UsageError where the dataset has none: what it calibrates on cannot judge it.
    """
    package = load_package(_named_from_here(path))
    dataset = load_dataset([data], channels=package.manifest.channels, classes=package.classes)
    exam = dataset.split("test")
    if not exam:
        words = "has no test frames to judge int8 on; name them in its split.json."
        raise click.UsageError(f"{data.name} {words}")
    return package, exam


def _holds(one: Row) -> bool:
    """Whether a trained network is served in int8, fast enough, and without losing more than it may."""
    if "refused" in one:
        return False
    change = one["iou"]["change"]
    return bool(one["ratios"]["line"] >= bars.INT8 and change is not None and change >= -bars.INT8_LOST / 100)


def one_model(
    package: ModelPackage, data: Path, scope: Scope, folder: Path, exam: Sequence[Sample] = ()
) -> Row:
    """One package and the int8 package of it, fitted on `data`; the refusal where either may not serve.

    exam: frames with masks that nothing was fitted on, for the IoU that int8 costs.
    """
    folder.mkdir()
    manifest = package.manifest
    row: Row = {"package": f"{manifest.name} {manifest.version}", "id": package.id, "base": manifest.base,
                "depth": manifest.depth, "frame": scope.sizes[FRAME]}  # fmt: skip
    benches: dict[str, LineBench] = {}
    try:
        dataset = load_dataset([data], channels=manifest.channels, classes=package.classes)
        names, tiles = (manifest.name, manifest.version), QUICK_TILES if scope.quick else TILES
        in_8_bits = export_int8(package, dataset, folder / "int8", names, tiles)
        for kind, each in zip(KINDS, (package, in_8_bits), strict=True):
            benches[kind] = open_line(each, scope.sizes[FRAME], scope.threads, kind)
        found = _in_turn(benches, scope.rounds, folder)
        iou = exam_iou({"f32": package, "int8": in_8_bits}, exam) if exam else None
    except Refused as error:
        return {**row, "refused": str(error)}
    finally:
        for bench in benches.values():
            bench.engine.close()
    return {
        **row,
        "served": {kind: served(bench) for kind, bench in benches.items()},
        "layers": dict(benches["int8"].engine.info.layers),
        "iou": iou,
        "mpx_per_s": {kind: {name: round(statistics.median(each), 3) for name, each in one.items()}
                      for kind, one in found.items()},
        "ratios": times_as_fast(found),
        "per_round": {kind: {name: [round(value, 3) for value in each] for name, each in one.items()}
                      for kind, one in found.items()},
    }  # fmt: skip


def exam_iou(packages: dict[str, ModelPackage], exam: Sequence[Sample]) -> Row:
    """IoU of each precision's package, served with its certificate, and int8's mean less f32's."""
    row: Row = {"frames": len(exam)}
    for precision, package in packages.items():
        segmenter = package_segmenter(package, ModelConfig.model_validate({"precision": precision}))
        try:
            halo = package.geometry.halo
            figures = evaluate(exam, segmenter, Reading.of(package), halo=halo).json()
        finally:
            segmenter.close()
        row[precision] = {"miou": figures["miou"]}
        row[precision] |= {name: one["iou"] for name, one in figures["per_class"].items()}
    before, after = row["f32"]["miou"], row["int8"]["miou"]
    return {**row, "change": None if before is None or after is None else after - before}


def _in_turn(benches: dict[str, LineBench], rounds: int, folder: Path) -> Speeds:
    found: Speeds = {kind: {"engine only": [], "line": []} for kind in KINDS}
    for bench in benches.values():
        bench.engine_only(1)
    for number in range(rounds):
        for kind in KINDS if number % 2 == 0 else KINDS[::-1]:
            found[kind]["engine only"].append(engine_mpx_per_s(benches[kind]))
            found[kind]["line"].append(line_mpx_per_s(benches[kind], folder / f"{kind}-{number}"))
    return found


def times_as_fast(found: Speeds) -> dict[str, float]:
    """int8's megapixels a second over bf16's, medians; of the line and of the engine alone."""
    return {
        name: round(statistics.median(found["int8"][name]) / statistics.median(found["bf16"][name]), 3)
        for name in ("line", "engine only")
    }


def generated_line(folder: Path, seed: int, frames: int, size: tuple[int, int]) -> Path:
    """Frames like those that the demo model was trained on."""
    spec = LineSpec(size=size, seed=seed, clean_share=0.3, defects=6)
    write_dataset(folder, spec, frames, gray=True)
    return folder


def drawn_pictures(folder: Path) -> Path:
    """A dataset for the network that knows dark and bright."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number, picture in enumerate(pictures(16, (320, 320), 1)):
        mask = np.select([picture < 64, picture > 192], [1, 2]).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / f"{number:02}.png"), picture)
        cv2.imwrite(str(folder / "masks" / f"{number:02}.png"), mask)
    names = ", ".join(f'"{number}": "{name}"' for number, name in enumerate(CLASSES, start=1))
    (folder / "classes.json").write_text(f"{{{names}}}\n", encoding="utf-8")
    return folder


def _named_from_here(path: Path) -> Path:
    """Messages name the package, and a row is no place for the folder that somebody works in."""
    return Path(os.path.relpath(path))
