"""A whole training run: data, network, folder, from the user's settings to the best checkpoint."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inspector.errors import UsageError
from inspector.package import load_package
from inspector.tiling import Geometry
from trainer.board import Board, summary_writer
from trainer.config import FitConfig, RecipeName, to_toml
from trainer.config_file import read_settings
from trainer.dataset import Dataset, load_dataset, one_thread
from trainer.failures import loading_told
from trainer.folder import uncorrected
from trainer.golden import golden_tiles, save_tiles
from trainer.initial import Start, kept_settings, start_from
from trainer.journal import Journal
from trainer.judge import Material, Origin
from trainer.lookalikes import warn_of_lookalikes
from trainer.new_folder import require_new_run
from trainer.ranks import ALONE, Ranks
from trainer.recipes import PAPER, fit_config
from trainer.run_lock import run_locked
from trainer.sampler import TileSampler
from trainer.schedule import Schedule
from trainer.seen import SEEN, SeenPictures
from trainer.stock import Stock, load_stock
from trainer.train import Report, Setting, Training
from trainer.unshown import unshown_classes
from trainer.validate import Shown, Validation

log = logging.getLogger(__name__)

CONFIG = "config.toml"
"""All settings of a run, in its folder."""
MOST_NAMES = 10
"""Files that a warning names."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for."""

    data: tuple[Path, ...]
    out: Path
    recipe: RecipeName | None = None
    init: Path | None = None
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Fields of FitConfig that were given; None counts as not given."""
    config: Path | None = None
    """A TOML file with settings; those above win."""
    tensorboard: bool = False
    ranks: Ranks = ALONE


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is ready to start."""

    training: Training
    config: FitConfig
    frames: int
    """Training pictures."""
    validation_frames: int
    neighbours: int = 1
    """Processes of the run on this host, which share its cores."""
    unshown: Mapping[str, int] = field(default_factory=dict)
    """Classes that no validation frame shows, with the training frames that do; empty for a resumed run."""
    held: ExitStack = field(default_factory=ExitStack)
    """The lock of the RUN folder, given back when the run ends."""


def prepare(request: Request) -> Prepared:
    """Read and check everything, then make the RUN folder; nothing is written before all is well.

    Raises UsageError when the folder exists, DatasetError for data that cannot be used,
    ConfigError for settings, PackageError for the package to go on from, OutOfMemory for more pictures
    than memory holds.
    """
    if request.ranks.first:
        require_new_run(request.out)
    if request.tensorboard:
        summary_writer()
    with loading_told(request.data):
        return _prepared(request)


def _prepared(request: Request) -> Prepared:
    ranks, settings = request.ranks, asked_settings(request.config, request.settings)
    start = None if request.init is None else start_from(load_package(request.init))
    dataset, config = _data_and_config(request, settings, start)
    loading = Schedule(config)
    train, held_out = dataset.validation(config.validation, config.seed)
    stock, frames = load_stock(train, config), [Shown.of(sample) for sample in held_out]
    loaded_s = loading.elapsed_s()
    trained, validated = [picture.image for picture in stock.pictures], [frame.image for frame in frames]
    if ranks.first:
        warn_of_lookalikes(
            list(zip(train, trained, strict=True)), list(zip(held_out, validated, strict=True))
        )
    if settings.get("step_px") is None:
        config = _for_each_process(config, stock, ranks.world)
    # --minutes hold the loading, but not the look for lookalikes, which a run could do without.
    schedule = Schedule(config, loaded_s)
    data_sha256 = dataset.sha256()
    ranks.refuse_other_data(data_sha256)
    origin = _origin(data_sha256, SeenPictures.of(trained, validated), start)
    if start is not None:
        norm = start.package.manifest.normalisation
        stock = dataclasses.replace(stock, normalisation=(tuple(norm.mean), tuple(norm.std)))
    setting = setting_of(request.out, schedule, ranks, request.tensorboard)
    training = Training(config, Material(stock, frames), origin, setting)
    held = ExitStack()
    if ranks.first:
        # From validation pictures first, from training ones for classes that lack there.
        golden = golden_tiles((*held_out, *train), len(dataset.classes), Geometry(config.depth))
        _make_folder(request.out, config, golden)
        held.enter_context(run_locked(request.out))
    masks = (picture.mask for picture in stock.pictures), (frame.mask for frame in frames)
    unshown = unshown_classes(config.classes, *masks)
    return Prepared(training, config, len(train), len(held_out), ranks.neighbours, unshown, held)


