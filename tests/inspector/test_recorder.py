import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from sqlalchemy import Engine, event

from benchmarks.ledger_samples import sample_inspection, sample_start
from inspector import evidence, keeping
from inspector.config import RecordingConfig
from inspector.db import queries, writes
from inspector.db.audit import audit_ledger
from inspector.db.connect import open_ledger, sqlite_module
from inspector.db.health import HealthBeat
from inspector.engine.memory import MOST_WAITING
from inspector.errors import LedgerError
from inspector.recorder import Recorded, Recorder
from inspector.types import Frame, Inspection, Verdict, VerdictWord

PASS, REJECT = VerdictWord.PASS, VerdictWord.REJECT


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def ledger(url: str) -> Iterator[Engine]:
    engine = open_ledger(url)
    yield engine
    engine.dispose()


class Heard:
    """A publish that notes what it was told."""

    def __init__(self) -> None:
        self.records: list[Recorded] = []
        self.calls = 0

    def __call__(self, records: tuple[Recorded, ...]) -> None:
        self.records.extend(records)
        self.calls += 1

    @property
    def numbers(self) -> list[int]:
        return [record.inspection.frame.number for record in self.records]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def record(recorder: Recorder, frames: int, word: VerdictWord | None = None) -> None:
    for _ in range(frames):
        recorder.submit(sample_inspection(recorder.counter.next(), word))


def test_everything_that_was_said_is_in_the_row(ledger: Engine, tmp_path: Path) -> None:
    heard = Heard()
    recorder = Recorder(ledger, sample_start(), RecordingConfig(), heard)
    sent = sample_inspection(recorder.counter.next(), REJECT)
    recorder.submit(sent)
    recorder.close()
    row = queries.inspection(ledger, recorder.run_id, 1)
    assert row is not None and row.id == heard.records[0].inspection_id
    assert (row.word, row.reasons, row.lot, row.part_id) == (REJECT, sent.verdict.reasons, "lot 7", "part 0")
    assert (row.source, row.grab_utc_ns, row.coverage, row.stages_ms) == (
        "sim#1",
        sent.frame.utc_ns,
        1.0,
        {"wait": 0.5},
    )
    assert row.judged_utc_ns == sent.frame.utc_ns + 1000
    assert queries.defects_of(ledger, row.id) == sent.defects
    assert (
        row.image_path
        == heard.records[0].image_path
        == tmp_path / "evidence" / recorder.run_id / "00000001.png"
    )
    assert np.array_equal(cv2.imread(str(row.image_path), cv2.IMREAD_UNCHANGED), sent.frame.image)
    assert np.array_equal(cv2.imread(str(row.mask_path), cv2.IMREAD_UNCHANGED), sent.mask)
    recipe = sample_start().recipe
    assert queries.recipe_text(ledger, row.recipe_hash) == recipe.text()


def test_a_verdict_is_published_only_after_another_program_can_read_its_row(ledger: Engine) -> None:
    other = sqlite_module().connect(str(ledger.url.database), check_same_thread=False)
    absent: list[int] = []

    def publish(records: tuple[Recorded, ...]) -> None:
        for one in records:
            found = other.execute(
                "SELECT number FROM inspections WHERE id = ?", (one.inspection_id,)
            ).fetchone()
            if found != (one.inspection.frame.number,):
                absent.append(one.inspection.frame.number)

    recorder = Recorder(ledger, sample_start(), RecordingConfig(), publish)
    record(recorder, 40)
    recorder.close()
    other.close()
    assert absent == []


