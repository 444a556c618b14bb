import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.schema import CreateTable

from inspector.db.connect import ledger_folder, open_ledger, require_safe_sqlite, sqlite_module
from inspector.db.migrations import upgrade
from inspector.db.schema import Ledger
from inspector.db.transactions import reading, writing
from inspector.errors import DiskRefused, LedgerError, UsageError


def test_each_connection_has_the_pragmas_of_promise_5(ledger: Engine) -> None:
    with reading(ledger) as connection:
        values = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert values == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


def test_a_write_goes_into_the_wal_file(ledger: Engine, tmp_path: Path) -> None:
    before = (tmp_path / "ledger.db-wal").stat().st_size if (tmp_path / "ledger.db-wal").exists() else 0
    with writing(ledger) as connection:
        connection.execute(text("CREATE TABLE more (n INTEGER)"))
    assert (tmp_path / "ledger.db-wal").stat().st_size > before


@pytest.mark.parametrize("version", [(3, 40, 1), (3, 51, 1), (3, 51, 2)])
def test_an_sqlite_with_the_wal_reset_race_is_refused_with_the_remedy(version: tuple[int, int, int]) -> None:
    with pytest.raises(LedgerError, match=r"pip install 'pysqlite3>=0.6.1'"):
        require_safe_sqlite(version)


def test_the_sqlite_in_use_is_newer_than_the_race() -> None:
    require_safe_sqlite((3, 51, 3))
    assert sqlite_module().sqlite_version_info > (3, 51, 2)


def test_without_a_safe_sqlite_nothing_opens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sqlite_module(), "sqlite_version_info", (3, 51, 2))
    with pytest.raises(LedgerError, match=r"SQLite 3\.51\.2"):
        open_ledger(str(tmp_path / "ledger.db"))
    assert not (tmp_path / "ledger.db").exists()


def test_the_migrations_make_exactly_the_tables_of_the_schema(ledger: Engine) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    with reading(ledger) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Ledger.metadata) == []
        assert upgrade.current_version(connection) == upgrade.HEAD
    script = ScriptDirectory.from_config(upgrade.alembic_config())
    assert script.get_current_head() == upgrade.HEAD
    assert {version.revision for version in script.walk_revisions()} == set(upgrade.KNOWN)


@pytest.mark.parametrize("dialect", [postgresql.dialect(), mysql.dialect()])
def test_the_tables_can_be_made_on_servers_too(dialect: postgresql.dialect) -> None:
    for table in Ledger.metadata.sorted_tables:
        assert table.name in str(CreateTable(table).compile(dialect=dialect))


def test_programs_that_start_at_once_make_one_ledger(tmp_path: Path, opened: Callable[..., Engine]) -> None:
    url, failures = f"sqlite:///{tmp_path / 'ledger.db'}", []

    def start() -> None:
        try:
            opened(url)
        except LedgerError as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with reading(opened(url)) as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1


def test_a_ledger_of_a_newer_program_is_left_alone(ledger: Engine, tmp_path: Path) -> None:
    with writing(ledger) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LedgerError, match="version 9999, newer than this program's"):
        open_ledger(str(tmp_path / "ledger.db"))


def test_looking_makes_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no ledger at"):
        open_ledger(str(tmp_path / "typo" / "ledger.db"), create=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="There is no ledger at"):
        open_ledger("x" * 5000, create=False)


