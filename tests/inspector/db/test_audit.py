import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
from sqlalchemy import Connection, Engine, delete, update

from benchmarks.ledger_samples import sample_inspection, sample_start
from inspector.cli.main import inspector
from inspector.config import RecordingConfig
from inspector.db import audit, queries
from inspector.db.audit import RunAudit, audit_ledger
from inspector.db.counter import FrameCounter, counter_path
from inspector.db.schema import DefectRow, GapRow, InspectionRow
from inspector.db.simlog import SimLog, read_sim_log
from inspector.db.transactions import writing
from inspector.errors import LedgerError, UsageError
from inspector.recorder import Recorder

Filled = tuple[Engine, str]


def audit_one(ledger: Engine, sim_log: SimLog | None = None) -> RunAudit:
    return audit_ledger(ledger, None, sim_log).runs[0]


def evidence_of(filled: Filled) -> list[Path]:
    rows = queries.recent(*filled, 100)
    return [row.image_path for row in rows if row.image_path is not None]


def sim_lines(filled: Filled, lost: int = 2) -> list[dict[str, object]]:
    """The log of a simulator that emitted just what the run recorded."""
    lines: list[dict[str, object]] = []
    for row in reversed(queries.recent(*filled, 100)):
        if row.number == 5:
            lines += [{"seq": len(lines) + 1 + k, "event": "lost", "utc_ns": 1} for k in range(lost)]
        lines.append({"seq": len(lines) + 1, "event": "emitted", "utc_ns": row.grab_utc_ns})
    return lines


def write_log(path: Path, lines: list[dict[str, object]]) -> SimLog:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_sim_log(path)


def test_a_closed_run_balances(filled: Filled) -> None:
    audit = audit_one(filled[0])
    assert (audit.problems, audit.orphans, audit.missing) == ([], [], [])
    assert (audit.counter, audit.rows, audit.gaps, audit.files) == (10, 10, 2, 8)
    assert audit.verdicts == {"PASS": 6, "REJECT": 2, "REVIEW": 2}


def test_a_row_that_is_gone_is_found(filled: Filled) -> None:
    with writing(filled[0]) as connection:
        connection.execute(delete(InspectionRow).where(InspectionRow.number == 6))
    audit = audit_one(filled[0])
    assert audit.missing == [6] and audit.problems == ["1 of 10 frames without a row (6)"]


def test_a_row_for_a_frame_that_was_never_counted_is_found(filled: Filled) -> None:
    with writing(filled[0]) as connection:
        connection.execute(update(InspectionRow).where(InspectionRow.number == 10).values(number=77))
    assert "never counted (77)" in " ".join(audit_one(filled[0]).problems)


def test_a_counter_beyond_the_end_of_the_run_is_found(filled: Filled) -> None:
    counter = FrameCounter(counter_path(Path(str(filled[0].url.database)).parent, filled[1]))
    counter.next()
    counter.close()
    assert audit_one(filled[0]).problems == ["the frame counter says 11, the ledger closed at 10"]


def test_a_picture_that_is_gone_is_found(filled: Filled) -> None:
    gone = evidence_of(filled)[0]
    gone.unlink()
    audit = audit_one(filled[0])
    assert audit.missing_files == [str(gone)] and "1 file gone" in audit.problems[0]


def test_a_picture_that_was_changed_is_found(filled: Filled) -> None:
    changed = evidence_of(filled)[0]
    data = bytearray(changed.read_bytes())
    data[-20] ^= 1
    changed.write_bytes(data)
    audit = audit_one(filled[0])
    assert audit.changed_files == [str(changed)] and "1 file changed" in audit.problems[0]


def test_a_picture_that_cannot_be_read_is_one_sentence(filled: Filled) -> None:
    unreadable = evidence_of(filled)[0]
    unreadable.unlink()
    unreadable.mkdir()
    with pytest.raises(LedgerError, match=r"\d+\.png cannot be read .*; check its rights"):
        audit_one(filled[0])


