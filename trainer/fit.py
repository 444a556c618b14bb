"""A whole training run: data, network, folder, from the user's settings to the best checkpoint."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inspector.errors import UsageError
from inspector.package import load_package
from inspector.tiling import Geometry
from trainer.checkpoint import LAST, load_checkpoint
from trainer.config import FitConfig, RecipeName, fit_config, from_toml, to_toml
from trainer.dataset import Dataset, Sample, load_dataset, one_thread
from trainer.golden import golden_tiles, save_tiles
from trainer.initial import Start, start_from
from trainer.sampler import Stock, load_stock
from trainer.schedule import Schedule
from trainer.train import Origin, Report, Training
from trainer.validate import Validation

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for."""

    data: tuple[Path, ...]
    out: Path
    recipe: RecipeName = "modern"
    init: Path | None = None
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Fields of FitConfig that were given; None counts as not given."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is ready to start."""

    training: Training
    config: FitConfig
    frames: int
    """Training pictures."""
    validation_frames: int


def prepare(request: Request) -> Prepared:
    """Read and check everything, then make the RUN folder; nothing is written before all is well.

    Raises UsageError when the folder exists, DatasetError for data that cannot be used,
    ConfigError for settings, PackageError for the package to go on from.
    """
    if request.out.exists():
        raise UsageError(
            f"{request.out} exists already and a run never overwrites another; give a new --out, or --resume."
        )
    start, prior, settings = None, None, dict(request.settings)
    if request.init is not None:
        package = load_package(request.init)
        start, prior = start_from(package), package.thresholds
        for name in ("channels", "depth", "base"):
            _keep(settings, name, getattr(start.config, name), request.init)
        settings |= {
            "skip": start.config.skip,
            "mm_per_px": settings.get("mm_per_px") or package.manifest.mm_per_px,
        }
        dataset = load_dataset(request.data, channels=start.config.channels, classes=package.classes)
    else:
        dataset = load_dataset(request.data, channels=settings.get("channels"))
    settings |= {"channels": dataset.channels, "classes": dataset.classes}
    if request.recipe == "modern" and settings.get("border") is None and _has_instances(dataset):
        settings["border"] = "weight"
    config = fit_config(request.recipe, going_on=start is not None, **settings)
    schedule = Schedule(config)
    stock, frames, counts = _load(dataset, config)
    golden = golden_tiles(_preferred(dataset, config), len(dataset.classes), Geometry(config.depth))
    if request.init is not None:
        norm = package.manifest.normalisation
        stock = dataclasses.replace(stock, normalisation=(tuple(norm.mean), tuple(norm.std)))
    origin = Origin(dataset.sha256(), start.state if start else None, prior)
    _make_folder(request.out, config, golden)
    return Prepared(Training(config, stock, frames, request.out, origin, schedule), config, *counts)


def prepare_resume(data: Sequence[Path], out: Path) -> Prepared:
    """The interrupted run in `out`, ready to go on where it stopped.

    Raises UsageError when there is no checkpoint or the data has changed since.
    """
    if not (out / LAST).exists():
        raise UsageError(f"{out} holds no {LAST} to resume from; start without --resume.")
    content = load_checkpoint(out / LAST)
    config = from_toml(content["fit_config"])
    schedule = Schedule(config, content["elapsed_s"])
    dataset = load_dataset(data, channels=config.channels, classes=config.classes)
    if dataset.sha256() != content["data_sha256"]:
        raise UsageError(f"The data is not what {out} was trained on; give the same folders, or a new --out.")
    stock, frames, counts = _load(dataset, config)
    mean, std = content["normalisation"]
    stock = dataclasses.replace(stock, normalisation=(tuple(mean), tuple(std)))
    thresholds = content["prior"]
    origin = Origin(content["data_sha256"], None, tuple(thresholds) if thresholds else None)
    training = Training(config, stock, frames, out, origin, schedule)
    training.resume()
    return Prepared(training, config, *counts)


def run(
    prepared: Prepared, report: Report, stop_after: Callable[[int], bool] = lambda _step: False
) -> Validation:
    """Train to the end; the RUN folder then holds the best network."""
    one_thread()
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0))))
    return prepared.training.run(report, stop_after)


def _make_folder(out: Path, config: FitConfig, golden: NDArray[np.uint8]) -> None:
    try:
        out.mkdir(parents=True)
        (out / "config.toml").write_text(to_toml(config), encoding="utf-8")
        save_tiles(out, golden)
    except OSError as error:
        raise UsageError(f"{out} cannot be made ({error.strerror}); choose another --out.") from error


def _load(dataset: Dataset, config: FitConfig) -> tuple[Stock, list[Any], tuple[int, int]]:
    train, held_out = dataset.validation(config.validation, config.seed)
    stock = load_stock(train, config)
    frames = [sample.read()[:2] for sample in held_out]
    return stock, frames, (len(train), len(held_out))


def _preferred(dataset: Dataset, config: FitConfig) -> tuple[Sample, ...]:
    """What golden tiles are cut from: validation pictures, then training ones for classes that lack there."""
    train, held_out = dataset.validation(config.validation, config.seed)
    return (*held_out, *train)


def _has_instances(dataset: Dataset) -> bool:
    return any((sample.folder / "instances").is_dir() for sample in dataset.samples)


def _keep(settings: dict[str, Any], name: str, value: int, package: Path) -> None:
    """Raises UsageError when the user asked for another network than the package holds."""
    asked = settings.get(name)
    if asked is not None and asked != value:
        raise UsageError(f"--{name} {asked} does not fit {package}, which has {value}; leave --{name} out.")
    settings[name] = value


__all__ = ["Prepared", "Request", "Start", "prepare", "prepare_resume", "run"]
