"""What a RUN folder holds, and the trained network that it gives back.

last.pt (everything that resuming needs)   previous.pt (the last.pt before it)
best.pt (what is served)   config.toml   log.jsonl   tensorboard/ (where asked for)
"""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from inspector.durable import durable_file, sync_folder
from inspector.errors import InspectionError, UsageError
from trainer.seen import SEEN, SeenPictures
from trainer.standing import Standing
from trainer.unet import UNet, UNetConfig

LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"
ASIDE = "last.aside.pt"
"""The last.pt that somebody chose not to go on from."""


class BrokenCheckpoint(UsageError):
    """A checkpoint that cannot be read as it was written."""


class RunNotKept(InspectionError):
    """The RUN folder takes no more: a full disk, or one that is gone."""


_LAST_HOLDS = (
    "net", "average", "optimizer", "mark", "elapsed_s", "data_sha256", "normalisation", "prior", "fit_config",
)  # fmt: skip
_BEST_HOLDS = (
    "net", "unet", "classes", "normalisation", "thresholds", "mm_per_px", "data_sha256", "seed", "metrics",
    "step", "fit_config",
)  # fmt: skip
_UNREADABLE = (
    OSError, RuntimeError, EOFError, LookupError, ValueError, OverflowError, NotImplementedError,
    pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
"""What a broken archive makes the readers of archives raise."""


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """A network with all that makes a package of it."""

    net: UNet
    """In evaluation mode, batch norm not folded."""
    config: UNetConfig
    classes: tuple[str, ...]
    """Defect classes; output plane k is classes[k - 1], plane 0 the background."""
    channels: int
    normalisation: tuple[tuple[float, ...], tuple[float, ...]]
    """Mean and standard deviation of each channel, in gray values of 0 to 255."""
    thresholds: tuple[float, ...]
    """One for each defect class, 0 to 1, chosen on validation frames."""
    mm_per_px: tuple[float, float] | None
    data_sha256: str
    seed: int
    metrics: dict[str, Any]
    """Validation figures: score, IoU, threshold and counts for each class; of a run that has ended also
    defects found and false alarms, with counts and 95 % intervals by part, as `trainer evaluate` has them."""
    step: int
    fit_config: str
    """The whole fit config as TOML."""
    escape_target: float | None = None
    """What the thresholds were chosen for; None: the best IoU or, where instances touch, their AP."""
    scaled: bool = False
    """Whether its probabilities have been calibrated; doing it twice would not give the same weights."""
    standing: Standing | None = None
    """Of the network of its run with the highest score so far, which the next one must not be worse than;
    None: made by a version that did not keep it."""
    seen: SeenPictures | None = None
    """What it was trained on and validated with; None: made by a version that did not keep it."""


def save_network(path: Path, trained: TrainedNetwork) -> None:
    """Write a checkpoint of tensors and plain values, atomically."""
    content = {
        "net": trained.net.state_dict(),
        "unet": asdict(trained.config),
        "classes": list(trained.classes),
        "normalisation": [list(values) for values in trained.normalisation],
        "thresholds": list(trained.thresholds),
        "mm_per_px": list(trained.mm_per_px) if trained.mm_per_px else None,
        "data_sha256": trained.data_sha256,
        "seed": trained.seed,
        "metrics": trained.metrics,
        "step": trained.step,
        "fit_config": trained.fit_config,
        "escape_target": trained.escape_target,
        "scaled": trained.scaled,
        "standing": trained.standing.kept() if trained.standing is not None else None,
        SEEN: trained.seen.kept() if trained.seen is not None else None,
    }
    save_atomically(path, partial(torch.save, content))


def load_run(path: Path) -> TrainedNetwork:
    """The network of a RUN folder that serves, in evaluation mode.

    Raises UsageError when the folder is not there, holds no checkpoint yet, or one that is broken.
    """
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder that `trainer fit` wrote; name its --out folder.")
    if not (path / BEST).exists() and (path / "images").is_dir():
        raise UsageError(
            f"{path} is a dataset folder; train on it with `trainer fit {path} --out RUN` and name that RUN."
        )
    if not (path / BEST).exists():
        raise UsageError(f"{path} holds no {BEST} yet; let `trainer fit` reach its first validation.")
    content = _load_best(path)
    config = UNetConfig(**content["unet"])
    net = UNet(config)
    net.load_state_dict(content["net"])
    mean, std = (tuple(values) for values in content["normalisation"])
    scale = content["mm_per_px"]
    # An earlier version kept it among the figures, all of which go into a package's manifest.
    content["metrics"].get("validation", {}).pop("uncalibrated_score", None)
    standing = content.get("standing")
    return TrainedNetwork(
        net=net.eval(),
        config=config,
        classes=tuple(content["classes"]),
        channels=config.channels,
        normalisation=(mean, std),
        thresholds=tuple(content["thresholds"]),
        mm_per_px=(scale[0], scale[1]) if scale else None,
        data_sha256=content["data_sha256"],
        seed=content["seed"],
        metrics=content["metrics"],
        step=content["step"],
        fit_config=content["fit_config"],
        escape_target=content.get("escape_target"),
        scaled=content.get("scaled", False),
        standing=Standing.read(standing) if standing is not None else None,
        seen=SeenPictures.read(content.get(SEEN)),
    )


def _load_best(run: Path) -> dict[str, Any]:
    try:
        return load_checkpoint(run / BEST, _BEST_HOLDS)
    except BrokenCheckpoint as error:
        if not (run / LAST).exists():
            raise
        why = str(error).split(";")[0]
        raise BrokenCheckpoint(
            f"{why}; trainer fit DATA --out {run} --resume judges the network of {LAST} in its place."
        ) from None


def save_last(run: Path, content: dict[str, Any]) -> None:
    """Write last.pt, atomically; the one before it becomes previous.pt."""
    last, previous = run / LAST, run / PREVIOUS
    if last.exists():
        link = previous.with_suffix(".tmp")
        with writing(previous):
            link.unlink(missing_ok=True)
            try:
                os.link(last, link)
                link.replace(previous)
            except OSError:
                # A file system without hard links: for a moment there is only previous.pt.
                last.replace(previous)
    save_atomically(last, partial(torch.save, content))


def load_last(run: Path, previous: bool = False) -> dict[str, Any]:
    """The content of last.pt, or of previous.pt.

    Raises UsageError when there is none, BrokenCheckpoint when it is broken; both say what to
    type where the other one can be read.
    """
    path, other = (run / PREVIOUS, run / LAST) if previous else (run / LAST, run / PREVIOUS)
    try:
        if not path.exists():
            raise UsageError(f"{run} holds no {path.name} to resume from; begin a run in a new --out.")
        return load_checkpoint(path, _LAST_HOLDS)
    except UsageError as error:
        try:
            step = load_checkpoint(other, _LAST_HOLDS)["mark"]["step"]
        except UsageError:
            raise error from None
        why = str(error).split(";")[0]
        way = "--resume" if previous else "--resume --previous"
        raise type(error)(f"{why}; {other}, of step {step}, is whole: go on from it with {way}.") from None


def set_last_aside(run: Path) -> None:
    """Keep last.pt under another name, so that it does not take previous.pt's place."""
    if (run / LAST).exists():
        (run / LAST).replace(run / ASIDE)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Raises RunNotKept, which says what to do, where the file cannot be written."""
    try:
        yield path
    except OSError as error:
        raise RunNotKept(
            f"{path} cannot be written ({error.strerror or error}); see to the disk, then go on with the same"
            " command and --resume."
        ) from error


def save_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file: the old one or the whole new one is left, whatever happens meanwhile.

    Raises RunNotKept when it cannot be written.
    """
    with writing(path):
        with durable_file(path) as file:
            write(file)
        sync_folder(path.parent)


def load_checkpoint(path: Path, holds: Sequence[str] = ()) -> dict[str, Any]:
    """A checkpoint's content, on the CPU; no code in it is ever run.

    Raises BrokenCheckpoint when it cannot be read, a byte of it has changed, or it lacks what it
    must hold, as a checkpoint of another kind does.
    """
    try:
        # torch itself reads over changed weights: it does not compare the archive's checksums.
        with zipfile.ZipFile(path) as archive:
            changed = archive.testzip()
        if changed is not None:
            raise zipfile.BadZipFile(f"{changed} does not match its checksum")
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        lacking = [name for name in holds if name not in content]
        if lacking:
            raise LookupError(f"it does not hold {lacking[0]}")
    except _UNREADABLE as error:
        words = error.strerror if isinstance(error, OSError) else str(error)
        reason = (words or type(error).__name__).splitlines()[0]
        raise BrokenCheckpoint(
            f"{path} is not a checkpoint that can be read ({reason}); train again or restore it."
        ) from error
    return content


def clone_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A copy that later training does not change."""
    return {name: value.detach().clone() for name, value in state.items()}
