"""A file that one process at a time holds; the lock goes with the process, however that ends."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TextIO

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""What a file system without locks answers."""


def lock_or_holder(file: TextIO) -> str | None:
    """Locks the file and writes this process's number into it: None, or else the number of its holder.

    file: open for reading and appending; the lock lasts until it is closed. The holder is `unknown` when
    it has not written its number yet. Raises OSError where the file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        return file.read().strip() or "unknown"
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return None


def wait_for_lock(file: TextIO) -> None:
    """Locks the file once no other process holds it, until it is closed; not where there are no locks.

    Raises OSError.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
