"""Dataset folder -> format -> dataset folder: no pixel, object, class, split or part changes."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspector.errors import InspectionError
from trainer.dataset import load_dataset
from trainer.formats import labelme
from trainer.formats.convert import FORMATS, Conversion, ImportRequest, export_labels, import_labels
from trainer.formats.polygons import filled

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
    assert done.changed_objects == 0
    assert_same_facts(folder, tmp_path / "back")


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "voc"])
@pytest.mark.parametrize("which", ["generated", "awkward"])
def test_polygons_are_as_exact(kind: str, which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder: Path = request.getfixturevalue(which)
    done = there_and_back(kind, folder, tmp_path, polygons=True)
    assert changed(folder, tmp_path / "back", "masks", "instances") == []
    assert (done.changed_objects, done.warnings) == (0, [])


def test_a_pixel_that_would_not_come_back_refuses_the_export(
    awkward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other releases of Pillow fill polygons otherwise."""
    monkeypatch.setattr(labelme, "drawn", lambda points, size: filled([points], size))
    with pytest.raises(
        InspectionError, match=r"a does not come back as it was \(\d+ px\); .*--polygons"
    ) as told:
        export_labels("labelme", awkward, tmp_path / "out", polygons=True)
    assert told.value.exit_code == 1 and not (tmp_path / "out").exists()


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
    if kind in ("coco", "voc"):
        assert (done.changed_objects, done.changed, done.warnings) == (0, [], [])
    else:
        assert (done.changed_objects, done.changed) == (1, ["a"])
        assert "1 objects more or fewer would come back, in a: " in done.warnings[0]
        assert done.warnings[0].endswith("--to coco keeps them.")


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


NO_PARTS = "No parts came with the labels: validation may cut through a part; --like DATASET keeps"
NO_SPLIT = (
    "No split and no parts came with the labels: every frame trains, and validation may cut through a part;"
    " --like DATASET keeps"
)


@pytest.mark.parametrize("kind", FORMATS)
def test_what_a_tool_does_not_bring_back_is_said_with_what_keeps_it(
    kind: str, awkward: Path, tmp_path: Path
) -> None:
    export_labels(kind, awkward, tmp_path / "out")
    asked = ImportRequest(kind, tmp_path / "out", tmp_path / "whole")
    assert import_labels(asked).warnings == []
    (tmp_path / "out" / "dataset.json").unlink()  # as when the tool exported it anew
    split_stays = kind in ("coco", "cvat", "voc")
    [said] = import_labels(replace(asked, out=tmp_path / "bare")).warnings
    assert said.startswith(NO_PARTS if split_stays else NO_SPLIT)
    assert (tmp_path / "bare" / "split.json").exists() == split_stays
    assert import_labels(replace(asked, out=tmp_path / "like", like=awkward)).warnings == []


def test_label_studio_keeps_ids_by_the_interface_beside_its_tasks(awkward: Path, tmp_path: Path) -> None:
    """Alphabetically "Loch" comes before "scratch", and its id is 7."""
    export_labels("labelstudio", awkward, tmp_path / "out")
    (tmp_path / "out" / "dataset.json").unlink()
    import_labels(ImportRequest("labelstudio", tmp_path / "out", tmp_path / "back"))
    assert changed(awkward, tmp_path / "back", "masks", "instances") == []
    names = json.loads((awkward / "classes.json").read_text())
    assert json.loads((tmp_path / "back" / "classes.json").read_text()) == names


@pytest.mark.parametrize(("kind", "listing"), [("labelstudio", "labeling.xml"), ("labelme", "labels.txt")])
def test_ids_in_alphabetical_order_are_said(kind: str, listing: str, awkward: Path, tmp_path: Path) -> None:
    export_labels(kind, awkward, tmp_path / "out")
    for name in ("dataset.json", listing):
        (tmp_path / "out" / name).unlink()
    asked = ImportRequest(kind, tmp_path / "out", tmp_path / "back")
    done = import_labels(asked)
    assert done.classes == {1: "Loch & Riß", 2: "scratch"}
    assert done.warnings[0].startswith(
        "Class ids are given in alphabetical order of the names; --like DATASET"
    )
    listed = replace(asked, out=tmp_path / "listed", classes=awkward / "classes.json")
    assert [words for words in import_labels(listed).warnings if "Class ids" in words] == []


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
