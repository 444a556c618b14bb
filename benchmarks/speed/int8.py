"""int8 beside bf16 on the CPU: the speed of engines that both have their certificate.

How many layers int8 may take is decided by the certificate, network by network, and so is the speed.
The bar is held against a trained package. A drawn network of the same size stands beside it: it bears
8 bits in nearly every layer, and shows what there is to be gained. How much accuracy int8 costs is
measured elsewhere, on frames with masks.
"""

from __future__ import annotations

import os
import statistics
from pathlib import Path
from typing import TypeAlias

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
from inspector.engine.cpu import cpu_has_bf16, cpu_has_vnni, cpu_name
from inspector.errors import CertificateError, UsageError
from inspector.package import ModelPackage, load_package
from trainer.dataset import load_dataset
from trainer.quantise import compile_int8
from trainer.synth.line import LineSpec
from trainer.synth.write import write_dataset

DEMO = Path(__file__).parent.parent.parent / "data_samples" / "demo_model"
SEED, CALIBRATION_FRAMES = 700, 40
DEPTH, FRAME = 4, "1080p"
KINDS = ("bf16", "int8")
Speeds: TypeAlias = dict[str, dict[str, list[float]]]
"""Precision -> `line` or `engine only` -> megapixels a second in each round."""


def measure_int8(scope: Scope, folder: Path) -> Row:
    """Both networks in bf16 and int8 in turn, engine alone and the whole line."""
    row: Row = {"bars": {"int8": bars.INT8}, "held": {"int8": None}, "holds": None}
    if not (cpu_has_bf16() and cpu_has_vnni()):
        return {**row, "not_run": {"int8": f"{cpu_name()} has no bf16, or no VNNI"}}
    given = scope.int8 or (_named_from_here(DEMO), generated_line(folder / "calibration"))
    drawn = seeing_package(folder / "package", BASE, DEPTH), drawn_pictures(folder / "pictures")
    try:
        models = {
            TRAINED: one_model(load_package(given[0]), given[1], scope, folder / TRAINED),
            DRAWN: one_model(*drawn, scope, folder / DRAWN),
        }
    except UsageError as error:  # NNCF is not installed
        return {**row, "not_run": {"int8": str(error)}}
    holds = "refused" not in models[TRAINED] and models[TRAINED]["ratios"]["line"] >= bars.INT8
    frames = {"line": FRAMES, "engine only": FRAMES}
    return {**row, "models": models, "frames": frames, "held": {"int8": holds}, "holds": holds}


def one_model(package: ModelPackage, data: Path, scope: Scope, folder: Path) -> Row:
    """One package, calibrated on `data`; its refusal where int8 or bf16 gets no certificate."""
    folder.mkdir()
    manifest = package.manifest
    row: Row = {"package": f"{manifest.name} {manifest.version}", "id": package.id, "base": manifest.base,
                "depth": manifest.depth, "frame": scope.sizes[FRAME]}  # fmt: skip
    benches: dict[str, LineBench] = {}
    try:
        dataset = load_dataset([data], channels=manifest.channels, classes=package.classes)
        record = compile_int8(package, dataset)
        for kind in KINDS:
            benches[kind] = open_line(package, scope.sizes[FRAME], scope.threads, kind)
        found = _in_turn(benches, scope.rounds, folder)
    except CertificateError as error:
        return {**row, "refused": str(error)}
    finally:
        for bench in benches.values():
            bench.engine.close()
    return {
        **row,
        "served": {kind: served(bench) for kind, bench in benches.items()},
        "float_layers": record.float_layers,
        "layers": 5 * manifest.depth - 2,
        "mpx_per_s": {kind: {name: round(statistics.median(each), 3) for name, each in one.items()}
                      for kind, one in found.items()},
        "ratios": times_as_fast(found),
        "per_round": {kind: {name: [round(value, 3) for value in each] for name, each in one.items()}
                      for kind, one in found.items()},
    }  # fmt: skip


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


def generated_line(folder: Path) -> Path:
    """Frames like those that the demo model was trained on, of a seed that nothing else uses."""
    spec = LineSpec(size=(720, 1280), seed=SEED, clean_share=0.3, defects=6)
    write_dataset(folder, spec, CALIBRATION_FRAMES, gray=True)
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
