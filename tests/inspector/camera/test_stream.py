"""A network camera against a real server on loopback: reading, silence, death, coming back."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

import pytest
from mjpeg import MjpegServer

from inspector.camera.stream import StreamCamera, without_secret
from inspector.errors import CameraError, CameraStalled


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    running = MjpegServer()
    yield running
    if not running.stop.is_set():
        running.close()


def test_frames_arrive_in_order(server: MjpegServer) -> None:
    camera = StreamCamera(server.url, "net")
    camera.open()
    grabs = [camera.read() for _ in range(5)]
    camera.close()
    assert camera.size == (48, 64)
    values = [float(grab.image.mean()) for grab in grabs]
    assert values == pytest.approx([values[0] + 10 * n for n in range(5)], abs=3)
    assert grabs[-1].source == "net#5"


def test_its_options_for_ffmpeg_do_not_stay_behind(server: MjpegServer) -> None:
    """A video file opened with them later in the same process would lose its first frame."""
    camera = StreamCamera(server.url, "net")
    camera.open()
    camera.close()
    assert "OPENCV_FFMPEG_CAPTURE_OPTIONS" not in os.environ


def test_a_silent_server_is_a_lost_camera_and_opening_again_mends_it(server: MjpegServer) -> None:
    camera = StreamCamera(server.url, "net", read_timeout_s=0.5)
    camera.open()
    camera.read()
    server.stall.set()
    with pytest.raises(CameraError, match=r"gave no frame for") as error:
        for _ in range(50):
            camera.read()
    assert not isinstance(error.value, CameraStalled), "that would mean: only read again"
    with pytest.raises(CameraError, match="is not connected"):
        camera.read()
    server.stall.clear()
    camera.open()
    assert camera.read().image.shape == (48, 64, 3)
    camera.close()


def test_frames_that_grew_old_while_nobody_read_are_not_taken_for_new_ones(server: MjpegServer) -> None:
    """As while the engine is compiled: FFmpeg keeps what came, and each read would give an old one."""
    camera = StreamCamera(server.url, "net", read_timeout_s=0.5)
    camera.open()
    camera.read()
    connected = server.connections
    camera.read()
    assert server.connections == connected
    time.sleep(1.2)
    assert camera.read().source == "net#3"
    camera.close()
    assert server.connections > connected


def test_a_server_that_dies_ends_the_camera_and_one_that_returns_is_found_again(server) -> None:
    camera = StreamCamera(server.url, "net", read_timeout_s=0.5)
    camera.open()
    camera.read()
    server.close()
    with pytest.raises(CameraError):
        for _ in range(50):
            camera.read()
    with pytest.raises(CameraError, match="does not open"):
        camera.open()
    back = MjpegServer(server.port)
    try:
        camera.open()
        assert camera.read().image.shape == (48, 64, 3)
    finally:
        camera.close()
        back.close()


def test_nothing_at_the_address_is_said_without_the_password() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    camera = StreamCamera(f"http://operator:secret@127.0.0.1:{port}/x", "net")
    with pytest.raises(CameraError) as error:
        camera.open()
    assert f"http://127.0.0.1:{port}/x does not open" in str(error.value)
    assert "secret" not in str(error.value)


def test_a_url_without_a_user_stays_as_it_is() -> None:
    assert without_secret("rtsp://10.0.0.1/a@b") == "rtsp://10.0.0.1/a@b"
    assert without_secret("rtsp://u:p@10.0.0.1/a") == "rtsp://10.0.0.1/a"
    assert without_secret("rtsp://u:p@ss@10.0.0.1/a") == "rtsp://10.0.0.1/a"
    assert without_secret("http://10.0.0.1?to=a@b") == "http://10.0.0.1?to=a@b"
