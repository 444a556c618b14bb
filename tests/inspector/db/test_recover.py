import platform
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from sqlalchemy import Engine, delete, update

from benchmarks.ledger_samples import sample_inspection, sample_start
from inspector.config import RecordingConfig
from inspector.db import queries
from inspector.db.audit import audit_ledger
from inspector.db.counter import counter_path
from inspector.db.recover import missing_numbers
from inspector.db.schema import InspectionRow, RunRow
from inspector.db.transactions import writing
from inspector.recorder import Recorder
from inspector.types import VerdictWord

Opener = Callable[..., Engine]


def test_frames_without_a_verdict_get_crash_rows_and_the_run_ends(
    ledger: Engine, opened: Opener, dead_run: Callable[[int, int], str]
) -> None:
    run_id = dead_run(12, 9)
    before = queries.recent(ledger, run_id, 100)
    again = opened(str(ledger.url.database))
    rows = queries.recent(again, run_id, 100)
    assert [row.number for row in rows] == list(range(12, 0, -1))
    assert rows[3:] == before, "what was judged must not change"
    for row in rows[:3]:
        assert (row.word, row.reasons[0].code) == (VerdictWord.UNINSPECTED, "crash")
        assert (row.camera_id, row.engine, row.mm_per_px) == ("sim:", "fake", (0.1, 0.1))
    run = queries.run(again, run_id)
    assert run is not None and (run.end, run.counted) == ("crash", 12) and run.ended_at is not None
    assert [event.kind for event in queries.events(again, run_id)] == ["recovered"]
    assert audit_ledger(again).problems == []


def test_recovering_again_changes_nothing(
    ledger: Engine, opened: Opener, dead_run: Callable[[int, int], str]
) -> None:
    run_id = dead_run(5, 2)
    first = queries.recent(opened(str(ledger.url.database)), run_id, 100)
    again = opened(str(ledger.url.database))
    assert queries.recent(again, run_id, 100) == first
    assert len(queries.events(again, run_id)) == 1


def test_a_living_run_is_left_alone(ledger: Engine, opened: Opener) -> None:
    recorder = Recorder(ledger, sample_start(), RecordingConfig(), lambda records: None)
    recorder.counter.next()
    other = opened(str(ledger.url.database))
    assert queries.counts(other, recorder.run_id)["UNINSPECTED"] == 0
    assert queries.is_alive(other, recorder.run_id)
    recorder.submit(sample_inspection(1))
    recorder.close()
    run = queries.run(other, recorder.run_id)
    assert run is not None and run.end == "closed"


def test_runs_of_another_machine_are_left_alone(
    ledger: Engine, opened: Opener, dead_run: Callable[[int, int], str]
) -> None:
    """Several machines may share a server's ledger; the counters of each lie on itself."""
    run_id = dead_run(5, 2)
    counter_path(Path(str(ledger.url.database)).parent, run_id).unlink()
    with writing(ledger) as connection:
        connection.execute(update(RunRow).values(host="another machine"))
    run = queries.run(opened(str(ledger.url.database)), run_id)
    assert run is not None and run.ended_at is None


def test_a_machine_that_was_renamed_still_finds_its_dead_runs(
    ledger: Engine, opened: Opener, dead_run: Callable[[int, int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container gets a new name each time it is made; the counters beside its ledger stay."""
    run_id = dead_run(5, 2)
    monkeypatch.setattr(platform, "node", lambda: "another name")
    run = queries.run(opened(str(ledger.url.database)), run_id)
    assert run is not None and (run.end, run.counted) == ("crash", 5)


def test_without_its_counter_a_run_ends_at_its_last_row_and_says_so(
    ledger: Engine, opened: Opener, dead_run: Callable[[int, int], str]
) -> None:
    run_id = dead_run(9, 4)
    counter_path(Path(str(ledger.url.database)).parent, run_id).unlink()
    again = opened(str(ledger.url.database))
    run = queries.run(again, run_id)
    assert run is not None and run.counted == 4
    assert "counter is gone" in queries.events(again, run_id)[0].words


def test_a_picture_that_was_stored_without_its_row_is_adopted_and_torn_files_go(
    ledger: Engine, opened: Opener, dead_run: Callable[[int, int], str], tmp_path: Path
) -> None:
    run_id = dead_run(5, 2)
    evidence = tmp_path / "evidence" / run_id
    assert cv2.imwrite(str(evidence / "00000004.png"), np.full((4, 4), 9, np.uint8))
    assert cv2.imwrite(str(evidence / "00000004.mask.png"), np.zeros((4, 4), np.uint8))
    (evidence / "00000005.png.tmp").write_bytes(b"half")
    again = opened(str(ledger.url.database))
    adopted = queries.inspection(again, run_id, 4)
    assert adopted is not None and adopted.image_path == evidence / "00000004.png"
    assert not (evidence / "00000005.png.tmp").exists()
    audit = audit_ledger(again)
    assert audit.problems == [] and audit.runs[0].orphans == []


def test_evidence_that_cannot_be_read_does_not_keep_a_run_from_being_recovered(
    ledger: Engine, opened: Opener, dead_run: Callable[[int, int], str], tmp_path: Path
) -> None:
    run_id = dead_run(5, 2)
    (tmp_path / "evidence" / run_id / "00000004.png").mkdir()
    (tmp_path / "evidence" / run_id / "00000005.png.tmp").mkdir()
    again = opened(str(ledger.url.database))
    row = queries.inspection(again, run_id, 4)
    assert row is not None and row.reasons[0].code == "crash" and row.image_path is None


def test_missing_numbers_are_found_between_and_behind_the_rows(filled: tuple[Engine, str]) -> None:
    ledger, run_id = filled
    with writing(ledger) as connection:
        assert missing_numbers(connection, run_id, 10) == []
        connection.execute(delete(InspectionRow).where(InspectionRow.number.in_([1, 5, 6])))
        assert missing_numbers(connection, run_id, 12) == [1, 5, 6, 11, 12]
        assert missing_numbers(connection, run_id, 7) == [1, 5, 6]
        assert missing_numbers(connection, "another run", 2) == [1, 2]


def test_a_long_run_is_closed_without_its_numbers_in_memory(ledger: Engine, dead_run) -> None:
    run_id = dead_run(1, 1)
    columns = [
        column.name for column in InspectionRow.__table__.columns if column.name not in ("id", "number")
    ]
    names = ", ".join(columns)
    with writing(ledger) as connection:
        connection.exec_driver_sql(
            "WITH RECURSIVE n(x) AS (SELECT 2 UNION ALL SELECT x + 1 FROM n WHERE x < 60000)"
            f" INSERT INTO inspections (number, {names})"
            f" SELECT x, {names} FROM n, inspections WHERE number = 1"
        )
        connection.execute(delete(InspectionRow).where(InspectionRow.number == 500))
        tracemalloc.start()
        found = missing_numbers(connection, run_id, 60000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert found == [500]
    assert peak < 4e6, f"{peak} bytes for 60000 rows"
