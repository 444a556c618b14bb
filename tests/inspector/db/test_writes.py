import random
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.dialects import sqlite

from benchmarks.wal_cut import open_cut, record_run, run_cuts
from inspector.db import queries, writes
from inspector.db.health import HealthBeat, write_health
from inspector.db.schema import UtcTime
from inspector.db.transactions import writing
from inspector.errors import UsageError
from inspector.types import VerdictWord

Filled = tuple[Engine, str]


def test_a_flag_comes_back_as_it_was_set(filled: Filled) -> None:
    before = datetime.now(UTC)
    flag_id = writes.add_flag(*filled, 3, "anna", "false_reject", "only dust")
    (flag,) = queries.flags(*filled)
    assert (flag.id, flag.frame_number, flag.operator, flag.kind, flag.note) == (
        flag_id, 3, "anna", "false_reject", "only dust",
    )  # fmt: skip
    assert before <= flag.at <= datetime.now(UTC) and queries.flags(filled[0], "another run") == []


def test_a_flag_needs_a_known_kind_and_a_recorded_frame(filled: Filled) -> None:
    with pytest.raises(UsageError, match="no flag kind 'odd'; use one of false_reject, missed, unsure"):
        writes.add_flag(*filled, 3, "anna", "odd")
    with pytest.raises(UsageError, match="has no frame 11; it has frames 1 to 10"):
        writes.add_flag(*filled, 11, "anna", "unsure")
    assert queries.flags(*filled) == []


def test_a_request_waits_until_it_is_answered(filled: Filled) -> None:
    first = writes.add_request(*filled, "pause", "anna")
    second = writes.add_request(*filled, "stop", "anna")
    assert [(one.id, one.kind, one.by) for one in writes.pending_requests(*filled)] == [
        (first, "pause", "anna"),
        (second, "stop", "anna"),
    ]
    writes.finish_request(filled[0], first, done=True)
    writes.finish_request(filled[0], second, done=False, answer="not while a part is under the camera")
    assert writes.pending_requests(*filled) == []
    with pytest.raises(UsageError, match="no request 'explode'"):
        writes.add_request(*filled, "explode", "anna")


def test_a_beat_takes_the_place_of_the_last_one(filled: Filled) -> None:
    for fps in (29.0, 30.0):
        with writing(filled[0]) as connection:
            write_health(connection, filled[1], HealthBeat("running", 7, fps=fps, queues={"infer": 1}))
    assert queries.health(*filled) == HealthBeat("running", 7, fps=30.0, queues={"infer": 1})
    assert queries.health(filled[0], "another run") is None


def test_recent_rows_newest_first_and_by_word(filled: Filled) -> None:
    assert [row.number for row in queries.recent(*filled, 3)] == [10, 9, 8]
    rejects = queries.recent(*filled, 9, {VerdictWord.REJECT})
    assert [row.number for row in rejects] == [8, 3]
    assert rejects[0].why == "scratch area 0.16 mm², limit 0.1 mm²"
    assert queries.counts(*filled) == {"PASS": 6, "REJECT": 2, "REVIEW": 2, "UNINSPECTED": 0}
    assert queries.inspection(*filled, 99) is None and queries.run(filled[0], "x") is None


def test_events_and_gaps_come_back(filled: Filled) -> None:
    (event,) = queries.events(*filled)
    assert (event.kind, event.words, event.data) == ("pause", "paused by anna", {"by": "anna"})
    (gap,) = queries.gaps(*filled)
    assert (gap.after_number, gap.count, gap.at.tzinfo) == (4, 2, UTC)


def test_times_are_stored_in_utc_and_never_without_a_zone() -> None:
    column, dialect = UtcTime(), sqlite.dialect()
    noon = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert column.process_bind_param(noon, dialect) == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert column.process_result_value(datetime(2026, 7, 1, 10), dialect) == noon
    with pytest.raises(ValueError, match="no time zone"):
        column.process_bind_param(datetime(2026, 7, 1, 12), dialect)


def test_power_cuts_lose_nothing_that_was_published(tmp_path: Path) -> None:
    found = run_cuts(tmp_path, frames=120, cuts=10, seed=3)
    assert found.problems == []
    assert found.generations > 1 and found.page_cuts > 0 and found.must_have > 0


def test_the_cut_check_can_fail(tmp_path: Path) -> None:
    watch = record_run(tmp_path, 10, random.Random(1))
    last = watch.generations[-1]
    problems = open_cut(
        tmp_path, tmp_path / "cut", last.database, last.wal[: len(last.wal) // 2], set(range(1, 11))
    )
    assert any("published frames are gone" in problem for problem in problems)
