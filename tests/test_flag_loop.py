"""The whole circle: a line judges, people doubt, masks are corrected, and the next model knows better.

Parts are gray with dark holes as the only known damage, and bright glints that are none. Then two
new things come: printed codes, which the first model takes for holes, and bright scratches, which
it passes as it passes glints.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from inspector.cli.main import inspector
from inspector.config import LineConfig
from inspector.db import queries
from inspector.db.connect import open_ledger
from inspector.station import run_station
from inspector.types import Image, Mask, VerdictWord

pytest.importorskip("torch", reason="the circle needs the trainer's packages")
HEIGHT, WIDTH = 96, 128
STEPS, MORE_STEPS = 60, 150
"""Of the first training, and of the one that goes on with what was flagged."""
RULE = {"class": "damage", "measure": "area_px", "reject_above": 12.0}


def part(rng: np.random.Generator, *things: str) -> tuple[Image, Mask]:
    """A gray part with the named things on it, and what of it is damage."""
    image = cv2.GaussianBlur(rng.normal(150, 40, (HEIGHT, WIDTH)), (0, 0), 3) + rng.normal(
        0, 3, (HEIGHT, WIDTH)
    )
    damage: Mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for at, thing in enumerate(things):
        y, x = int(rng.integers(24, HEIGHT - 24)), 24 + at * 40 + int(rng.integers(0, 12))
        if thing == "hole":
            cv2.circle(damage, (x, y), int(rng.integers(4, 8)), 1, -1)
            image[damage == 1] = 40
        elif thing == "glint":
            cv2.circle(image, (x, y), int(rng.integers(3, 7)), 250, -1)
        elif thing == "code":
            block = (np.indices((18, 18)) // 6).sum(axis=0) % 2
            image[y - 9 : y + 9, x - 9 : x + 9] = np.where(block, 45, 220)
        elif thing == "scratch":
            line = np.zeros_like(damage)
            cv2.line(line, (x - 9, y - 6), (x + 9, y + int(rng.integers(-6, 12))), 1, 3)
            image[line == 1] = 250
            damage |= line
    return image.clip(0, 255).astype(np.uint8), damage


def write_dataset(folder: Path, frames: list[tuple[Image, Mask]]) -> Path:
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number, (image, mask) in enumerate(frames):
        cv2.imwrite(str(folder / "images" / f"{number:03d}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{number:03d}.png"), mask)
    (folder / "classes.json").write_text(json.dumps({"1": "damage"}))
    return folder


def train(out: Path, package: Path, *data: Path, init: Path | None = None) -> None:
    """What `trainer fit` and `trainer export` do, in steps small enough for a test."""
    from trainer.cli.main import trainer as group
    from trainer.config import AugmentConfig
    from trainer.fit import Request, prepare, run
    from trainer.progress import Display

    # In so few steps a network learns from pictures of their own size, as those that go on do.
    usual = AugmentConfig().model_dump()
    fresh = {"base": 8, "depth": 3, "crops": 1, "start_scale": 1.0, "augment": usual}
    network = {} if init is not None else fresh
    steps = STEPS if init is None else MORE_STEPS
    settings = {"steps": steps, "step_px": 50_000, "learning_rate": 5e-3, **network}
    prepared = prepare(Request(data, out, init=init, settings=settings))
    with Display(prepared.config.classes) as display:
        run(prepared, display)
    given = ["export", str(out), "--out", str(package)]
    assert group.main(given, prog_name="trainer", standalone_mode=False) == 0


def judge(folder: Path, images: Path, package: Path) -> dict[str, VerdictWord]:
    """The verdict on each image of a folder, by the real line; everything goes into one ledger."""
    config: dict[str, Any] = {
        "camera": {"source": str(images)},
        "model": {"package": package, "precision": "f32"},
        "recipe": {"rules": [RULE]},
        "recording": {"db": f"sqlite:///{folder / 'ledger.db'}", "keep": ["reject", "pass"]},
    }
    summary = run_station(LineConfig.model_validate(config))
    assert summary.error is None
    ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}")
    try:
        rows = queries.recent(ledger, summary.run_id, 1000)
    finally:
        ledger.dispose()
    return {Path(row.source).stem: row.word for row in rows}


def test_flagged_frames_come_back_as_a_better_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    shown = [("hole",), ("hole", "glint"), ("glint", "hole", "hole"), ("glint",), ()]
    known = write_dataset(tmp_path / "known", [part(rng, *shown[i % 5]) for i in range(25)])
    train(tmp_path / "run1", tmp_path / "first", known)

    things = ["code", "scratch"] * 4 + ["hole", ""] * 2
    frames = [part(rng, *filter(None, [thing])) for thing in things]
    shift = write_dataset(tmp_path / "shift", frames)
    before = judge(tmp_path, shift / "images", tmp_path / "first")
    right = {
        f"{i:03d}": VerdictWord.REJECT if mask.any() else VerdictWord.PASS
        for i, (_, mask) in enumerate(frames)
    }
    wrong = [stem for stem in sorted(right) if before[stem] is not right[stem]]
    kinds = {things[int(stem)] for stem in wrong}
    assert {"code", "scratch"} <= kinds, f"the first model knows too much: {before}"

    db = f"sqlite:///{tmp_path / 'ledger.db'}"
    for stem in wrong:
        kind = "false-reject" if right[stem] is VerdictWord.PASS else "missed"
        given = ["flag", "--db", db, "--frame", str(int(stem) + 1), "--kind", kind, "--operator", "mia"]
        assert inspector.main(given, prog_name="inspector", standalone_mode=False) == 0
    doubts = tmp_path / "doubts"
    given = ["export", "--flagged", str(doubts), "--db", db]
    assert inspector.main(given, prog_name="inspector", standalone_mode=False) == 0
    told = json.loads((doubts / "provenance.json").read_text())["frames"]
    assert len(told) == len(wrong)
    for stem, frame in told.items():  # a person corrects the masks
        cv2.imwrite(str(doubts / "masks" / f"{stem}.png"), frames[frame["frame"] - 1][1])

    train(tmp_path / "run2", tmp_path / "second", known, doubts, init=tmp_path / "first")
    after = judge(tmp_path, shift / "images", tmp_path / "second")
    assert {stem: after[stem] for stem in wrong} == {stem: right[stem] for stem in wrong}
    assert after == right  # and nothing that was right before became wrong
