"""What an install and a container stand on: pinned versions, and libraries that a slim base image has."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PINS = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.M)
IN_SLIM = {
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
    "libstdc++.so.6",
    "libutil.so.1",
    "libz.so.1",
}
"""Of python:3.11-slim-bookworm: glibc, and what Debian's own package tools are linked with."""
NOT_LOADED = {"libOpenCL.so.1"}
"""Only OpenVINO's plugin for Intel GPUs wants it, which the line never loads."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    found = PINS.findall((ROOT / "constraints.txt").read_text())
    assert len(found) == len({canonical(name) for name, _ in found}), "a distribution is pinned twice"
    return {canonical(name): version for name, version in found}


def of_the_line() -> set[str]:
    """Every distribution that an install without extras brings, canonical names."""
    waiting, seen = ["inspection-appliance"], set[str]()
    while waiting:
        name = canonical(waiting.pop())
        if name not in seen:
            seen.add(name)
            wanted = [Requirement(text) for text in distribution(name).requires or []]
            waiting += [one.name for one in wanted if not one.marker or one.marker.evaluate({"extra": ""})]
    return seen - {"inspection-appliance"}


def test_all_that_the_line_brings_is_pinned_to_what_runs_here() -> None:
    pinned = pins()
    assert {name: pinned.get(name) for name in of_the_line()} == {
        name: distribution(name).version for name in of_the_line()
    }


def test_pins_are_versions_that_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = pins()
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(text for extra in extras for text in extra)]
    for one in map(Requirement, wanted):
        version = pinned.get(canonical(one.name))
        if version is not None:
            assert one.specifier.contains(version), f"constraints.txt has {one.name} {version}, not {one}"
    named = {canonical(Requirement(text).name) for text in wanted}
    assert named - set(pinned) <= {"tensorrt"}, "NVIDIA's index has it, and its version goes with the card"


@pytest.mark.skipif(shutil.which("readelf") is None, reason="needs readelf of binutils")
def test_the_lines_wheels_need_no_library_that_a_slim_image_lacks() -> None:
    for name in sorted(of_the_line()):
        one = distribution(name)
        libraries = [
            file for file in one.files or [] if ".so" in file.name and "__pycache__" not in str(file)
        ]
        if not libraries:
            continue
        command = ["readelf", "-d", *(str(one.locate_file(file)) for file in libraries)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        needed = set(re.findall(r"NEEDED.*\[(.*)\]", said)) - {file.name for file in libraries}
        assert needed <= IN_SLIM | NOT_LOADED, (
            f"{name} needs {needed - IN_SLIM}; install it in the containers"
        )
