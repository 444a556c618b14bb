"""A folder from which the line installs without a network: wheels, their hashes, and what installs them.

    python -m deploy.wheelhouse build/wheelhouse

Made on a machine with a network, for machines of the same kind (processor, system, Python), and
carried there whole. `install.sh` inside refuses a folder in which a byte was changed.

    wheels/            every distribution that the line needs, itself included
    requirements.txt   their exact versions and hashes, for pip
    TARGET             the Python and processor that the wheels are for
    install.sh, inspection.service, containers/
    SHA256SUMS         of every other file
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from inspector.errors import InspectionError, UsageError

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("pyproject.toml", "README.md", "inspector", "trainer", "deploy")
CARRIED = ("install/install.sh", "install/inspection.service", "containers")
SUMS = "SHA256SUMS"


def target() -> str:
    """The kind of machine that this Python's wheels fit, as install.sh says it: `cp311 linux x86_64`."""
    major, minor = sys.version_info[:2]
    return f"cp{major}{minor} {platform.system().lower()} {platform.machine()}"


def collect_wheels(into: Path, extra: str | None, index: str | None) -> None:
    """Fetch and build every wheel, in the versions of constraints.txt. Raises InspectionError; pip says why.

    extra: `tensorrt` adds what that extra of pyproject.toml names. index: one more package index.
    """
    with tempfile.TemporaryDirectory(prefix="wheelhouse-") as folder:
        # From a clean copy: what an earlier build left in the tree would end up in the wheel.
        clean = Path(folder) / "inspection-appliance"
        clean.mkdir()
        for name in SOURCES:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, clean / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, clean / name)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
        command += ["--constraint", str(ROOT / "constraints.txt"), "--wheel-dir", str(into)]
        command += ["--extra-index-url", index] if index else []
        done = subprocess.run([*command, f"{clean}[{extra}]" if extra else str(clean)], check=False)
    if done.returncode != 0:
        raise InspectionError("pip could not collect the wheels; what it wants stands above.")


def requirements(wheels: Path) -> str:
    """requirements.txt of a folder of wheels: each one pinned by version and hash.

    Raises UsageError for a folder without wheels, with two versions of one distribution, or with
    a file that is no wheel.
    """
    lines: dict[str, str] = {}
    for path in sorted(wheels.iterdir()):
        found = re.fullmatch(r"([^-]+)-([^-]+)(-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl", path.name)
        if found is None:
            raise UsageError(f"{path} is no wheel; remove it.")
        name = re.sub(r"[-_.]+", "-", found[1]).lower()
        if name in lines:
            raise UsageError(f"{wheels} has {name} twice; make the wheelhouse in an empty folder.")
        lines[name] = f"{name}=={found[2]} --hash=sha256:{sha256_of(path)}"
    if not lines:
        raise UsageError(f"{wheels} holds no wheels; make the wheelhouse again.")
    return "\n".join(lines[name] for name in sorted(lines)) + "\n"


def seal(house: Path) -> str:
    """Write what belongs beside `wheels/`, SHA256SUMS last; returns the sha256 of SHA256SUMS itself."""
    (house / "requirements.txt").write_text(requirements(house / "wheels"), encoding="utf-8")
    (house / "TARGET").write_text(target() + "\n", encoding="utf-8")
    for name in CARRIED:
        source = ROOT / "deploy" / name
        if source.is_dir():
            shutil.copytree(source, house / source.name, dirs_exist_ok=True)
        else:
            shutil.copy2(source, house / source.name)
    files = sorted(path for path in house.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [f"{sha256_of(path)}  {path.relative_to(house).as_posix()}\n" for path in files]
    (house / SUMS).write_text("".join(lines), encoding="utf-8")
    return sha256_of(house / SUMS)


def sha256_of(path: Path) -> str:
    """sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the folder, whole or not at all; exit codes as everywhere."""
    parser = argparse.ArgumentParser(prog="python -m deploy.wheelhouse", description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="folder to make; an older wheelhouse there is replaced")
    parser.add_argument("--extra", choices=["tensorrt"], help="also what compiles and runs on NVIDIA cards")
    parser.add_argument("--index", metavar="URL", help="one more package index, as NVIDIA's for tensorrt")
    given = parser.parse_args(arguments)
    out: Path = given.out
    if out.exists() and not (out / SUMS).is_file():
        print(f"{out} is there and no wheelhouse; give another folder.", file=sys.stderr)
        return UsageError.exit_code
    out.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        making.chmod(0o755)
        collect_wheels(making / "wheels", given.extra, given.index)
        digest = seal(making)
        shutil.rmtree(out, ignore_errors=True)
        making.rename(out)
    except InspectionError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    finally:
        shutil.rmtree(making, ignore_errors=True)
    print(out)
    print(f"For {target()}; sha256 of {SUMS}: {digest}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
