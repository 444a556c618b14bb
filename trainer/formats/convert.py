"""The two directions: labels of another tool become a dataset folder, and a folder becomes theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.errors import DatasetError, InspectionError, UsageError
from trainer.dataset import load_dataset
from trainer.formats import coco, cvat, labelme, labelstudio, voc
from trainer.formats.known import Known, checked_names, of_class_list, of_folder, of_sidecar
from trainer.formats.ours import Frame, our_set, write_json, write_png
from trainer.formats.pictures import check_picture, find_picture, plain_name
from trainer.formats.regions import Painted, Size, paint
from trainer.formats.source import SIDECAR, LabelledPicture, ReadOptions, Source
from trainer.new_folder import new_folder

FORMATS: dict[str, ModuleType] = {
    "coco": coco,
    "cvat": cvat,
    "labelstudio": labelstudio,
    "labelme": labelme,
    "voc": voc,
}
MOST_NAMED = 8
"""Frames that a sentence names; --json has them all."""
Progress = Callable[[int, int], None]
"""Called with (pictures done, pictures in all)."""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What is to be imported, and how."""

    kind: str
    where: Path
    out: Path
    classes: Path | None = None
    """A class list; None: as the labels name them."""
    like: Path | None = None
    """A dataset folder whose class ids, split and parts are kept."""
    options: ReadOptions = field(default_factory=ReadOptions)


