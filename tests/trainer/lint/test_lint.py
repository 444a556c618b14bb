"""A dataset folder with each kind of trouble, and what lint says of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from inspector.errors import DatasetError, UsageError
from trainer.cli.lint import lint as command
from trainer.lint.check import lint
from trainer.lint.findings import Report
from trainer.lint.text import json_of, text_of

REAL = Path(os.environ.get("INSPECTION_DATASETS", Path(__file__).parents[4] / "shared" / "datasets"))
SIZE = 64


def write(folder: Path, stem: str, ids: list[int], seed: int | None = None) -> None:
    """A textured picture of its own with a dark block for each class id."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(int(stem[1:]) if seed is None else seed)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for n, class_id in enumerate(ids):
        mask[20:32, 15 * n + 5 : 15 * n + 13] = class_id
    image = cv2.GaussianBlur(rng.normal(150, 60, (SIZE, SIZE)), (0, 0), 1.5)
    image = np.where(mask > 0, 20, image).clip(0, 255).astype(np.uint8)
    cv2.imwrite(str(folder / "images" / f"{stem}.png"), image)
    cv2.imwrite(str(folder / "masks" / f"{stem}.png"), mask)


def split(folder: Path, test: range, count: int = 30) -> None:
    lists = {
        "train": [f"f{n:02}" for n in range(count) if n not in test], "test": [f"f{n:02}" for n in test]
    }  # fmt: skip
    (folder / "split.json").write_text(json.dumps(lists))


@pytest.fixture(scope="module")
def clean_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    for n in range(60):
        write(folder, f"f{n:02}", [1] if n % 2 else [])
    (folder / "classes.json").write_text('{"1": "scratch"}')
    split(folder, range(20, 60), 60)
    return folder


def found(report: Report) -> dict[str, str]:
    return {finding.code: finding.level for finding in report.findings}


def places(report: Report, code: str) -> tuple[str, ...]:
    return next(finding.places for finding in report.findings if finding.code == code)


def test_a_clean_folder_is_clean_and_its_table_counts(clean_folder: Path) -> None:
    report = lint(clean_folder)
    assert found(report) == {}
    row = report.classes["scratch"]["test"]
    assert (row.defects, row.frames, row.pixels) == (20, 20, 20 * 96)
    assert report.frames == {"train": 20, "test": 40} and report.good == {"train": 10, "test": 20}
    assert "Clean." in text_of(report) and "60 frames (20 train, 40 test); 64x64" in text_of(report)


def _broken(folder: Path) -> None:
    (folder / "images" / "f03.png").write_bytes(b"no picture")


def _cut_off(folder: Path) -> None:
    path = folder / "masks" / "f03.png"
    path.write_bytes(path.read_bytes()[:40])


