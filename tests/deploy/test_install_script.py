"""install.sh: refuses what was changed, leaves what the line owns, and never leaves half a version."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_house import install, small_wheelhouse

pytestmark = pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs GNU coreutils")


@dataclass(frozen=True)
class Installed:
    house: Path
    root: Path
    said: subprocess.CompletedProcess[str]

    @property
    def command(self) -> Path:
        return self.root / "opt/current/bin/inspector"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    house = small_wheelhouse(folder)
    return Installed(house, folder / "root", install(house, folder / "root"))


def test_the_shell_finds_no_fault_with_it(installed: Installed) -> None:
    for shell in filter(shutil.which, ("sh", "bash", "dash")):
        checked = subprocess.run(
            [shell, "-n", installed.house / "install.sh"], capture_output=True, text=True
        )
        assert (checked.returncode, checked.stderr) == (0, ""), shell


def test_it_installs_without_asking_an_index(installed: Installed) -> None:
    assert installed.said.returncode == 0, installed.said.stderr
    assert installed.said.stdout == f"{installed.command}\n"
    answer = subprocess.run([installed.command, "--version"], capture_output=True, text=True)
    assert answer.stdout == "inspector, version 0.1.0\n"
    assert (installed.root / "etc/line.toml").read_text() == "# 0.1.0"
    assert (installed.root / "state/cache").is_dir()


def test_the_unit_names_what_was_installed_and_systemd_takes_it(installed: Installed) -> None:
    unit = installed.root / "units/inspection.service"
    text = unit.read_text()
    assert "@" not in text.replace("/dev/video*", "")
    assert f"ExecStart={installed.command} run --headless --config {installed.root}/etc/line.toml\n" in text
    for line in ("StartLimitBurst=5", "Restart=on-failure", "RestartPreventExitStatus=2 3"):
        assert f"\n{line}\n" in text
    assert "\nWatchdogSec" not in text  # nothing would answer it
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    # It exits 0 on unknown keys, so any word is a fault.
    verified = subprocess.run(["systemd-analyze", "--man=no", "verify", unit], capture_output=True, text=True)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    gate = ["systemd-analyze", "security", "--offline=yes", "--threshold=50", str(unit)]
    assert subprocess.run(gate, capture_output=True).returncode == 0


def test_a_new_version_takes_over_and_what_the_line_owns_stays(installed: Installed, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(installed.root / "etc", root / "etc")
    (root / "etc/line.toml").write_text("# mine")
    (root / "state").mkdir()
    (root / "state/ledger.db").write_text("rows")
    assert install(small_wheelhouse(tmp_path / "new", "0.2.0"), root).returncode == 0
    current = (root / "opt/current").resolve()
    answer = subprocess.run([root / "opt/current/bin/inspector"], capture_output=True, text=True)
    assert answer.stdout == "inspector, version 0.2.0\n"
    assert (root / "etc/line.toml").read_text() == "# mine"
    assert (root / "state/ledger.db").read_text() == "rows"

    broken = install(small_wheelhouse(tmp_path / "broken", "0.3.0", exit_code=1), root)
    assert broken.returncode == 1 and "does not start" in broken.stderr
    assert (root / "opt/current").resolve() == current  # the old version still serves


def changed(house: Path, name: str) -> None:
    with (house / name).open("ab") as file:
        file.write(b" ")


@pytest.mark.parametrize(
    "name", ["wheels/inspection_appliance-0.1.0-py3-none-any.whl", "requirements.txt", "install.sh"]
)
def test_a_changed_byte_refuses(installed: Installed, tmp_path: Path, name: str) -> None:
    house = shutil.copytree(installed.house, tmp_path / "house")
    changed(house, name)
    said = install(house, tmp_path / "root")
    assert said.returncode == 3 and name in said.stderr and "not what was made" in said.stderr
    assert not (tmp_path / "root").exists()


def test_a_file_too_many_and_one_too_few_refuse(installed: Installed, tmp_path: Path) -> None:
    house = shutil.copytree(installed.house, tmp_path / "house")
    (house / "wheels/evil-1.0-py3-none-any.whl").touch()
    said = install(house, tmp_path / "root")
    assert said.returncode == 3 and "does not list" in said.stderr
    (house / "wheels/evil-1.0-py3-none-any.whl").unlink()
    (house / "TARGET").unlink()
    assert install(house, tmp_path / "root").returncode == 3


def test_pip_holds_the_hashes_as_well(installed: Installed, tmp_path: Path) -> None:
    """Should someone make new sums for a changed wheel, requirements.txt still knows the old one."""
    from deploy.wheelhouse import SUMS, sha256_of

    house = shutil.copytree(installed.house, tmp_path / "house")
    wheel = house / "wheels/inspection_appliance-0.1.0-py3-none-any.whl"
    before = sha256_of(wheel)
    changed(house, "wheels/" + wheel.name)
    sums = (house / SUMS).read_text().replace(before, sha256_of(wheel))
    (house / SUMS).write_text(sums)
    said = install(house, tmp_path / "root")
    assert said.returncode == 1 and "do not match the hashes" in said.stderr.lower()
    assert not (tmp_path / "root/opt/current").exists()


def test_another_python_is_refused_with_both_names(installed: Installed, tmp_path: Path) -> None:
    from deploy.wheelhouse import seal, target

    house = shutil.copytree(installed.house, tmp_path / "house")
    (house / "TARGET").write_text("cp99 linux riscv64\n")
    sums = (house / "SHA256SUMS").read_text().splitlines(keepends=True)
    digest = subprocess.run(["sha256sum", "TARGET"], cwd=house, capture_output=True, text=True).stdout
    (house / "SHA256SUMS").write_text("".join(digest if "TARGET" in one else one for one in sums))
    said = install(house, tmp_path / "root")
    assert said.returncode == 2 and "cp99 linux riscv64" in said.stderr and target() in said.stderr
    seal(house)
    assert install(house, tmp_path / "root", "--python", "/no/python").returncode == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--prefix", "relative"), "absolute"),
        (("--prefix", "/opt/with space"), "letters"),
        (("--user", "Root!"), "user name"),
        (("--speed", "9"), "--speed"),
        (("--state",), "needs a value"),
    ],
)
def test_wrong_options_exit_2_and_touch_nothing(
    installed: Installed, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    said = install(installed.house, tmp_path / "root", *options)
    assert said.returncode == 2 and words in said.stderr
    assert not (tmp_path / "root").exists()
