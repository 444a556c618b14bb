"""The latest picture for whoever wants to look: a memory-mapped file that one process writes.

Two slots take turns; a counter, written last, names the slot that is whole. A reader copies,
then checks the slot's own counter before and after and a checksum, so a torn picture is never
mistaken for a whole one. The writer never waits for a reader and does not know if there is one.

Layout, little endian: head (magic, slot bytes, turn), slot 0, slot 1; a slot is
(turn at begin, length, crc32, turn at end) and then length bytes: a JSON line, image, mask.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import struct
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from inspector.types import Image, Inspection, Mask, VerdictWord

MAGIC = b"INSPLIV1"
HEAD = struct.Struct("<8sQQ")
TURN = struct.Struct("<Q")
SLOT = struct.Struct("<QQQQ")
TEXT_BYTES = 1 << 18
MOST_DEFECTS = 200


@dataclass(frozen=True, slots=True)
class Mark:
    """One defect as it is drawn."""

    class_id: int
    class_name: str
    box: tuple[int, int, int, int]
    """(y0, x0, y1, x1), half-open, pixels of the full frame."""
    confidence: float


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame as the station last showed it."""

    number: int
    word: VerdictWord
    reasons: tuple[str, ...]
    utc_ns: int
    frame: tuple[int, int]
    """(height, width) of the full frame; (0, 0) where there was none."""
    scale: float
    """Pixels of `image` for one pixel of the frame, at most 1."""
    image: Image | None
    """uint8 (h, w) or (h, w, 3) BGR; None when the frame had no image."""
    mask: Mask | None
    """uint8 (h, w) as `image`; None when nothing was found."""
    marks: tuple[Mark, ...]


def picture_path(folder: Path, run_id: str) -> Path:
    """Where a run's picture lies. folder: the ledger's."""
    return folder / "live" / f"{run_id}.picture"


def shrink(image: Image, mask: Mask | None, max_side: int) -> tuple[Image, Mask | None, float]:
    """Image and mask with no side above max_side, and the scale; a thin defect stays in the mask."""
    height, width = image.shape[:2]
    scale = min(1.0, max_side / max(height, width))
    if scale == 1.0:
        return image, mask, scale
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return small, None if mask is None else _shrunk(mask, (size[1], size[0])), scale


def _shrunk(mask: Mask, size: tuple[int, int]) -> Mask:
    """The highest class that lies, if only in part, under each pixel of the smaller (height, width)."""
    small: Mask = mask
    for axis, cells in enumerate(size):
        ends = np.arange(cells + 1) * mask.shape[axis]
        first, last = ends[:-1] // cells, -(-ends[1:] // cells) - 1
        under = small.take(first, axis)
        for further in range(1, int((last - first).max()) + 1):
            np.maximum(under, small.take(np.minimum(first + further, last), axis), out=under)
        small = under
    return small


class PictureWriter:
    """The station's end. Not thread-safe: one thread publishes."""

    def __init__(self, path: Path, max_side: int = 960, min_interval_s: float = 0.2) -> None:
        """Make the file; pictures that dead runs left beside it are removed.

        max_side: longest side that is shared, pixels. min_interval_s: pictures that come sooner
        after the last are left out, so that a fast line pays for what a person can see.
        Raises OSError when the folder cannot be written or the disk has no room for the file.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_over(path)
        self._max_side = max_side
        self._min_interval_s = min_interval_s
        self._last = float("-inf")
        self._turn = 0
        self._slot_bytes = SLOT.size + TEXT_BYTES + 4 * max_side * max_side
        self._file = path.open("w+b")
        total = HEAD.size + 2 * self._slot_bytes
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Allocated now: a disk that fills up later must not kill the station with SIGBUS.
            os.posix_fallocate(self._file.fileno(), 0, total)
            self._map = mmap.mmap(self._file.fileno(), total)
        except OSError:
            self._file.close()
            path.unlink(missing_ok=True)
            raise
        self._map[: HEAD.size] = HEAD.pack(MAGIC, self._slot_bytes, 0)

    def publish(self, inspection: Inspection) -> bool:
        """Share this inspection's picture; False when it came too soon after the last one."""
        now = time.monotonic()
        if now - self._last < self._min_interval_s:
            return False
        self._last = now
        self._write(_encode(inspection, self._max_side))
        return True

    def _write(self, data: bytes) -> None:
        turn = self._turn + 1
        at = HEAD.size + (turn % 2) * self._slot_bytes
        self._map[at : at + SLOT.size] = SLOT.pack(turn, len(data), zlib.crc32(data), 0)
        self._map[at + SLOT.size : at + SLOT.size + len(data)] = data
        self._map[at + SLOT.size - TURN.size : at + SLOT.size] = TURN.pack(turn)
        self._map[HEAD.size - TURN.size : HEAD.size] = TURN.pack(turn)
        self._turn = turn

    def close(self) -> None:
        """Let go of the file; the last picture stays readable until another run starts."""
        if not self._map.closed:
            self._map.close()
            self._file.close()


