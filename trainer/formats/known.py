"""What is known of a set apart from its labels: class ids, split, parts and whether objects are told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inspector.errors import DatasetError, UsageError
from trainer.folder import IGNORE, class_names, pictures_of, read_json
from trainer.formats.regions import IGNORE_NAMES

NO_CLASS = frozenset({*IGNORE_NAMES, "_background_", "background"})
"""Lines of a labels.txt that name no class."""


@dataclass(frozen=True, slots=True)
class Known:
    """Facts that a label format has no place for."""

    names: dict[int, str]
    """Class id -> name; a label of any other name is refused."""
    split: dict[str, str] = field(default_factory=dict)
    """Stem -> train or test."""
    parts: dict[str, str] = field(default_factory=dict)
    objects: bool | None = None
    """Whether instances are kept; None: as the labels have them."""

    def json(self) -> dict[str, Any]:
        """As the sidecar of an export."""
        sides: dict[str, Any] = {}
        if self.split:
            sides["split"] = {
                name: [stem for stem, side in self.split.items() if side == name]
                for name in ("train", "test")
            }
        if self.parts:
            sides["parts"] = self.parts
        return {
            "classes": {str(i): name for i, name in self.names.items()},
            **sides,
            "instances": self.objects,
        }


def of_folder(folder: Path) -> Known:
    """What a dataset folder says. Raises DatasetError when it is none."""
    stems = list(pictures_of(folder))
    split = read_json(folder / "split.json", {})
    return Known(
        checked_names(class_names(folder, stems), folder / "classes.json"),
        _sides(split, folder / "split.json"),
        {str(stem): str(part) for stem, part in read_json(folder / "parts.json", {}).items()},
        (folder / "instances").is_dir(),
    )


def of_sidecar(path: Path) -> Known:
    """What an export wrote beside its labels. Raises DatasetError when it was changed into nonsense."""
    stored = read_json(path, {})
    classes, parts = stored.get("classes"), stored.get("parts", {})
    objects = stored.get("instances")
    if not isinstance(classes, dict) or not isinstance(parts, dict) or not isinstance(objects, bool | None):
        raise DatasetError(f"{path} is no description of a dataset; delete it to import without.")
    return Known(
        _numbered(classes, path),
        _sides(stored.get("split", {}), path),
        {str(stem): str(part) for stem, part in parts.items()},
        objects,
    )


def of_class_list(path: Path) -> Known:
    """The classes of a classes.json, or of a text file with one name a line, numbered from 1 on."""
    if not path.is_file():
        raise UsageError(f"{path} is not there; name a classes.json or a text file with one class a line.")
    if path.suffix == ".json":
        return Known(_numbered(read_json(path, {}), path))
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); write one class name a line.") from error
    names = [name for name in lines if name and name not in NO_CLASS]
    if len(set(names)) < len(names):
        raise DatasetError(f"{path} names one class twice; names must differ.")
    return Known(checked_names(dict(enumerate(names, start=1)), path))


def checked_names(names: dict[int, str], where: Path) -> dict[int, str]:
    """The names when there are any, none too many and none that means ignore; else DatasetError."""
    if not names:
        raise DatasetError(f"{where} names no class; write at least one.")
    if len(names) >= IGNORE:
        raise DatasetError(f"{where} has {len(names)} classes; a mask holds at most {IGNORE - 1}.")
    if reserved := IGNORE_NAMES & set(names.values()):
        raise DatasetError(
            f"{where} has a class {min(reserved)!r}, which other tools' labels use for pixels to ignore;"
            " rename it."
        )
    return names


def _numbered(classes: dict[str, Any], path: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    for key, name in classes.items():
        if not key.isdigit() or not 1 <= int(key) < IGNORE or not isinstance(name, str) or not name:
            raise DatasetError(
                f'{path} has {key!r}: {name!r}; write ids 1 to 254 with names, {{"1": "scratch"}}.'
            )
        names[int(key)] = name
    if len(set(names.values())) < len(names):
        raise DatasetError(f"{path} gives one name to two class ids; names must differ.")
    return checked_names(dict(sorted(names.items())), path)


def _sides(split: Any, path: Path) -> dict[str, str]:
    """Stem -> side. Raises DatasetError when a stem is on both."""
    sides: dict[str, str] = {}
    for side in ("train", "test"):
        listed = split.get(side, []) if isinstance(split, dict) else None
        if not isinstance(listed, list):
            raise DatasetError(f"{path} has no list of stems under {side!r}; correct it.")
        for stem in listed:
            if sides.setdefault(str(stem), side) != side:
                raise DatasetError(f"{path} has {stem!r} in train and in test; keep it on one side.")
    return sides
