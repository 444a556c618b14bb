"""Dataset folders: what loads, how it is split, and what a user reads when it cannot be used."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspector.errors import DatasetError
from trainer.dataset import load_dataset

REAL = Path(os.environ.get("INSPECTION_DATASETS", Path(__file__).parents[3] / "shared" / "datasets"))
CLASSES = {
    "deepcrack_256": 1, "dsb2018_nuclei": 1, "isbi2012_em": 1, "magnetic_tile": 5, "masonry_crack": 1,
}  # fmt: skip


def write(folder: Path, stem: str, ids: list[int], size: int = 24, colour: bool = False) -> None:
    """A picture of `size` pixels with a block of each class id."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    mask = np.zeros((size, size), np.uint8)
    for n, class_id in enumerate(ids):
        mask[2:6, 5 * n : 5 * n + 4] = class_id
    image = np.where(mask > 0, 30, 200).astype(np.uint8)
    cv2.imwrite(str(folder / "images" / f"{stem}.png"), cv2.merge([image] * 3) if colour else image)
    cv2.imwrite(str(folder / "masks" / f"{stem}.png"), mask)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n in range(20):
        write(tmp_path / "d", f"f{n:02}", [1] if n % 2 else [])
    return tmp_path / "d"


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_real_folders_load_as_they_are(name: str) -> None:
    if not (REAL / name).is_dir():
        pytest.skip(f"{REAL / name} is missing; set INSPECTION_DATASETS")
    dataset = load_dataset([REAL / name])
    split = json.loads((REAL / name / "split.json").read_text())
    assert len(dataset.classes) == CLASSES[name]
    assert len(dataset.split("train")) == len(split["train"])
    assert len(dataset.split("test")) == len(split["test"])
    for sample in dataset.samples[::17]:
        image, mask, instances = sample.read()
        assert image.shape == mask.shape + ((3,) if dataset.channels == 3 else ())
        assert (instances is not None) == (name == "dsb2018_nuclei")


def test_validation_is_cut_from_train_by_part(folder: Path) -> None:
    (folder / "parts.json").write_text(json.dumps({f"f{n:02}": f"p{n // 2}" for n in range(20)}))
    stems = [f"f{n:02}" for n in range(20)]
    (folder / "split.json").write_text(json.dumps({"train": stems[:16], "test": stems[16:]}))
    train, held_out = load_dataset([folder]).validation(0.25, seed=3)
    assert {s.stem for s in train} | {s.stem for s in held_out} == set(stems[:16])
    assert not {s.part for s in train} & {s.part for s in held_out}
    assert 2 <= len(held_out) <= 6


def test_validation_holds_every_class_that_two_parts_show(tmp_path: Path) -> None:
    for n in range(20):
        write(tmp_path, f"f{n:02}", [2] if n < 2 else [1])
    train, held_out = load_dataset([tmp_path]).validation(0.1, seed=0)
    for samples in (train, held_out):
        assert {1, 2} <= {int(i) for s in samples for i in np.unique(s.mask())}


def test_few_frames_beside_many_are_all_trained_on(folder: Path, tmp_path: Path) -> None:
    for n in range(3):
        write(tmp_path / "flagged", f"x{n}", [1])
    train, _ = load_dataset([folder, tmp_path / "flagged"]).validation()
    assert sum(s.folder.name == "flagged" for s in train) == 3


def test_few_frames_alone_serve_twice_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "a", [1])
    train, held_out = load_dataset([tmp_path]).validation()
    assert train == held_out
    assert "says nothing about others" in caplog.text


def test_one_part_is_cut_by_frame_and_it_is_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "parts.json").write_text(json.dumps({f"f{n:02}": "one" for n in range(20)}))
    train, held_out = load_dataset([folder]).validation()
    assert train and held_out and not {s.stem for s in train} & {s.stem for s in held_out}
    assert "flatters" in caplog.text


def test_ids_of_several_folders_are_mapped_by_name(tmp_path: Path) -> None:
    write(tmp_path / "a", "x", [1, 2])
    (tmp_path / "a" / "classes.json").write_text('{"1": "scratch", "2": "dent"}')
    write(tmp_path / "b", "y", [7])
    (tmp_path / "b" / "classes.json").write_text('{"7": "dent"}')
    dataset = load_dataset([tmp_path / "a", tmp_path / "b"])
    assert dataset.classes == ("scratch", "dent")
    assert np.unique(dataset.samples[1].mask()).tolist() == [0, 2]


def test_classes_are_counted_where_no_file_names_them(tmp_path: Path) -> None:
    write(tmp_path, "x", [1, 3])
    assert load_dataset([tmp_path]).classes == ("class_1", "class_2", "class_3")


def test_colour_is_read_where_a_picture_is_stored_in_colour(tmp_path: Path) -> None:
    write(tmp_path, "x", [1], colour=True)
    assert load_dataset([tmp_path]).channels == 3
    assert load_dataset([tmp_path], channels=1).samples[0].image().ndim == 2


