"""Dataset folders: which pictures there are, what their class ids mean, and how they are split.

images/<stem>.png|jpg|tif|bmp   masks/<stem>.png (8-bit ids, 255 = ignore)   instances/<stem>.png (16-bit)
split.json {"train": [...], "test": [...]}   classes.json {"1": "scratch"}   parts.json {stem: part}
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import DatasetError
from inspector.inputs import IMAGE_SUFFIXES, read_image, to_input
from inspector.types import Image, Mask

IGNORE = 255
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
                    f"{self.folder / name / self.stem}.png is {_size(other)} but its image {self.image_path.name}"
                    f" is {_size(image)}; draw it on the image in full size."
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
        """(train, validation), both cut from the train split, by part and with every class in both if it can be.

        fraction: share of the parts of each kind (by rarest class shown) that validates.
        With one part it is cut by frame, with one frame that frame serves twice; both are logged
        as warnings, since scores on them say little.
        """
        samples = self.split("train")
        if not samples:
            raise DatasetError("The train split is empty; list stems under 'train' in split.json.")
        parts: dict[str, list[Sample]] = {}
        for sample in samples:
            parts.setdefault(sample.part, []).append(sample)
        if len(parts) == 1 and len(samples) > 1:
            log.warning(
                "All training frames show one part: validation is cut by frame and flatters the network."
            )
            parts = {sample.stem: [sample] for sample in samples}
        if len(parts) == 1:
            log.warning(
                "There is one training frame: it also validates, so the score says nothing about others."
            )
            return samples, samples
        held_out = _held_out(parts, fraction, seed)
        cut = {id(s) for name in held_out for s in parts[name]}
        return tuple(s for s in samples if id(s) not in cut), tuple(s for s in samples if id(s) in cut)

    def sha256(self) -> str:
        """Hash over names and bytes of every picture, mask and instance file, in order."""
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
    pictures = {folder: _pictures(folder) for folder in folders}
    names = {folder: _class_names(folder, list(pictures[folder])) for folder in folders}
    kept = tuple(classes) if classes is not None else _common_classes(names)
    if not kept:
        raise DatasetError(
            f"No mask in {folders[0]} shows a defect; there is nothing to learn. Check the masks."
        )
    if channels is None:
        channels = max(_stored_channels(next(iter(found.values()))) for found in pictures.values())
    samples: list[Sample] = []
    test: set[tuple[Path, str]] = set()
    for folder in folders:
        ids = _ids(folder, names[folder], kept)
        parts = _json(folder / "parts.json", {})
        for stem, path in pictures[folder].items():
            samples.append(Sample(stem, f"{folder}/{parts.get(stem, stem)}", folder, path, channels, ids))
        test |= {(folder, stem) for stem in _test_stems(folder, pictures[folder], parts)}
    return Dataset(kept, channels, tuple(samples), frozenset(test))


def read_mask(path: Path) -> Mask:
    """A mask as stored, uint8 (H, W). Raises DatasetError when missing or not 8-bit with one channel."""
    if not path.exists():
        raise DatasetError(f"{path} is missing; draw the mask (all 0 for a good part) or take the image out.")
    stored = read_image(path)
    if stored.dtype != np.uint8 or stored.ndim != 2:
        raise DatasetError(
            f"{path} is not an 8-bit mask with one channel; save class ids 0, 1, 2 ... as gray PNG."
        )
    return stored


def _pictures(folder: Path) -> dict[str, Path]:
    """Stem -> file of every picture in images/, sorted, each with a mask of its name."""
    if not (folder / "images").is_dir():
        raise DatasetError(f"{folder} has no folder images/; name a dataset folder with images/ and masks/.")
    found: dict[str, Path] = {}
    for path in sorted((folder / "images").iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise DatasetError(
                f"{path} and {found[path.stem].name} share the stem {path.stem}; rename one of them."
            )
        found[path.stem] = path
    if not found:
        raise DatasetError(
            f"{folder / 'images'} holds no picture; add {', '.join(sorted(IMAGE_SUFFIXES))} files."
        )
    for stem in found:
        if not (folder / "masks" / f"{stem}.png").exists():
            read_mask(folder / "masks" / f"{stem}.png")
    return found


def _json(path: Path, default: dict[str, Any]) -> dict[str, Any]:
    if not path.exists():
        return default
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise DatasetError(f"{path} is not JSON that can be read ({error}); repair it.") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path} holds a {type(content).__name__}, not an object of names; repair it.")
    return content


def _class_names(folder: Path, stems: list[str]) -> dict[int, str]:
    """Id -> name from classes.json, else class_1 .. class_n for the ids that the masks hold."""
    path = folder / "classes.json"
    if not path.exists():
        seen = np.zeros(256, bool)
        for stem in stems:
            seen |= np.bincount(read_mask(folder / "masks" / f"{stem}.png").ravel(), minlength=256) > 0
        highest = int(np.flatnonzero(seen[:IGNORE]).max(initial=0))
        return {class_id: f"class_{class_id}" for class_id in range(1, highest + 1)}
    names: dict[int, str] = {}
    for key, name in _json(path, {}).items():
        if not str(key).isdigit() or not 1 <= int(key) < IGNORE or not isinstance(name, str) or not name:
            raise DatasetError(
                f'{path} has {key!r}: {name!r}; write class ids 1 to 254 with names, {{"1": "scratch"}}.'
            )
        names[int(key)] = name
    if len(set(names.values())) < len(names):
        raise DatasetError(f"{path} gives one name to two class ids; names must differ.")
    return dict(sorted(names.items()))


def _common_classes(names: dict[Path, dict[int, str]]) -> tuple[str, ...]:
    """The names of all folders, first come first; refuses named beside unnamed folders."""
    named = {folder: (folder / "classes.json").exists() for folder in names}
    if len(set(named.values())) > 1:
        without = next(folder for folder, has in named.items() if not has)
        raise DatasetError(
            f"{without} has no classes.json while another folder names its classes; add one so that ids can be"
            " mapped by name."
        )
    return tuple(dict.fromkeys(name for folder in names.values() for name in folder.values()))


def _ids(folder: Path, names: dict[int, str], kept: Sequence[str]) -> tuple[int, ...]:
    """For each kept class the folder's own id, 0 where it has none."""
    by_name = {name: class_id for class_id, name in names.items()}
    if unknown := [name for name in by_name if name not in kept]:
        if not (folder / "classes.json").exists() and len(by_name) <= len(kept):
            # Without names of its own a folder speaks in the ids of what it joins.
            return tuple(range(1, len(kept) + 1))
        raise DatasetError(
            f"{folder} has the class {unknown[0]!r}, which is none of {', '.join(kept)};"
            " rename it in classes.json or train without --init."
        )
    return tuple(by_name.get(name, 0) for name in kept)


