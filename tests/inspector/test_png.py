"""What is written row by row is read again pixel by pixel."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.inputs import decode_image
from inspector.png import png_parts


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([1, 3]), st.integers(0, 2**32 - 1))
def test_a_picture_comes_back_whole(height: int, width: int, channels: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = (height, width) if channels == 1 else (height, width, 3)
    picture = random.integers(0, 256, shape, np.uint8)
    if seed % 2:
        picture = cv2.blur(picture, (5, 5)).reshape(shape)
    assert np.array_equal(decode_image(b"".join(png_parts(picture)), "a.png"), picture)


@pytest.mark.parametrize("shape", [(900, 1500), (700, 900, 3)])
def test_many_bands_and_views_come_back_and_need_no_second_picture(shape: tuple[int, ...]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape[:2], 6), np.uint8)
    picture = noise[..., 2] if len(shape) == 2 else noise[..., 1:4]
    assert np.array_equal(decode_image(b"".join(png_parts(picture)), "a.png"), picture)
    large = np.zeros((6000, 5000), np.uint8)
    tracemalloc.start()
    size = sum(len(part) for part in png_parts(large))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size < 0.01 * large.nbytes
    assert peak < 0.2 * large.nbytes
