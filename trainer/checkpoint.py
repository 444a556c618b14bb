"""What a RUN folder holds, and the trained network that it gives back.

last.pt (everything that resuming needs)   best.pt (what is served)   config.toml   log.jsonl
"""

from __future__ import annotations

import os
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inspector.errors import UsageError
from trainer.unet import UNet, UNetConfig

LAST, BEST = "last.pt", "best.pt"


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
    defects found and false alarms, with counts and 95 % intervals as `trainer evaluate` gives them."""
    step: int
    fit_config: str
    """The whole fit config as TOML."""
    escape_target: float | None = None
    """What the thresholds were chosen for; None: the best IoU."""
    scaled: bool = False
    """Whether its probabilities have been calibrated; doing it twice would not give the same weights."""


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
    }
    save_atomically(path, content)


def load_run(path: Path) -> TrainedNetwork:
    """The best network of a RUN folder, in evaluation mode.

    Raises UsageError when the folder is not there, holds no checkpoint yet, or one that is broken.
    """
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder that `trainer fit` wrote; name its --out folder.")
    if not (path / BEST).exists():
        raise UsageError(f"{path} holds no {BEST} yet; let `trainer fit` reach its first validation.")
    content = load_checkpoint(path / BEST)
    config = UNetConfig(**content["unet"])
    net = UNet(config)
    net.load_state_dict(content["net"])
    mean, std = (tuple(values) for values in content["normalisation"])
    scale = content["mm_per_px"]
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
    )


def save_atomically(path: Path, content: dict[str, Any]) -> None:
    """torch.save that leaves the old file or the whole new one, whatever happens meanwhile."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content; no code in it is ever run. Raises UsageError when it cannot be read."""
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise UsageError(
            f"{path} is not a checkpoint that can be read; train again or restore it."
        ) from error
    return content


def clone_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A copy that later training does not change."""
    return {name: value.detach().clone() for name, value in state.items()}
