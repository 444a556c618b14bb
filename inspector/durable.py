"""Files that are on the disk in full or not at all, also after a power cut, and what to say otherwise."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from inspector.errors import InspectionError, UsageError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
WRONG_PATH = (
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP,
)  # fmt: skip
"""Errors of a path that is not there or is something else: usage, and not a fault of the disk."""


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


def try_writing(folder: Path) -> None:
    """Write a file there and take it away again: permissions alone do not show a read-only or full disk.

    Makes no folder: where there is none, the nearest one above it is tried. Raises OSError.
    """
    with tempfile.NamedTemporaryFile(dir=nearest_folder(folder)) as file:
        file.write(bytes(4096))
        file.flush()
        os.fsync(file.fileno())


def nearest_folder(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    place = folder.absolute()
    # os.path, because Path.exists raises where a folder may not be entered.
    while not os.path.exists(place) and place != place.parent:
        place = place.parent
    return place


def disk_remedy(error: OSError) -> str:
    """What lets the next write succeed, to stand after a name: `free some space there`."""
    if error.errno in _NO_ROOM:
        return "free some space there"
    if error.errno == errno.EROFS:
        return "make that disk writable"
    return "give this user write access there"


def unwritable(path: Path, error: OSError) -> InspectionError:
    """The error of a command that was to write this file or folder, whichever command it is.

    A path that is not there, or is something else, is usage (exit code 2); a disk or rights that
    refuse are a fault (1).
    """
    words = f"{path} cannot be written ({error.strerror or error})"
    if error.errno in WRONG_PATH:
        return UsageError(f"{words}; name another.")
    return InspectionError(f"{words}; {disk_remedy(error)}, or name another.")