def test_hash_follows_every_byte(folder: Path) -> None:
    before = load_dataset([folder]).sha256()
    assert load_dataset([folder]).sha256() == before
    write(folder, "f00", [1])
    assert load_dataset([folder]).sha256() != before


def test_hash_follows_classes_parts_and_split(folder: Path) -> None:
    """All decide which frames train, validate and are the exam; a resumed run asks for the same hash."""
    stems = [f"f{n:02}" for n in range(20)]
    plain = load_dataset([folder])
    seen, contents = [plain.sha256()], {
        "classes.json": {"1": "scratch"},
        "parts.json": {stem: f"p{n // 2}" for n, stem in enumerate(stems)},
        "split.json": {"train": stems[:12], "test": stems[12:]},
    }  # fmt: skip
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content))
        seen.append(load_dataset([folder]).sha256())
    (folder / "split.json").write_text(json.dumps({"train": stems[8:], "test": stems[:8]}))
    seen.append(load_dataset([folder]).sha256())
    assert len(set(seen)) == len(seen) == 5
    last = load_dataset([folder])
    assert last.files_sha256() == plain.files_sha256(), "what earlier versions named the data by"
    assert [last.has_sha256(kept) for kept in (*seen, last.files_sha256())] == [*[False] * 4, True, True]
    assert not last.has_sha256("0" * 64)


def test_a_folder_that_is_moved_or_made_of_links_keeps_its_hash(folder: Path, tmp_path: Path) -> None:
    stems = [f"f{n:02}" for n in range(20)]
    (folder / "parts.json").write_text(json.dumps({stem: f"p{n // 2}" for n, stem in enumerate(stems)}))
    (folder / "split.json").write_text(json.dumps({"train": stems[:12], "test": stems[12:]}))
    before, linked = load_dataset([folder]).sha256(), tmp_path / "links"
    linked.mkdir()
    (linked / "masks").symlink_to(folder / "masks")
    (linked / "images").mkdir()
    for path in (folder / "images").iterdir():
        (linked / "images" / path.name).symlink_to(path)
    for name in ("parts.json", "split.json"):
        (linked / name).symlink_to(folder / name)
    assert load_dataset([linked]).sha256() == before
    assert load_dataset([folder.rename(tmp_path / "moved")]).sha256() == before


def test_of_several_folders_the_order_of_their_names_counts(tmp_path: Path) -> None:
    """It decides which parts validate."""
    for name, size in (("a", 24), ("b", 30)):
        for n in range(10):
            write(tmp_path / name, f"f{n}", [1], size=size)

    def told(*names: str) -> tuple[str, list[tuple[int, str]]]:
        dataset = load_dataset([tmp_path / name for name in names])
        return dataset.sha256(), [(len(s.mask()), s.stem) for s in dataset.validation()[1]]

    before = told("a", "b")
    (tmp_path / "b").rename(tmp_path / "c")
    assert told("a", "c") == before
    (tmp_path / "a").rename(tmp_path / "d")
    after = told("d", "c")
    assert after[1] != before[1] and after[0] != before[0]


def _mask_of_another_size(folder: Path) -> None:
    cv2.imwrite(str(folder / "masks" / "f00.png"), np.zeros((24, 25), np.uint8))


def _unnamed_class(folder: Path) -> None:
    (folder / "classes.json").write_text('{"1": "scratch"}')
    cv2.imwrite(str(folder / "masks" / "f00.png"), np.full((24, 24), 9, np.uint8))


def _no_mask(folder: Path) -> None:
    (folder / "masks" / "f00.png").unlink()


def _no_defects(folder: Path) -> None:
    for path in (folder / "masks").iterdir():
        cv2.imwrite(str(path), np.zeros((24, 24), np.uint8))


def _broken_image(folder: Path) -> None:
    (folder / "images" / "f00.png").write_bytes(b"no picture")


def _broken_json(folder: Path) -> None:
    (folder / "split.json").write_text("{")


def _unknown_stem(folder: Path) -> None:
    (folder / "split.json").write_text('{"train": ["nowhere"], "test": []}')


def _part_on_both_sides(folder: Path) -> None:
    stems = [f"f{n:02}" for n in range(20)]
    (folder / "parts.json").write_text(json.dumps(dict.fromkeys(stems, "one")))
    (folder / "split.json").write_text(json.dumps({"train": stems[:10], "test": stems[10:]}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_mask_of_another_size, r"f00\.png is 24x25 but its image f00\.png is 24x24; draw"),
        (_unnamed_class, r"class id 9, which .*classes\.json does not name; name it"),
        (_no_mask, r"masks/f00\.png is missing; draw"),
        (_no_defects, r"nothing to learn"),
        (_broken_image, r"f00\.png is not an image"),
        (_broken_json, r"split\.json is not JSON"),
        (_unknown_stem, r"'nowhere' under train"),
        (_part_on_both_sides, r"part 'one' in train and in test"),
    ],
)
def test_bad_data_gets_one_sentence_with_a_remedy(folder: Path, spoil: object, words: str) -> None:
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(DatasetError, match=words) as caught:
        for sample in load_dataset([folder]).samples:
            sample.read()
    assert "\n" not in str(caught.value)
