"""What a reader of a foreign format hands over: pictures by name, and how to get their regions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inspector.errors import DatasetError, UsageError
from trainer.formats.regions import IGNORE_NAMES, Region, Size

ALPHABETICAL = "in alphabetical order of the names"
SIDECAR = "dataset.json"
"""Beside exported labels: class ids, split and parts, for which their format has no place."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How labels are read."""

    images: Path | None = None
    """Where the pictures are; None: beside the labels."""
    unlabelled_good: bool = False
    """Pictures without any label file are good parts, not forgotten ones."""


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """One picture of a foreign set. Labels are decoded when asked for, one picture at a time."""

    name: str
    """The picture as the labels name it; a path relative to some folder, or a URL's end."""
    regions: Callable[[Size], list[Region]]
    """The regions in painting order, for a picture of that size. Raises DatasetError for bad labels."""
    size: Size | None = None
    """What the labels say; None where they say nothing. The picture must have it."""
    split: str | None = None
    embedded: bytes | None = None
    """The picture itself where the label file carries it."""


@dataclass(slots=True)
class Source:
    """A foreign set of labels, opened."""

    where: Path
    pictures: list[LabelledPicture]
    names: dict[int, str]
    """Class id -> name."""
    roots: list[Path]
    """Folders that picture names may be relative to."""
    objects: bool = True
    """Whether its regions are objects, so that instances can be told."""
    invented: str = ""
    """By what order the ids of `names` were given where the labels do not number them."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the person who imports."""

    def missing(self, *, ids_given: bool) -> list[str]:
        """Sentences: which facts of a dataset did not come with the labels, and what keeps them."""
        keeps = "--like DATASET keeps those of a set that you have."
        found = []
        if self.invented and not ids_given:
            found.append(
                f"Class ids are given {self.invented}; --like DATASET or --classes FILE keeps yours."
            )
        if any(picture.split == "test" for picture in self.pictures):
            found.append(f"No parts came with the labels: validation may cut through a part; {keeps}")
        else:
            found.append(
                "No split and no parts came with the labels: every frame trains, and validation may cut"
                f" through a part; {keeps}"
            )
        return found


def read_document(path: Path) -> Any:
    """The JSON value of a file. Raises DatasetError when it cannot be read or is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not JSON that can be read ({error}); export it again.") from error


def item(record: Any, key: str, kind: type | tuple[type, ...], where: object) -> Any:
    """record[key], when it is of that kind. Raises DatasetError naming the place otherwise."""
    value = record.get(key) if isinstance(record, dict) else None
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join(one.__name__ for one in kinds)
        raise DatasetError(f"{where} has no {key!r} of kind {expected}; export it again.")
    return value


def corner(pair: Any, where: object) -> tuple[float, float]:
    """(x, y) of a list of two finite numbers. Raises DatasetError for anything else."""
    numbers = isinstance(pair, list) and len(pair) == 2 and all(type(value) in (int, float) for value in pair)
    if not numbers or not all(math.isfinite(value) for value in pair):
        raise DatasetError(f"{where} has the corner {pair!r}; delete that shape, or draw it again.")
    return float(pair[0]), float(pair[1])


def size_of(height: Any, width: Any, where: object) -> Size:
    """(height, width) from numbers in a label file. Raises DatasetError when they are no sizes."""
    try:
        size = int(height), int(width)
        whole = size == (float(height), float(width)) and min(size) > 0
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise DatasetError(f"{where} says a size of {height!r}x{width!r}; export it again.")
    return size


def alphabetical(names: Iterable[str]) -> dict[int, str]:
    """Ids from 1 on for the names that a format uses without declaring them; `ignore` is none."""
    return dict(enumerate(sorted({name for name in names if name not in IGNORE_NAMES}), start=1))


def require_folder(where: Path, holds: str) -> None:
    """Raises UsageError unless `where` is a folder."""
    if not where.is_dir():
        zipped = f" Unpack it first: unzip {where} -d FOLDER." if where.suffix == ".zip" else ""
        raise UsageError(f"{where} is no folder; name the one that holds {holds}.{zipped}")


def unlabelled(names: list[str], options: ReadOptions, tool: str) -> list[LabelledPicture]:
    """Pictures without a label file as good parts. Raises DatasetError unless that was asked for."""
    if names and not options.unlabelled_good:
        more = f" and {len(names) - 1} more have" if len(names) > 1 else " has"
        raise DatasetError(
            f"{names[0]}{more} no labels from {tool}; label what is missing, take it out, or say"
            " --unlabelled-good if every such picture shows a good part."
        )
    return [LabelledPicture(name, lambda _: []) for name in names]
