"""Parts of the real sets: what the names tell, joined by what the pictures show, never across the split."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import parts


def test_exposures_of_one_tile_follow_each_other():
    shots = ["crack_exp4_num_85602", "crack_exp6_num_85665", "crack_exp1_num_85781", "crack_exp2_num_85846"]
    later = ["crack_exp3_num_90000", "fray_exp3_num_85850"]
    found = parts.exposures([*later, *reversed(shots)])
    assert found[shots[0]] == found[shots[1]] != found[shots[2]] == found[shots[3]]
    assert len({found[shots[0]], found[shots[2]], found[later[0]], found[later[1]]}) == 4


@pytest.mark.parametrize(
    ("rule", "one", "same", "other"),
    [
        (parts.photographs, "a_0_10", "a_0_16", "a_10_0"),
        (parts.crops, "train_11116", "train_11116-3", "train_11119"),
        (parts.slices, "slice_03", "slice_05", "slice_06"),
    ],
)
def test_what_the_names_tell(rule, one, same, other):
    found = rule([one, same, other])
    assert found[one] == found[same] != found[other]


def interrupted(_folder: Path) -> None:
    raise KeyboardInterrupt


def test_names_and_pictures_join_parts_but_never_across_the_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = tmp_path / "sets" / "masonry_crack"
    for kind in ("images", "masks"):
        (source / kind).mkdir(parents=True)
    seeds = {"a_1_0": 1, "a_1_1": 2, "b_9_0": 2, "b_9_1": 3, "c_4_0": 1, "d_5_0": 4}
    for stem, seed in seeds.items():
        picture = np.random.default_rng(seed).integers(0, 256, (200, 200), np.uint8)
        cv2.imwrite(str(source / "images" / f"{stem}.png"), cv2.GaussianBlur(picture, (0, 0), 2))
        cv2.imwrite(str(source / "masks" / f"{stem}.png"), np.eye(200, dtype=np.uint8))
    split = {"train": ["a_1_0", "a_1_1", "b_9_0", "d_5_0"], "test": ["b_9_1", "c_4_0"]}
    (source / "split.json").write_text(json.dumps(split))
    monkeypatch.setattr(parts, "datasets", lambda: tmp_path / "sets")
    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(parts, "lint", interrupted)
        parts.with_parts("masonry_crack", tmp_path / "view")
    folder = parts.with_parts("masonry_crack", tmp_path / "view")
    found = json.loads((folder / "parts.json").read_text())
    # a_1_1 and b_9_0 are one picture; b_9_1 bears b_9_0's name and c_4_0 is a_1_0, but both are for the test.
    assert found["a_1_0"] == found["a_1_1"] == found["b_9_0"] != found["d_5_0"]
    assert not {found[stem] for stem in split["train"]} & {found[stem] for stem in split["test"]}
    assert (folder / "images" / "a_1_0.png").read_bytes() == (source / "images" / "a_1_0.png").read_bytes()
    assert not (source / "parts.json").exists()


def test_what_is_held_back_is_cut_from_the_train_split_by_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = tmp_path / "sets" / "dsb2018_nuclei"
    train, exam = [f"n{number:02}" for number in range(9)], ["n90", "n91"]
    for kind in ("images", "masks", "instances"):
        (source / kind).mkdir(parents=True)
        for number, stem in enumerate([*train, *exam]):
            picture = np.random.default_rng(number).integers(0, 2, (40, 40), np.uint8)
            cv2.imwrite(str(source / kind / f"{stem}.png"), picture)
    (source / "split.json").write_text(json.dumps({"train": train, "test": exam}))
    monkeypatch.setattr(parts, "datasets", lambda: tmp_path / "sets")
    folder = parts.held_back("dsb2018_nuclei", tmp_path / "views" / "dsb2018_nuclei")
    split = json.loads((folder / "split.json").read_text())
    assert sorted(split["train"] + split["test"]) == train
    part = json.loads((folder / "parts.json").read_text())
    sides = [{part[stem] for stem in split[side]} for side in ("train", "test")]
    assert not sides[0] & sides[1]
    assert len(sides[1]) == -(-(len(sides[0] | sides[1]) - 1) // parts.HELD_BACK)
    for kind in ("images", "masks", "instances"):
        assert sorted(path.stem for path in (folder / kind).iterdir()) == train
