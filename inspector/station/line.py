"""The running line: four stages, one stop event, a beat each second, and a stop in two passes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from inspector.camera.protocol import Camera
from inspector.db.connect import ledger_folder
from inspector.durable import disk_remedy
from inspector.engine.memory import MB, UnderWay
from inspector.engine.planner import memory_model
from inspector.engine.rivals import Rivals
from inspector.errors import InspectionError, LedgerError
from inspector.live import LivePicture, PictureWriter, picture_path
from inspector.outputs import JsonLines
from inspector.recorder import Recorded, Recorder, RunStart
from inspector.station.beat import beat_of
from inspector.station.budget import BudgetWatch
from inspector.station.control import Control, Stage
from inspector.station.grab import GrabStage
from inspector.station.infer import InferStage
from inspector.station.intake import Intake
from inspector.station.judge import JudgeStage
from inspector.station.mailbox import Mailbox
from inspector.station.opening import Opened, open_line, open_serving
from inspector.station.outcome import nothing_inspected
from inspector.station.requests import HANGS_S, RequestDesk
from inspector.station.summary import RunSummary, Tally
from inspector.station.truth import truth_beside
from inspector.types import VerdictWord
from inspector.zones import Zones

if TYPE_CHECKING:
    from inspector.config import LineConfig

log = logging.getLogger("inspector.station")

PROGRESS_S = 10.0
"""How often a run that nobody sees says how far it is."""
STOP_S = 10.0
"""How long all stages together may take to stop, after what the camera's time limit allows."""
LAST_WORDS_S = 5.0
"""How long the line waits for a recorder that hangs before it ends without saying why in the ledger."""