def _test_stems(folder: Path, pictures: dict[str, Path], parts: dict[str, Any]) -> set[str]:
    """The stems that split.json calls test; stems it does not list are in neither and refused."""
    path = folder / "split.json"
    if not path.exists():
        return set()
    content = _json(path, {})
    lists = {name: content.get(name, []) for name in ("train", "test")}
    for name, stems in lists.items():
        for stem in stems:
            if stem not in pictures:
                raise DatasetError(
                    f"{path} lists {stem!r} under {name}, but images/ has no such stem; correct it."
                )
    train, test = set(lists["train"]), set(lists["test"])
    if both := {parts.get(s, s) for s in train} & {parts.get(s, s) for s in test}:
        raise DatasetError(f"{path} has part {min(both)!r} in train and in test; keep each part on one side.")
    if left := set(pictures) - train - test:
        raise DatasetError(f"{path} lists {min(left)!r} under neither train nor test; add it to one.")
    return test


def _stored_channels(path: Path) -> int:
    return 1 if read_image(path).ndim == 2 else 3


def _held_out(parts: dict[str, list[Sample]], fraction: float, seed: int) -> set[str]:
    """Names of the parts that validate: of each kind the same share, at least one where two exist."""
    shown = {name: _shown(samples) for name, samples in parts.items()}
    frequency: dict[int, int] = {}
    for ids in shown.values():
        for class_id in ids:
            frequency[class_id] = frequency.get(class_id, 0) + 1
    kinds: dict[int, list[str]] = {}
    for name, ids in sorted(shown.items()):
        rarest = min(ids, key=lambda class_id: (frequency[class_id], class_id), default=0)
        kinds.setdefault(rarest, []).append(name)
    rng = np.random.default_rng(seed)
    held_out: set[str] = set()
    for _, names in sorted(kinds.items()):
        rng.shuffle(names)
        held_out.update(names[: max(round(fraction * len(names)), int(len(names) > 1))])
    return held_out or {sorted(parts)[0]}


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
