"""The frame counter of a run: a memory-mapped number that survives `kill -9`, and why the run failed."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from pathlib import Path

from inspector.errors import DiskRefused, LedgerError
from inspector.types import Reason

_MAGIC = b"FRAMES1\0"
_COUNTED = 16  # the magic word, then the count as an unsigned 64-bit integer of this machine
_CODE, _WORDS = slice(16, 32), slice(32, 512)  # UTF-8, filled up with zeros; both empty while all is well
_SIZE = 512


class FrameCounter:
    """Counts the frames that a camera returned; the count is in the file before `next` returns.

    The file is locked (flock) as long as the counter is open, and that lock is the sign of
    life of the run: the kernel frees it however the process ends. Use from one thread, and
    do not fork while it is open (a forked child would keep the lock).
    """

    def __init__(self, path: Path) -> None:
        """Make or open the file and lock it.

        Raises LedgerError when the file cannot be written or a living run holds it.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(self._fd).st_size < _SIZE:
                # Allocated now: a full disk must fail here, not as SIGBUS at a later frame.
                os.posix_fallocate(self._fd, 0, _SIZE)
                if os.pread(self._fd, len(_MAGIC), 0) != _MAGIC:
                    os.pwrite(self._fd, _MAGIC + struct.pack("=Q", 0), 0)
                os.fsync(self._fd)
            self._map = mmap.mmap(self._fd, _SIZE)
        except BlockingIOError as error:
            os.close(self._fd)
            raise LedgerError(
                f"The frame counter {path} belongs to a running station; stop that one first."
            ) from error
        except OSError as error:
            os.close(self._fd)
            raise _unwritable(path, error) from error
        self._words = memoryview(self._map).cast("Q")
        self._open = True

    @property
    def last(self) -> int:
        """The number that was given out last; 0 before the first."""
        return self._words[1] if self._open else self._final

    def next(self) -> int:
        """The number of the frame that was just grabbed: 1, 2, 3 ..."""
        number = self._words[1] + 1
        self._words[1] = number  # one aligned 8-byte store: a reader sees the old or the new count
        return number

    def failed(self, cause: Reason) -> None:
        """Leave behind why the run failed, for the next open; needs no room on a full disk.

        For another thread than the one that counts. Words that are too long are cut.
        """
        if self._open:
            for place, text in ((_WORDS, cause.words), (_CODE, str(cause.code))):
                room = place.stop - place.start
                self._map[place] = text.encode(errors="backslashreplace")[:room].ljust(room, b"\0")

    def sync(self) -> None:
        """Bring the count to the disk, so that it survives a power cut as well."""
        if self._open:
            self._map.flush()

    def close(self) -> None:
        """Bring the count to the disk and free the lock. May be called twice."""
        if not self._open:
            return
        self._map.flush()
        self._final = self._words[1]
        self._open = False
        self._words.release()
        self._map.close()
        os.close(self._fd)


def counter_path(folder: Path, run_id: str) -> Path:
    """Where the counter of a run lies; folder: the ledger's folder."""
    return folder / "counters" / f"{run_id}.counter"


def is_held(path: Path) -> bool:
    """True while a living process has this counter open; False as well when the file is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise LedgerError(
            f"The frame counter {path} cannot be read ({error.strerror}); check its rights."
        ) from error
    try:
        # Shared: several programs may test at once without taking each other for the run.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)


def read_count(path: Path) -> int | None:
    """The count of any run, living or dead; None when the file is gone or is no counter."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) < _COUNTED or data[:8] != _MAGIC:
        return None
    return int(struct.unpack("=Q", data[8:16])[0])


def read_failure(path: Path) -> Reason | None:
    """Why a run failed, as it left it behind with `failed`; None when it left nothing or the file is gone."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    code, words = (data[place].rstrip(b"\0").decode(errors="ignore") for place in (_CODE, _WORDS))
    return Reason(code, words) if code and data[:8] == _MAGIC else None


def _unwritable(path: Path, error: OSError) -> LedgerError:
    return DiskRefused(
        f"The frame counter {path} cannot be written ({error.strerror}); name a writable folder with space."
    )
