"""Folders that are there complete or not at all, and never take the place of another."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inspector.durable import unwritable
from inspector.errors import UsageError


def require_new(out: Path) -> None:
    """Raises UsageError when there is something of that name."""
    if os.path.lexists(out):  # Path.exists raises where a folder may not be entered; writing says so better
        raise UsageError(f"{out} is already there; choose another name or delete it first.")


def require_new_run(out: Path) -> None:
    """Raises UsageError when there is something where a RUN folder is to be made."""
    if os.path.lexists(out):
        raise UsageError(
            f"{out} exists already and a run never overwrites another; give a new --out, or --resume."
        )


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that becomes `out` when the block ends well, and vanishes when it does not.

    Raises UsageError when something of that name is there, and what `unwritable` gives when it cannot be
    written.
    """
    require_new(out)
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
    except OSError as error:
        raise unwritable(out, error) from error
    try:
        yield work
        work.chmod(0o755)  # mkdtemp makes it private
        work.rename(out)
    except OSError as error:
        raise unwritable(out, error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
