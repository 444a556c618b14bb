"""When figures of speed are marked as not to be trusted."""

from __future__ import annotations

import pytest

from inspector.engine.trust import speed_doubts


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ((0.0, 1.0, 1.0), None),
        ((0.099, 1.05, 1.1), None),
        ((None, None, None), None),
        ((0.1, 1.0, 1.0), "other programs took 10% of the processor"),
        ((None, 1.051, None), "end to end cannot be 1.05 times as fast as the engine alone"),
        ((0.0, 0.886, 1.96), "a network cannot run at 1.96 times the matrix product"),
    ],
)
def test_each_doubt_has_its_bound(
    figures: tuple[float | None, float | None, float | None], words: str | None
) -> None:
    assert speed_doubts(*figures) == ([] if words is None else [words])


def test_all_doubts_are_told() -> None:
    assert len(speed_doubts(0.5, 1.25, 1.96)) == 3