def test_another_file_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text(
        "a letter to somebody, quite long, and certainly not a database\n" * 20
    )
    with pytest.raises(LedgerError, match="is not an SQLite database; name another file"):
        open_ledger(str(tmp_path / "ledger.db"))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://", "in memory would forget"),
        ("://", "is no database URL"),
        ("sqlite:/ledger.db", "is no database URL; write it like sqlite:///ledger.db"),
        ("sqlite:ledger.db", "is no database URL; write it like sqlite:///ledger.db"),
        ("postgresql:/host/x", "is no database URL"),
        ("nosuchbase://host/x", "No driver for nosuchbase"),
    ],
)
def test_an_address_that_means_nothing_is_a_usage_error(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        open_ledger(url)


def test_a_read_only_folder_is_one_sentence(
    as_nobody: Callable[[], AbstractContextManager[Path]],
) -> None:
    sentence = r"cannot be (opened|written).*; (check|give)"
    with as_nobody() as folder, pytest.raises(LedgerError, match=sentence):
        open_ledger(f"sqlite:///{folder / 'ledger.db'}")
    assert list(folder.iterdir()) == []


def test_a_read_only_file_is_one_sentence(
    as_nobody: Callable[[], AbstractContextManager[Path]],
) -> None:
    with as_nobody() as folder:
        pass
    path = folder / "ledger.db"
    open_ledger(str(path)).dispose()
    path.chmod(0o444)
    with as_nobody(), pytest.raises(DiskRefused, match=r"cannot be written.*; give this user write access"):
        engine = open_ledger(str(path))
        with writing(engine):
            pass


def test_a_full_ledger_says_so_and_keeps_what_it_had(ledger: Engine) -> None:
    ledger.dispose()
    event.listen(ledger, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count=1"))
    sentence = "cannot grow because the disk is full; free some space"
    with pytest.raises(LedgerError, match=sentence), writing(ledger) as connection:
        connection.execute(text("CREATE TABLE filler (t TEXT)"))
        connection.execute(text("INSERT INTO filler VALUES (hex(zeroblob(100000)))"))
    with reading(ledger) as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"


def test_a_lock_that_stays_is_one_sentence(opened: Callable[..., Engine], tmp_path: Path) -> None:
    engine = opened(str(tmp_path / "ledger.db"), busy_timeout_s=0.05)
    other = sqlite_module().connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(LedgerError, match="is locked by another program"), writing(engine):
            pass
    finally:
        other.close()
    with writing(engine):
        pass


def test_a_reader_sees_one_moment_and_a_writer_never_meets_a_stale_snapshot(ledger: Engine) -> None:
    count = text("SELECT count(*) FROM recipes")
    add = text("INSERT INTO recipes VALUES (:hash, 'r', 't', '2026-01-01 00:00:00.000000')")
    with reading(ledger) as reader:
        assert reader.execute(count).scalar() == 0
        with writing(ledger) as writer:
            writer.execute(add, {"hash": "a"})
        assert reader.execute(count).scalar() == 0
    with reading(ledger) as reader:
        assert reader.execute(count).scalar() == 1


def test_rolled_back_when_the_block_fails(ledger: Engine) -> None:
    with pytest.raises(ZeroDivisionError), writing(ledger) as connection:
        connection.execute(text("INSERT INTO recipes VALUES ('a', 'r', 't', '2026-01-01 00:00:00.000000')"))
        raise ZeroDivisionError
    with reading(ledger) as connection:
        assert connection.execute(text("SELECT count(*) FROM recipes")).scalar() == 0


def test_the_folder_of_a_ledger_lies_beside_its_file(tmp_path: Path) -> None:
    assert ledger_folder(f"sqlite:///{tmp_path}/a/ledger.db") == tmp_path / "a"
    assert ledger_folder("postgresql://host/db").is_relative_to(Path.home())


def test_rows_must_belong_to_a_run(ledger: Engine) -> None:
    with pytest.raises(LedgerError, match="FOREIGN KEY"), writing(ledger) as connection:
        connection.execute(
            text("INSERT INTO events (run_id, at, kind, words, data) VALUES ('x', '2026', 'k', 'w', '{}')")
        )


def test_the_plain_sqlite_of_python_is_not_what_we_use() -> None:
    if sqlite3.sqlite_version_info <= (3, 51, 2):
        assert sqlite_module() is not sqlite3
    assert create_engine("sqlite://", module=sqlite_module()).dialect.name == "sqlite"
