"""An interrupted run, taken up where its last checkpoint ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspector.errors import UsageError
from inspector.package import load_package
from trainer.checkpoint import LAST, PREVIOUS, load_last, save_atomically, set_last_aside
from trainer.config import FitConfig, from_toml, to_toml
from trainer.dataset import Sample, load_dataset
from trainer.failures import loading_told
from trainer.fit import CONFIG, Prepared, asked_settings, setting_of
from trainer.judge import Material, Origin
from trainer.mining import load_false_alarms, with_false_alarms
from trainer.ranks import ALONE, Ranks
from trainer.recipes import STRONG
from trainer.run_lock import run_locked
from trainer.schedule import Schedule
from trainer.seen import SEEN, SeenPictures
from trainer.stock import Stock, load_stock
from trainer.train import Training
from trainer.validate import Shown


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
    config: Path | None = None
    """The file of --config, given once more."""
    init: Path | None = None
    """The package of --init, given once more."""
    tensorboard: bool = False
    ranks: Ranks = ALONE


def prepare_resume(asked: Resumption) -> Prepared:
    """The interrupted run, ready to go on where it stopped.

    Raises UsageError when there is no checkpoint, it is broken, or the data has changed since, when
    a setting is given that the run did not begin with, and while another process writes the run.
    """
    with ExitStack() as held:
        if asked.ranks.first and any((asked.out / name).exists() for name in (LAST, PREVIOUS)):
            held.enter_context(run_locked(asked.out))
        with loading_told(asked.data):
            prepared = _prepared(asked)
        return dataclasses.replace(prepared, held=held.pop_all())


def _prepared(asked: Resumption) -> Prepared:
    out, ranks = asked.out, asked.ranks
    content = load_last(out, asked.previous)
    began = from_toml(content["fit_config"])
    settings = asked_settings(asked.config, asked.settings)
    package_id = content.get("init")
    _refuse_other_package(asked, content)
    if content["prior"]:
        settings.pop("norm", None)  # whatever a file says of it, the package decided
    _refuse_other_settings(settings, began, out)
    target = asked.escape_target if asked.escape_target is not None else settings.get("escape_target")
    config = began if target is None else began.model_copy(update={"escape_target": target})
    schedule = Schedule(config, content["elapsed_s"])
    dataset = load_dataset(asked.data, channels=config.channels, classes=config.classes)
    if not dataset.has_sha256(content["data_sha256"]):
        raise UsageError(
            f"The data is not what {out} was trained on: pictures, masks, split.json, parts.json or"
            " classes.json have changed, or other folders were given; give the same, or a new --out."
        )
    train, held_out = dataset.validation(config.validation, config.seed)
    material = Material(_stock(out, train, content, config), [Shown.of(sample) for sample in held_out])
    origin = Origin(
        content["data_sha256"],
        thresholds=tuple(content["prior"]) or None,
        package_id=package_id,
        seen=SeenPictures.read(content.get(SEEN)),
    )
    setting = setting_of(out, schedule, ranks, asked.tensorboard, content["mark"]["step"])
    training = Training(config, material, origin, setting)
    if ranks.first:
        if asked.previous:
            set_last_aside(out)
        if config != began:
            save_atomically(out / CONFIG, lambda file: file.write(to_toml(config).encode()))
    training.resume(content)
    return Prepared(training, config, len(train), len(held_out), ranks.neighbours)


def _refuse_other_settings(settings: dict[str, Any], config: FitConfig, out: Path) -> None:
    """The same command and --resume is fine; silence on another --minutes would not be."""
    strong = STRONG if settings.get("augmentation") == "strong" else {}
    parts = {
        f"augment.{part}": value
        for part, value in settings.get("augment", {}).items()
        if part not in strong and part not in settings  # options win over the file's own
    }
    for name, value in (settings | parts).items():
        if name in ("augment", "escape_target"):
            continue
        began = _began_with(config, name)
        if value != began:
            raise UsageError(
                f"{name} = {value} is not what {out} began with"
                f" ({'nothing' if began is None else began}), and a resumed run keeps its settings; leave it"
                f" out, or {_instead(name, out)}."
            )


def _instead(name: str, out: Path) -> str:
    """What to do where a run is to have another setting."""
    if name not in ("minutes", "steps"):
        return "begin a run in a new --out"
    return (
        f"train on from its network: `trainer export {out} --out PACKAGE`, then trainer fit in a new --out"
        f" with --init PACKAGE and --{name}"
    )


def _refuse_other_package(asked: Resumption, content: dict[str, Any]) -> None:
    if asked.init is None:
        return
    began = content.get("init")
    if began is None and content["prior"]:
        raise UsageError(
            f"{asked.out} was begun by an earlier version of trainer, which did not keep from which package;"
            " leave --init out: the run goes on without it."
        )
    if load_package(asked.init).id != began:
        raise UsageError(
            f"{asked.out} did not begin from {asked.init}; leave --init out, or begin a run in a new --out."
        )


def _began_with(config: FitConfig, name: str) -> Any:
    """The setting, and what the options that are no fields of FitConfig made of its augmentation."""
    if name.startswith("augment."):
        return getattr(config.augment, name.removeprefix("augment."))
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
    return with_false_alarms(stock, load_false_alarms(out, len(stock.pictures)))
