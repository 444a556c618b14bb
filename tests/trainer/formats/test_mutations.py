"""Label files changed at random: a sentence or a dataset folder, never a traceback or half a folder."""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inspector.errors import InspectionError
from trainer.formats.convert import ImportRequest, export_labels, import_labels

JUNK = (
    None, True, -1, 0, 3.5, float("nan"), 1e300, 2**40, "", "x", "a.png", "../../x", "0,0,0,0",
    [], {}, [[]], [None], {"a": 1}, [1, 2, 3, 4, 5, 6],
)  # fmt: skip
ROUNDS = 60


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a JSON document."""
    if path:
        yield path
    inner = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for key, value in inner:
        yield from places(value, (*path, key))


def changed(document: Any, chance: random.Random) -> Any:
    """The document with one value replaced by junk or taken out."""
    mutant = copy.deepcopy(document)
    *way, last = chance.choice(list(places(mutant)))
    holder = mutant
    for key in way:
        holder = holder[key]
    if isinstance(holder, dict) and chance.random() < 0.3:
        del holder[last]
    else:
        holder[last] = chance.choice(JUNK)
    return mutant


@pytest.mark.parametrize("polygons", [False, True])
@pytest.mark.parametrize("kind", ["coco", "labelstudio", "labelme"])
def test_changed_json_is_imported_or_refused(
    kind: str, polygons: bool, awkward: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels"
    export_labels(kind, awkward, labels, polygons=polygons)
    (labels / "dataset.json").unlink()
    path = max(labels.rglob("*.json"), key=lambda found: found.stat().st_size)
    document = json.loads(path.read_text())
    chance = random.Random(f"{kind}{polygons}")
    for _ in range(ROUNDS):
        path.write_text(json.dumps(changed(document, chance)))
        try:
            import_labels(ImportRequest(kind, labels, tmp_path / "out"))
        except InspectionError as error:
            assert "\n" not in str(error)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        assert [found.name for found in tmp_path.iterdir()] == ["labels"]


@pytest.mark.parametrize("polygons", [False, True])
def test_changed_xml_is_imported_or_refused(polygons: bool, awkward: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    export_labels("cvat", awkward, labels, polygons=polygons)
    path = labels / "annotations.xml"
    text = path.read_text()
    chance = random.Random(4)
    for _ in range(ROUNDS):
        at = chance.randrange(len(text))
        path.write_text(
            text[:at] + chance.choice(["", "9", "-", "x", ",", '"', "<", "&amp;"]) + text[at + 1 :]
        )
        try:
            import_labels(ImportRequest("cvat", labels, tmp_path / "out"))
        except InspectionError as error:
            assert error.exit_code == 2
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        assert [found.name for found in tmp_path.iterdir()] == ["labels"]