def setting_of(out: Path, schedule: Schedule, ranks: Ranks, tensorboard: bool, step: int = 0) -> Setting:
    """The setting with its journal; what TensorBoard shows goes on at `step`."""
    board = Board(out, step) if tensorboard and ranks.first else None
    journal = Journal(out if ranks.first else None, schedule.elapsed_s, board)
    return Setting(out, schedule, journal, ranks)


def asked_settings(config: Path | None, options: dict[str, Any]) -> dict[str, Any]:
    """The settings of a file for --config, with those of the command line in place of the file's own.

    options: by name; None counts as not given. Raises ConfigError for a file that cannot be used.
    """
    settings = read_settings(config) if config is not None else {}
    given = {name: value for name, value in options.items() if value is not None}
    if given.keys() & {"minutes", "steps"}:
        # One of the two ends a run; the one on the command line, not also the other one of the file.
        settings = {name: value for name, value in settings.items() if name not in ("minutes", "steps")}
    return settings | given


def _data_and_config(
    request: Request, settings: dict[str, Any], start: Start | None
) -> tuple[Dataset, FitConfig]:
    recipe = request.recipe or settings.get("recipe") or "modern"
    if settings.get("recipe", recipe) != recipe and settings.keys() >= PAPER.keys():
        raise UsageError(
            f"{request.config} holds all that a recipe decides, as the recipe {settings['recipe']} has it, so"
            f" --recipe {recipe} would change nothing; leave one of the two out."
        )
    if start is not None:
        settings = settings | kept_settings(start, settings)
    dataset = load_dataset(
        request.data,
        channels=settings.get("channels"),
        classes=start.package.classes if start is not None else settings.get("classes"),
    )
    dataset.refuse_exam_frames()
    _warn_of_uncorrected(request.data)
    settings = settings | {"recipe": recipe, "channels": dataset.channels, "classes": dataset.classes}
    if recipe == "modern" and settings.get("border") is None and _has_instances(dataset):
        settings["border"] = "weight"
    return dataset, fit_config(going_on=start is not None, **settings)


def _for_each_process(config: FitConfig, stock: Stock, processes: int) -> FitConfig:
    """The config with as many tiles a step for each process as a single one would have.

    By tiles and not by step_px alone, of which the paper's recipe asks for one, and so gets a tile.
    """
    if processes == 1:
        return config
    alone = TileSampler(stock, config)
    step_px = processes * alone.tiles * alone.out[0] * alone.out[1]
    return config.model_copy(update={"step_px": step_px})


def _origin(data_sha256: str, seen: SeenPictures, start: Start | None) -> Origin:
    if start is None:
        return Origin(data_sha256, seen=seen)
    before = SeenPictures.read(start.package.manifest.metrics.get(SEEN))
    return Origin(data_sha256, start.state, start.package.thresholds, start.package.id, seen.joined(before))


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


def run(
    prepared: Prepared, report: Report, stop_after: Callable[[int], bool] = lambda _step: False
) -> Validation | None:
    """Train to the end; the RUN folder then holds what serves. None when `stop_after` ended it."""
    one_thread()
    cores = len(os.sched_getaffinity(0)) // prepared.neighbours
    torch.set_num_threads(max(1, cores))
    with prepared.held:
        return prepared.training.run(report, stop_after)


def _make_folder(out: Path, config: FitConfig, golden: NDArray[np.uint8]) -> None:
    try:
        out.mkdir(parents=True)
        (out / CONFIG).write_text(to_toml(config), encoding="utf-8")
        save_tiles(out, golden)
    except OSError as error:
        raise UsageError(f"{out} cannot be made ({error.strerror}); choose another --out.") from error


def _has_instances(dataset: Dataset) -> bool:
    return any((sample.folder / "instances").is_dir() for sample in dataset.samples)


__all__ = ["CONFIG", "Prepared", "Request", "Start", "asked_settings", "prepare", "run", "setting_of"]