def test_a_picture_that_is_evicted_while_it_is_looked_at_is_no_problem(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    evicted, real = evidence_of(filled)[0], Path.open

    def read(path: Path, *given: Any, **named: Any) -> IO[Any]:
        if path == evicted and path.exists():  # the living line deletes just now
            row = update(InspectionRow).where(InspectionRow.image_path.like(f"%{evicted.name}"))
            with writing(filled[0]) as connection:
                connection.execute(row.values(image_path=None, mask_path=None))
            path.unlink()
        return real(path, *given, **named)

    monkeypatch.setattr(Path, "open", read)
    audit = audit_one(filled[0])
    assert not evicted.exists() and (audit.missing_files, audit.problems) == ([], [])


def test_a_picture_without_a_row_is_listed_and_no_fault(filled: Filled) -> None:
    orphan = evidence_of(filled)[0].with_name("00000099.png")
    orphan.write_bytes(b"left over")
    audit = audit_one(filled[0])
    assert (audit.orphans, audit.problems) == ([str(orphan)], [])


def test_a_row_without_its_run_is_found_by_the_integrity_check(filled: Filled) -> None:
    with filled[0].connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.execute(delete(InspectionRow).where(InspectionRow.number == 3))
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        connection.exec_driver_sql("BEGIN")
        assert connection.execute(DefectRow.__table__.select()).first() is not None
    assert "of defects names a missing row of inspections" in audit_ledger(filled[0]).integrity


def test_the_simulators_own_account_agrees(filled: Filled, tmp_path: Path) -> None:
    audit = audit_one(filled[0], write_log(tmp_path / "sim.jsonl", sim_lines(filled)))
    assert audit.problems == [] and audit.sim == {"emitted": 10, "grabbed": 10, "lost": 2}


def test_one_frame_may_be_emitted_and_not_grabbed_but_not_two(filled: Filled, tmp_path: Path) -> None:
    lines = sim_lines(filled)
    one_more = [*lines, {"seq": 13, "event": "emitted", "utc_ns": 1}]
    assert audit_one(filled[0], write_log(tmp_path / "a", one_more)).problems == []
    two_more = [*one_more, {"seq": 14, "event": "emitted", "utc_ns": 2}]
    assert "emitted 12 frames, counted: 10" in audit_one(
        filled[0], write_log(tmp_path / "b", two_more)
    ).problems[0]  # fmt: skip
    assert "emitted 9 frames" in audit_one(filled[0], write_log(tmp_path / "c", lines[:-1])).problems[0]


def test_a_ledger_that_tells_of_other_frames_is_found(filled: Filled, tmp_path: Path) -> None:
    lines = sim_lines(filled)
    lines[2] = {**lines[2], "utc_ns": 5}
    problems = audit_one(filled[0], write_log(tmp_path / "sim.jsonl", lines)).problems
    assert problems == ["rows tell of other frames than the simulator emitted (3)"]


def test_a_gap_that_the_ledger_keeps_silent_about_is_found(filled: Filled, tmp_path: Path) -> None:
    log = write_log(tmp_path / "sim.jsonl", sim_lines(filled))
    with writing(filled[0]) as connection:
        connection.execute(delete(GapRow))
    assert audit_one(filled[0], log).problems == ["gaps differ from what the simulator lost, before frames 5"]


def test_a_log_goes_on_over_runs_and_its_last_line_may_be_torn(tmp_path: Path) -> None:
    line = '{{"seq": {}, "event": "emitted", "utc_ns": {}}}\n'
    lines = line.format(1, 1) + line.format(2, 2) + line.format(1, 3) + '{"se'
    (tmp_path / "log").write_text(lines)
    assert read_sim_log(tmp_path / "log") == SimLog((3,), (0,))
    (tmp_path / "log").write_text("{}\n" + lines)
    with pytest.raises(UsageError, match=r"Line 1 of .* is no line of a simulator's log"):
        read_sim_log(tmp_path / "log")
    with pytest.raises(UsageError, match="cannot be read"):
        read_sim_log(tmp_path / "missing")
    (tmp_path / "log").write_bytes(b"\x89PNG\xff\n\xfe")
    with pytest.raises(UsageError, match="Line 1 of"):
        read_sim_log(tmp_path / "log")


def command(*words: str) -> int:
    result = inspector.main(["audit", *words], standalone_mode=False)
    assert isinstance(result, int)
    return result


def test_the_command_says_what_balances(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{filled[0].url.database}"
    assert command("--db", url, "--json") == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["balances"] and summary["total"]["rows"] == summary["total"]["counter"] == 10
    assert command("--db", url) == 0
    assert capsys.readouterr().out.endswith("The ledger balances.\n")
    evidence_of(filled)[0].unlink()
    assert command("--db", url) == 1
    out = capsys.readouterr().out
    assert "PROBLEM  run" in out and out.endswith("The ledger does not balance.\n")


def test_the_command_recovers_a_dead_run_first(
    ledger: Engine, dead_run: Callable[[int, int], str], capsys: pytest.CaptureFixture[str]
) -> None:
    dead_run(8, 5)
    assert command("--db", str(ledger.url.database), "--json") == 0
    total = json.loads(capsys.readouterr().out)["total"]
    assert (total["counter"], total["rows"], total["crashed"]) == (8, 8, 3)


def test_the_command_refuses_a_run_that_is_not_there(filled: Filled) -> None:
    with pytest.raises(UsageError, match="There is no run 7"):
        command("--db", str(filled[0].url.database), "--run", "7")


def test_a_living_run_that_lost_a_frame_long_ago_does_not_balance(ledger: Engine) -> None:
    recorder = Recorder(ledger, sample_start(), RecordingConfig(), lambda records: None)
    for number in (recorder.counter.next() for _ in range(6)):
        if number not in (2, 6):
            recorder.submit(sample_inspection(number))
    while sum(queries.counts(ledger, recorder.run_id).values()) < 4:
        time.sleep(0.01)
    fresh = audit_one(ledger)
    assert (fresh.missing, fresh.under_way, fresh.problems) == ([], 2, [])
    with writing(ledger) as connection:
        connection.execute(update(InspectionRow).values(committed_utc_ns=1))
    late = audit_one(ledger)
    recorder.close()
    assert (late.missing, late.under_way) == ([2], 1) and "1 of 6 frames without a row" in late.problems[0]


def test_a_line_that_ends_while_it_is_audited_is_no_dead_one(
    ledger: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(ledger, sample_start(), RecordingConfig(), lambda records: None)
    recorder.submit(sample_inspection(recorder.counter.next()))
    while not queries.counts(ledger, recorder.run_id)["PASS"]:
        time.sleep(0.01)
    real = audit._integrity

    def slow(connection: Connection) -> str:
        found = real(connection)  # the moment that the audit sees begins here
        recorder.close()
        return found

    monkeypatch.setattr(audit, "_integrity", slow)
    assert audit_one(ledger).problems == []


def test_a_dead_run_whose_counter_is_gone_does_not_balance(
    ledger: Engine, dead_run: Callable[[int, int], str], capsys: pytest.CaptureFixture[str]
) -> None:
    counter_path(Path(str(ledger.url.database)).parent, dead_run(8, 5)).unlink()
    assert command("--db", str(ledger.url.database)) == 1
    assert "frame counter was gone" in capsys.readouterr().out
