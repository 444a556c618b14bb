"""A size as people write it: HEIGHTxWIDTH in pixels."""

from __future__ import annotations

import re

from inspector.errors import UsageError


def parse_size(text: str, option: str = "--size") -> tuple[int, int]:
    """(height, width) of `1080x1920`. Raises UsageError naming the option."""
    found = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", text)
    if found is None:
        raise UsageError(f"{option} {text} is not HEIGHTxWIDTH; give for example 1080x1920.")
    return int(found[1]), int(found[2])
