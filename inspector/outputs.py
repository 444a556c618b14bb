"""What the line tells others: one JSON line a verdict, after its row is committed."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inspector.durable import disk_remedy
from inspector.errors import DiskRefused, LedgerError
from inspector.recorder import Recorded
from inspector.types import Defect, VerdictWord


class JsonLines:
    """Appends to a file, one line a verdict, flushed and synced for each batch.

    Only PASS has `"pass": true`; UNINSPECTED counts as a reject. A half line that a power cut
    left is taken off when the file is opened: its row is in the ledger, nobody has acted on it.
    """

    def __init__(self, path: Path) -> None:
        """Raises LedgerError when the file cannot be written or another line writes it."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            # Two writers would put their lines over each other's.
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _cut_half_line(self._fd)
        except BlockingIOError as error:
            os.close(self._fd)
            raise LedgerError(
                f"The output {path} is being written by another line; name another file for this one"
                " under outputs in line.toml."
            ) from error
        except OSError as error:
            os.close(self._fd)
            raise self._unwritable(error) from error

    def publish(self, records: Sequence[Recorded]) -> None:
        """Write these lines whole, or raise LedgerError: then the line must stop."""
        data = b"".join(json.dumps(verdict_line(record)).encode() + b"\n" for record in records)
        try:
            while data:
                data = data[os.write(self._fd, data) :]
            os.fsync(self._fd)
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Close the file; what a recorder that hangs publishes later is refused. May be called twice."""
        fd, self._fd = self._fd, -1  # a number that no file of this process can have
        if fd >= 0:
            os.close(fd)

    def _unwritable(self, error: OSError) -> LedgerError:
        return unwritable_output(self.path, error)


def verdict_line(record: Recorded) -> dict[str, Any]:
    """What is told of one verdict; boxes are (y0, x0, y1, x1) in pixels of the full frame."""
    inspection = record.inspection
    frame, verdict = inspection.frame, inspection.verdict
    return {
        "run": record.run_id,
        "frame": frame.number,
        "verdict": verdict.word.value,
        "pass": verdict.word is VerdictWord.PASS,
        "reasons": [{"code": str(reason.code), "words": reason.words} for reason in verdict.reasons],
        "defects": [_defect_line(defect) for defect in inspection.defects],
        "camera": frame.camera_id,
        "source": frame.source,
        "part": frame.part_id,
        "utc_ns": frame.utc_ns,
        "latency_ms": round((record.committed_mono_ns - frame.mono_ns) / 1e6, 2),
        "row": record.inspection_id,
    }


def _defect_line(defect: Defect) -> dict[str, Any]:
    line: dict[str, Any] = {
        "class": defect.class_name,
        "box": [int(edge) for edge in defect.box],
        "area_px": int(defect.area_px),
        "length_px": round(float(defect.length_px), 2),
        "width_px": round(float(defect.width_px), 2),
        "confidence": round(float(defect.confidence), 4),
        "zones": list(defect.zones),
    }
    for name in ("area_mm2", "length_mm", "width_mm"):
        value = getattr(defect, name)
        if value is not None:
            line[name] = round(float(value), 4)
    return line


def unwritable_output(path: Path, error: OSError) -> LedgerError:
    """The sentence for a disk that refuses an output."""
    return DiskRefused(
        f"The output {path} cannot be written ({error.strerror or error}); {disk_remedy(error)},"
        " or name another file under outputs in line.toml."
    )


def _cut_half_line(fd: int) -> None:
    """Take off what stands after the last newline."""
    at = size = os.fstat(fd).st_size
    while at > 0:
        begin = max(0, at - 65536)
        newline = os.pread(fd, at - begin, begin).rfind(b"\n")
        if newline >= 0:
            at = begin + newline + 1
            break
        at = begin
    if at != size:
        os.ftruncate(fd, at)
