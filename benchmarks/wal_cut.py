"""Power cuts on copies of a ledger: what was published before the cut is there, and it opens clean.

    python -m benchmarks.wal_cut

A recorder writes a run while a reader beside the writer copies database and WAL after each
commit and notes, with its own reading of the WAL format, up to which byte of which WAL
generation each published frame reaches. A cut then is either

    wal    the database as it was when that WAL generation began, and the WAL up to a random
           byte, followed by nothing, zeros, noise, or what the file held before;
    page   a torn checkpoint: each database page old or new by chance, and the whole WAL,
           which SQLite has synced before it copies a page.

Source of the WAL format: sqlite.org/fileformat2.html, section 4.
"""

from __future__ import annotations

import random
import shutil
import struct
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import event, select

from benchmarks.ledger_samples import sample_inspection, sample_start
from benchmarks.rows import append_row, verdict
from inspector.config import RecordingConfig
from inspector.db.audit import audit_ledger
from inspector.db.connect import open_ledger
from inspector.db.schema import InspectionRow
from inspector.db.transactions import reading
from inspector.recorder import Recorded, Recorder
from inspector.types import Fault

WAL_HEADER, FRAME_HEADER = 32, 24


@dataclass
class Generation:
    """One life of the WAL, from its first frame to the checkpoint that starts it over."""

    database: bytes
    """The database file when this generation began: all earlier generations are in it."""
    before: bytes
    """What the WAL file held before, which a cut may leave behind the new frames."""
    wal: bytes = b""
    reach: dict[int, int] = field(default_factory=dict)
    """Frame number -> the WAL byte behind its COMMIT."""


@dataclass
class Watch:
    """Called by the recorder after each COMMIT, in the thread that would write next."""

    ledger: Path
    generations: list[Generation] = field(default_factory=list)
    salts: bytes = b""
    published: int = 0

    def __call__(self, records: tuple[Recorded, ...]) -> None:
        wal = Path(f"{self.ledger}-wal").read_bytes()
        if not self.generations or wal[16:24] != self.salts:
            before = self.generations[-1].wal if self.generations else b""
            self.generations.append(Generation(self.ledger.read_bytes(), before))
            self.salts = wal[16:24]
        end = last_commit(wal)
        generation = self.generations[-1]
        generation.wal = wal[:end]
        generation.reach.update({record.inspection.frame.number: end for record in records})
        self.published += len(records)


def last_commit(wal: bytes) -> int:
    """The byte behind the last commit frame of the WAL's present generation."""
    page = struct.unpack(">I", wal[8:12])[0]
    end, at = WAL_HEADER, WAL_HEADER
    while at + FRAME_HEADER + page <= len(wal) and wal[at + 8 : at + 16] == wal[16:24]:
        at += FRAME_HEADER + page
        if wal[at - page - FRAME_HEADER + 4 : at - page - FRAME_HEADER + 8] != b"\0\0\0\0":
            end = at  # the size of the database after the commit: set in commit frames only
    return end


def record_run(folder: Path, frames: int, rng: random.Random) -> Watch:
    """Record a run in `folder` and leave it as a kill would; returns what was seen."""
    ledger = folder / "ledger.db"
    engine = open_ledger(f"sqlite:///{ledger}")
    engine.dispose()  # the next connections get the listener
    event.listen(engine, "connect", _checkpoint_often)
    watch = Watch(ledger)
    idle = threading.Event()
    recorder = Recorder(engine, sample_start(), RecordingConfig(), watch)
    for submitted in range(1, frames + 1):
        recorder.submit(sample_inspection(recorder.counter.next(), size=(8, 8)))
        alone = rng.random() < 0.7  # most commits take one frame, some take several
        while (alone or submitted == frames) and watch.published < submitted and recorder.error is None:
            idle.wait(0.002)
    if recorder.error is not None:
        raise recorder.error
    shutil.copytree(folder / "counters", folder / "at_kill" / "counters")
    recorder.close()
    engine.dispose()
    return watch


def _checkpoint_often(connection: Any, _record: object) -> None:
    """A checkpoint each 100 pages in place of 1000: more beginnings and ends of a WAL to cut at."""
    connection.execute("PRAGMA wal_autocheckpoint=100")


