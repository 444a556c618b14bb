"""The training loop: one pass through `Training.run` is a whole run.

trainer fit DATA --out RUN --minutes 12
torchrun --nproc-per-node 2 -m trainer fit DATA --out RUN --minutes 12
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from inspector.errors import InspectionError
from inspector.tiling import Geometry
from inspector.units import shown
from trainer.checkpoint import save_last
from trainer.config import FitConfig, from_toml, to_toml
from trainer.failures import memory_told, peers_told
from trainer.interrupt import WHEN_DONE, asked_to_stop
from trainer.journal import Journal
from trainer.judge import Judge, Material, Origin
from trainer.learner import Learner, moved, pinned
from trainer.mining import find_false_alarms, save_false_alarms, with_false_alarms
from trainer.prefetch import Prefetch
from trainer.ranks import ALONE, Ranks
from trainer.sampler import Batch, TileSampler
from trainer.schedule import Schedule
from trainer.seen import SEEN
from trainer.validate import Validation
from trainer.watch import Diverged, LossWatch, background_only, guess_loss, silent_classes, silent_words

VALIDATIONS = 12
"""Validations in one run."""
VALIDATION_TIME = 0.08
"""In a run by the clock, validations take at most about this share of it."""
REESTIMATE = 40
"""Batches from which batch norm's statistics are taken before they are frozen."""
FIRST_EXTRA_BATCH = 1 << 40
"""Numbers of those batches, beyond any step's."""
LOG_EVERY = 20
SAVE_EVERY_S = 300.0
"""Longest time between two checkpoints: what a power cut costs, however far validations lie apart."""
GPU_THREADS = 8
"""Threads that cut tiles for a GPU, if the host has so many cores."""


