"""The simulator keeps its own account: what it handed over, what was lost, and when."""

from __future__ import annotations

import json
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspector.camera.belt import DRAWN_PX, Belt
from inspector.camera.files import ImageFolder
from inspector.camera.simspec import SimFault, parse_sim
from inspector.camera.simulator import Simulator
from inspector.errors import CameraError, CameraStalled, UsageError
from inspector.types import Grab

FAST = "sim:?fps=500&size=40x60"


def simulator(spec: str, read_timeout_s: float = 2.0) -> Simulator:
    return Simulator(parse_sim(spec), "sim:", read_timeout_s)


def read_all(camera: Simulator) -> list:
    camera.open()
    grabs = []
    while (grab := camera.read()) is not None:
        grabs.append(grab)
    camera.close()
    return grabs


def log_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_spec_says_everything() -> None:
    spec = parse_sim(
        "sim:a/b?fps=5&size=9x7&seed=3&frames=8&loop=1&log=/x/y&fault=black@10,frozen@20-25,stall@40:2.5"
    )
    assert (spec.path, spec.fps, spec.size, spec.seed) == (Path("a/b"), 5.0, (9, 7), 3)
    assert (spec.frames, spec.loop, spec.log) == (8, True, Path("/x/y"))
    assert spec.faults == (
        SimFault("black", 10, 10),
        SimFault("frozen", 20, 25),
        SimFault("stall", 40, 40, 2.5),
    )
    assert parse_sim("sim:").path is None
    assert spec.fault_at(22).kind == "frozen" and spec.fault_at(26) is None


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("sim:?speed=3", "speed"),
        ("sim:?fps=fast", "fps=fast"),
        ("sim:?fps=0", "fps=0"),
        ("sim:?fps=inf", "fps=inf"),
        ("sim:?size=720", "size=720"),
        ("sim:?size=0x5", "size=0x5"),
        ("sim:?frames=-1", "frames=-1"),
        ("sim:?fault=explode@3", "fault=explode@3"),
        ("sim:?fault=black", "fault=black"),
        ("sim:?fault=black@0", "fault=black@0"),
    ],
)
def test_a_spec_that_cannot_be_read_names_its_part(spec: str, names: str) -> None:
    with pytest.raises(UsageError, match=names):
        parse_sim(spec)


def test_pictures_depend_on_seed_and_number_only_and_always_move() -> None:
    one, other = Belt((60, 90), 1), Belt((60, 90), 2)
    assert np.array_equal(one.picture(5), Belt((60, 90), 1).picture(5))
    assert not np.array_equal(one.picture(5), one.picture(6))
    assert not np.array_equal(one.picture(5), other.picture(5))
    assert one.picture(1).shape == (60, 90, 3) and one.picture(1).dtype == np.uint8
    assert Belt((1, 1), 1).picture(3).shape == (1, 1, 3)


def test_frames_come_in_real_time() -> None:
    camera = simulator("sim:?fps=50&size=8x8&frames=6")
    camera.open()
    began = time.monotonic()
    while camera.read() is not None:
        pass
    assert time.monotonic() - began >= 5 / 50


def test_the_log_is_written_before_the_hand_over_and_fits_the_pixels(tmp_path: Path) -> None:
    log = tmp_path / "deep" / "sim.jsonl"
    camera = simulator(f"{FAST}&frames=5&log={log}")
    camera.open()
    for count in range(1, 6):
        lost = sum(line["event"] == "lost" for line in log_of(log)) if log.exists() else 0
        grab = camera.read()
        if grab is None:
            break
        lines = log_of(log)
        assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
        assert lines[-1]["event"] == "emitted"
        assert lines[-1]["crc32"] == zlib.crc32(grab.image.data)
        assert sum(line["event"] == "lost" for line in lines) - lost == grab.lost_before
        assert sum(line["event"] == "emitted" for line in lines) == count
    camera.close()


