"""An interrupted run, taken up where its last checkpoint ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspector.errors import UsageError
from trainer.checkpoint import load_last, set_last_aside
from trainer.config import FitConfig, from_toml
from trainer.dataset import Sample, load_dataset
from trainer.fit import Prepared, setting_of
from trainer.judge import Material, Origin
from trainer.mining import load_false_alarms, with_false_alarms
from trainer.ranks import ALONE, Ranks
from trainer.sampler import Stock, load_stock
from trainer.schedule import Schedule
from trainer.train import Training


@dataclass(frozen=True, slots=True)
class Resumption:
    """What the user asked for; all else is as the run began."""

    data: tuple[Path, ...]
    out: Path
    escape_target: float | None = None
    """Another one than the run began with; of a run that has ended it only chooses the thresholds anew."""
    previous: bool = False
    """Go on from the checkpoint before the last one; the last one is kept under another name."""
    tensorboard: bool = False
    ranks: Ranks = ALONE


def prepare_resume(asked: Resumption) -> Prepared:
    """The interrupted run, ready to go on where it stopped.

    Raises UsageError when there is no checkpoint, it is broken, or the data has changed since.
    """
    out, ranks = asked.out, asked.ranks
    content = load_last(out, asked.previous)
    config = from_toml(content["fit_config"])
    if asked.escape_target is not None:
        config = config.model_copy(update={"escape_target": asked.escape_target})
    schedule = Schedule(config, content["elapsed_s"])
    dataset = load_dataset(asked.data, channels=config.channels, classes=config.classes)
    if dataset.sha256() != content["data_sha256"]:
        raise UsageError(f"The data is not what {out} was trained on; give the same folders, or a new --out.")
    train, held_out = dataset.validation(config.validation, config.seed)
    material = Material(_stock(out, train, content, config), [sample.read() for sample in held_out])
    thresholds = content["prior"]
    origin = Origin(content["data_sha256"], None, tuple(thresholds) if thresholds else None)
    if asked.previous and ranks.first:
        set_last_aside(out)
    setting = setting_of(out, schedule, ranks, asked.tensorboard, content["mark"]["step"])
    training = Training(config, material, origin, setting)
    training.resume(content)
    return Prepared(training, config, len(train), len(held_out), ranks.neighbours)


def _stock(out: Path, train: Sequence[Sample], content: dict[str, Any], config: FitConfig) -> Stock:
    """The training pictures as the run had them."""
    mean, std = content["normalisation"]
    stock = dataclasses.replace(load_stock(train, config), normalisation=(tuple(mean), tuple(std)))
    if not content["mark"].get("mined"):
        return stock
    return with_false_alarms(stock, load_false_alarms(out))
