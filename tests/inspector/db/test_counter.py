import sys
from pathlib import Path

import pytest

from inspector.db.counter import FrameCounter, counter_path, is_held, read_count, read_failure
from inspector.errors import LedgerError
from inspector.types import Reason


def test_numbers_start_at_one_and_the_file_knows_them_before_the_counter_is_closed(tmp_path: Path) -> None:
    counter = FrameCounter(tmp_path / "run.counter")
    assert [counter.next() for _ in range(3)] == [1, 2, 3]
    assert read_count(counter.path) == 3 == counter.last
    counter.close()
    counter.close()
    assert counter.last == 3


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    for expected in (1, 2):
        counter = FrameCounter(tmp_path / "run.counter")
        assert counter.next() == expected
        counter.close()


def test_the_lock_is_the_sign_of_life(tmp_path: Path) -> None:
    path = counter_path(tmp_path, "01")
    assert not is_held(path)
    counter = FrameCounter(path)
    assert is_held(path)
    assert is_held(path), "a test for life must not take the lock"
    with pytest.raises(LedgerError, match="belongs to a running station"):
        FrameCounter(path)
    counter.close()
    assert not is_held(path)


def test_a_file_that_is_no_counter_has_no_count(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"something else here")
    assert read_count(tmp_path / "a") is None
    assert read_count(tmp_path / "missing") is None


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match=r"cannot be written .*name a writable folder"):
        FrameCounter(tmp_path / "file" / "run.counter")


def test_why_a_run_failed_is_left_in_the_file_and_its_count_with_it(tmp_path: Path) -> None:
    counter = FrameCounter(tmp_path / "run.counter")
    counter.next()
    assert read_failure(counter.path) is None
    counter.failed(Reason("disk", "Kein Platz für " + "ä" * 600))
    counter.next()
    counter.close()
    counter.failed(Reason("crash", "after it was closed"))
    left = read_failure(counter.path)
    assert left is not None and left.code == "disk" and left.words.startswith("Kein Platz für ää")
    assert read_count(counter.path) == 2


def test_a_failure_that_names_a_file_in_no_utf_8_is_left_all_the_same(tmp_path: Path) -> None:
    """The recorder's thread ended on such words before it had said that it failed: the line hung."""
    counter = FrameCounter(tmp_path / "run.counter")
    counter.failed(Reason("disk", "T\udce4r is full"))
    counter.close()
    assert read_failure(counter.path) == Reason("disk", "T\\udce4r is full")


def test_a_counter_of_an_earlier_version_is_read_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run.counter"
    path.write_bytes(b"FRAMES1\0" + (7).to_bytes(8, sys.byteorder))
    assert (read_count(path), read_failure(path)) == (7, None)
    counter = FrameCounter(path)
    assert counter.next() == 8
    counter.close()


def test_what_is_no_counter_says_nothing_of_a_failure(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 512)
    assert read_failure(tmp_path / "a") is None
    assert read_failure(tmp_path / "missing") is None
