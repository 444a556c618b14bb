"""What did not hold here before, so that precision `auto` need not compile and measure it at every start.

A refusal on file is no proof of anything: it only makes `auto` go to f32 at once, which is proven
as ever. Of another package, OpenVINO, processor, tile or limit nothing is on file.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from inspector.engine.cache import cache_folder, write_whole
from inspector.engine.certificate import LIMITS
from inspector.engine.cpu import cpu_name, openvino_version
from inspector.package import ModelPackage


def refusal_path(package: ModelPackage, precision: str, tile: tuple[int, int]) -> Path:
    """Where a refusal of OpenVINO in this precision lies; removed, the precision is tried again."""
    limits = LIMITS[precision].model_dump()
    key = [package.id, openvino_version(), cpu_name(), precision, list(tile), limits]
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder() / "refusals" / package.id[:16] / f"openvino-{precision}-{name}.json"


def remembered(path: Path) -> str | None:
    """Why it was refused, in a few words; None where nothing that can be read is on file."""
    with suppress(OSError, ValueError):
        kept = json.loads(path.read_bytes())
        if isinstance(kept, dict) and isinstance(kept.get("why"), str):
            return str(kept["why"])
    return None


def remember(path: Path, why: str) -> None:
    """Keep it, where the cache can be written; else the next start tries again, which is safe."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, (json.dumps({"why": why}) + "\n").encode())
