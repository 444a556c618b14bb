"""Two processes that start at once share the cache: neither spoils or replaces what the other one wrote."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from inspector.engine.cache import LOCK, only_writer, write_whole
from inspector.package import ModelPackage

FIRST_START = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from inspector.engine import certificate
from inspector.engine.openvino import CompileOptions, OpenVinoEngine
from inspector.package import load_package

package, second = load_package(Path(sys.argv[1])), int(sys.argv[2])
looked = []


def look(path, read=certificate._read):
    found = read(path)
    looked.append(found)
    if len(looked) == 1:
        print("none" if found is None else "one", flush=True)
        sys.stdin.readline()
    return found


certificate._read = look
certificate.datetime = SimpleNamespace(now=lambda zone: datetime(2026, 11, 23, 12, 0, second, tzinfo=zone))
engine = OpenVinoEngine(package, (60, 60), CompileOptions("f32"))
print(certificate.certify(engine, package).id(), flush=True)
"""
"""A first start that waits for a line of stdin once it has seen whether there is a certificate."""


def first_start(package: ModelPackage, second: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", FIRST_START, str(package.path), str(second)]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_of_two_first_starts_at_once_both_serve_with_the_first_certificate(
    tiny_package: ModelPackage, fresh_cache: Path
) -> None:
    """The second one replaced it, and rows named a certificate that was nowhere."""
    with first_start(tiny_package, 1) as one, first_start(tiny_package, 2) as other:
        for process in (one, other):
            assert process.stdout is not None and process.stdout.readline() == "none\n"
        said = [process.communicate("\n")[0].strip() for process in (one, other)]
    (path,) = fresh_cache.glob("certificates/*/*.json")
    kept = json.loads(path.read_text())
    assert kept["made_utc"].endswith("12:00:01+00:00")
    assert said == [kept["id"]] * 2


def test_two_writers_of_one_number_get_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in two containers that share the cache; here two threads, both with the number of their process."""
    path, together, failed = tmp_path / "it.model", threading.Barrier(2, timeout=20), []
    waited, fsync = threading.local(), os.fsync

    def both_have_written(descriptor: int) -> None:
        if not hasattr(waited, "once"):
            waited.once = together.wait()
        fsync(descriptor)

    def write(byte: bytes) -> None:
        try:
            write_whole(path, byte * 100_000)
        except Exception as error:
            failed.append(error)

    monkeypatch.setattr(os, "fsync", both_have_written)
    threads = [threading.Thread(target=write, args=(byte,)) for byte in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert path.read_bytes() in (b"a" * 100_000, b"b" * 100_000)
    assert list(tmp_path.iterdir()) == [path]


def test_the_lock_is_held_in_the_block_and_left_after_it(tmp_path: Path) -> None:
    folder = tmp_path / "made"

    def free() -> bool:
        with (folder / LOCK).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    with only_writer(folder):
        assert not free()
    assert free()


@pytest.mark.parametrize(("code", "goes_on"), [(errno.ENOLCK, True), (errno.EIO, False)])
def test_where_the_file_system_has_no_locks_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, goes_on: bool
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    entered = False
    try:
        with only_writer(tmp_path):
            entered = True
    except OSError as error:
        assert error.errno == code
    assert entered == goes_on
