"""The training loop: one pass through `Training.run` is a whole run.

trainer fit DATA --out RUN --minutes 12
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from inspector.errors import InspectionError
from inspector.tiling import Geometry
from trainer.checkpoint import (
    BEST,
    LAST,
    TrainedNetwork,
    clone_state,
    load_checkpoint,
    load_run,
    save_atomically,
    save_network,
)
from trainer.config import FitConfig, to_toml
from trainer.escapes import Trade
from trainer.finish import Aim, finish
from trainer.losses import batch_dice, weighted_cross_entropy
from trainer.optimize import Optimizer, autocast_of, freeze_norm, reestimate_norm
from trainer.prefetch import Prefetch
from trainer.sampler import Batch, Stock, TileSampler
from trainer.schedule import Schedule
from trainer.thresholds import ClassChoice
from trainer.unet import UNet
from trainer.validate import Shown, Validation, validate

VALIDATIONS = 12
"""Validations in one run."""
VALIDATION_TIME = 0.08
"""In a run by the clock, validations take at most about this share of it."""
REESTIMATE = 40
"""Batches from which batch norm's statistics are taken before they are frozen."""
FIRST_EXTRA_BATCH = 1 << 40
"""Numbers of those batches, beyond any step's."""
LOG_EVERY = 20


class Report(Protocol):
    """Where a run shows how it goes."""

    def step(self, step: int, progress: float, left_s: float, loss: float) -> None: ...

    def validated(self, step: int, found: Validation, best: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Origin:
    """What a run's checkpoints say about where it came from."""

    data_sha256: str
    start: dict[str, Tensor] | None = None
    """Weights to start from instead of random ones."""
    thresholds: tuple[float, ...] | None = None
    """Those of the package that the weights come from."""


@dataclass(slots=True)
class Mark:
    """The part of a run's state that is neither network nor optimizer."""

    step: int = 0
    best: float = -1.0
    frozen: bool = False
    validated_at: float = 0.0
    """Progress at the last validation."""
    validation_s: float = 0.0
    losses: list[float] = field(default_factory=list)


class Training:
    """One run: its network, optimizer and schedule, and the folder that it writes."""

    def __init__(
        self,
        config: FitConfig,
        stock: Stock,
        frames: Sequence[Shown],
        out: Path,
        origin: Origin,
        schedule: Schedule,
    ) -> None:
        """frames: what validates. out: an existing folder."""
        self._config, self._stock, self._frames, self._out, self._origin = config, stock, frames, out, origin
        self._schedule = schedule
        torch.manual_seed(config.seed)
        self._net = UNet(config.unet())
        if origin.start is not None:
            self._net.load_state_dict(origin.start)
        self._net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._average = clone_state(self._net.state_dict())
        self._optimizer = Optimizer(self._net, config)
        self._sampler = TileSampler(stock, config)
        self._autocast = autocast_of(config)
        self._mark = Mark()

    def resume(self) -> None:
        """Take up where last.pt ended. Raises UsageError when it cannot be read."""
        content = load_checkpoint(self._out / LAST)
        self._net.load_state_dict(content["net"])
        self._average = content["average"]
        self._optimizer.load_state_dict(content["optimizer"])
        self._mark = Mark(**content["mark"])

    def run(self, report: Report, stop_after: Callable[[int], bool] = lambda _step: False) -> Validation:
        """Train to the end of the schedule and return the figures of the best network, which is served.

        stop_after: asked after each step; True ends this sitting as an interruption would.
        Writes last.pt also when interrupted, so that `resume` loses nothing.
        """
        mark = self._mark
        try:
            with Prefetch(lambda n: self._sampler.batch(n, self._schedule.progress(n)), mark.step) as batches:
                for batch in batches:
                    progress = self._schedule.progress(mark.step)
                    if progress >= 1.0:
                        break
                    self._freeze_when_due(progress)
                    loss = self._step(batch, progress)
                    self._note(report, progress, loss)
                    if self._validation_due():
                        self._validate(report)
                    if stop_after(mark.step):
                        break
        finally:
            self._save_last()
        # By the clock a run may end between two steps, with its last steps not yet judged.
        unjudged = self._schedule.progress(mark.step) >= 1.0 > mark.validated_at
        if unjudged or not (self._out / BEST).exists():
            self._validate(report)
        return self._finish()

    def _finish(self) -> Validation:
        """Keep the best network as it is served, and return its figures."""
        best = load_run(self._out)
        best.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        aim = Aim(self._prior(), self._config.escape_target)
        best = finish(best, self._frames, aim, self._autocast, self._log_trades)
        save_network(self._out / BEST, best)
        figures = best.metrics["validation"]
        return Validation(figures["score"], tuple(ClassChoice(**figures["classes"][n]) for n in best.classes))

    def _log_trades(self, name: str, trades: Sequence[Trade]) -> None:
        self._log("escape curve", name=name, trades=[asdict(trade) for trade in trades])

    def _prior(self) -> Sequence[float | None]:
        return self._origin.thresholds or [None] * len(self._config.classes)

    def _step(self, batch: Batch, progress: float) -> float:
        mark, config = self._mark, self._config
        # Dropout draws from torch's own generator; seeding it by step makes a resumed run equal.
        torch.manual_seed(config.seed * 1_000_003 + mark.step)
        self._net.train()
        if mark.frozen:
            freeze_norm(self._net)
        self._optimizer.clear()
        with self._autocast:
            logits = self._net(batch.images)
        loss = weighted_cross_entropy(logits, batch.mask, batch.weights) / batch.weights.sum().clamp(min=1.0)
        if config.dice > 0:
            loss = loss + config.dice * batch_dice(logits, batch.mask)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._net.parameters(), config.clip_norm)
        self._optimizer.step(self._schedule.learning_rate(progress))
        mark.step += 1
        self._follow()
        value = float(loss.detach())
        if value != value:
            raise InspectionError(
                f"The loss is no number any more at step {mark.step}; use a lower learning rate."
            )
        return value

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the network: over the last tenth of the steps so far."""
        step = self._mark.step
        weight = 10.0 / (step + 10.0) if self._config.average else 1.0
        for name, value in self._net.state_dict().items():
            if value.is_floating_point():
                self._average[name].lerp_(value, weight)
            else:
                self._average[name].copy_(value)

    def _freeze_when_due(self, progress: float) -> None:
        """Once: take batch norm's statistics afresh over many batches, then keep them.

        The rest of the run then trains the very network that export folds.
        """
        mark = self._mark
        if mark.frozen or self._config.norm == "none" or progress < self._config.freeze_norm_at:
            return
        reestimate_norm(
            self._net,
            (self._sampler.batch(FIRST_EXTRA_BATCH + n, 1.0).images for n in range(REESTIMATE)),
            self._autocast,
        )
        for name, value in self._net.named_buffers():
            self._average[name].copy_(value)
        mark.frozen = True

    def _validation_due(self) -> bool:
        mark, done = self._mark, self._schedule.progress(self._mark.step)
        wait = 1 / VALIDATIONS
        if self._config.minutes is not None:
            wait = max(wait, mark.validation_s / VALIDATION_TIME / (60 * self._config.minutes))
        return done >= 1.0 or done - mark.validated_at >= wait

    def _validate(self, report: Report) -> None:
        mark, began = self._mark, self._schedule.elapsed_s()
        net = UNet(self._config.unet()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        net.load_state_dict(self._average)
        found = validate(
            net.eval(),
            self._frames,
            Geometry(self._config.depth),
            self._stock.normalisation,
            self._prior(),
            self._autocast,
        )
        mark.validation_s = self._schedule.elapsed_s() - began
        mark.validated_at = self._schedule.progress(mark.step)
        better = found.score >= mark.best
        if better:
            mark.best = found.score
            save_network(self._out / BEST, self._trained(net, found))
        self._log("validation", score=found.score, best=better, classes=[asdict(c) for c in found.choices])
        report.validated(mark.step, found, better)
        self._save_last()

    def _trained(self, net: UNet, found: Validation) -> TrainedNetwork:
        config = self._config
        figures = {name: asdict(c) for name, c in zip(config.classes, found.choices, strict=True)}
        return TrainedNetwork(
            net=net,
            config=config.unet(),
            classes=config.classes,
            channels=config.channels,
            normalisation=self._stock.normalisation,
            thresholds=tuple(choice.threshold for choice in found.choices),
            mm_per_px=config.mm_per_px,
            data_sha256=self._origin.data_sha256,
            seed=config.seed,
            metrics={"validation": {"score": found.score, "frames": len(self._frames), "classes": figures}},
            step=self._mark.step,
            fit_config=to_toml(config),
        )

    def _note(self, report: Report, progress: float, loss: float) -> None:
        mark = self._mark
        mark.losses.append(loss)
        report.step(mark.step, progress, self._schedule.left_s(mark.step), loss)
        if len(mark.losses) == LOG_EVERY:
            self._log("steps", loss=sum(mark.losses) / LOG_EVERY, lr=self._schedule.learning_rate(progress))
            mark.losses.clear()

    def _log(self, kind: str, **values: Any) -> None:
        line = {"kind": kind, "step": self._mark.step, "elapsed_s": round(self._schedule.elapsed_s(), 2)}
        with (self._out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line | values) + "\n")

    def _save_last(self) -> None:
        save_atomically(
            self._out / LAST,
            {
                "net": self._net.state_dict(),
                "average": self._average,
                "optimizer": self._optimizer.state_dict(),
                "mark": asdict(self._mark),
                "elapsed_s": self._schedule.elapsed_s(),
                "data_sha256": self._origin.data_sha256,
                "normalisation": [list(values) for values in self._stock.normalisation],
                "prior": list(self._origin.thresholds or ()),
                "fit_config": to_toml(self._config),
            },
        )
