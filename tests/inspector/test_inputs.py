"""The input policy is one function; each rule of it here."""

import cv2
import numpy as np
import pytest

from inspector.errors import DatasetError, ShapeMismatch
from inspector.inputs import decode_image, read_image, to_input


def test_bgra_drops_alpha():
    picture = np.dstack([np.full((4, 5), v, np.uint8) for v in (10, 20, 30, 0)])
    assert to_input(picture, 3).tolist() == picture[:, :, :3].tolist()


def test_colour_becomes_gray_by_opencvs_weights():
    picture = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    assert (to_input(picture, 1) == cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)).all()


def test_gray_becomes_three_equal_planes():
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert (to_input(gray, 3) == gray[:, :, None]).all()


def test_sixteen_bits_are_shifted_and_saturated_never_stretched():
    picture = np.array([[0, 255, 256, 4095, 65535]], np.uint16)
    assert to_input(picture, 1, shift_16bit=4).tolist() == [[0, 15, 16, 255, 255]]
    assert to_input(picture, 1, shift_16bit=8).tolist() == [[0, 0, 1, 15, 255]]


@pytest.mark.parametrize("shape", [(1500, 1100), (3, 2_000_000), (800, 700, 3)])
def test_large_pictures_of_sixteen_bits_are_shifted_band_by_band(shape):
    picture = np.random.default_rng(0).integers(0, 1 << 16, shape, np.uint16)
    found = to_input(picture, 1 if len(shape) == 2 else 3, shift_16bit=6)
    assert (found == np.minimum(picture >> 6, 255)).all()


@pytest.mark.parametrize(
    "picture", [np.zeros((3, 4), np.float32), np.zeros((3, 4, 2), np.uint8), np.zeros(5, np.uint8)]
)
def test_what_no_rule_covers_is_refused(picture):
    with pytest.raises(ShapeMismatch, match="convert it first"):
        to_input(picture, 1)


def test_exif_rotation_is_ignored(tmp_path):
    """A JPEG marked 'rotate by 90 degrees' keeps its stored shape, so that its mask fits."""
    encoded = cv2.imencode(".jpg", np.zeros((8, 16, 3), np.uint8))[1].tobytes()
    exif = bytes.fromhex("ffe1001e4578696600004d4d002a0000000800010112000300000001000600000000")
    turned = encoded[:2] + exif + encoded[2:]
    rotated = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR)
    assert rotated.shape[:2] == (16, 8), "the test picture carries no working rotation mark"
    path = tmp_path / "turned.jpg"
    path.write_bytes(turned)
    assert read_image(path).shape[:2] == (8, 16)


@pytest.mark.parametrize("data", [b"", b"no picture at all"])
def test_bytes_that_are_no_picture_name_the_file(data):
    with pytest.raises(DatasetError, match=r"part_7\.png is not an image"):
        decode_image(data, "part_7.png")


def test_a_missing_file_names_itself(tmp_path):
    with pytest.raises(DatasetError, match=r"gone\.png"):
        read_image(tmp_path / "gone.png")
