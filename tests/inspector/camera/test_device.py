"""Device cameras, with OpenCV's VideoCapture replaced: what it does when a camera goes away."""

from __future__ import annotations

from types import SimpleNamespace
from typing import ClassVar

import cv2
import numpy as np
import pytest

from inspector.camera.device import DeviceCamera
from inspector.camera.files import ImageFolder, VideoFile
from inspector.camera.open import camera_for
from inspector.camera.simulator import Simulator
from inspector.camera.stream import StreamCamera
from inspector.errors import CameraError, UsageError

CONFIG = SimpleNamespace(id=None, read_timeout_s=2.0)


class FakeCapture:
    """cv2.VideoCapture with a script: an int is a picture of that gray, None a failed read."""

    script: ClassVar[list] = []
    opens = True
    made: ClassVar[list[FakeCapture]] = []

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments
        self.released = 0
        FakeCapture.made.append(self)

    def isOpened(self) -> bool:
        return self.opens

    def get(self, prop: int) -> float:
        return {cv2.CAP_PROP_FRAME_HEIGHT: 4.0, cv2.CAP_PROP_FRAME_WIDTH: 6.0}.get(prop, 0.0)

    def read(self) -> tuple[bool, np.ndarray | None]:
        value = self.script.pop(0)
        return (False, None) if value is None else (True, np.full((4, 6, 3), value, np.uint8))

    def release(self) -> None:
        self.released += 1


@pytest.fixture(autouse=True)
def fake_capture(monkeypatch: pytest.MonkeyPatch) -> type[FakeCapture]:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr(FakeCapture, "made", [])
    monkeypatch.setattr(FakeCapture, "script", [])
    monkeypatch.setattr(FakeCapture, "opens", True)
    monkeypatch.setenv("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")
    return FakeCapture


def test_frames_are_read_in_order_and_named(fake_capture: type[FakeCapture]) -> None:
    fake_capture.script = [10, 20]
    camera = DeviceCamera(0, "0")
    camera.open()
    assert camera.size == (4, 6) and camera.live
    grabs = [camera.read(), camera.read()]
    assert [int(g.image[0, 0, 0]) for g in grabs] == [10, 20]
    assert [g.source for g in grabs] == ["0#1", "0#2"]
    assert fake_capture.made[0].arguments == (0,)


def test_a_failed_read_is_a_lost_camera_and_opening_again_releases_the_old_one(fake_capture) -> None:
    fake_capture.script = [10, None, 30]
    camera = DeviceCamera("/dev/video7", "left")
    camera.open()
    camera.read()
    with pytest.raises(CameraError, match="/dev/video7 gave no frame"):
        camera.read()
    camera.open()
    assert fake_capture.made[0].released == 1
    assert camera.read().source == "left#2"
    camera.close()
    camera.close()
    assert fake_capture.made[1].released == 1


def test_a_camera_that_does_not_open_is_named_and_released(fake_capture: type[FakeCapture]) -> None:
    fake_capture.opens = False
    camera = DeviceCamera(3, "3")
    with pytest.raises(CameraError, match="Camera 3 does not open; check that it is plugged in"):
        camera.open()
    assert fake_capture.made[0].released == 1
    camera.close()
    with pytest.raises(CameraError, match="is not open"):
        camera.read()


def test_a_camera_that_opencv_refuses_with_an_error_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index beyond 32 bits does not reach a driver: OpenCV raises."""

    def refuse(*_: object) -> None:
        raise cv2.error("Overload resolution failed")

    monkeypatch.setattr(cv2, "VideoCapture", refuse)
    with pytest.raises(CameraError, match="Camera 99999999999 does not open"):
        camera_for("99999999999", CONFIG).open()


def test_an_error_inside_opencv_ends_a_video_like_one_that_is_cut_off(monkeypatch, tmp_path) -> None:
    def read(self: FakeCapture) -> tuple[bool, np.ndarray]:
        raise cv2.error("made for this test")

    monkeypatch.setattr(FakeCapture, "read", read)
    camera = VideoFile(tmp_path / "line.mp4", "line.mp4")
    camera.open()
    assert camera.read() is None


def test_every_spec_finds_its_camera(tmp_path) -> None:
    (tmp_path / "line.mp4").write_bytes(b"x")
    index = camera_for("0", CONFIG)
    assert isinstance(index, DeviceCamera) and index.source == 0 and index.camera_id == "0"
    path = camera_for("/dev/video9", CONFIG)
    assert isinstance(path, DeviceCamera) and path.source == "/dev/video9"
    assert isinstance(camera_for(str(tmp_path), CONFIG), ImageFolder)
    video = camera_for(str(tmp_path / "line.mp4"), CONFIG)
    assert isinstance(video, VideoFile) and video.camera_id == "line.mp4"
    assert isinstance(camera_for("sim:?fps=5", CONFIG), Simulator)
    stream = camera_for("rtsp://user:secret@10.0.0.9/live", CONFIG)
    assert isinstance(stream, StreamCamera) and stream.camera_id == "rtsp://10.0.0.9/live"
    assert stream.url == "rtsp://user:secret@10.0.0.9/live"
    assert camera_for("0", SimpleNamespace(id="left", read_timeout_s=1.0)).camera_id == "left"


@pytest.mark.parametrize(
    "spec",
    ["nowhere.mp4", "", "x" * 5000, "sim:" + "x" * 5000, "-1", "sim:nowhere?fps=3", "ftp://x", "sim:?what=1"],
)
def test_a_spec_that_is_no_camera_is_a_usage_error(spec: str) -> None:
    with pytest.raises(UsageError) as error:
        camera_for(spec, CONFIG)
    assert error.value.exit_code == 2


def test_an_error_inside_opencv_is_a_lost_camera_that_can_be_opened_again(fake_capture, monkeypatch) -> None:
    def read(self: FakeCapture) -> tuple[bool, np.ndarray]:
        if len(FakeCapture.made) == 1:
            raise cv2.error("made for this test")
        return True, np.full((4, 6, 3), 9, np.uint8)

    monkeypatch.setattr(FakeCapture, "read", read)
    camera = DeviceCamera(0, "0")
    camera.open()
    with pytest.raises(CameraError, match="gave no frame"):
        camera.read()
    camera.open()
    assert camera.read().image[0, 0, 0] == 9
