"""A wheelhouse of one tiny wheel that answers like the line's command, sealed by the real code."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from deploy.wheelhouse import seal

LINE = """
import sys
def main():
    if sys.argv[1:2] == ["init"]:
        open(sys.argv[2], "x").write("# {version}")
    print("inspector, version {version}")
    sys.exit({exit_code})
"""


def small_wheelhouse(folder: Path, version: str = "0.1.0", exit_code: int = 0) -> Path:
    """folder/house with wheels/, SHA256SUMS and all the rest."""
    wheels = folder / "house" / "wheels"
    wheels.mkdir(parents=True)
    info = f"inspection_appliance-{version}.dist-info"
    files = {
        "tinyline.py": LINE.format(version=version, exit_code=exit_code),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: inspection-appliance\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ninspector = tinyline:main\n",
    }
    rows = []
    with zipfile.ZipFile(wheels / f"inspection_appliance-{version}-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            rows.append(f"{name},sha256={digest},{len(text)}")
        wheel.writestr(f"{info}/RECORD", "\n".join([*rows, f"{info}/RECORD,,"]) + "\n")
    seal(folder / "house")
    return folder / "house"


def install(house: Path, root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the wheelhouse's install.sh into `root`, with an index that must never be asked."""
    places = {"prefix": "opt", "config": "etc", "state": "state", "units": "units"}
    command = [str(house / "install.sh"), "--user", "none", "--python", sys.executable]
    command += [text for name, folder in places.items() for text in (f"--{name}", str(root / folder))]
    environment = os.environ | {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_FIND_LINKS": "/nowhere"}
    return subprocess.run([*command, *options], capture_output=True, text=True, env=environment)
