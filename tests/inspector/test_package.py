import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inspector.errors import PackageError, UsageError
from inspector.package import Golden, ModelPackage, load_package, write_package

FIELDS: dict[str, Any] = {
    "name": "plate", "version": "1", "classes": ["scratch", "pit"], "channels": 1, "depth": 3, "base": 4,
    "halo": 20, "grid": 4, "normalisation": {"mean": [120.0], "std": [40.0]},
    "thresholds": {"pit": {"value": 0.25, "escape_target": 0.01}, "scratch": {"value": 0.5}},
    "mm_per_px": [0.05, 0.05], "training_data_sha256": "00", "seed": 7,
}  # fmt: skip


def golden() -> Golden:
    return Golden(np.full((2, 60, 60, 1), 9, np.uint8), np.full((2, 20, 20, 2), 0.5, np.float32))


@pytest.fixture
def package(tmp_path: Path) -> ModelPackage:
    return write_package(tmp_path / "plate", FIELDS, b"onnx", golden())


def test_a_package_is_read_back_as_it_was_written(package: ModelPackage) -> None:
    again = load_package(package.path)
    assert again == package
    assert again.classes == ("scratch", "pit")
    assert again.thresholds == (0.5, 0.25)  # class order, not the order in the file
    assert again.geometry.halo == 20
    assert again.onnx.read_bytes() == b"onnx"
    assert np.array_equal(again.golden().probs, golden().probs)


def test_the_id_is_of_the_content_alone(package: ModelPackage, tmp_path: Path) -> None:
    assert write_package(tmp_path / "copy", FIELDS, b"onnx", golden()).id == package.id
    assert write_package(tmp_path / "other", {**FIELDS, "seed": 8}, b"onnx", golden()).id != package.id
    assert write_package(tmp_path / "weights", FIELDS, b"onnx2", golden()).id != package.id


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "golden.npz"])
def test_any_changed_byte_refuses(package: ModelPackage, name: str) -> None:
    data = (package.path / name).read_bytes()
    for position in range(0, len(data), max(1, len(data) // 40)):
        changed = bytearray(data)
        changed[position] ^= 1
        (package.path / name).write_bytes(bytes(changed))
        with pytest.raises(PackageError):
            load_package(package.path)
    (package.path / name).write_bytes(data)
    load_package(package.path)


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "golden.npz"])
def test_a_missing_file_is_named(package: ModelPackage, name: str) -> None:
    (package.path / name).unlink()
    with pytest.raises(PackageError, match=name) as refusal:
        load_package(package.path)
    assert refusal.value.exit_code == 3


def test_an_added_file_refuses(package: ModelPackage) -> None:
    (package.path / "notes.txt").write_text("hello")
    with pytest.raises(PackageError, match=r"notes\.txt"):
        load_package(package.path)


def test_another_format_version_is_named(package: ModelPackage) -> None:
    file = package.path / "manifest.json"
    fields = json.loads(file.read_text())
    file.write_text(json.dumps({**fields, "format": 2}))
    with pytest.raises(PackageError, match=r"format 2.*format 1"):
        load_package(package.path)


def test_a_folder_that_cannot_be_listed_is_one_sentence(
    package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(PackageError, match=r"plate cannot be read \(Permission denied\)"):
        load_package(package.path)


def test_no_folder_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no model package"):
        load_package(tmp_path / ("x" * 5000))
    with pytest.raises(UsageError, match="trainer export"):
        load_package(tmp_path / "nothing")


def test_a_folder_that_never_was_a_package_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UsageError, match="is no model package"):
        load_package(tmp_path)
    for name in ("best.pt", "last.pt", "config.toml"):
        (tmp_path / name).write_text("")
    with pytest.raises(
        UsageError, match=r"is a RUN folder; make a package of it with `trainer export .* --out"
    ):
        load_package(tmp_path)


def test_a_package_is_never_overwritten(package: ModelPackage) -> None:
    before = (package.path / "manifest.json").read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        write_package(package.path, {**FIELDS, "seed": 9}, b"x", golden())
    assert (package.path / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    "wrong", [{"halo": 21}, {"classes": ["a", "a"]}, {"thresholds": {}}, {"channels": 2}, {"colour": 1}]
)
def test_a_manifest_that_contradicts_itself_writes_nothing(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        write_package(tmp_path / "plate", {**FIELDS, **wrong}, b"x", golden())
    assert list(tmp_path.iterdir()) == []


def test_golden_tiles_that_hold_a_pickle_are_not_loaded(package: ModelPackage, tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", tiles=np.array([{"a": 1}]), probs=np.zeros(1))
    shutil.copy(tmp_path / "evil.npz", package.path / "golden.npz")
    with pytest.raises(PackageError, match="cannot be used"):
        package.golden()
