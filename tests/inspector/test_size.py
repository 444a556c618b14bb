"""Sizes on command lines."""

import pytest

from inspector.errors import UsageError
from inspector.size import parse_size


def test_sizes_are_height_x_width() -> None:
    assert parse_size("1080x1920", "--frame") == (1080, 1920)
    for text in ("1080", "0x5", "axb", "5x", "10x10x1", "wide"):
        with pytest.raises(UsageError, match=f"--tile {text} is not"):
            parse_size(text, "--tile")