class Report(Protocol):
    """Where a run shows how it goes."""

    def step(self, step: int, progress: float, left_s: float | None, loss: float) -> None: ...

    def validated(self, step: int, found: Validation, kept: bool) -> None: ...

    def notice(self, words: str) -> None: ...

    def finishing(self, words: str, done: int, frames: int) -> None: ...

    def alarm(self, words: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a run takes place."""

    out: Path
    """The RUN folder; it exists on rank 0 when the run starts."""
    schedule: Schedule
    journal: Journal
    ranks: Ranks = ALONE


@dataclass(slots=True)
class Mark:
    """The part of a run's state that is neither network nor optimizer."""

    step: int = 0
    frozen: bool = False
    """Whether batch norm keeps its statistics by now."""
    validated_at: float = 0.0
    """Progress at the last validation."""
    validation_s: float = 0.0
    losses: list[float] = field(default_factory=list)
    """Since the last line of the log."""
    watch: LossWatch = field(default_factory=LossWatch)
    alarmed: bool = False
    """Whether it was said that the network calls everything good."""
    silent: list[str] = field(default_factory=list)
    """Classes of which it was said that the network finds next to nothing of them."""
    thresholds: list[float] = field(default_factory=list)
    """For each defect class: the package's that training goes on from, then those of the last validation."""
    mined: bool = False
    """Whether tiles are aimed at false alarms by now."""

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Mark:
        """What `asdict` made of a mark."""
        # An earlier version kept the best score in its mark.
        own = {name: value for name, value in kept.items() if name != "best"}
        return cls(**own | {"watch": LossWatch(**kept.get("watch", {}))})


class Training:
    """One run: its network, its schedule, and the folder that it writes."""

    def __init__(self, config: FitConfig, material: Material, origin: Origin, setting: Setting) -> None:
        self._config, self._material, self._origin = config, material, origin
        self._out, self._schedule, self._journal = setting.out, setting.schedule, setting.journal
        self._ranks = setting.ranks
        self._sampler = TileSampler(material.stock, config)
        self._sampler.refuse_more_than_tiles(setting.ranks.world)
        with memory_told(config, setting.ranks, self._sampler):
            self._learner = Learner(config, setting.ranks, origin.start)
        self._judge = Judge(config, material, origin, setting.out, setting.ranks)
        self._mark = Mark(thresholds=list(origin.thresholds or [0.5] * len(config.classes)))
        self._saved_at, self._saved_s = -1, 0.0
        """Step and time of the last checkpoint."""

    def resume(self, content: dict[str, Any]) -> None:
        """Take up where this checkpoint ended."""
        self._learner.load_state(content)
        self._mark = Mark.of(content["mark"])
        self._judge.take_up()
        self._saved_at, self._saved_s = self._mark.step, self._schedule.elapsed_s()
        # Not their texts: that of an earlier version lacks the settings that have come since.
        if from_toml(content["fit_config"]) != self._config:
            self._saved_at = -1  # another escape target: last.pt is to say so from the start
        self._journal.go_back_to(self._mark.step)

    def run(
        self, report: Report, stop_after: Callable[[int], bool] = lambda _step: False
    ) -> Validation | None:
        """Train to the end of the schedule and return the figures of the network that serves.

        stop_after: asked after each step; True, on any rank, ends this sitting on all of them
        as an interruption would, and None is returned. Writes last.pt also when interrupted, so
        that resuming loses nothing. Raises Diverged, best.pt being made ready to serve all the same, and
        InspectionError when the time was over before the first step.
        """
        again = "what was learned is kept: start all processes again with --resume"
        with peers_told(self._ranks, again), memory_told(self._config, self._ranks, self._sampler):
            try:
                return self._to_the_end(report, stop_after)
            except Diverged as error:
                raise self._ended_by(error, report) from None

    def _to_the_end(self, report: Report, stop_after: Callable[[int], bool]) -> Validation | None:
        """As `run`, but for what is left to do when the training diverges."""
        mark = self._mark
        try:
            if self._saved_at < 0:
                # A run that dies before its first validation can be resumed as well.
                self._save_last()
            if self._train(report, stop_after):
                return None
        finally:
            # In the midst of a step, or with weights that are no numbers, the older one is better.
            if self._learner.whole and self._saved_at != mark.step:
                self._save_last()
            self._journal.flush()
        if mark.step == 0:
            raise InspectionError(
                f"No step was done within --minutes {shown(self._config.minutes or 0)}, so there is no"
                " network: reading the data took that long, or other programs had the processor. Give more"
                " minutes and another --out."
            )
        with asked_to_stop(WHEN_DONE):
            # By the clock a run may end between two steps, with its last steps not yet judged.
            unjudged = self._ranks.agreed(self._schedule.progress(mark.step) >= 1.0 > mark.validated_at)
            if unjudged or self._judge.kept_score() < 0:
                self._validate(report)
            return self._finish(report)

    def _train(self, report: Report, stop_after: Callable[[int], bool]) -> bool:
        """All steps from the mark on; True when it was stopped before the end."""
        if self._mark.step and self._ranks.agreed(self._validation_due()):
            # The sitting before ended in the midst of it: a second Ctrl-C, or a disk that was full.
            self._validate(report)
        while True:
            ended = self._train_on_tiles_of_a_kind(report, stop_after)
            if ended is not None:
                return ended
            self._aim_at_false_alarms(report)

    def _train_on_tiles_of_a_kind(self, report: Report, stop_after: Callable[[int], bool]) -> bool | None:
        """As `_train`; None where tiles made ahead would be of no use, since false alarms are due first."""
        mark, ranks = self._mark, self._ranks
        with Prefetch(self._batch, mark.step, self._threads()) as batches:
            for batch in batches:
                progress = ranks.agreed(self._schedule.progress(mark.step))
                if progress >= 1.0:
                    return False
                if self._false_alarms_due(progress):
                    return None
                self._settle_norm_when_due(progress)
                self._step(moved(batch, ranks.device), progress, report)
                if ranks.agreed(self._validation_due()):
                    self._validate(report)
                elif self._schedule.elapsed_s() - self._saved_s >= SAVE_EVERY_S:
                    self._save_last()
                if ranks.any(stop_after(mark.step)):
                    return True
        return False

    def _step(self, batch: Batch, progress: float, report: Report) -> None:
        mark, rate = self._mark, self._schedule.learning_rate(progress)
        loss = self._learner.step(batch, mark.step, mark.frozen, rate)
        if not math.isfinite(loss):
            raise Diverged(f"The loss is no number any more at step {mark.step + 1}.")
        mark.step += 1
        guess = guess_loss(self._config)
        if mark.watch.add(loss, guess):
            self._learner.whole = False
            words, level = mark.watch.held_against(guess)
            raise Diverged(
                f"The training has diverged: for the last steps up to {mark.step} the loss stays far above"
                f" {words} ({shown(loss)} against {shown(level)})."
            )
        mark.losses.append(loss)
        report.step(mark.step, progress, self._schedule.left_s(mark.step), loss)
        if len(mark.losses) == LOG_EVERY:
            self._journal.steps(mark.step, sum(mark.losses) / LOG_EVERY, rate)
            mark.losses.clear()

    def _batch(self, number: int) -> Batch:
        ranks, progress = self._ranks, self._schedule.progress(number)
        return pinned(self._sampler.batch(number, progress, ranks.rank, ranks.world), ranks.device)

    def _threads(self) -> int:
        """How many cut tiles. Beside a network on the CPU one keeps up; a GPU is faster than one."""
        if self._ranks.device.type == "cpu":
            return 1
        cores = len(os.sched_getaffinity(0)) // self._ranks.neighbours
        return max(1, min(GPU_THREADS, cores - 1))

    def _false_alarms_due(self, progress: float) -> bool:
        config = self._config
        return config.false_alarm_share > 0 and not self._mark.mined and progress >= config.false_alarms_at

    def _aim_at_false_alarms(self, report: Report) -> None:
        """Look through the training frames for them, keep them in the RUN folder, and aim from now on."""
        mark, ranks, stock = self._mark, self._ranks, self._material.stock
        report.notice(f"Looking through {len(stock.pictures)} training frames for false alarms.")
        net, geometry = self._learner.averaged(), Geometry(self._config.depth)
        own = replace(stock, pictures=tuple(ranks.own(stock.pictures)))
        found = find_false_alarms(net, own, mark.thresholds, geometry, self._learner.autocast)
        everywhere = ranks.gathered(found)
        if ranks.first:
            save_false_alarms(self._out, everywhere)
        self._sampler = TileSampler(with_false_alarms(stock, everywhere), self._config)
        mark.mined = True
        places = [len(pixels) for pixels in everywhere]
        self._journal.note("false alarms", mark.step, pixels=sum(places), frames=sum(map(bool, places)))
        self._save_last()
        self._schedule.pace_anew()

    def _settle_norm_when_due(self, progress: float) -> None:
        """Once: take batch norm's statistics afresh over many batches, then keep them.

        The rest of the run then trains the very network that export folds.
        """
        mark, ranks = self._mark, self._ranks
        if mark.frozen or self._config.norm == "none" or progress < self._config.freeze_norm_at:
            return
        numbers = range(FIRST_EXTRA_BATCH, FIRST_EXTRA_BATCH + REESTIMATE)
        self._learner.settle_norm(
            self._sampler.batch(number, 1.0, ranks.rank, ranks.world).images for number in numbers
        )
        mark.frozen = True

    def _validation_due(self) -> bool:
        mark, done = self._mark, self._schedule.progress(self._mark.step)
        wait = 1 / VALIDATIONS
        if self._config.minutes is not None:
            wait = max(wait, mark.validation_s / VALIDATION_TIME / (60 * self._config.minutes))
        return done >= 1.0 > mark.validated_at or done - mark.validated_at >= wait

    def _validate(self, report: Report) -> None:
        mark, began = self._mark, self._schedule.elapsed_s()
        net, autocast = self._learner.averaged(), self._learner.autocast
        found = self._judge.score(net, autocast)
        if found is None:
            self._learner.whole = False
            raise Diverged(f"What the network gives is no number any more at step {mark.step}.")
        kept = self._judge.keep_unless_worse(net, found, mark.step)
        self._journal.validated(mark.step, found, kept, self._config.classes)
        # Not before: what ends in the midst of a validation does it again when it goes on.
        mark.validated_at = self._schedule.progress(mark.step)
        mark.thresholds = [choice.threshold for choice in found.choices]
        if self._journal.board is not None:
            self._judge.show(self._journal.board, net, found, autocast, mark.step)
        report.validated(mark.step, found, kept)
        self._alarm_when_blind(report, found)
        mark.validation_s = self._schedule.elapsed_s() - began
        self._save_last()

    def _alarm_when_blind(self, report: Report, found: Validation) -> None:
        mark, said = self._mark, []
        words = background_only(found, mark.validated_at)
        if words is not None:
            said = [] if mark.alarmed else [words]
            mark.alarmed = True
        else:
            silent = silent_classes(found, mark.validated_at, self._config.classes)
            new = {name: counts for name, counts in silent.items() if name not in mark.silent}
            said = [silent_words(new, mark.validated_at)] if new else []
            mark.silent += new
        for words in said:
            self._journal.note("alarm", mark.step, words=words)
            report.alarm(words)

    def _finish(self, report: Report) -> Validation:
        frames = len(self._material.frames)
        report.notice(f"Trained. Now {frames} validation frames calibrate it and choose its thresholds.")

        def log_trades(name: str, trades: Any) -> None:
            self._journal.escape_curve(self._mark.step, name, trades)

        return self._judge.finish(self._learner.autocast, log_trades, report.finishing)

    def _ended_by(self, error: Diverged, report: Report) -> Diverged:
        """The error with what is left of the run, best.pt being made ready to serve."""
        remedy = "start again with a lower --learning-rate"
        self._journal.note("diverged", self._mark.step, words=str(error))
        if self._judge.kept_score() < 0:
            return Diverged(f"{error} Nothing was learned yet; {remedy} and another --out.")
        with asked_to_stop(WHEN_DONE):
            score = self._finish(report).score
        return Diverged(
            f"{error} {self._out} keeps the network from before (IoU {score:.3f} on validation); for a"
            f" better one {remedy} and another --out."
        )

    def _save_last(self) -> None:
        self._saved_at, self._saved_s = self._mark.step, self._schedule.elapsed_s()
        if self._ranks.first:
            content = {
                "mark": asdict(self._mark),
                "elapsed_s": self._schedule.elapsed_s(),
                "data_sha256": self._origin.data_sha256,
                SEEN: self._origin.seen.kept() if self._origin.seen is not None else None,
                "normalisation": [list(values) for values in self._material.stock.normalisation],
                "prior": list(self._origin.thresholds or ()),
                "init": self._origin.package_id,
                "fit_config": to_toml(self._config),
            }
            save_last(self._out, self._learner.state() | content)
