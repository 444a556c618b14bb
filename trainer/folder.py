"""The files of one dataset folder: pictures and their masks, class names, split and parts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from inspector.errors import DatasetError
from inspector.inputs import IMAGE_SUFFIXES, read_image
from inspector.types import Mask

IGNORE = 255
"""The label of pixels that take no part in loss or figures."""


PROVENANCE = "provenance.json"
"""In a folder of `inspector export --flagged`: where its frames come from."""


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


def pictures_of(folder: Path) -> dict[str, Path]:
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


@contextmanager
def lint_named(folders: Sequence[Path]) -> Iterator[None]:
    """Raises DatasetErrors anew with the command that names all of them: who reads stops at the first."""
    try:
        yield
    except DatasetError as error:
        if not all((folder / "images").is_dir() for folder in folders):
            raise  # no dataset folder at all, of which lint can say no more
        named = folders[0] if len(folders) == 1 else "FOLDER"
        raise DatasetError(f"{error} `trainer lint {named}` names all that is wrong at once.") from error


def read_json(path: Path, default: dict[str, Any]) -> dict[str, Any]:
    if not path.exists():
        return default
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise DatasetError(f"{path} is not JSON that can be read ({error}); repair it.") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path} holds a {type(content).__name__}, not an object of names; repair it.")
    return content


def class_names(folder: Path, stems: list[str]) -> dict[int, str]:
    """Id -> name from classes.json, else class_1 .. class_n for the ids that the masks hold."""
    path = folder / "classes.json"
    if not path.exists():
        seen = np.zeros(256, bool)
        for stem in stems:
            seen |= np.bincount(read_mask(folder / "masks" / f"{stem}.png").ravel(), minlength=256) > 0
        highest = int(np.flatnonzero(seen[:IGNORE]).max(initial=0))
        return {class_id: f"class_{class_id}" for class_id in range(1, highest + 1)}
    names: dict[int, str] = {}
    for key, name in read_json(path, {}).items():
        if not str(key).isdigit() or not 1 <= int(key) < IGNORE or not isinstance(name, str) or not name:
            raise DatasetError(
                f'{path} has {key!r}: {name!r}; write class ids 1 to 254 with names, {{"1": "scratch"}}.'
            )
        names[int(key)] = name
    if len(set(names.values())) < len(names):
        raise DatasetError(f"{path} gives one name to two class ids; names must differ.")
    return dict(sorted(names.items()))


def common_classes(names: dict[Path, dict[int, str]]) -> tuple[str, ...]:
    """The names of all folders, first come first; refuses named beside unnamed folders."""
    named = {folder: (folder / "classes.json").exists() for folder in names}
    if len(set(named.values())) > 1:
        without = next(folder for folder, has in named.items() if not has)
        raise DatasetError(
            f"{without} has no classes.json while another folder names its classes; add one, so that ids can"
            " be mapped by name."
        )
    return tuple(dict.fromkeys(name for folder in names.values() for name in folder.values()))


def ids_of(folder: Path, names: dict[int, str], kept: Sequence[str]) -> tuple[int, ...]:
    """For each kept class the folder's own id, 0 where it has none."""
    by_name = {name: class_id for class_id, name in names.items()}
    if unknown := [name for name in by_name if name not in kept]:
        if not (folder / "classes.json").exists() and len(by_name) <= len(kept):
            # Without names of its own a folder speaks in the ids of what it joins.
            return tuple(range(1, len(kept) + 1))
        raise DatasetError(
            f"{folder} has the class {unknown[0]!r}, which is none of {', '.join(kept)}, the model's own;"
            " rename it in classes.json, or train a model with this class by `trainer fit` without --init."
        )
    return tuple(by_name.get(name, 0) for name in kept)


def test_stems(folder: Path, pictures: dict[str, Path], parts: dict[str, Any]) -> set[str]:
    """The stems that split.json calls test; stems it does not list are in neither and refused."""
    path = folder / "split.json"
    if not path.exists():
        return set()
    content = read_json(path, {})
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


def uncorrected(folder: Path) -> tuple[list[str], int]:
    """(stems whose mask is byte for byte as `inspector export --flagged` wrote it, how many it wrote).

    Nothing for a folder without its provenance.json; one of other make is none of ours to refuse.
    """
    frames: Any = {}
    with suppress(DatasetError):
        frames = read_json(folder / PROVENANCE, {}).get("frames")
    drawn = {
        stem: told["mask_sha256"]
        for stem, told in (frames.items() if isinstance(frames, dict) else ())
        if isinstance(told, dict) and "mask_sha256" in told and (folder / "masks" / f"{stem}.png").is_file()
    }
    same = [
        stem
        for stem, sha256 in drawn.items()
        if hashlib.sha256((folder / "masks" / f"{stem}.png").read_bytes()).hexdigest() == sha256
    ]
    return same, len(drawn)


def stored_channels(path: Path) -> int:
    return 1 if read_image(path).ndim == 2 else 3
