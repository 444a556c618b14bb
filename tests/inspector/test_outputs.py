"""One line a verdict, whole or not at all, and only PASS lets a part through."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from inspector.errors import LedgerError
from inspector.outputs import JsonLines
from inspector.recorder import Recorded
from inspector.types import Defect, Frame, Inspection, Reason, Verdict, VerdictWord


def recorded(number: int, word: VerdictWord, *defects: Defect) -> Recorded:
    frame = Frame(number, np.zeros((2, 2), np.uint8), 5, 1_000_000, "cam", "src", "part-7")
    reasons = () if word is VerdictWord.PASS else (Reason("late", "too late"),)
    inspection = Inspection(frame, Verdict(word, reasons), defects)
    return Recorded(40 + number, "RUN", inspection, None, 3_500_000, 3_500_000)


def lines(path: Path) -> list[dict]:
    return [json.loads(text) for text in path.read_text().splitlines()]


def test_each_word_and_what_it_means_for_the_part(tmp_path: Path) -> None:
    output = JsonLines(tmp_path / "deep" / "out.jsonl")
    output.publish([recorded(n, word) for n, word in enumerate(VerdictWord, 1)])
    output.close()
    told = lines(tmp_path / "deep" / "out.jsonl")
    assert [(one["verdict"], one["pass"]) for one in told] == [
        ("PASS", True), ("REJECT", False), ("REVIEW", False), ("UNINSPECTED", False),
    ]  # fmt: skip
    assert told[3]["reasons"] == [{"code": "late", "words": "too late"}] and told[0]["reasons"] == []
    assert (told[0]["run"], told[0]["frame"], told[0]["row"]) == ("RUN", 1, 41)
    assert (told[0]["part"], told[0]["camera"], told[0]["latency_ms"]) == ("part-7", "cam", 2.5)


def test_defects_with_numpy_numbers_and_millimetres_only_where_known(tmp_path: Path) -> None:
    box = tuple(np.array([1, 2, 3, 4], np.int64))
    defect = Defect(
        1, "scratch", box, np.int64(9), np.float32(3.14159), np.float64(1), np.float32(0.5), ("rim",)
    )
    scaled = Defect(1, "scratch", (0, 0, 1, 1), 1, 1.0, 1.0, 0.5, (), 0.25, 0.5, 0.5)
    output = JsonLines(tmp_path / "out.jsonl")
    output.publish([recorded(1, VerdictWord.REJECT, defect, scaled)])
    output.close()
    first, second = lines(tmp_path / "out.jsonl")[0]["defects"]
    assert first == {
        "class": "scratch", "box": [1, 2, 3, 4], "area_px": 9, "length_px": 3.14, "width_px": 1.0,
        "confidence": 0.5, "zones": ["rim"],
    }  # fmt: skip
    assert second["area_mm2"] == 0.25 and second["length_mm"] == 0.5


@pytest.mark.parametrize("left", [b"", b'{"frame": 1}\n', b'{"frame": 1}\n{"fra', b'{"fra', b"x" * 200_000])
def test_a_half_line_that_a_power_cut_left_is_taken_off(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(left)
    output = JsonLines(path)
    output.publish([recorded(2, VerdictWord.PASS)])
    output.close()
    assert [one["frame"] for one in lines(path)] == [*([1] if b"\n" in left else []), 2]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be written"):
        JsonLines(tmp_path)
    output = JsonLines(Path("/dev/full"))
    with pytest.raises(LedgerError, match="/dev/full cannot be written"):
        output.publish([recorded(1, VerdictWord.PASS)])
    output.close()


def test_a_file_that_is_emptied_meanwhile_goes_on_at_its_new_end(tmp_path: Path) -> None:
    """Log rotation by copying and truncating: at the old place there would be a hole of NUL bytes."""
    path = tmp_path / "out.jsonl"
    output = JsonLines(path)
    output.publish([recorded(1, VerdictWord.PASS)])
    os.truncate(path, 0)
    output.publish([recorded(2, VerdictWord.PASS)])
    output.close()
    assert [one["frame"] for one in lines(path)] == [2]


def test_what_is_published_after_the_end_goes_into_no_other_file(tmp_path: Path) -> None:
    """The number of a closed file may belong to the ledger a moment later."""
    output = JsonLines(tmp_path / "out.jsonl")
    output.close()
    with (tmp_path / "ledger.db").open("wb") as other:
        with pytest.raises(LedgerError, match="cannot be written"):
            output.publish([recorded(1, VerdictWord.PASS)])
        output.close()
        assert other.tell() == (tmp_path / "ledger.db").stat().st_size == 0


def test_a_file_that_another_line_writes_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    first = JsonLines(tmp_path / "out.jsonl")
    first.publish([recorded(1, VerdictWord.PASS)])
    with pytest.raises(LedgerError, match="another line"):
        JsonLines(tmp_path / "out.jsonl")
    first.publish([recorded(2, VerdictWord.PASS)])
    first.close()
    assert [one["frame"] for one in lines(tmp_path / "out.jsonl")] == [1, 2]
    JsonLines(tmp_path / "out.jsonl").close()
