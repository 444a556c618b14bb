"""From what a user calls a camera to the Camera that reads it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.camera.device import DeviceCamera
from inspector.camera.files import ImageFolder, VideoFile
from inspector.camera.protocol import Camera
from inspector.camera.simspec import parse_sim
from inspector.camera.simulator import Simulator
from inspector.camera.stream import StreamCamera, without_secret
from inspector.errors import UsageError

if TYPE_CHECKING:
    from inspector.config import CameraConfig

STREAMS = ("rtsp://", "rtsps://", "http://", "https://")


def camera_for(spec: str, config: CameraConfig) -> Camera:
    """The camera of an index, a device path, a video file, a folder of images, a URL or `sim:`.

    Nothing is opened yet. The camera is called config.id in the ledger, else by its spec
    without a password. Raises UsageError for a spec that is none of these, or a path that
    is not there.
    """
    name = config.id or without_secret(spec)
    if spec.startswith("sim:"):
        sim = parse_sim(spec)
        if sim.path is not None and not os.path.exists(sim.path):
            raise UsageError(f"{sim.path} (in {spec}) is not there; check the path.")
        return Simulator(sim, config.id or "sim:", config.read_timeout_s)
    if spec.lower().startswith(STREAMS):
        return StreamCamera(spec, name, config.read_timeout_s)
    if spec.isascii() and spec.isdigit():
        return DeviceCamera(int(spec), name, config.read_timeout_s)
    path = Path(spec)  # os.path, because Path raises for a name that is too long or may not be looked at
    if spec and os.path.isdir(path):
        return ImageFolder(path, config.id or path.resolve().name)
    if os.path.isfile(path):
        return VideoFile(path, config.id or path.name)
    if spec.startswith("/dev/"):
        return DeviceCamera(spec, name, config.read_timeout_s)
    raise UsageError(
        f"Camera `{spec}` is no index and no path that is there; give an index such as 0, a device, a video,"
        " a folder of images, an rtsp:// or http:// URL, or sim:."
    )