def _small_mask(folder: Path) -> None:
    cv2.imwrite(str(folder / "masks" / "f03.png"), np.zeros((SIZE, SIZE // 2), np.uint8))


def _unnamed(folder: Path) -> None:
    cv2.imwrite(str(folder / "masks" / "f03.png"), np.full((SIZE, SIZE), 9, np.uint8))


def _coloured(folder: Path) -> None:
    cv2.imwrite(str(folder / "masks" / "f03.png"), np.zeros((SIZE, SIZE, 3), np.uint8))


def _no_mask(folder: Path) -> None:
    (folder / "masks" / "f03.png").unlink()


def _white(folder: Path) -> None:
    path = folder / "masks" / "f03.png"
    cv2.imwrite(str(path), cv2.imread(str(path), -1) * 255)


def _speck(folder: Path) -> None:
    path = folder / "masks" / "f03.png"
    mask = cv2.imread(str(path), -1)
    mask[60, 60] = 1
    cv2.imwrite(str(path), mask)


def _soft(folder: Path) -> None:
    (folder / "classes.json").unlink()
    cv2.imwrite(str(folder / "masks" / "f03.png"), np.tile(np.arange(SIZE, dtype=np.uint8), (SIZE, 1)))


def _instances_of_other_size(folder: Path) -> None:
    (folder / "instances").mkdir()
    cv2.imwrite(str(folder / "instances" / "f03.png"), np.zeros((9, 9), np.uint16))


def _instances_on_good(folder: Path) -> None:
    (folder / "instances").mkdir()
    cv2.imwrite(str(folder / "instances" / "f04.png"), np.ones((SIZE, SIZE), np.uint16))


def _lone_mask(folder: Path) -> None:
    cv2.imwrite(str(folder / "masks" / "f99.png"), np.zeros((SIZE, SIZE), np.uint8))


def _two_of_a_stem(folder: Path) -> None:
    cv2.imwrite(str(folder / "images" / "f03.bmp"), np.zeros((SIZE, SIZE), np.uint8))


def _foreign_file(folder: Path) -> None:
    (folder / "images" / "f77.webp").write_bytes(b"RIFF")


def _colour_picture(folder: Path) -> None:
    path = folder / "images" / "f03.png"
    cv2.imwrite(str(path), cv2.cvtColor(cv2.imread(str(path), 0), cv2.COLOR_GRAY2BGR))


def _broken_split(folder: Path) -> None:
    (folder / "split.json").write_text("{")


def _no_split(folder: Path) -> None:
    (folder / "split.json").unlink()


def _unlisted(folder: Path) -> None:
    split(folder, range(20, 29), 29)


def _on_both_sides(folder: Path) -> None:
    lists = json.loads((folder / "split.json").read_text())
    lists["test"].append("f00")
    (folder / "split.json").write_text(json.dumps(lists))


def _part_cut(folder: Path) -> None:
    (folder / "parts.json").write_text(json.dumps({"f14": "housing", "f15": "housing"}))


def _same_in_test(folder: Path) -> None:
    image = cv2.imread(str(folder / "images" / "f00.png"), 0)
    brighter = cv2.resize((image * 0.6 + 60).astype(np.uint8), (80, 72), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(folder / "images" / "f20.png"), brighter)
    cv2.imwrite(str(folder / "masks" / "f20.png"), np.zeros((72, 80), np.uint8))


def _class_in_test_only(folder: Path) -> None:
    (folder / "classes.json").write_text('{"1": "scratch", "2": "dent", "3": "rust"}')
    write(folder, "f21", [2])


def _nearly_all_defective(folder: Path) -> None:
    for n in range(2, 30, 2):
        write(folder, f"f{n:02}", [1])


@pytest.mark.parametrize(
    ("spoil", "code", "level", "place"),
    [
        (_broken, "unreadable", "error", "images/f03.png"),
        (_cut_off, "bad-mask", "error", "masks/f03.png"),
        (_small_mask, "size", "error", "masks/f03.png is 64x32, its picture 64x64"),
        (_unnamed, "unknown-class", "error", "masks/f03.png: 9"),
        (_coloured, "bad-mask", "error", "masks/f03.png"),
        (_no_mask, "missing-mask", "error", "masks/f03.png"),
        (_white, "white-mask", "warning", "masks/f03.png"),
        (_soft, "soft-mask", "error", "masks/f03.png: 63 different values"),
        (_speck, "speck", "warning", "masks/f03.png: 1"),
        (_instances_of_other_size, "size", "error", "instances/f03.png is 9x9"),
        (_instances_on_good, "instance-on-good", "warning", "instances/f04.png: 4096 px"),
        (_lone_mask, "lone-label", "warning", "masks/f99.png"),
        (_two_of_a_stem, "stem", "error", "images/f03.bmp and images/f03.png"),
        (_foreign_file, "not-a-picture", "warning", "images/f77.webp"),
        (_colour_picture, "mixed", "warning", "f03: 8 bit colour"),
        (_broken_split, "json", "error", "split.json"),
        (_no_split, "no-split", "warning", ""),
        (_unlisted, "split-unlisted", "error", "f29"),
        (_on_both_sides, "split-both", "error", "f00"),
        (_part_cut, "part-cut", "error", "housing: train f14; test f15"),
        (_same_in_test, "same-picture", "error", "f00 (train) = f20 (test)"),
        (_class_in_test_only, "not-in-train", "warning", "dent"),
        (_class_in_test_only, "unused-class", "warning", "rust"),
        (_nearly_all_defective, "empty-mask", "warning", "masks/f00.png"),
    ],
)
def test_each_trouble_is_named_with_its_file_and_a_remedy(
    folder: Path, spoil: object, code: str, level: str, place: str
) -> None:
    spoil(folder)  # type: ignore[operator]
    report = lint(folder)
    finding = next(one for one in report.findings if one.code == code)
    assert finding.level == level
    assert place in " | ".join(finding.places)
    assert finding.words.endswith(".") and finding.remedy.endswith(".")
    assert code in text_of(report) and finding.remedy in text_of(report)


def test_everything_wrong_is_found_in_one_run(folder: Path) -> None:
    for spoil in (_broken, _no_mask, _lone_mask, _on_both_sides, _part_cut):
        spoil(folder)
    assert {"unreadable", "missing-mask", "lone-label", "split-both", "part-cut"} <= set(found(lint(folder)))


def test_what_few_test_defects_prove_is_rounded_down(folder: Path) -> None:
    """Twenty of twenty prove 0.8389 by Wilson: not 0.84."""
    words = next(one.words for one in lint(folder).findings if one.code == "few-test")
    assert "with 20 of 20 found, recall is known to be above 0.83 only" in words


def test_a_folder_without_any_defect_says_so(tmp_path: Path) -> None:
    for n in range(3):
        write(tmp_path, f"f{n:02}", [])
    assert found(lint(tmp_path))["no-defect"] == "error"


def test_exit_code_is_0_with_warnings_1_with_errors_2_for_what_is_no_folder(folder: Path) -> None:
    run = CliRunner()
    _speck(folder)
    warned = run.invoke(command, [str(folder), "--json"], standalone_mode=False, catch_exceptions=False)
    assert warned.return_value == 0
    last = json.loads(warned.output.splitlines()[-1])
    assert last["errors"] == [] and "speck" in [one["code"] for one in last["warnings"]]
    _broken(folder)
    failed = run.invoke(command, [str(folder)], standalone_mode=False, catch_exceptions=False)
    assert failed.return_value == 1 and "ERROR unreadable" in failed.output
    for wrong in (folder / "images", folder / "nowhere"):
        with pytest.raises(UsageError) as refused:
            run.invoke(command, [str(wrong)], standalone_mode=False, catch_exceptions=False)
        assert refused.value.exit_code == 2


def test_nothing_in_the_folder_is_touched(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    lint(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_proposed_parts_join_what_is_the_same_and_never_overwrite(folder: Path, tmp_path: Path) -> None:
    _same_in_test(folder)
    (folder / "parts.json").write_text(json.dumps({"f00": "a", "f01": "a", "f20": "b", "f21": "b"}))
    target = tmp_path / "parts.json"
    given = [str(folder), "--write-parts", str(target)]
    CliRunner().invoke(command, given, standalone_mode=False, catch_exceptions=False)
    parts = json.loads(target.read_text())
    assert parts["f00"] == parts["f01"] == parts["f20"] == parts["f21"] and parts["f02"] == "f02"
    with pytest.raises(UsageError, match="already there"):
        CliRunner().invoke(command, given, standalone_mode=False, catch_exceptions=False)


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no folder images/"):
        lint(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(DatasetError, match="holds no picture"):
        lint(tmp_path)


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("deepcrack_256", ("test_11216", "train_11158")),
        # One tile under two exposures, in train and test by the set's own split.
        ("magnetic_tile", ("free_exp5_num_309407", "free_exp6_num_306696")),
    ],
)
def test_real_leaks_between_train_and_test_are_found(
    name: str, pair: tuple[str, str], tmp_path: Path
) -> None:
    """On a few frames of the set, the pair among them, so that it takes a second."""
    if not (REAL / name).is_dir():
        pytest.skip(f"{REAL / name} is missing; set INSPECTION_DATASETS")
    listed = json.loads((REAL / name / "split.json").read_text())
    some = {side: [*stems[::29], *(stem for stem in pair if stem in stems)] for side, stems in listed.items()}
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for path in (REAL / name / kind).iterdir():
            if path.stem in some["train"] + some["test"]:
                (tmp_path / kind / path.name).symlink_to(path)
    (tmp_path / "split.json").write_text(json.dumps(some))
    report = lint(tmp_path)
    assert any(all(stem in place for stem in pair) for place in places(report, "same-picture"))
    assert json_of(report)["errors"]
