"""Dataset folders: which pictures there are, what their class ids mean, and how they are split.

images/<stem>.png|jpg|tif|bmp   masks/<stem>.png (8-bit ids, 255 = ignore)   instances/<stem>.png (16-bit)
split.json {"train": [...], "test": [...]}   classes.json {"1": "scratch"}   parts.json {stem: part}
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import DatasetError
from inspector.inputs import read_image, to_input
from inspector.types import Image, Mask
from trainer.folder import (
    IGNORE,
    class_names,
    common_classes,
    ids_of,
    pictures_of,
    read_json,
    read_mask,
    stored_channels,
    test_stems,
)
from trainer.held_out import held_out
from trainer.seen import picture_sha256

PARTS_TO_VALIDATE = 8
"""A folder with fewer training parts gives none of them to validation."""
Split = Literal["train", "test", "all"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture with its mask; the files are read at each call."""

    stem: str
    part: str
    """The physical part it shows; a split never cuts through a part. Unique over all folders."""
    folder: Path
    image_path: Path
    channels: int
    ids: tuple[int, ...]
    """The folder's class ids; the one at position k - 1 is class k of the Dataset, 0 = not in this folder."""

    def image(self) -> Image:
        """The picture as the network takes it: uint8, (H, W) gray or (H, W, 3) BGR."""
        return to_input(read_image(self.image_path), self.channels)

    def mask(self) -> Mask:
        """Class ids of the Dataset, uint8 (H, W), 255 = ignore.

        Raises DatasetError when the file is missing, is no 8-bit gray picture, or holds an id
        that the folder's classes do not name.
        """
        path = self.folder / "masks" / f"{self.stem}.png"
        stored = read_mask(path)
        table = np.zeros(256, np.uint8)
        table[IGNORE] = IGNORE
        known = {0, IGNORE, *self.ids}
        for class_id, own in enumerate(self.ids, start=1):
            if own:
                table[own] = class_id
        for found in np.flatnonzero(np.bincount(stored.ravel(), minlength=256)):
            if int(found) not in known:
                raise DatasetError(
                    f"{path} holds class id {found}, which {self.folder / 'classes.json'} does not name;"
                    " name it there or repair the mask."
                )
        return table[stored]

    def instances(self) -> NDArray[np.uint16] | None:
        """Instance ids, uint16 (H, W), 0 = background; None where the folder has none for this stem."""
        path = self.folder / "instances" / f"{self.stem}.png"
        if not path.exists():
            return None
        stored = read_image(path)
        if stored.ndim != 2 or stored.dtype not in (np.uint8, np.uint16):
            raise DatasetError(
                f"{path} is not a gray picture of 8 or 16 bits; write instance ids as 16-bit PNG."
            )
        return stored.astype(np.uint16)

    def read(self) -> tuple[Image, Mask, NDArray[np.uint16] | None]:
        """Picture, mask and instances of one size. Raises DatasetError naming the files when sizes differ."""
        image, mask, instances = self.image(), self.mask(), self.instances()
        for name, other in (("masks", mask), ("instances", instances)):
            if other is not None and other.shape != image.shape[:2]:
                raise DatasetError(
                    f"{self.folder / name / self.stem}.png is {_size(other)} but its image"
                    f" {self.image_path.name} is {_size(image)}; draw it on the image in full size."
                )
        return image, mask, instances


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples of one or several folders under one list of classes."""

    classes: tuple[str, ...]
    """Defect classes; class id k is classes[k - 1]."""
    channels: int
    samples: tuple[Sample, ...]
    test: frozenset[tuple[Path, str]]
    """(folder, stem) of the test samples; all others are train."""

    def split(self, which: Split) -> tuple[Sample, ...]:
        """The samples of one part of the split. Folders without split.json are all train."""
        if which == "all":
            return self.samples
        return tuple(s for s in self.samples if ((s.folder, s.stem) in self.test) == (which == "test"))

    def validation(
        self, fraction: float = 0.15, seed: int = 0
    ) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
        """(train, validation), both cut from the train split by part, every class in both if it can be.

        fraction: share of the parts of each kind (by rarest class shown) that validates. A folder
        with fewer than 8 parts beside larger ones trains whole, so that a few flagged frames
        are learned; alone, its frames train and validate. Many frames of one part are cut by
        frame. The last two are logged as warnings, since scores on such frames say little.
        """
        samples = self.split("train")
        if not samples:
            raise DatasetError("The train split is empty; list stems under 'train' in split.json.")
        parts = _grouped(samples, lambda s: s.part)
        if len(parts) == 1 and len(samples) >= PARTS_TO_VALIDATE:
            log.warning("All training frames show one part: validation, cut by frame, flatters the network.")
            parts = _grouped(samples, lambda s: s.stem)
        folders = _grouped([found[0] for found in parts.values()], lambda s: str(s.folder))
        large = {found[0].folder for found in folders.values() if len(found) >= PARTS_TO_VALIDATE}
        candidates = {name: found for name, found in parts.items() if found[0].folder in large}
        if not candidates:
            log.warning(
                "There are only %d training parts: all of them train and validate, so the score says"
                " nothing about others.",
                len(parts),
            )
            return samples, samples
        held = held_out({name: _shown(found) for name, found in candidates.items()}, fraction, seed)
        cut = {(s.folder, s.stem) for name in held for s in candidates[name]}
        return (
            tuple(s for s in samples if (s.folder, s.stem) not in cut),
            tuple(s for s in samples if (s.folder, s.stem) in cut),
        )

    def refuse_exam_frames(self) -> None:
        """Raises DatasetError when a folder brings to training a picture that another keeps for the test.

        Compared pixel by pixel, as the network takes them: a flagged frame is stored anew, in
        another file. Nothing is read where all samples come from one folder or none is a test one.
        """
        exam = self.split("test")
        folders = {sample.folder for sample in exam}
        others = [s for s in self.split("train") if folders - {s.folder}]
        if not others:
            return
        kept = {picture_sha256(sample.image()): sample for sample in exam}
        for sample in others:
            twin = kept.get(picture_sha256(sample.image()))
            if twin is not None and twin.folder != sample.folder:
                raise DatasetError(
                    f"{sample.image_path} shows the test picture {twin.image_path}, which must not be trained"
                    " on; take it out of images/ and masks/."
                )

    def sha256(self) -> str:
        """Hash over all that decides what is learned and what is measured, in order.

        These are names and bytes of every picture, mask and instance file, the classes, and of each
        frame its part and its side of the split. Folders may be moved and files may be links; of
        several folders the alphabetical order counts, since it decides which parts validate.
        """
        return self._sha256(self.files_sha256())

    def has_sha256(self, kept: str) -> bool:
        """Whether these data gave this hash, now or in an earlier version, which hashed files alone."""
        files = self.files_sha256()
        return kept in (self._sha256(files), files)

    def files_sha256(self) -> str:
        """Hash over names and bytes of every picture, mask and instance file, in order.

        This was the name of the data until classes, parts and sides came into it.
        """
        digest = hashlib.sha256()
        for sample in self.samples:
            for path in (
                sample.image_path,
                *(sample.folder / kind / f"{sample.stem}.png" for kind in ("masks", "instances")),
            ):
                if path.exists():
                    digest.update(f"{path.parent.name}/{path.name}\0".encode())
                    digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def _sha256(self, files: str) -> str:
        rank = {folder: n for n, folder in enumerate(sorted({f"{s.folder}/" for s in self.samples}))}
        frames = []
        for sample in self.samples:
            folder = f"{sample.folder}/"
            side = "test" if (sample.folder, sample.stem) in self.test else "train"
            part = sample.part.removeprefix(folder)
            frames.append((rank[folder], sample.stem, part, side, sample.ids))
        facts = json.dumps((files, self.classes, frames), ensure_ascii=False)
        return hashlib.sha256(facts.encode()).hexdigest()


def load_dataset(
    paths: Sequence[Path], *, channels: int | None = None, classes: Sequence[str] | None = None
) -> Dataset:
    """The folders as one dataset; pictures are not read yet, masks only where names must be counted.

    channels: 1 or 3; None: 3 if the first picture of any folder is stored in colour, else 1.
    classes: the names to keep, in order (those of a package); None: as the folders name them.
    Raises DatasetError with the folder, file or class that does not fit.
    """
    folders = [Path(path).resolve() for path in paths]
    if not folders:
        raise DatasetError("No dataset was named; give at least one folder with images/ and masks/.")
    pictures = {folder: pictures_of(folder) for folder in folders}
    names = {folder: class_names(folder, list(pictures[folder])) for folder in folders}
    kept = tuple(classes) if classes is not None else common_classes(names)
    if not kept:
        raise DatasetError(
            f"No mask in {folders[0]} shows a defect; there is nothing to learn. Check the masks."
        )
    if channels is None:
        channels = max(stored_channels(next(iter(found.values()))) for found in pictures.values())
    samples: list[Sample] = []
    test: set[tuple[Path, str]] = set()
    for folder in folders:
        ids = ids_of(folder, names[folder], kept)
        parts = read_json(folder / "parts.json", {})
        for stem, path in pictures[folder].items():
            samples.append(Sample(stem, f"{folder}/{parts.get(stem, stem)}", folder, path, channels, ids))
        test |= {(folder, stem) for stem in test_stems(folder, pictures[folder], parts)}
    return Dataset(kept, channels, tuple(samples), frozenset(test))


def _grouped(samples: Sequence[Sample], key: Callable[[Sample], str]) -> dict[str, list[Sample]]:
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(key(sample), []).append(sample)
    return groups


def _shown(samples: list[Sample]) -> set[int]:
    found = np.zeros(256, bool)
    for sample in samples:
        found |= np.bincount(sample.mask().ravel(), minlength=256) > 0
    return {int(class_id) for class_id in np.flatnonzero(found[1:IGNORE]) + 1}


def _size(array: NDArray[Any]) -> str:
    return f"{array.shape[0]}x{array.shape[1]}"


def one_thread() -> None:
    """Keep OpenCV to the calling thread, so that loading never takes the network's cores."""
    cv2.setNumThreads(1)


__all__ = ["IGNORE", "Dataset", "Sample", "load_dataset", "one_thread", "read_mask"]
