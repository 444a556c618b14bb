"""The health check: alive is a station that gave a sign of life just now, whatever it sees."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from deploy.alive import main, trouble
from inspector.db.connect import open_ledger
from inspector.db.health import HealthBeat

S = 10**9


@pytest.mark.parametrize(
    ("state", "age_s", "words"),
    [
        ("running", 1, ""),
        ("starting", 1, ""),
        ("paused", 1, ""),
        ("blind", 9, ""),
        ("running", 11, "silent for 11 s"),
        ("ended", 1, "is ended"),
        ("failed", 1, "is failed: disk full"),
    ],
)
def test_what_counts_as_alive(state: str, age_s: int, words: str) -> None:
    said = trouble(HealthBeat(state, 100 * S - age_s * S, "disk full" if state == "failed" else ""), 100 * S)
    assert words in said and bool(said) is bool(words)


def test_without_a_run_or_a_ledger_it_is_not_alive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--db", f"sqlite:///{tmp_path / 'none.db'}"]) == 2
    open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}").dispose()
    assert main(["--db", f"sqlite:///{tmp_path / 'ledger.db'}"]) == 1
    assert "no run" in capsys.readouterr().err


def test_a_real_run_is_alive_until_it_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ulid import ULID

    from inspector.config import Recipe, RecordingConfig
    from inspector.engine.protocol import EngineInfo
    from inspector.package import Manifest, ModelPackage, Normalisation, Threshold
    from inspector.recorder import Recorder, RunStart

    manifest = Manifest(
        name="tiny", version="1", classes=("pit",), channels=1, depth=3, base=4, halo=20, grid=4,
        normalisation=Normalisation(mean=(0.0,), std=(1.0,)), thresholds={"pit": Threshold(value=0.5)},
        training_data_sha256="0" * 64, seed=1,
    )  # fmt: skip
    package = ModelPackage(Path("tiny"), manifest, manifest.package_id())
    info = EngineInfo("fake", "1", "f32", "none", package.id, "none", (100, 100))
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = open_ledger(url)
    start = RunStart(str(ULID()), "cam", package, info, Recipe())
    recorder = Recorder(ledger, start, RecordingConfig(), lambda _: None)
    recorder.health(HealthBeat("running", time.time_ns(), fps=12.5, warning="infer uses 90%"))
    deadline = time.monotonic() + 20
    while (code := main(["--db", url])) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert code == 0 and "running, 12.5 frames/s, infer uses 90%" in capsys.readouterr().out
    assert main(["--db", url, "--silent-after", "0"]) == 1
    recorder.health(HealthBeat("ended", time.time_ns()))
    recorder.close()
    ledger.dispose()
    assert main(["--db", url]) == 1
