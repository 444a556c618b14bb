"""One process at a time writes a RUN folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inspector.errors import UsageError
from inspector.lock_file import NO_LOCKS, lock_or_holder
from trainer.checkpoint import writing

LOCK = "run.lock"


@contextmanager
def run_locked(run: Path) -> Iterator[None]:
    """Holds the RUN folder, which must be there.

    The lock goes with the process that holds it, however that ends; the file stays. Raises UsageError
    when another process holds it, naming that, and RunNotKept where the folder cannot be written.
    """
    with writing(run / LOCK) as path:
        file = path.open("a+", encoding="ascii")
    with file:
        try:
            holder = lock_or_holder(file)
        except OSError as error:
            if error.errno not in NO_LOCKS:  # without locks a run goes on unlocked
                raise
            holder = None
        if holder is not None:
            raise UsageError(
                f"Another trainer fit writes {run} (process {holder}); wait for its end, or stop it first."
            )
        yield
