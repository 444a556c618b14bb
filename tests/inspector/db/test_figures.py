import csv
import json
from pathlib import Path

import pytest
from sqlalchemy import Engine, update

from inspector.cli.main import inspector
from inspector.db import writes
from inspector.db.figures import CSV_COLUMNS, figures, wilson
from inspector.db.schema import InspectionRow
from inspector.db.transactions import writing
from inspector.errors import UsageError
from inspector.types import VerdictWord

Filled = tuple[Engine, str]


@pytest.mark.parametrize(
    ("n", "total", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (1, 100, 0.0018, 0.0545)],
)
def test_wilson_intervals_as_published(n: int, total: int, low: float, high: float) -> None:
    share = wilson(n, total)
    assert (share.low, share.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert share.share == n / total


def test_the_bounds_of_none_and_of_all_are_exact() -> None:
    assert {wilson(0, total).low for total in range(1, 200)} == {0.0}
    assert {wilson(total, total).high for total in range(1, 200)} == {1.0}


def test_nothing_has_no_share() -> None:
    assert wilson(0, 0).share is None


def test_the_figures_of_a_run(filled: Filled) -> None:
    writes.add_flag(*filled, 3, "anna", "unsure")
    found = figures(*filled)
    assert found == figures(filled[0])
    assert (found.frames, found.gaps, found.flags) == (10, 2, {"unsure": 1})
    assert {word: share.n for word, share in found.verdicts.items()} == {
        "PASS": 6, "REJECT": 2, "REVIEW": 2, "UNINSPECTED": 0,
    }  # fmt: skip
    assert (found.reasons, found.reason_classes) == ({"area": 4}, {"area": {"scratch": 4}})
    assert found.defects == {"scratch": {"defects": 4, "frames": 4}}
    p50, p95, p99, longest = (found.latency_ms[name] or 0.0 for name in ("p50", "p95", "p99", "max"))
    assert 0 < p50 <= p95 <= p99 <= longest


def test_every_reason_of_a_frame_counts_as_in_the_summary_of_its_run(filled: Filled) -> None:
    """The report counted the first reason alone, the run's summary all of them: two figures for one thing."""
    reasons = [["area", "scratch area 3 px, limit 2 px"], ["unlisted", "pit found (2), no rule allows it"]]
    with writing(filled[0]) as connection:
        connection.execute(update(InspectionRow).where(InspectionRow.number == 3).values(reasons=reasons))
    found = figures(*filled)
    assert found.reasons == {"area": 4, "unlisted": 1}
    assert found.reason_classes == {"area": {"scratch": 4}, "unlisted": {"pit": 1}}
    assert found.reason_words["unlisted"] == "pit found, no rule allows it"


def test_latency_is_of_inspected_frames_as_in_the_summary_of_a_run(filled: Filled) -> None:
    """Frames that were never computed are refused at once, and would make a slow line look quick."""
    before = figures(*filled).latency_ms
    with writing(filled[0]) as connection:
        refused = update(InspectionRow).where(InspectionRow.number > 5)
        connection.execute(
            refused.values(
                verdict=VerdictWord.UNINSPECTED, grab_mono_ns=InspectionRow.committed_mono_ns - 9 * 10**12
            )
        )
    after = figures(*filled).latency_ms
    assert before["max"] is not None and after["max"] is not None and after["max"] <= before["max"]


def test_an_empty_ledger_has_figures_too(ledger: Engine) -> None:
    found = figures(ledger)
    assert found.frames == 0 and found.latency_ms == {"p50": None, "p95": None, "p99": None, "max": None}


def command(*words: str) -> int:
    result = inspector.main(["report", *words], standalone_mode=False)
    assert isinstance(result, int)
    return result


def test_the_command_as_text(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--db", str(filled[0].url.database)) == 0
    out = capsys.readouterr().out
    for words in (
        "sample 1",
        "fake 1, f32",
        "10 frames",
        "60.00%  (95 %: 31.27% to 83.18%)",
        "scratch",
        "area            4: scratch 4 (scratch area 0.16 mm², limit 0.1 mm²)",
        "p99",
    ):
        assert words in out


def test_the_command_as_json(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--db", str(filled[0].url.database), "--run", "latest", "--json") == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["runs"][0]["id"] == filled[1] and summary["verdicts"]["REJECT"]["n"] == 2


def test_the_csv_has_one_line_a_frame(filled: Filled, tmp_path: Path) -> None:
    path = tmp_path / "frames.csv"
    assert command("--db", str(filled[0].url.database), "--csv", str(path)) == 0
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == CSV_COLUMNS and [int(line["number"]) for line in lines] == list(range(1, 11))
    assert [line["reason_classes"] for line in lines[:3]] == ["", "", "scratch"]
    assert lines[2]["verdict"] == "REJECT" and lines[2]["words"] == "scratch area 0.16 mm², limit 0.1 mm²"
    assert Path(lines[2]["image"]).exists() and lines[0]["image"] == ""
    assert not list(tmp_path.glob("*.tmp"))


def test_bad_paths_and_ids_are_usage_errors(filled: Filled, tmp_path: Path) -> None:
    url = str(filled[0].url.database)
    with pytest.raises(UsageError, match="cannot be written"):
        command("--db", url, "--csv", str(tmp_path / "missing" / "frames.csv"))
    with pytest.raises(UsageError, match="There is no run 7"):
        command("--db", url, "--run", "7")
    with pytest.raises(UsageError, match="There is no ledger"):
        command("--db", str(tmp_path / "other.db"))
