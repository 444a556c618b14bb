"""Real ledgers in files: opened, recorded into, closed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, update

from benchmarks.ledger_samples import sample_inspection, sample_start
from inspector.config import RecordingConfig
from inspector.db.connect import open_ledger
from inspector.db.counter import FrameCounter
from inspector.db.schema import RunRow
from inspector.db.transactions import writing
from inspector.recorder import Recorder

Opener = Callable[..., Engine]


@pytest.fixture
def opened() -> Iterator[Opener]:
    """`open_ledger`, and every ledger that it opened is closed after the test."""
    engines: list[Engine] = []

    def open_one(url: str, **settings: object) -> Engine:
        engines.append(open_ledger(url, **settings))  # type: ignore[arg-type]
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.dispose()


@pytest.fixture
def ledger(tmp_path: Path, opened: Opener) -> Engine:
    """An empty ledger at tmp_path/ledger.db."""
    return opened(f"sqlite:///{tmp_path / 'ledger.db'}")


@pytest.fixture
def filled(ledger: Engine) -> tuple[Engine, str]:
    """A ledger with a closed run of 10 frames, and the run's id."""
    recorder = Recorder(ledger, sample_start(), RecordingConfig(), lambda records: None)
    for _ in range(10):
        recorder.submit(sample_inspection(recorder.counter.next()))
    recorder.gap(4, 2, "the camera lost 2 frames")
    recorder.event("pause", "paused by anna", {"by": "anna"})
    recorder.close()
    return ledger, recorder.run_id


@pytest.fixture
def dead_run(ledger: Engine) -> Callable[[int, int], str]:
    """Makes what a killed station leaves: so many grabbed, fewer judged, no end; returns its id."""

    def die(grabbed: int, judged: int) -> str:
        recorder = Recorder(ledger, sample_start(), RecordingConfig(), lambda records: None)
        for _ in range(judged):
            recorder.submit(sample_inspection(recorder.counter.next()))
        recorder.close()
        counter = FrameCounter(recorder.counter.path)
        for _ in range(grabbed - judged):
            counter.next()
        counter.close()
        with writing(ledger) as connection:
            connection.execute(update(RunRow).values(ended_at=None, end=None, counted=None))
        return recorder.run_id

    return die