def cut_wal(generation: Generation, rng: random.Random) -> tuple[bytes, bytes, int]:
    """Database, WAL and the byte up to which that WAL is whole."""
    offset = rng.randrange(len(generation.wal) + 1)
    rest = len(generation.wal) - offset
    tail = rng.choice([b"", bytes(rest), rng.randbytes(rest), generation.before[offset:]])
    return generation.database, generation.wal[:offset] + tail, offset


def cut_checkpoint(generation: Generation, after: bytes, rng: random.Random) -> tuple[bytes, bytes, int]:
    """The same for a checkpoint of this generation that tore; after: the database behind it."""
    old, page = generation.database, struct.unpack(">H", after[16:18])[0]
    torn = bytearray()
    for at in range(0, len(after), page):
        torn += (old if at < len(old) and rng.random() < 0.5 else after)[at : at + page]
    keep = rng.randrange(len(old), len(after) + 1)  # growth that was not synced may be missing
    return bytes(torn[:keep]), generation.wal, len(generation.wal)


def open_cut(source: Path, target: Path, database: bytes, wal: bytes, must_have: set[int]) -> list[str]:
    """Open the cut copy as the program does; returns what is wrong with it."""
    target.mkdir()
    (target / "ledger.db").write_bytes(database)
    (target / "ledger.db-wal").write_bytes(wal)
    shutil.copytree(source / "at_kill" / "counters", target / "counters")
    (target / "evidence").symlink_to(source / "evidence")
    engine = open_ledger(f"sqlite:///{target / 'ledger.db'}")
    try:
        problems = [text for text in audit_ledger(engine).problems]
        judged = select(InspectionRow.number).where(
            InspectionRow.reason_code.is_distinct_from(Fault.CRASH.value)
        )
        with reading(engine) as connection:
            missing = must_have - set(connection.scalars(judged))
    finally:
        engine.dispose()
    if missing:
        problems.append(f"{len(missing)} published frames are gone: {sorted(missing)[:5]}")
    return problems


@dataclass(frozen=True)
class Cuts:
    """What a series of cuts found."""

    frames: int
    generations: int
    wal_cuts: int
    page_cuts: int
    must_have: int
    """Published rows that had to be there, over all cuts."""
    problems: list[str]


def run_cuts(folder: Path, frames: int, cuts: int, seed: int) -> Cuts:
    """Record `frames`, cut `cuts` times (a fifth of them inside a checkpoint) and open each copy."""
    rng = random.Random(seed)
    watch = record_run(folder, frames, rng)
    generations = watch.generations
    problems, page_cuts, must_total = [], 0, 0
    for number in range(cuts):
        index = rng.randrange(len(generations))
        generation = generations[index]
        if number % 5 == 4 and len(generations) > 1:
            index = min(index, len(generations) - 2)
            generation = generations[index]
            database, wal, reach = cut_checkpoint(generation, generations[index + 1].database, rng)
            page_cuts += 1
        else:
            database, wal, reach = cut_wal(generation, rng)
        must_have = {n for earlier in generations[:index] for n in earlier.reach}
        must_have |= {n for n, end in generation.reach.items() if end <= reach}
        must_total += len(must_have)
        found = open_cut(folder, folder / f"cut{number}", database, wal, must_have)
        problems += [f"cut {number} at byte {reach} of generation {index}: {text}" for text in found]
        shutil.rmtree(folder / f"cut{number}")
    return Cuts(frames, len(generations), cuts - page_cuts, page_cuts, must_total, problems)


def main() -> int:
    """Print the figures beside the bar: every cut opens clean with what was published before it."""
    frames, cuts, seed = 400, 50, 7
    with tempfile.TemporaryDirectory() as folder:
        found = run_cuts(Path(folder), frames, cuts, seed)
    for problem in found.problems:
        print(problem)
    holds = not found.problems and found.generations > 1 and found.must_have > 0
    print(
        f"{found.frames} frames recorded over {found.generations} WAL generations;"
        f" {found.wal_cuts} cuts of the WAL and {found.page_cuts} of a checkpoint;"
        f" {found.must_have} published rows had to be there, {len(found.problems)} problems."
        f" Bar: 0 problems in {cuts} cuts: {verdict(holds)}"
    )
    row = {
        "frames": found.frames, "generations": found.generations, "wal_cuts": found.wal_cuts,
        "page_cuts": found.page_cuts, "published_rows_checked": found.must_have,
        "problems": len(found.problems), "seed": seed, "holds": holds,
    }  # fmt: skip
    append_row("wal_cut", row)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
