"""An interrupted run, taken up where its last checkpoint ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspector.errors import UsageError
from trainer.checkpoint import load_last, set_last_aside
from trainer.config import STRONG, FitConfig, from_toml
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
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What `Request.settings` holds, given once more; None counts as not given."""
    tensorboard: bool = False
    ranks: Ranks = ALONE


def prepare_resume(asked: Resumption) -> Prepared:
    """The interrupted run, ready to go on where it stopped.

    Raises UsageError when there is no checkpoint, it is broken, or the data has changed since, or
    when a setting is given that the run did not begin with.
    """
    out, ranks = asked.out, asked.ranks
    content = load_last(out, asked.previous)
    config = from_toml(content["fit_config"])
    _refuse_other_settings(asked, config)
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
    setting = setting_of(out, schedule, ranks, asked.tensorboard, content["mark"]["step"])
    training = Training(config, material, origin, setting)
    if asked.previous and ranks.first:
        set_last_aside(out)
    training.resume(content)
    return Prepared(training, config, len(train), len(held_out), ranks.neighbours)


def _refuse_other_settings(asked: Resumption, config: FitConfig) -> None:
    """The same command and --resume is fine; silence on another --minutes would not be."""
    for name, value in asked.settings.items():
        began = _began_with(config, name)
        if value is not None and value != began and name != "escape_target":
            raise UsageError(
                f"{name} = {value} is not what {asked.out} began with"
                f" ({'nothing' if began is None else began}), and a resumed run keeps its settings; leave it"
                " out, or begin a run in a new --out."
            )


def _began_with(config: FitConfig, name: str) -> Any:
    """The setting, and what the options that are no fields of FitConfig made of its augmentation."""
    if name == "quarter_turns":
        return config.augment.quarter_turns
    if name == "augmentation":
        strong = all(getattr(config.augment, part) == value for part, value in STRONG.items())
        return "strong" if strong else "usual"
    return getattr(config, name)


def _stock(out: Path, train: Sequence[Sample], content: dict[str, Any], config: FitConfig) -> Stock:
    """The training pictures as the run had them."""
    mean, std = content["normalisation"]
    stock = dataclasses.replace(load_stock(train, config), normalisation=(tuple(mean), tuple(std)))
    if not content["mark"].get("mined"):
        return stock
    return with_false_alarms(stock, load_false_alarms(out))