def test_the_picture_is_on_the_disk_under_its_name_before_its_row(ledger: Engine, tmp_path: Path) -> None:
    seen: list[bool] = []

    @event.listens_for(ledger, "before_cursor_execute")
    def look(_c: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if statement.startswith("INSERT INTO inspections"):
            names = [value for value in parameters if str(value).endswith(".png")]
            seen.extend((tmp_path / name).exists() for name in names)

    recorder = Recorder(ledger, sample_start(), RecordingConfig(), Heard())
    record(recorder, 5, REJECT)
    recorder.close()
    assert seen == [True] * 10


def test_what_waits_is_committed_together(ledger: Engine) -> None:
    gate, heard = threading.Event(), Heard()

    def publish(records: tuple[Recorded, ...]) -> None:
        gate.wait(30)
        heard(records)

    recorder = Recorder(ledger, sample_start(), RecordingConfig(), publish)
    record(recorder, 20)
    gate.set()
    recorder.close()
    assert heard.numbers == list(range(1, 21))
    assert heard.calls <= 3


def test_close_drains_ends_the_run_and_may_be_called_twice(ledger: Engine) -> None:
    heard = Heard()
    recorder = Recorder(ledger, sample_start(), RecordingConfig(), heard)
    record(recorder, 30)
    recorder.gap(3, 2, "lost")
    recorder.health(HealthBeat("ended", 5, counts={"PASS": 18}))
    recorder.close()
    recorder.close()
    run = queries.latest_run(ledger)
    assert run is not None and (run.end, run.counted) == ("closed", 30) and len(heard.numbers) == 30
    assert queries.health(ledger, run.id) == HealthBeat("ended", 5, counts={"PASS": 18})
    assert [(gap.after_number, gap.count) for gap in queries.gaps(ledger, run.id)] == [(3, 2)]
    assert audit_ledger(ledger).problems == []
    with pytest.raises(LedgerError, match="closed"):
        recorder.submit(sample_inspection(31))


def test_numbers_that_nobody_submitted_are_found_at_close(ledger: Engine) -> None:
    recorder = Recorder(ledger, sample_start(), RecordingConfig(), Heard())
    record(recorder, 2)
    recorder.counter.next()
    recorder.close()
    row = queries.inspection(ledger, recorder.run_id, 3)
    assert row is not None and row.word is VerdictWord.UNINSPECTED and row.reasons[0].code == "crash"
    assert queries.events(ledger, recorder.run_id)[0].kind == "unaccounted"


def test_a_close_that_cannot_finish_complains(ledger: Engine) -> None:
    gate = threading.Event()
    recorder = Recorder(ledger, sample_start(), RecordingConfig(), lambda records: gate.wait(30) and None)
    record(recorder, 1)
    with pytest.raises(LedgerError, match=r"did not finish within 0\.3 s"):
        recorder.close(0.3)
    gate.set()
    wait_for(lambda: [run.end for run in queries.runs(ledger)] == ["closed"])


def test_what_the_config_keeps_is_kept_and_nothing_else(ledger: Engine) -> None:
    config = RecordingConfig(keep=frozenset({"uninspected"}), pass_every=3)
    recorder = Recorder(ledger, sample_start(), config, Heard())
    for word in (PASS, PASS, PASS, REJECT, VerdictWord.UNINSPECTED, PASS):
        record(recorder, 1, word)
    recorder.close()
    kept = [row.number for row in queries.recent(ledger, recorder.run_id, 10) if row.image_path]
    assert sorted(kept) == [3, 5, 6]


def test_a_frame_without_a_picture_has_its_row(ledger: Engine) -> None:
    recorder = Recorder(ledger, sample_start(), RecordingConfig(keep=frozenset({"uninspected"})), Heard())
    frame = Frame(recorder.counter.next(), None, 1, 1, "sim:")
    recorder.submit(Inspection(frame, Verdict(VerdictWord.UNINSPECTED, ())))
    recorder.close()
    row = queries.inspection(ledger, recorder.run_id, 1)
    assert row is not None and row.image_path is None and row.judged_utc_ns is None


def test_a_flagged_frame_is_kept_without_loss_though_it_passed(ledger: Engine) -> None:
    heard = Heard()
    recorder = Recorder(ledger, sample_start(), RecordingConfig(), heard)
    record(recorder, 5, PASS)
    wait_for(lambda: len(heard.numbers) == 5)
    writes.add_flag(ledger, recorder.run_id, 2, "anna", "missed", "look at the corner")
    recorder.close()
    row = queries.inspection(ledger, recorder.run_id, 2)
    assert row is not None and row.mask_path is not None
    stored = cv2.imread(str(row.image_path), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(stored, heard.records[1].inspection.frame.image)
    assert audit_ledger(ledger).problems == []
    others = [row.image_path for row in queries.recent(ledger, recorder.run_id, 9) if row.number != 2]
    assert others == [None] * 4


def test_the_last_frame_can_be_flagged_however_large_it_is(ledger: Engine) -> None:
    heard = Heard()
    recorder = Recorder(ledger, sample_start(), RecordingConfig(), heard, recent_mb=0)
    record(recorder, 3, PASS)
    wait_for(lambda: len(heard.numbers) == 3)
    for number in (2, 3):
        writes.add_flag(ledger, recorder.run_id, number, "anna", "missed")
    recorder.close()
    kept = [row.number for row in queries.recent(ledger, recorder.run_id, 9) if row.image_path]
    assert kept == [3]
    assert audit_ledger(ledger).problems == []


def test_the_oldest_evidence_goes_first_and_flagged_frames_stay(ledger: Engine, tmp_path: Path) -> None:
    heard = Heard()
    recorder = Recorder(ledger, sample_start(), RecordingConfig(max_gb=600e3 / 1e9), heard)
    recorder.submit(sample_inspection(recorder.counter.next(), REJECT, (100, 100)))
    wait_for(lambda: heard.numbers)
    writes.add_flag(ledger, recorder.run_id, 1, "anna", "false_reject")
    for _ in range(99):
        recorder.submit(sample_inspection(recorder.counter.next(), REJECT, (100, 100)))
    recorder.close()
    kept = sorted(row.number for row in queries.recent(ledger, recorder.run_id, 200) if row.image_path)
    assert kept[0] == 1 and kept[1:] == list(range(101 - len(kept[1:]), 101)) and 1 < len(kept) < 100
    audit = audit_ledger(ledger).runs[0]
    assert (audit.problems, audit.orphans) == ([], [])
    sizes = sum(file.stat().st_size for file in (tmp_path / "evidence").rglob("*.png"))
    assert sizes <= 600e3


def test_when_a_file_is_deleted_its_row_has_forgotten_it(
    ledger: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sqlite_module().connect(str(ledger.url.database), check_same_thread=False)
    still_named: list[str] = []
    unlink = Path.unlink

    def watched(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".png":
            names = other.execute(
                "SELECT image_path FROM inspections WHERE image_path IS NOT NULL"
            ).fetchall()
            still_named.extend(name for (name,) in names if path.as_posix().endswith(name))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    recorder = Recorder(ledger, sample_start(), RecordingConfig(max_gb=50e3 / 1e9), Heard())
    for _ in range(12):
        recorder.submit(sample_inspection(recorder.counter.next(), REJECT, (100, 100)))
    recorder.close()
    other.close()
    assert any(row.image_path is None for row in queries.recent(ledger, recorder.run_id, 20))
    assert still_named == []


def test_a_ledger_that_cannot_be_written_stops_the_line_and_loses_no_frame(url: str) -> None:
    ledger, heard = open_ledger(url, busy_timeout_s=0.5), Heard()
    recorder = Recorder(ledger, sample_start(), RecordingConfig(keep=frozenset()), heard)
    record(recorder, 3)
    wait_for(lambda: len(heard.numbers) == 3)
    blocker = sqlite_module().connect(str(ledger.url.database), isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="is locked by another program"):
        while True:
            record(recorder, 1)
    assert recorder.error is not None and heard.numbers == [1, 2, 3]
    with pytest.raises(LedgerError, match="locked"):
        recorder.close()
    blocker.close()
    ledger.dispose()
    again = open_ledger(url)
    audit = audit_ledger(again).runs[0]
    told = {event.kind: event.words for event in queries.events(again, recorder.run_id)}
    last = queries.inspection(again, recorder.run_id, audit.counter)
    again.dispose()
    assert audit.problems == [] and audit.rows == audit.counter and audit.crashed == audit.counter - 3 > 0
    assert last is not None and last.reasons[0].code == "crash", "only a disk that refused is called disk"
    assert "is locked by another program" in told["failed"]


def test_evidence_that_the_disk_refuses_makes_the_frame_uninspected(
    ledger: Engine, url: str, tmp_path: Path
) -> None:
    heard = Heard()
    recorder = Recorder(ledger, sample_start(), RecordingConfig(), heard)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (600_000, limits[1])
    )  # as a full disk: the write fails half way
    try:
        recorder.submit(sample_inspection(recorder.counter.next(), REJECT, (1000, 1000)))
        wait_for(lambda: recorder.error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said = heard.records[0].inspection.verdict
    assert said.word is VerdictWord.UNINSPECTED and [reason.code for reason in said.reasons] == [
        "disk",
        "area",
    ]
    with pytest.raises(LedgerError, match=r"Evidence cannot be written into .* free some space"):
        recorder.close()
    assert list((tmp_path / "evidence" / recorder.run_id).iterdir()) == []
    again = open_ledger(url)
    row = queries.inspection(again, recorder.run_id, 1)
    problems = audit_ledger(again).problems
    again.dispose()
    assert row is not None and (row.word, row.image_path, problems) == (VerdictWord.UNINSPECTED, None, [])


def test_a_folder_that_cannot_be_made_is_one_sentence_and_no_run(ledger: Engine, tmp_path: Path) -> None:
    (tmp_path / "evidence").write_text("in the way")
    with pytest.raises(LedgerError, match="Evidence cannot be written into"):
        Recorder(ledger, sample_start(), RecordingConfig(), Heard())
    assert queries.runs(ledger) == []


def test_a_listener_that_fails_stops_the_line_after_the_commit(ledger: Engine) -> None:
    def publish(records: tuple[Recorded, ...]) -> None:
        raise ValueError("no paper")

    recorder = Recorder(ledger, sample_start(), RecordingConfig(), publish)
    record(recorder, 1)
    wait_for(lambda: recorder.error)
    assert "ValueError: no paper" in str(recorder.error)
    assert queries.counts(ledger, recorder.run_id)["PASS"] == 1
    with pytest.raises(LedgerError):
        recorder.close()


def test_others_may_write_while_the_line_records(ledger: Engine, url: str) -> None:
    recorder = Recorder(ledger, sample_start(), RecordingConfig(), Heard())
    other = open_ledger(url)
    record(recorder, 1)
    for _ in range(20):
        record(recorder, 2)
        writes.add_request(other, recorder.run_id, "pause", "anna")
    recorder.close()
    other.dispose()
    assert recorder.error is None and len(writes.pending_requests(ledger, recorder.run_id)) == 20


KILLED = """
import sys, threading
sys.path.insert(0, sys.argv[2])
from benchmarks.ledger_samples import sample_inspection, sample_start
from inspector.config import RecordingConfig
from inspector.db.connect import open_ledger
from inspector.recorder import Recorder
def publish(records):
    for one in records:
        print(one.inspection.frame.number, one.inspection.verdict.word, flush=True)
recorder = Recorder(open_ledger(sys.argv[1]), sample_start(), RecordingConfig(), publish)
while True:
    recorder.submit(sample_inspection(recorder.counter.next()))
"""


def test_after_kill_9_every_published_verdict_and_every_number_is_there(url: str, tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    child = subprocess.Popen([sys.executable, str(script), url, root], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    lines = [child.stdout.readline() for _ in range(60)]
    os.kill(child.pid, signal.SIGKILL)
    lines += child.stdout.read().splitlines(keepends=True)
    child.stdout.close()
    child.wait()
    published = dict(line.split() for line in lines if line.endswith("\n"))
    ledger = open_ledger(url)
    run = queries.latest_run(ledger)
    assert run is not None and run.end == "crash"
    said = {str(row.number): row.word.value for row in queries.recent(ledger, run.id, 10**6)}
    audit = audit_ledger(ledger)
    ledger.dispose()
    assert len(published) >= 60 and {number: said.get(number) for number in published} == published
    assert audit.integrity == "ok" and audit.problems == []
    assert audit.runs[0].rows == audit.runs[0].counter and audit.runs[0].crashed > 0


def test_a_verdict_that_waited_for_the_disk_past_its_deadline_is_never_a_pass(ledger: Engine) -> None:
    gate, heard = threading.Event(), Heard()

    def publish(records: tuple[Recorded, ...]) -> None:
        heard(records)
        gate.wait(30)

    start = sample_start()
    start = replace(start, recipe=start.recipe.model_copy(update={"deadline_ms": 60_000.0}))
    recorder = Recorder(ledger, start, RecordingConfig(), publish)
    record(recorder, 1, PASS)
    old = sample_inspection(recorder.counter.next(), PASS)
    recorder.submit(replace(old, frame=replace(old.frame, mono_ns=old.frame.mono_ns - 61 * 10**9)))
    gate.set()
    recorder.close()
    told = [(one.inspection.verdict.word, one.inspection.verdict.reasons) for one in heard.records]
    assert told[0] == (PASS, ())
    assert told[1][0] is VerdictWord.UNINSPECTED and told[1][1][0].code == "late"
    row = queries.inspection(ledger, recorder.run_id, 2)
    assert row is not None and row.word is VerdictWord.UNINSPECTED


def test_an_event_gives_up_on_a_recorder_that_takes_nothing(ledger: Engine) -> None:
    gate, heard = threading.Event(), Heard()

    def publish(records: tuple[Recorded, ...]) -> None:
        heard(records)
        gate.wait(30)

    recorder = Recorder(ledger, sample_start(), RecordingConfig(), publish)
    record(recorder, 1)
    wait_for(lambda: heard.numbers)
    record(recorder, MOST_WAITING)  # the queue is full and nobody takes from it
    with pytest.raises(LedgerError, match="took nothing"):
        recorder.event("stopped", "told to stop", timeout_s=0.3)
    gate.set()
    recorder.close()
    assert queries.counts(ledger, recorder.run_id)["UNINSPECTED"] == 0


def test_large_frames_wait_in_small_numbers(ledger: Engine) -> None:
    """32 frames of 12 MP with their masks would be more than the whole station may take."""
    gate, heard = threading.Event(), Heard()

    def publish(records: tuple[Recorded, ...]) -> None:
        heard(records)
        gate.wait(30)

    recorder = Recorder(ledger, sample_start(), RecordingConfig(), publish, waiting=3)
    record(recorder, 1)
    wait_for(lambda: heard.numbers)
    record(recorder, 3)
    with pytest.raises(LedgerError, match="took nothing"):
        recorder.event("stopped", "told to stop", timeout_s=0.3)
    gate.set()
    recorder.close()
    assert heard.numbers == [1, 2, 3, 4]


def test_each_new_folder_of_the_evidence_survives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(evidence, "sync_folder", synced.append)
    evidence.EvidenceFolder(tmp_path / "deep" / "evidence", "RUN", tmp_path)
    assert set(synced) == {tmp_path, tmp_path / "deep", tmp_path / "deep" / "evidence"}


def test_old_evidence_that_may_not_be_deleted_is_said_once_and_the_line_goes_on(
    ledger: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when an earlier run belonged to another user."""

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(keeping, "EVICT_AT_ONCE", 2)
    recorder = Recorder(ledger, sample_start(), RecordingConfig(max_gb=1e-9), Heard())
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        for _ in range(4):
            record(recorder, 1, REJECT)
            time.sleep(0.05)
        recorder.close()
    assert recorder.error is None
    (said,) = [one for one in queries.events(ledger, recorder.run_id) if one.kind == "evidence_full"]
    assert "Permission denied" in said.words and "write access" in said.words
    rows = queries.recent(ledger, recorder.run_id, 9)
    assert sum(row.image_path is None for row in rows) <= 2, "one handful is tried, not all of it forgotten"


def test_a_mountain_of_old_evidence_does_not_keep_new_frames_waiting(
    ledger: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "EVICT_AT_ONCE", 5)
    before = Recorder(ledger, sample_start(), RecordingConfig(), Heard())
    record(before, 40, REJECT)
    before.close()
    second, left = threading.Event(), []

    def publish(records: tuple[Recorded, ...]) -> None:
        second.wait(30)
        rows = queries.recent(ledger, before.run_id, 100)
        left.append(sum(row.image_path is not None for row in rows))

    recorder = Recorder(ledger, sample_start(), RecordingConfig(max_gb=1e-9), publish)
    record(recorder, 1, PASS)
    wait_for(lambda: queries.counts(ledger, recorder.run_id)["PASS"])
    record(recorder, 1, PASS)
    second.set()
    recorder.close()
    assert left[1] == left[0] - 5, "one handful between two batches"
