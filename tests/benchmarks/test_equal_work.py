"""What is set beside each other does the same work: as many tiles alone as in a frame of the line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.speed import peers
from deploy.qualify import trial
from deploy.qualify.rate import Product
from deploy.qualify.trial import Trial, Work
from inspector.cli.bench import LineBench
from inspector.engine.fake import FakeEngine
from inspector.tiling import Geometry, plan_tiles
from inspector.types import Image, ProbMap

GEOMETRY = Geometry(3)
PLAN = plan_tiles((70, 90), (32, 40), GEOMETRY)
FRAME = np.full((70, 90), 128, np.uint8)


class Counting(FakeEngine):
    """Counts the tiles that it computes."""

    def __init__(self) -> None:
        super().__init__(2, GEOMETRY, PLAN.input)
        self.tiles = 0

    def run(self, tiles: Iterable[Image], deliver: Callable[[int, ProbMap], None]) -> None:
        def counted() -> Iterable[Image]:
            for tile in tiles:
                self.tiles += 1
                yield tile

        super().run(counted(), deliver)


def test_the_bench_runs_the_engine_alone_on_as_many_tiles() -> None:
    assert len(PLAN.tiles) == 9
    bench: Any = LineBench.__new__(LineBench)
    bench.plan, bench.engine, bench.tile = PLAN, Counting(), np.zeros(PLAN.input, np.uint8)
    seconds, cpu = bench.engine_only(3)
    assert bench.engine.tiles == 3 * 9 and seconds > 0 and cpu >= 0


def test_a_trial_of_qualify_does_too(monkeypatch: pytest.MonkeyPatch) -> None:
    work, engine = Work(Counting(), PLAN, FRAME), Counting()
    work.whole()
    assert work.engine.tiles == 9  # type: ignore[attr-defined]
    Work(engine, PLAN, FRAME).alone(np.zeros(PLAN.input, np.uint8))
    assert engine.tiles == 9
    calls: list[str] = []
    monkeypatch.setattr(Work, "whole", lambda _: calls.append("whole") or FRAME)
    monkeypatch.setattr(Work, "alone", lambda *_: calls.append("alone"))
    candidate: Any = None
    monkeypatch.setattr(trial, "product_of", lambda _: Product("", "", 1.0, lambda: None))
    figures = work.speed(Trial(candidate, "", (70, 90), 0.0, 64), dict)
    assert calls == ["whole", "whole", "alone"]  # the first warms up and is not timed
    assert figures["frames"] == 1


def test_bare_openvino_runs_the_tile_as_often_as_a_frame_has_tiles(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    asked: list[int] = []

    class Bare:
        def __init__(self, *_: object) -> None: ...

        def seconds(self, runs: int) -> float:
            asked.append(runs)
            return 0.5  # a run

    monkeypatch.setattr(peers, "BareLoop", Bare)
    monkeypatch.setattr(peers, "line_mpx_per_s", lambda *_: 2.0)
    info = SimpleNamespace(name="openvino", version="1", precision="f32")
    bench: Any = SimpleNamespace(plan=PLAN, size=(1000, 1000), engine=SimpleNamespace(info=info))
    task: Any = SimpleNamespace(package=SimpleNamespace(onnx=tmp_path), folder=tmp_path)
    ours, bare = peers._own(bench, task)
    assert ours.seconds() == 0.5  # a megapixel at two a second
    assert bare.seconds() == 9 * 0.5 and asked == [9]