def test_a_machine_slower_than_the_belt_loses_frames_and_still_gets_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Drawing takes as long as ten frames."""
    picture = Belt.picture

    def slow(self: Belt, number: int) -> np.ndarray:
        time.sleep(0.02)
        return picture(self, number)

    monkeypatch.setattr(Belt, "picture", slow)
    grabs = read_all(simulator(FAST + "&frames=100"))
    assert len(grabs) > 2  # the first and the last one come in any case
    assert sum(1 + grab.lost_before for grab in grabs) == 100


def test_a_replay_that_is_slower_than_its_rate_still_gives_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        cv2.imwrite(str(tmp_path / f"{number:02d}.png"), np.full((4, 6), number, np.uint8))
    read = ImageFolder.read

    def slow(self: ImageFolder) -> Grab | None:
        time.sleep(0.01)
        return read(self)

    monkeypatch.setattr(ImageFolder, "read", slow)
    grabs = read_all(simulator(f"sim:{tmp_path}?fps=500&frames=30", read_timeout_s=0.05))
    assert len(grabs) > 2
    assert sum(1 + grab.lost_before for grab in grabs) == 30


def test_an_unread_frame_is_lost_and_the_next_grab_says_so(tmp_path: Path) -> None:
    camera = simulator(f"sim:?fps=50&size=8x8&frames=40&log={tmp_path / 'log'}")
    camera.open()
    first = camera.read()
    time.sleep(0.3)
    second = camera.read()
    camera.close()
    lines = log_of(tmp_path / "log")
    assert first.lost_before + second.lost_before == sum(line["event"] == "lost" for line in lines)
    assert second.lost_before >= 10
    assert lines[-1]["source"] == second.source


def test_each_fault_does_what_it_says(tmp_path: Path) -> None:
    faults = "black@2,broken@3,size@4,frozen@6-7,lost@9"
    camera = simulator(f"sim:?fps=8&size=40x60&frames=10&fault={faults}&log={tmp_path / 'log'}")
    by_source = {grab.source: grab for grab in read_all(camera)}
    assert not by_source["sim#2"].image.any()
    assert by_source["sim#3"].image is None and by_source["sim#3"].fault.code == "camera"
    assert by_source["sim#4"].image.shape == (20, 30, 3)
    assert np.array_equal(by_source["sim#6"].image, by_source["sim#5"].image)
    assert np.array_equal(by_source["sim#7"].image, by_source["sim#5"].image)
    assert "sim#9" not in by_source and by_source["sim#10"].lost_before == 1
    assert [line["fault"] for line in log_of(tmp_path / "log")] == [
        None, "black", "broken", "size", None, "frozen", "frozen", None, "lost", None,
    ]  # fmt: skip


def test_a_stall_longer_than_the_limit_is_raised_and_passes() -> None:
    camera = simulator("sim:?fps=100&size=8x8&frames=3&fault=stall@2:0.25", read_timeout_s=0.1)
    camera.open()
    first = camera.read()
    stalls = 0
    while True:
        try:
            second = camera.read()
            break
        except CameraStalled as error:
            stalls += 1
            assert "no frame for 0.1 s" in str(error)
    assert stalls == 2
    assert second.source == "sim#2" and second.lost_before == 0
    assert second.mono_ns - first.mono_ns >= 0.25e9


def test_a_dead_camera_refuses_to_open_until_it_is_back() -> None:
    camera = simulator("sim:?fps=4&size=8x8&frames=3&fault=dead@2:0.2")
    camera.open()
    camera.read()
    with pytest.raises(CameraError, match="was lost"):
        camera.read()
    camera.close()
    with pytest.raises(CameraError, match="is not there"):
        camera.open()
    time.sleep(0.2)
    camera.open()
    assert camera.read().source == "sim#2"


def test_a_path_is_replayed_as_a_live_camera(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((6, 8), number, np.uint8))
    once = simulator(f"sim:{tmp_path}?fps=8")
    assert [int(grab.image[0, 0]) for grab in read_all(once)] == [0, 1, 2]
    assert once.live and once.total == 3
    looped = simulator(f"sim:{tmp_path}?fps=8&frames=5&loop=1")
    assert [int(grab.image[0, 0]) for grab in read_all(looped)] == [0, 1, 2, 0, 1]


def test_a_path_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        simulator(f"sim:{tmp_path / 'none'}").open()


def test_belts_beyond_four_megapixels_are_drawn_smaller_and_enlarged() -> None:
    belt = Belt((2601, 3333), seed=2)
    first, again, later = belt.picture(1), Belt((2601, 3333), seed=2).picture(1), belt.picture(4)
    assert first.shape == (2601, 3333, 3) and np.array_equal(first, again)
    assert not np.array_equal(first, later)
    assert np.array_equal(first[0::2][:1300], first[1::2][:1300])
    assert sum(part.nbytes for part in vars(belt).values() if isinstance(part, np.ndarray)) < 6 * DRAWN_PX
