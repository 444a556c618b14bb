"""Files that are on the disk in full or not at all, also after a power cut."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def durable_file(target: Path, ending: str = ".tmp") -> Iterator[BinaryIO]:
    """A file to fill, which has its name when the block ends well: temporary file, fsync, rename.

    When the block fails, the old file is left, or none. The folder is for the caller to sync, once
    for many files. ending: of the temporary name; one of its own where several processes may write
    the same file. Raises OSError.
    """
    temporary = target.with_name(target.name + ending)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write_durably(target: Path, parts: Iterable[bytes]) -> None:
    """`durable_file` with these parts, one after the other. Raises OSError."""
    with durable_file(target) as file:
        for part in parts:
            file.write(part)


def sync_folder(folder: Path) -> None:
    """fsync of a folder: its names are on the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
