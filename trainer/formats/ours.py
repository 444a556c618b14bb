"""Our side of a conversion: the frames of a dataset folder to be exported, and what is written of one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import UsageError
from inspector.types import Mask
from trainer.dataset import Dataset, load_dataset
from trainer.folder import IGNORE
from trainer.formats.known import Known, of_folder
from trainer.formats.regions import Region, Size, regions_of


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a dataset folder, read whole."""

    stem: str
    picture: Path
    mask: Mask
    """Class ids as stored, 255 = ignore."""
    instances: NDArray[np.uint16] | None
    regions: list[Region]
    split: str | None
    """train, test, or None where the folder has no split."""

    @property
    def size(self) -> Size:
        return (self.mask.shape[0], self.mask.shape[1])


@dataclass(frozen=True, slots=True)
class OurSet:
    """A dataset folder that is being exported."""

    dataset: Dataset
    known: Known

    @property
    def sides(self) -> list[str | None]:
        """The sides of the split that frames are on; [None] without a split."""
        return list(dict.fromkeys(self.side(sample.stem) for sample in self.dataset.samples))

    def side(self, stem: str) -> str | None:
        """train, test, or None without a split."""
        return self.known.split.get(stem)

    def frames(self) -> Iterator[Frame]:
        """Every frame, in order of the stems. Raises DatasetError naming the file that does not fit."""
        for sample in self.dataset.samples:
            _, positions, instances = sample.read()
            table = np.zeros(256, np.uint8)
            table[1 : len(sample.ids) + 1], table[IGNORE] = sample.ids, IGNORE
            mask = table[positions]
            regions = regions_of(mask, instances, self.known.names)
            yield Frame(sample.stem, sample.image_path, mask, instances, regions, self.side(sample.stem))


def our_set(folder: Path) -> OurSet:
    """A dataset folder for export. Raises UsageError when it is not there, DatasetError when it is none."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not there; name a dataset folder with images/ and masks/.")
    return OurSet(load_dataset([folder]), of_folder(folder))


def write_png(path: Path, picture: NDArray[Any]) -> None:
    """One lossless PNG, 8 or 16 bits. Raises OSError when the disk does not take it."""
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