class PictureReader:
    """A viewer's end. The file may come later, and may go."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._map: mmap.mmap | None = None

    def latest(self, after: int = 0) -> Picture | None:
        """The newest whole picture; None when there is none with a frame number above `after`."""
        if self._map is None:
            self._map = _map_for_reading(self._path)
        if self._map is None:
            return None
        for _ in range(3):
            data = _read_whole(self._map)
            if data is not None:
                picture = _decode(data)
                return picture if picture.number > after else None
        return None

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None


class LivePicture:
    """The two ends of one run's picture."""

    @staticmethod
    def writer(path: Path, max_side: int = 960) -> PictureWriter:
        return PictureWriter(path, max_side)

    @staticmethod
    def reader(path: Path) -> PictureReader:
        return PictureReader(path)


def _remove_left_over(path: Path) -> None:
    """Delete pictures whose writer is gone: a living writer holds a lock on its file."""
    for other in path.parent.glob("*.picture"):
        with suppress(OSError), other.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            other.unlink()


def _encode(inspection: Inspection, max_side: int) -> bytes:
    frame = inspection.frame
    image = mask = None
    size, scale = (0, 0), 1.0
    if frame.image is not None:
        size = (int(frame.image.shape[0]), int(frame.image.shape[1]))
        image, mask, scale = shrink(frame.image, inspection.mask if inspection.defects else None, max_side)
    text = {
        "number": frame.number,
        "word": inspection.verdict.word.value,
        "reasons": [reason.words[:500] for reason in inspection.verdict.reasons[:20]],
        "utc_ns": frame.utc_ns,
        "frame": size,
        "scale": scale,
        "image": None if image is None else image.shape,
        "mask": None if mask is None else mask.shape,
        "marks": [
            (d.class_id, d.class_name, [int(v) for v in d.box], float(d.confidence))
            for d in inspection.defects[:MOST_DEFECTS]
        ],
    }
    parts = [json.dumps(text).encode(), b"\n"]
    parts += [np.ascontiguousarray(plane).tobytes() for plane in (image, mask) if plane is not None]
    return b"".join(parts)


def _map_for_reading(path: Path) -> mmap.mmap | None:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < HEAD.size:
                return None
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return None
    if mapped[: len(MAGIC)] == MAGIC:
        return mapped
    mapped.close()
    return None


def _read_whole(mapped: mmap.mmap) -> bytes | None:
    """The bytes of the slot that the head names, or None when the writer was in it."""
    _, slot_bytes, turn = HEAD.unpack(mapped[: HEAD.size])
    if turn == 0:
        return None
    at = HEAD.size + (turn % 2) * slot_bytes
    begin, length, crc, end = SLOT.unpack(mapped[at : at + SLOT.size])
    if begin != turn or end != turn or length > slot_bytes - SLOT.size:
        return None
    data = mapped[at + SLOT.size : at + SLOT.size + length]
    same = mapped[at : at + SLOT.size] == SLOT.pack(begin, length, crc, end)
    return data if same and zlib.crc32(data) == crc else None


def _decode(data: bytes) -> Picture:
    line, _, pixels = data.partition(b"\n")
    text: dict[str, Any] = json.loads(line)
    planes: list[Image | None] = []
    at = 0
    for shape in (text["image"], text["mask"]):
        if shape is None:
            planes.append(None)
            continue
        count = int(np.prod(shape))
        planes.append(np.frombuffer(pixels, np.uint8, count, at).reshape(shape))
        at += count
    return Picture(
        number=text["number"],
        word=VerdictWord(text["word"]),
        reasons=tuple(text["reasons"]),
        utc_ns=text["utc_ns"],
        frame=(text["frame"][0], text["frame"][1]),
        scale=text["scale"],
        image=planes[0],
        mask=planes[1],
        marks=tuple(Mark(i, name, (b[0], b[1], b[2], b[3]), c) for i, name, b, c in text["marks"]),
    )