def run_station(
    config: LineConfig,
    *,
    frames: int | None = None,
    stop: threading.Event | None = None,
    on_ready: Callable[[str], None] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> RunSummary:
    """Run the line until its camera ends, `frames` frames were grabbed, `stop` is set or it fails.

    on_ready: called with the run id once the run is in the ledger and frames are about to come.
    on_progress: called every PROGRESS_S with a line on how far the run is.
    A line that fails after that still returns its summary, with `error` set. What fails before
    raises: UsageError, Refused, CameraError, EngineError, LedgerError.
    """
    opened = open_line(config)
    return run_opened(config, opened, frames=frames, stop=stop, on_ready=on_ready, on_progress=on_progress)


def run_opened(
    config: LineConfig,
    opened: Opened,
    *,
    frames: int | None = None,
    stop: threading.Event | None = None,
    on_ready: Callable[[str], None] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> RunSummary:
    """run_station on a line that is open already, which this closes whatever happens."""
    line: _Line | None = None
    try:
        line = _Line(config, opened, stop or threading.Event())
        return line.run(frames, on_ready, on_progress)
    finally:
        if line is None:
            opened.serving.engine.close()
        if line is None or not line.stages[0].is_alive():  # releasing a capture under a read can crash
            opened.camera.close()
        opened.ledger.dispose()


class _Line:
    """One run. The recorder publishes through it, so that outputs and picture follow the commit."""

    def __init__(self, config: LineConfig, opened: Opened, stop: threading.Event) -> None:
        self.config, self.opened = config, opened
        self.control = Control(stop)
        self.tally = Tally(truth_beside(config.camera.source))
        self.rivals = Rivals()
        self.budget = BudgetWatch(config.recipe.deadline_ms, live=opened.camera.live)
        channels = opened.package.manifest.channels
        start = _run_start(config, opened)
        room = _frames_under_way(config, opened)
        with ExitStack() as on_failure:
            self.outputs: list[JsonLines] = []
            for output in config.outputs:
                self.outputs.append(JsonLines(output.path))
                on_failure.callback(self.outputs[-1].close)
            self.live = _live_picture(opened)
            if self.live is not None:
                on_failure.callback(self.live.close)
            self.recorder = Recorder(
                opened.ledger, start, config.recording, self.publish, waiting=room.waiting
            )
            on_failure.pop_all()
        live = opened.camera.live
        queue = config.camera.queue if config.camera.policy == "queue" else 1
        self.inbox = Mailbox(queue if live else room.ahead, "newest" if live else "wait")
        intake = Intake(
            self.recorder.counter, opened.camera.camera_id, config.camera, channels=channels, live=live
        )
        self.grab = GrabStage(opened.camera, intake, self.inbox, self.recorder, self.control, self.tally)
        self.infer = InferStage(
            opened.serving, lambda size: open_serving(config, opened.package, size), config,
            self.inbox, self.recorder, self.control,
        )  # fmt: skip
        self.infer.alone = room.judging == 1
        self.judge = JudgeStage(self.infer.outbox, self.recorder)
        self.desk = RequestDesk(opened.ledger, self.recorder, self.control)
        self.stages = [
            Stage("grab", self.control, self.grab.work, self.inbox.end),
            Stage("infer", self.control, self.infer.work, self.infer.end),
            Stage("judge", self.control, self.judge.work, self.judge.end),
        ]

    def publish(self, records: Sequence[Recorded]) -> None:
        """Outputs first, then counters and picture; called in the recorder's thread after COMMIT."""
        try:
            for output in self.outputs:
                output.publish(records)
        finally:  # their rows are committed, whether the outputs took them or not
            self.tally.add(records)
        self.budget.add(records)
        shown = [one.inspection for one in records if one.inspection.frame.image is not None]
        if self.live is not None and shown:
            rejects = [one for one in shown if one.verdict.word is VerdictWord.REJECT]
            self.live.publish((rejects or shown)[-1])

    def run(
        self,
        frames: int | None,
        on_ready: Callable[[str], None] | None,
        on_progress: Callable[[str], None] | None = None,
    ) -> RunSummary:
        """Start, watch until the stages have ended, stop, and sum up."""
        self.grab.frames = frames
        self.grab.begin_with(self.opened.early)
        self.recorder.health(beat_of(self, "starting"))
        with ExitStack() as on_failure:
            on_failure.callback(self._abandon)
            for warning in self.opened.warnings:
                self.tally.warnings.append(warning)
                self.recorder.event("config_warning", warning)
            if on_ready is not None:
                on_ready(self.opened.run_id)
            for stage in self.stages:
                stage.start()
            self._watch(on_progress)
            on_failure.pop_all()
        self._stop()
        return self._close()

    def _abandon(self) -> None:
        """An error that nobody foresaw is on its way out: its frames get their rows all the same."""
        self.control.fail(InspectionError("The line ended on an error of its own; see the log."))
        self._stop()
        self._close()

    def _watch(self, on_progress: Callable[[str], None] | None) -> None:
        """Each tick: is the recorder well, did anybody ask for something; each second a beat."""
        next_beat, next_word = 0.0, time.monotonic() + PROGRESS_S
        while any(stage.is_alive() for stage in self.stages) and not self.control.stop.is_set():
            if self.recorder.error is not None:
                return self.control.fail(self.recorder.error)
            self.desk.serve()
            if time.monotonic() >= next_beat:
                self._look_at_budget()
                self.recorder.health(beat_of(self))
                next_beat = time.monotonic() + 1.0
            if on_progress is not None and time.monotonic() >= next_word:
                on_progress(self.tally.progress(frames_in_all(self.opened.camera, self.grab.frames)))
                next_word = time.monotonic() + PROGRESS_S
            self.stages[-1].join(0.1)

    def _look_at_budget(self) -> None:
        """Record when frames are about to be late, and when they no longer are."""
        said = self.budget.look()
        if said is None:
            return
        log.warning("%s", said[1])
        with suppress(LedgerError):  # a recorder that hangs or died is told by the watch itself
            self.recorder.event(*said, self.budget.budget.shares, timeout_s=HANGS_S)

    def _stop(self) -> None:
        """First pass: tell all. Second: wait for each, and say who did not come."""
        deadline = time.monotonic() + STOP_S + self.config.camera.read_timeout_s
        if self.control.stop.is_set():
            self.recorder.health(beat_of(self, "stopping"))
        for stage in self.stages:
            while stage.is_alive() and time.monotonic() < deadline:
                stage.join(0.1)
            if stage.is_alive():
                words = f"The {stage.name} stage did not stop in time; what it held is recorded as crashed."
                log.error("%s", words)
                self.control.fail(InspectionError(words))

    def _close(self) -> RunSummary:
        """Drain the recorder, free what was opened, and sum up."""
        grabbed = self.recorder.counter.last
        error, drained = self.control.error, True
        self._last_words(error)
        try:
            self.recorder.close()
        except LedgerError as broken:
            error, drained = error or broken, False
        if not self.stages[1].is_alive():  # else the engine is still in use
            self.infer.serving.engine.close()
        for output in self.outputs:
            output.close()
        if self.live is not None:
            self.live.close()
        grabbed = max(grabbed, self.recorder.counter.last)
        info, db = self.infer.serving.engine.info, self.config.recording.db
        left = self.tally.end(grabbed, self.recorder.left)
        error = error or nothing_inspected(self.tally, stopped=self.control.stop.is_set())
        waiting = 0 if drained else left
        return RunSummary(
            self.opened.run_id, grabbed, self.tally, info, db, error, waiting, self.rivals.share()
        )

    def _last_words(self, error: InspectionError | None) -> None:
        with suppress(LedgerError):  # which closing the recorder raises again
            if error is not None:
                self.recorder.event("failed", str(error), timeout_s=LAST_WORDS_S)
            elif self.control.stop.is_set():
                self.recorder.event("stopped", "The line was told to stop.", timeout_s=LAST_WORDS_S)
        words = str(error) if error is not None else ""
        self.recorder.health(beat_of(self, "failed" if error is not None else "ended", words))


def frames_in_all(camera: Camera, frames: int | None) -> int | None:
    """How many frames a run will have that ends after `frames`; None where a live camera decides that."""
    known = [frames, None if camera.live else camera.total]
    return min((count for count in known if count is not None), default=None)


def _frames_under_way(config: LineConfig, opened: Opened) -> UnderWay:
    """How many frames the memory limit leaves room for beside the tiles that were planned."""
    serving, zones = opened.serving, Zones(opened.serving.size, config.recipe.areas)
    model = memory_model(opened.package, config.model, zones)
    return model.under_way(serving.size, serving.engine.info.tile, config.model.memory_mb * MB)


def _run_start(config: LineConfig, opened: Opened) -> RunStart:
    return RunStart(
        run_id=opened.run_id,
        camera_id=opened.camera.camera_id,
        package=opened.package,
        engine=opened.serving.engine.info,
        recipe=config.recipe,
        lot=config.recipe.lot,
    )


def _live_picture(opened: Opened) -> PictureWriter | None:
    """The shared picture, or None where it cannot be had: a line does not stop for its screen."""
    try:
        return LivePicture.writer(picture_path(ledger_folder(opened.ledger.url), opened.run_id))
    except OSError as error:
        folder = ledger_folder(opened.ledger.url)
        words = (
            f"The dashboard will show no picture: {folder} has no place for it ({error.strerror or error})"
        )
        log.warning("%s; %s.", words, disk_remedy(error))
        return None
