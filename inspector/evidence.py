"""Pictures kept as evidence: on disk without loss before their row says so, and gone only after it."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from inspector.db.recover import stored_path
from inspector.db.writes import Stored
from inspector.durable import sync_folder, write_durably
from inspector.png import png_parts
from inspector.types import Image, Inspection, Mask


class EvidenceFolder:
    """The folder `<root>/<run_id>` of one run; used by one thread."""

    def __init__(self, root: Path, run_id: str, ledger_folder: Path) -> None:
        """Make the folder. Raises OSError when it cannot be made."""
        self.root = root
        self.path = root / run_id
        self._ledger_folder = ledger_folder
        new = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        self.path.mkdir(parents=True, exist_ok=True)
        for folder in new:  # else a power cut takes a whole new folder, and rows point into it
            sync_folder(folder.parent)
        self.bytes = sum(_sizes(root))
        """All files below the root, earlier runs included."""

    def store(self, number: int, image: Image, mask: Mask | None) -> Stored:
        """Write the frame as PNG, and its mask beside it; call `sync` before a row names them.

        Raises OSError when the disk refuses; then no half-written file is left.
        """
        image_path, image_hash = self._write(f"{number:08d}.png", image)
        if mask is None:
            return Stored(image_path, image_hash)
        return Stored(image_path, image_hash, *self._write(f"{number:08d}.mask.png", mask))

    def sync(self) -> None:
        """Make the new names last through a power cut."""
        sync_folder(self.path)

    def _write(self, name: str, pixels: Image | Mask) -> tuple[str, str]:
        target, digest, size = self.path / name, hashlib.sha256(), 0

        def parts() -> Iterator[bytes]:
            nonlocal size
            for part in png_parts(pixels):
                digest.update(part)
                size += len(part)
                yield part

        write_durably(target, parts())
        self.bytes += size
        return stored_path(target, self._ledger_folder), digest.hexdigest()

    def delete(self, stored: Iterable[str]) -> None:
        """Delete files that no row names any more; one that is gone already is fine."""
        for name in stored:
            file = self._ledger_folder / name
            with suppress(FileNotFoundError):
                size = file.stat().st_size
                file.unlink()
                self.bytes -= size


class RecentFrames:
    """The last frames that were not kept, so that one flagged a moment later still can be."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._frames: OrderedDict[int, Inspection] = OrderedDict()

    def add(self, inspection: Inspection) -> None:
        """Remember a frame with a picture; the oldest ones go when the bytes are over the limit.

        The last one stays, however large: somebody may be looking at it.
        """
        self._frames[inspection.frame.number] = inspection
        self._bytes += _weight(inspection)
        while self._bytes > self._max_bytes and len(self._frames) > 1:
            self._bytes -= _weight(self._frames.popitem(last=False)[1])

    def numbers(self) -> list[int]:
        """The frames at hand, oldest first."""
        return list(self._frames)

    def take(self, number: int) -> Inspection:
        """The frame, which is then forgotten."""
        inspection = self._frames.pop(number)
        self._bytes -= _weight(inspection)
        return inspection


def _weight(inspection: Inspection) -> int:
    image, mask = inspection.frame.image, inspection.mask
    return (0 if image is None else image.nbytes) + (0 if mask is None else mask.nbytes)


def _sizes(folder: Path) -> Iterable[int]:
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                yield os.stat(os.path.join(parent, name)).st_size
