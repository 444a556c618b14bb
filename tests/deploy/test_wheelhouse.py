"""What a wheelhouse holds, and that each byte of it is listed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from small_house import small_wheelhouse

from deploy import wheelhouse
from deploy.wheelhouse import SUMS, main, requirements, sha256_of, target
from inspector.errors import InspectionError, UsageError


def test_every_file_is_listed_with_its_hash_and_sha256sum_agrees(tmp_path: Path) -> None:
    house = small_wheelhouse(tmp_path)
    listed = dict(reversed(line.split("  ")) for line in (house / SUMS).read_text().splitlines())  # type: ignore[misc]
    found = {path.relative_to(house).as_posix() for path in house.rglob("*") if path.is_file()}
    assert set(listed) == found - {SUMS}
    assert all(listed[name] == sha256_of(house / name) for name in listed)
    checked = subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=house)
    assert checked.returncode == 0
    assert {"install.sh", "inspection.service", "TARGET", "containers/cpu.Containerfile"} <= found
    assert (house / "TARGET").read_text() == target() + "\n"


def test_requirements_pin_version_and_hash_and_know_build_tags(tmp_path: Path) -> None:
    names = [
        "openvino-2026.4.1-22982-cp311-cp311-manylinux_2_28_x86_64.whl",
        "Python_ulid-4.1.0-py3-none-any.whl",
    ]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    lines = requirements(tmp_path).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["openvino==2026.4.1", "python-ulid==4.1.0"]
    assert lines[0].endswith(f"--hash=sha256:{sha256_of(tmp_path / names[0])}")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "holds no wheels"),
        (["x-1.0.tar.gz"], "is no wheel"),
        (["x-1.0-py3-none-any.whl", "x-1.1-py3-none-any.whl"], "has x twice"),
    ],
)
def test_what_pip_could_not_install_is_refused(tmp_path: Path, names: list[str], words: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=words):
        requirements(tmp_path)


def test_an_older_wheelhouse_is_replaced_whole_and_anything_else_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def collect(into: Path, extra: str | None, index: str | None) -> None:
        into.mkdir()
        (into / f"{extra or 'line'}-1-py3-none-any.whl").touch()

    monkeypatch.setattr(wheelhouse, "collect_wheels", collect)
    out = tmp_path / "house"
    assert main([str(out)]) == 0
    assert main([str(out), "--extra", "tensorrt"]) == 0
    assert [path.name for path in (out / "wheels").iterdir()] == ["tensorrt-1-py3-none-any.whl"]
    (tmp_path / "mine").mkdir()
    assert main([str(tmp_path / "mine")]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["house", "mine"]


def test_a_failed_collection_leaves_the_old_wheelhouse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = small_wheelhouse(tmp_path)
    before = sha256_of(house / SUMS)

    def fails(*_: object) -> None:
        raise InspectionError("no network")

    monkeypatch.setattr(wheelhouse, "collect_wheels", fails)
    assert main([str(house)]) == 1
    assert sha256_of(house / SUMS) == before and [path.name for path in tmp_path.iterdir()] == ["house"]
