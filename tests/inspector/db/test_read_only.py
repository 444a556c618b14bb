"""A ledger that this user may only read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from inspector.db.connect import open_ledger
from inspector.db.read_only import read_ledger
from inspector.db.transactions import reading, writing


def test_a_living_line_whose_log_is_empty_is_read_as_it_goes_on(
    as_nobody: Callable[[], AbstractContextManager[Path]],
) -> None:
    """Taken for unchanging, it was read from old pages while the line wrote new ones."""
    with as_nobody() as folder:
        pass
    path = folder / "ledger.db"
    line = open_ledger(str(path))
    with line.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.rollback()
    with as_nobody():
        ours = read_ledger(str(path), lambda _: None)
        with reading(ours) as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM packages").scalar() == 0
    with writing(line) as connection:
        connection.exec_driver_sql("CREATE TABLE later AS SELECT 7 AS n")
    with as_nobody(), reading(ours) as connection:
        assert connection.exec_driver_sql("SELECT n FROM later").scalar() == 7
    ours.dispose()
    line.dispose()
