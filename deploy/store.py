"""Writing plans and their records: one compilation at a time, and each engine whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inspector.engine.cache import cache_folder, write_whole
from inspector.engine.compiled import CompiledEngine, Stored, engines_folder
from inspector.errors import CompileError
from inspector.lock_file import lock_or_holder
from inspector.package import ModelPackage

LOCK = "compile.lock"


@contextmanager
def compiling() -> Iterator[None]:
    """Holds this machine's lock. Two builders on one GPU would spoil each other's measurements.

    The lock goes with the process that holds it, however that ends. Raises CompileError when another
    one holds it, naming its process, and where the cache cannot be written.
    """
    path = cache_folder() / "engines" / LOCK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="ascii")
    except OSError as error:
        raise _unwritable(path, error) from error
    with file:
        if (holder := lock_or_holder(file)) is not None:
            raise CompileError(
                f"Another compilation runs on this machine (process {holder}); wait for it, or stop it."
            )
        yield


def store(package: ModelPackage, record: CompiledEngine, plan: bytes) -> Stored:
    """Write plan and record, and read both back; an older engine of the same key is replaced.

    The plan's name holds its hash and the record comes last, in one rename: at every moment the
    record names a plan that is there in full. To be called within `compiling`. Raises CompileError
    where the cache cannot be written, EngineCorrupt when the disk does not give back what was written.
    """
    folder = engines_folder(package)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("*.tmp"):  # of compilations that were killed; nobody else writes now
            left.unlink()
        write_whole(folder / record.plan, plan)
        path = folder / f"{record.key()}.json"
        write_whole(path, record.text().encode())
        for old in folder.glob(f"{record.key()}-*.plan"):
            if old.name != record.plan:
                old.unlink()
    except OSError as error:
        raise _unwritable(folder, error) from error
    stored = Stored(path, record)
    stored.plan_bytes()
    return stored


def _unwritable(path: Path, error: OSError) -> CompileError:
    return CompileError(
        f"The engine cannot be kept in {path} ({error.strerror}); free the disk, or set INSPECTION_CACHE to a"
        " folder that can be written."
    )
