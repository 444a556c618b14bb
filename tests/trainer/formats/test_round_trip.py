"""Dataset folder -> format -> dataset folder: no pixel, object, class, split or part changes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from trainer.dataset import load_dataset
from trainer.formats.convert import FORMATS, Conversion, ImportRequest, export_labels, import_labels

REAL = Path(os.environ.get("INSPECTION_DATASETS", Path(__file__).parents[4] / "shared" / "datasets"))


def there_and_back(kind: str, folder: Path, tmp_path: Path, polygons: bool = False) -> Conversion:
    """The conversion's own account; the folder that came back is tmp_path / back."""
    done = export_labels(kind, folder, tmp_path / "out", polygons=polygons)
    import_labels(ImportRequest(kind, tmp_path / "out", tmp_path / "back"))
    load_dataset([tmp_path / "back"])
    return done


def changed(folder: Path, back: Path, *names: str) -> list[str]:
    """Label files whose pixels, size or depth differ; a missing folder counts as one."""
    found = []
    for name in names:
        if (folder / name).is_dir() != (back / name).is_dir():
            found.append(name)
            continue
        for path in sorted((folder / name).glob("*.png")):
            one, other = (cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in (path, back / name / path.name))
            if one.dtype != other.dtype or not np.array_equal(one, other):
                found.append(f"{name}/{path.name}")
    return found


def assert_same_facts(folder: Path, back: Path) -> None:
    """Pictures byte for byte; classes, split and parts as they were."""
    pictures = {path.name: path.read_bytes() for path in (folder / "images").iterdir()}
    assert {path.name: path.read_bytes() for path in (back / "images").iterdir()} == pictures
    for name in ("classes", "parts", "split"):
        if (folder / f"{name}.json").exists():
            before, after = (json.loads((f / f"{name}.json").read_text()) for f in (folder, back))
            if name == "split":
                before = {side: sorted(stems) for side, stems in before.items()}
            assert after == before


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("which", ["generated", "awkward"])
def test_masks_come_back_without_a_changed_pixel(
    kind: str, which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder: Path = request.getfixturevalue(which)
    done = there_and_back(kind, folder, tmp_path)
    assert changed(folder, tmp_path / "back", "masks", "instances") == []
    assert (done.changed_px, done.changed_objects) == (0, 0)
    assert_same_facts(folder, tmp_path / "back")


@pytest.mark.parametrize("kind", ["coco", "cvat"])
@pytest.mark.parametrize("which", ["generated", "awkward"])
def test_polygons_of_coco_and_cvat_are_as_exact(
    kind: str, which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder: Path = request.getfixturevalue(which)
    done = there_and_back(kind, folder, tmp_path, polygons=True)
    assert changed(folder, tmp_path / "back", "masks", "instances") == []
    assert (done.changed_px, done.changed_objects) == (0, 0)


def test_polygons_of_label_studio_keep_masks_and_part_the_pieces(awkward: Path, tmp_path: Path) -> None:
    done = there_and_back("labelstudio", awkward, tmp_path, polygons=True)
    assert changed(awkward, tmp_path / "back", "masks") == []
    assert done.changed_px == 0
    assert done.changed_objects == 2  # in two frames the fifth object has two pieces


def test_polygons_of_labelme_fill_holes_and_say_how_many_pixels(awkward: Path, tmp_path: Path) -> None:
    done = there_and_back("labelme", awkward, tmp_path, polygons=True)
    assert changed(awkward, tmp_path / "back", "masks") == ["masks/a.png", "masks/b.c.png"]
    # The hole of 3x5 less the pixel in it, and the one of 3x3, in each of two frames.
    assert (done.changed_px, done.changed_objects) == (2 * (14 + 9), 0)


def test_polygons_of_labelme_are_exact_without_holes(awkward: Path, tmp_path: Path) -> None:
    solid = tmp_path / "solid"
    shutil.copytree(awkward, solid)
    for stem in ("a", "b.c"):
        for name in ("masks", "instances"):
            path = solid / name / f"{stem}.png"
            plane = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            plane[2:14, 2:16] = 1
            cv2.imwrite(str(path), plane)
    there_and_back("labelme", solid, tmp_path, polygons=True)
    assert changed(solid, tmp_path / "back", "masks") == []


@pytest.mark.parametrize("kind", FORMATS)
def test_without_instances_none_are_invented(kind: str, awkward: Path, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    shutil.copytree(awkward, folder, ignore=lambda *_: ["instances", "split.json", "parts.json"])
    there_and_back(kind, folder, tmp_path)
    assert changed(folder, tmp_path / "back", "masks", "instances") == []
    assert not (tmp_path / "back" / "split.json").exists()


@pytest.mark.parametrize("kind", FORMATS)
def test_class_pixels_of_no_instance_keep_their_class(kind: str, awkward: Path, tmp_path: Path) -> None:
    folder = tmp_path / "crowd"
    shutil.copytree(awkward, folder)
    path = folder / "instances" / "a.png"
    plane = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    plane[plane == 4] = 0
    plane[plane == 5] = 4
    cv2.imwrite(str(path), plane)
    done = there_and_back(kind, folder, tmp_path)
    kept = ("masks", "instances") if kind in ("coco", "voc") else ("masks",)
    assert changed(folder, tmp_path / "back", *kept) == []
    assert done.changed_objects == (0 if kind in ("coco", "voc") else 1)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", ["dsb2018_nuclei", "magnetic_tile"])
def test_real_frames_come_back_as_they_were(kind: str, name: str, tmp_path: Path) -> None:
    if not (REAL / name).is_dir():
        pytest.skip(f"{REAL / name} is missing; set INSPECTION_DATASETS")
    listed = json.loads((REAL / name / "split.json").read_text())
    split = {side: stems[:: max(1, len(stems) // 3)][:3] for side, stems in listed.items()}
    folder = tmp_path / "some"
    for part in ("images", "masks", "instances"):
        if (REAL / name / part).is_dir():
            (folder / part).mkdir(parents=True)
            for path in (REAL / name / part).iterdir():
                if path.stem in split["train"] + split["test"]:
                    shutil.copyfile(path, folder / part / path.name)
    (folder / "split.json").write_text(json.dumps(split))
    there_and_back(kind, folder, tmp_path)
    assert changed(folder, tmp_path / "back", "masks", "instances") == []
    assert_same_facts(folder, tmp_path / "back")


def test_like_keeps_ids_split_and_parts_of_labels_that_come_without(awkward: Path, tmp_path: Path) -> None:
    export_labels("cvat", awkward, tmp_path / "out")
    (tmp_path / "out" / "dataset.json").unlink()  # as when CVAT exported it anew
    request = ImportRequest("cvat", tmp_path / "out", tmp_path / "back", like=awkward)
    import_labels(request)
    assert changed(awkward, tmp_path / "back", "masks", "instances") == []
    assert_same_facts(awkward, tmp_path / "back")


def test_frames_that_like_does_not_know_go_to_train_and_it_is_said(awkward: Path, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(awkward, older)
    for name in ("images/a.png", "masks/a.png", "instances/a.png"):
        (older / name).unlink()
    (older / "split.json").write_text(json.dumps({"train": ["d e"], "test": ["b.c"]}))
    export_labels("labelme", awkward, tmp_path / "out")
    done = import_labels(ImportRequest("labelme", tmp_path / "out", tmp_path / "back", like=older))
    split = json.loads((tmp_path / "back" / "split.json").read_text())
    assert split == {"train": ["a", "d e"], "test": ["b.c"]}
    assert any("train, a among them" in note for note in done.notes)
