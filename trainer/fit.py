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
from inspector.package import ModelPackage, load_package
from inspector.tiling import Geometry
from trainer.checkpoint import LAST, load_checkpoint
from trainer.config import FitConfig, RecipeName, fit_config, from_toml, to_toml
from trainer.dataset import Dataset, load_dataset, one_thread
from trainer.folder import uncorrected
from trainer.golden import golden_tiles, save_tiles
from trainer.initial import Start, start_from
from trainer.mining import find_false_alarms, load_false_alarms, save_false_alarms, with_false_alarms
from trainer.optimize import autocast_of
from trainer.sampler import Stock, load_stock
from trainer.schedule import Schedule
from trainer.train import Origin, Report, Training
from trainer.unet import UNet
from trainer.validate import Validation

log = logging.getLogger(__name__)

MOST_NAMES = 10
"""Files that a warning names."""


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
    package = None if request.init is None else load_package(request.init)
    start = None if package is None else start_from(package)
    settings = dict(request.settings)
    if package is not None and start is not None:
        settings |= _kept_from(package, start, settings)
    dataset = load_dataset(
        request.data, channels=settings.get("channels"), classes=package.classes if package else None
    )
    dataset.refuse_exam_frames()
    _warn_of_uncorrected(request.data)
    settings |= {"channels": dataset.channels, "classes": dataset.classes}
    if request.recipe == "modern" and settings.get("border") is None and _has_instances(dataset):
        settings["border"] = "weight"
    config = fit_config(request.recipe, going_on=start is not None, **settings)
    schedule = Schedule(config)
    train, held_out = dataset.validation(config.validation, config.seed)
    stock, frames = load_stock(train, config), [sample.read() for sample in held_out]
    # From validation pictures first, from training ones for classes that lack there.
    golden = golden_tiles((*held_out, *train), len(dataset.classes), Geometry(config.depth))
    if package is not None:
        norm = package.manifest.normalisation
        stock = dataclasses.replace(stock, normalisation=(tuple(norm.mean), tuple(norm.std)))
    origin = Origin(dataset.sha256(), start.state if start else None, package.thresholds if package else None)
    _make_folder(request.out, config, golden)
    if package is not None and start is not None and config.false_alarm_share > 0:
        stock = _mined(stock, config, start, package.thresholds, request.out)
    training = Training(config, stock, frames, request.out, origin, schedule)
    return Prepared(training, config, len(train), len(held_out))


def _mined(stock: Stock, config: FitConfig, start: Start, thresholds: Sequence[float], out: Path) -> Stock:
    """The stock with the false alarms that the package sees in it, kept in the RUN folder as well."""
    net = UNet(start.config)
    net.load_state_dict(start.state)
    net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    found = find_false_alarms(net, stock, thresholds, Geometry(config.depth), autocast_of(config))
    save_false_alarms(out, found)
    return with_false_alarms(stock, found)


def _warn_of_uncorrected(folders: Sequence[Path]) -> None:
    """Once, whatever the flags said: of an unsure frame, too, the model's own guess is no truth."""
    told = []
    for folder in folders:
        same, drawn = uncorrected(folder)
        if same:
            names = ", ".join(f"{stem}.png" for stem in same[:MOST_NAMES])
            more = f" and {len(same) - MOST_NAMES} more" if len(same) > MOST_NAMES else ""
            told.append(
                f"{len(same)} of {drawn} masks in {folder} are as the model drew them; correct them"
                f" first, or the mistake is trained in: {names}{more}."
            )
    if told:
        log.warning("%s", "\n".join(told))


def prepare_resume(data: Sequence[Path], out: Path, escape_target: float | None = None) -> Prepared:
    """The interrupted run in `out`, ready to go on where it stopped.

    escape_target: another one than the run began with; of a run that has ended it only chooses the
    thresholds anew.

    Raises UsageError when there is no checkpoint or the data has changed since.
    """
    if not (out / LAST).exists():
        raise UsageError(f"{out} holds no {LAST} to resume from; start without --resume.")
    content = load_checkpoint(out / LAST)
    config = from_toml(content["fit_config"])
    if escape_target is not None:
        config = config.model_copy(update={"escape_target": escape_target})
    schedule = Schedule(config, content["elapsed_s"])
    dataset = load_dataset(data, channels=config.channels, classes=config.classes)
    if dataset.sha256() != content["data_sha256"]:
        raise UsageError(f"The data is not what {out} was trained on; give the same folders, or a new --out.")
    train, held_out = dataset.validation(config.validation, config.seed)
    stock, frames = load_stock(train, config), [sample.read() for sample in held_out]
    mean, std = content["normalisation"]
    stock = dataclasses.replace(stock, normalisation=(tuple(mean), tuple(std)))
    mined = load_false_alarms(out)
    if mined is not None:
        stock = with_false_alarms(stock, mined)
    thresholds = content["prior"]
    origin = Origin(content["data_sha256"], None, tuple(thresholds) if thresholds else None)
    training = Training(config, stock, frames, out, origin, schedule)
    training.resume()
    return Prepared(training, config, len(train), len(held_out))


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


def _has_instances(dataset: Dataset) -> bool:
    return any((sample.folder / "instances").is_dir() for sample in dataset.samples)


def _kept_from(package: ModelPackage, start: Start, asked: dict[str, Any]) -> dict[str, Any]:
    """The settings that a package decides, where training goes on from it.

    Raises UsageError when the user asked for another network than the package holds.
    """
    for name in ("channels", "depth", "base"):
        given, value = asked.get(name), getattr(start.config, name)
        if given is not None and given != value:
            raise UsageError(
                f"--{name} {given} does not fit {package.path}, which has {value}; leave --{name} out."
            )
    return {
        "channels": start.config.channels,
        "depth": start.config.depth,
        "base": start.config.base,
        "skip": start.config.skip,
        "mm_per_px": asked.get("mm_per_px") or package.manifest.mm_per_px,
    }


__all__ = ["Prepared", "Request", "Start", "prepare", "prepare_resume", "run"]
