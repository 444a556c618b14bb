"""A line without camera and network: real recorder, real ledger, real live picture, made-up frames."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from ulid import ULID

from inspector.config import Recipe, RecordingConfig
from inspector.db.connect import open_ledger
from inspector.engine.protocol import EngineInfo
from inspector.live import PictureWriter, picture_path
from inspector.package import Manifest, ModelPackage, Normalisation, Threshold
from inspector.recorder import HealthBeat, Recorded, Recorder, RunStart
from inspector.types import Defect, Frame, Image, Inspection, Mask, Reason, Verdict, VerdictWord

SIZE = (120, 160)
BUDGET_MS = {"infer": 28.2, "judge": 2.0, "record": 4.0}


def package(classes: tuple[str, ...] = ("scratch", "pit")) -> ModelPackage:
    manifest = Manifest(
        name="tiny", version="1.2", classes=classes, channels=3, depth=3, base=4, halo=20, grid=4,
        normalisation=Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        thresholds={name: Threshold(value=0.5) for name in classes},
        training_data_sha256="0" * 64, seed=1,
    )  # fmt: skip
    return ModelPackage(Path("tiny"), manifest, manifest.package_id())


class SmallLine:
    """Judges frames as it is told to; everything after the judgement is the real thing."""

    def __init__(
        self, folder: Path, keep: str = "reject", classes: tuple[str, ...] = ("scratch", "pit")
    ) -> None:
        self.url = f"sqlite:///{folder / 'ledger.db'}"
        self.ledger = open_ledger(self.url)
        self.run_id = str(ULID())
        info = EngineInfo("fake", "1", "f32", "test processor", "p", "c0ffee123456", (100, 100))
        made = package(classes)
        start = RunStart(self.run_id, "station 7", made, info, Recipe(name="doors"), lot="A-17")
        self._committed = threading.Condition()
        self._done = 0
        self.recorder = Recorder(
            self.ledger, start, RecordingConfig(keep=frozenset({keep})), self._publish  # type: ignore[arg-type]
        )  # fmt: skip
        self.live = PictureWriter(picture_path(folder, self.run_id), 160, min_interval_s=0.0)
        self.counts: Counter[str] = Counter()

    def _publish(self, records: tuple[Recorded, ...]) -> None:
        self.live.publish(records[-1].inspection)
        with self._committed:
            self._done += len(records)
            self._committed.notify_all()

    def judge(
        self,
        word: str,
        words: str = "",
        *,
        found: bool | None = None,
        age_s: float = 0.0,
        code: str = "length",
    ) -> Inspection:
        """One frame through the recorder; returns when its row is committed and its picture shared."""
        number = self.recorder.counter.next()
        has_defect = (word == "REJECT") if found is None else found
        reason = Reason(code, words or "scratch 58 px is above 40 px")
        inspection = inspection_of(number, VerdictWord(word), reason, has_defect, age_s)
        self.recorder.submit(inspection)
        self.counts[word] += 1
        with self._committed:
            assert self._committed.wait_for(lambda: self._done == number, timeout=20)
        return inspection

    def beat(
        self,
        state: str = "running",
        words: str = "",
        age_s: float = 0.0,
        queues: dict[str, int] | None = None,
        stages_ms: dict[str, float] | None = None,
    ) -> None:
        """A sign of life, in the ledger when this returns."""
        before = self._beat_ns()
        utc_ns = time.time_ns() - round(age_s * 1e9)
        shares = {name: ms / 33.6 for name, ms in BUDGET_MS.items()}
        beat = HealthBeat(
            state, utc_ns, words, "ok, 120x160", 29.8, 31.0, 44.0, 80.0, queues=queues or {},
            counts=dict(self.counts), stages_ms=stages_ms or {}, budget_ms=BUDGET_MS, budget_share=shares,
            warning="infer uses 84% of the frame period",
        )  # fmt: skip
        self.recorder.health(beat)
        deadline = time.monotonic() + 20
        while self._beat_ns() == before:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def _beat_ns(self) -> int | None:
        from inspector.db.queries import health

        beat = health(self.ledger, self.run_id)
        return None if beat is None else beat.utc_ns

    def close(self) -> None:
        self.recorder.close()
        self.live.close()
        self.ledger.dispose()


def inspection_of(
    number: int, word: VerdictWord, reason: Reason, found: bool, age_s: float = 0.0
) -> Inspection:
    image = picture_of(number)
    defects: tuple[Defect, ...] = ()
    mask: Mask = np.zeros(SIZE, np.uint8)
    if found:
        cv2.line(image, (40, 30), (90, 60), (10, 10, 10), 2)
        cv2.line(mask, (40, 30), (90, 60), 1, 2)
        defects = (Defect(1, "scratch", (29, 39, 62, 92), 118, 58.3, 2.0, 0.93),)
    reasons = () if word is VerdictWord.PASS else (reason,)
    frame = Frame(
        number,
        image,
        time.time_ns() - round(age_s * 1e9),
        time.monotonic_ns(),
        "station 7",
        f"made-up #{number}",
    )
    return Inspection(frame, Verdict(word, reasons), defects, mask, 1.0, time.monotonic_ns(), {"infer": 20.0})


def picture_of(number: int) -> Image:
    """Brushed metal, another one for each number."""
    rng = np.random.default_rng(number)
    lines = rng.normal(150, 12, (SIZE[0], 1, 1)) + rng.normal(0, 6, (*SIZE, 1))
    return np.repeat(lines.clip(0, 255).astype(np.uint8), 3, axis=2)
