"""What validation decides in a run: which network is served, and with which calibration and thresholds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inspector.defects import mask_of
from inspector.tiling import Geometry
from inspector.types import Image
from trainer.board import Board, marked, shown_frames
from trainer.checkpoint import BEST, BrokenCheckpoint, TrainedNetwork, load_run, save_network
from trainer.config import FitConfig, to_toml
from trainer.finish import Aim, LogTrades, finish
from trainer.learner import channels_last
from trainer.ranks import Ranks
from trainer.seen import SeenPictures
from trainer.standing import Standing
from trainer.stock import Stock
from trainer.thresholds import ClassChoice
from trainer.unet import UNet
from trainer.validate import Shown, Tell, Validation, segment_frame, validate


@dataclass(frozen=True, slots=True)
class Material:
    """What a run learns from and what judges it."""

    stock: Stock
    frames: Sequence[Shown]
    """The validation frames."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a run's checkpoints say about where it came from."""

    data_sha256: str
    start: dict[str, Tensor] | None = None
    """Weights to start from instead of random ones."""
    thresholds: tuple[float, ...] | None = None
    """Those of the package that the weights come from."""
    package_id: str | None = None
    """That package's own; None where the run began with random weights."""
    seen: SeenPictures | None = None
    """The pictures that train and validate, and those of that package; None: a run of an earlier version."""


class Judge:
    """Scores networks on the validation frames and keeps as best.pt the latest that none is known to beat."""

    def __init__(
        self, config: FitConfig, material: Material, origin: Origin, run: Path, ranks: Ranks
    ) -> None:
        self._config, self._material, self._origin = config, material, origin
        self._run, self._ranks = run, ranks
        self._prior: Sequence[float | None] = origin.thresholds or [None] * len(config.classes)
        self._best: Standing | None = None
        """Of the network with the highest score so far; known to rank 0."""
        self._least = -1.0
        """Score that the next network must reach where there is no standing to compare it with."""

    def score(self, net: UNet, autocast: torch.autocast) -> Validation | None:
        """What the frames say of a network in evaluation mode, on every rank.

        None where a logit of any frame is not finite: as probabilities these look like a network that
        calls everything good.
        """
        material, broken = self._material, False

        def look(_net: Any, _tiles: Any, logits: Tensor) -> None:
            nonlocal broken
            broken = broken or not bool(logits.isfinite().all())

        with net.register_forward_hook(look):
            found = validate(
                net, material.frames, material.stock.normalisation, self._prior, autocast, self._ranks
            )
        return None if self._ranks.any(broken) else found

    def take_up(self) -> None:
        """Go on from best.pt, which may be newer than last.pt, or lost so that the next takes its place."""
        best = self._kept()
        if best is not None:
            self._best = best.standing
            # Of an earlier version, which kept no standing.
            self._least = -1.0 if best.standing is not None else _score(best)

    def kept_score(self) -> float:
        """What the frames say of best.pt, on every rank; -1 when there is none that can be read."""
        best = self._kept()
        return self._ranks.agreed(_score(best) if best is not None else -1.0)

    def keep_unless_worse(self, net: UNet, found: Validation, step: int) -> bool:
        """Make this network the one that is served, and whether it is, on every rank.

        It is not where the frames tell that it is worse than the best one so far: see Standing.
        """
        own, best = found.standing, self._best
        kept = found.score >= self._least if own is None or best is None else not own.worse_than(best)
        if kept and self._ranks.first:
            self._best = own if best is None or own is None or own.score >= best.score else best
            save_network(self._run / BEST, self._trained(net, found, step))
        return bool(self._ranks.agreed(kept))

    def finish(self, autocast: torch.autocast, log_trades: LogTrades, tell: Tell) -> Validation:
        """Keep best.pt as it is served, and return its figures.

        Other ranks do not wait for them and know the score alone that it had until then.
        """
        score = self.kept_score()
        if not self._ranks.first:
            return Validation(score, ())
        best = load_run(self._run)
        channels_last(best.net.to(self._ranks.device))
        aim = Aim(self._prior, self._config.escape_target)
        best = finish(best, self._material.frames, aim, autocast, log_trades, tell)
        # A resumed run may have another escape target than the one that this network was kept under.
        save_network(self._run / BEST, replace(best, fit_config=to_toml(self._config)))
        figures = best.metrics["validation"]
        return Validation(figures["score"], tuple(ClassChoice(**figures["classes"][n]) for n in best.classes))

    def show(self, board: Board, net: UNet, found: Validation, autocast: torch.autocast, step: int) -> None:
        """Put a few frames with what the network finds in them on the board."""
        thresholds = [choice.threshold for choice in found.choices]
        geometry, normalisation = Geometry(self._config.depth), self._material.stock.normalisation

        def drawn() -> Iterator[Image]:
            for image, truth, *_ in shown_frames(self._material.frames):
                with torch.inference_mode(), autocast:
                    probs = segment_frame(net, image, geometry, normalisation)
                yield marked(image, truth, mask_of(probs, thresholds))

        board.frames(step, drawn())

    def _kept(self) -> TrainedNetwork | None:
        """best.pt, on rank 0."""
        if self._ranks.first and (self._run / BEST).exists():
            with suppress(BrokenCheckpoint):
                return load_run(self._run)
        return None

    def _trained(self, net: UNet, found: Validation, step: int) -> TrainedNetwork:
        config, stock = self._config, self._material.stock
        figures = {name: asdict(c) for name, c in zip(config.classes, found.choices, strict=True)}
        frames = len(self._material.frames)
        return TrainedNetwork(
            net=net,
            config=config.unet(),
            classes=config.classes,
            channels=config.channels,
            normalisation=stock.normalisation,
            thresholds=tuple(choice.threshold for choice in found.choices),
            mm_per_px=config.mm_per_px,
            data_sha256=self._origin.data_sha256,
            seed=config.seed,
            metrics={"validation": {"score": found.score, "frames": frames, "classes": figures}},
            step=step,
            fit_config=to_toml(config),
            standing=self._best,
            seen=self._origin.seen,
        )


def _score(kept: TrainedNetwork) -> float:
    return float(kept.metrics.get("validation", {}).get("score", -1.0))