@dataclass(slots=True)
class Conversion:
    """What came of it."""

    frames: int = 0
    objects: int = 0
    overlapped: int = 0
    """Pixels that two labels claimed; the later one has them."""
    changed_objects: int = 0
    """Export: objects more or fewer, because the format has no place for pixels that belong to none."""
    changed: list[str] = field(default_factory=list)
    """Export: stems of their frames."""
    classes: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """What the labels did not bring with them, or will not take along, and what keeps it."""

    def json(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return {
            "frames": self.frames,
            "objects": self.objects,
            "classes": {str(number): name for number, name in self.classes.items()},
            "overlapped_px": self.overlapped,
            "changed_objects": self.changed_objects,
            "changed_frames": self.changed,
            "notes": self.notes,
            "warnings": self.warnings,
        }


def import_labels(request: ImportRequest, progress: Progress | None = None) -> Conversion:
    """Write the labels of another tool as a dataset folder; pictures are copied byte for byte.

    Raises UsageError for a path that is not there or in the way, DatasetError naming the picture
    and what is wrong with it. `out` appears whole or not at all.
    """
    source: Source = FORMATS[request.kind].read(request.where, request.options)
    given = _given(request)
    known = given or _by_labels(request, source)
    done = Conversion(classes=known.names, notes=list(source.notes))
    if given is None:
        done.warnings += source.missing(ids_given=request.classes is not None)
    ids = {name: class_id for class_id, name in known.names.items()}
    objects = source.objects if known.objects is None else known.objects
    stems: dict[str, LabelledPicture] = {}
    with new_folder(request.out) as work:
        for name in ("images", "masks", *(["instances"] if objects else [])):
            (work / name).mkdir()
        for number, picture in enumerate(source.pictures, start=1):
            stem, painted = _imported(picture, source, ids, work / "images")
            if stem in stems:
                raise DatasetError(
                    f"{picture.name} and {stems[stem].name} would both be {stem}; rename one and its labels."
                )
            stems[stem] = picture
            write_png(work / "masks" / f"{stem}.png", painted.mask)
            if objects:
                write_png(work / "instances" / f"{stem}.png", painted.instances)
            done.frames += 1
            done.objects += int(painted.instances.max(initial=0))
            done.overlapped += painted.overlapped
            if progress:
                progress(number, len(source.pictures))
        _write_facts(work, known, stems, done)
        load_dataset([work])
    return done


def export_labels(
    kind: str, folder: Path, out: Path, *, polygons: bool = False, progress: Progress | None = None
) -> Conversion:
    """Write a dataset folder in another tool's format, then read it back and compare.

    polygons: outlines instead of masks. Raises UsageError for a path that is not there or in the
    way, DatasetError for a folder that cannot be read or a format that cannot hold it, and
    InspectionError when the mask of a frame does not come back as it was.
    """
    ours = our_set(folder)
    done = Conversion(classes=ours.known.names)
    with new_folder(out) as work:
        FORMATS[kind].write(ours, work, polygons=polygons)
        write_json(work / SIDECAR, ours.known.json())
        _compare(FORMATS[kind].read(work, ReadOptions()), ours.frames(), done, progress)
    if done.changed:
        done.warnings.append(
            f"{done.changed_objects} objects more or fewer would come back, in {_named(done.changed)}:"
            f" {kind} has no place for pixels of a class that belong to no object; --to coco keeps them."
        )
    return done


def _given(request: ImportRequest) -> Known | None:
    """What --like, or the sidecar of an export, says of the set; None without either."""
    if request.like is not None:
        if not request.like.is_dir():
            raise UsageError(
                f"{request.like} is not there; name the dataset folder whose split is to be kept."
            )
        return of_folder(request.like)
    if request.classes is not None:
        return None
    beside = request.where if request.where.is_dir() else request.where.parent
    for folder in (beside, *([beside.parent] if beside.name == "annotations" else [])):
        if (folder / SIDECAR).is_file():
            return of_sidecar(folder / SIDECAR)
    return None


def _by_labels(request: ImportRequest, source: Source) -> Known:
    """The classes of --classes, or those that the labels name."""
    if request.classes is not None:
        return of_class_list(request.classes)
    if not source.names:
        raise DatasetError(
            f"{request.where} names no class and shows none; give the classes by --classes if every part is"
            " good."
        )
    return Known(checked_names(source.names, request.where))


def _imported(
    picture: LabelledPicture, source: Source, ids: dict[str, int], images: Path
) -> tuple[str, Painted]:
    """Copy one picture and paint its labels; (stem, what was painted)."""
    path = find_picture(picture.name, source.roots)
    if path is None and picture.embedded is None:
        raise DatasetError(
            f"{plain_name(picture.name)} is labelled, but the picture is not in {source.roots[0]}; name its"
            " folder by --images."
        )
    name = path.name if path else Path(plain_name(picture.name)).name
    try:
        data = path.read_bytes() if path else picture.embedded or b""
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    size = check_picture(data, name, picture.size)
    (images / name).write_bytes(data)
    return Path(name).stem, _painted(picture, size, ids)


def _painted(picture: LabelledPicture, size: Size, ids: dict[str, int]) -> Painted:
    try:
        return paint(picture.regions(size), size, ids)
    except DatasetError as error:
        raise DatasetError(f"{plain_name(picture.name)}: {error}") from error


def _write_facts(work: Path, known: Known, stems: dict[str, LabelledPicture], done: Conversion) -> None:
    """classes.json, and split and parts as far as anything is known of them."""
    write_json(work / "classes.json", {str(number): name for number, name in known.names.items()})
    sides = {stem: known.split.get(stem) or picture.split for stem, picture in sorted(stems.items())}
    if known.split or "test" in sides.values():
        new = [stem for stem, side in sides.items() if side is None]
        if new:
            done.notes.append(
                f"{len(new)} frames have no side of the split and go to train, {new[0]} among them."
            )
        lists = {
            name: [stem for stem, side in sides.items() if (side or "train") == name]
            for name in ("train", "test")
        }
        write_json(work / "split.json", lists)
    if parts := {stem: known.parts[stem] for stem in sides if stem in known.parts}:
        write_json(work / "parts.json", parts)
    if done.overlapped:
        done.notes.append(f"{done.overlapped} px are claimed by two labels; the later one has them.")


def _compare(source: Source, frames: Iterable[Frame], done: Conversion, progress: Progress | None) -> None:
    """Read an export back and count the objects more or fewer. Raises InspectionError for a changed pixel."""
    written = {Path(plain_name(picture.name)).stem: picture for picture in source.pictures}
    ids = {name: class_id for class_id, name in done.classes.items()}
    for number, frame in enumerate(frames, start=1):
        again = _painted(written[frame.stem], frame.size, ids)
        wrong = int(np.count_nonzero(again.mask != frame.mask))
        if wrong:
            raise InspectionError(
                f"{frame.stem} does not come back as it was ({wrong} px); report this as a fault, and export"
                " without --polygons or to another format."
            )
        objects = paint(frame.regions, frame.size, ids).instances
        if frame.instances is not None and (off := _changed_objects(objects, again.instances)):
            done.changed_objects += off
            done.changed.append(frame.stem)
        done.frames += 1
        done.objects += int(objects.max(initial=0))
        if progress:
            progress(number, len(written))


def _named(stems: list[str]) -> str:
    more = f" and {len(stems) - MOST_NAMED} more" if len(stems) > MOST_NAMED else ""
    return ", ".join(stems[:MOST_NAMED]) + more


def _changed_objects(before: NDArray[np.uint16], after: NDArray[np.uint16]) -> int:
    """Objects more or fewer: pieces of one that came back as several, several as one, none as one."""
    pairs = np.unique(np.stack([before[before > 0], after[before > 0]]), axis=1)
    cut = pairs.shape[1] - len(np.unique(pairs[0]))
    merged = pairs.shape[1] - len(np.unique(pairs[1]))
    made = len(np.setdiff1d(after[before == 0], [0, *pairs[1]]))
    return int(cut + merged + made)
