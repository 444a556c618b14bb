"""A training that keeps something of each step falls short, and one that allocates once does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import table, training_memory
from benchmarks.training_memory import Watch, last_step, measured


def test_the_step_is_that_of_the_last_whole_line(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert last_step(log) == 0
    log.write_text('{"kind": "steps", "step": 20}\n')
    assert last_step(log) == 20
    log.write_text("x" * (1 << 16) + '\n{"kind": "steps", "step": 40}\n{"kind": "ste')
    assert last_step(log) == 40, "of a long log the end alone is read, and half a line is none"


def test_looks_before_the_first_and_after_the_last_step_do_not_count(tmp_path: Path) -> None:
    watch = Watch(tmp_path / "log.jsonl", 40)
    for step in (0, 20, 40):
        if step:
            watch.log.write_text(json.dumps({"kind": "steps", "step": step}) + "\n")
        watch.look(Path("/proc/self"))
    watch.look(Path("/proc/no such process"))
    assert watch.steps == [20] and watch.rss_mb[0] > 10


def test_of_a_logged_step_the_last_look_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A validation comes right after its step, and what it takes for a while is no growth."""
    watch = Watch(tmp_path / "log.jsonl", 100)
    seen = iter([400.0, 700.0, 401.0, 402.0])
    monkeypatch.setattr(training_memory, "memory_mb", lambda *_: next(seen))
    for step in (20, 20, 20, 40):
        watch.log.write_text(json.dumps({"kind": "validation", "step": step}) + "\n")
        watch.look(tmp_path)
    assert (watch.steps, watch.rss_mb) == ([20, 40], [401.0, 402.0])


@pytest.mark.parametrize(("kb_a_step", "holds"), [(0.0, True), (0.5, True), (2.0, False)])
def test_memory_that_grows_with_the_steps_falls_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kb_a_step: float, holds: bool
) -> None:
    """What is allocated in the first half does not count."""
    now = {"step": 0}

    def run(command: Sequence[str], look: Callable[[Path], None], _every_s: float) -> dict[str, Any]:
        assert command[:2] == ["trainer", "fit"] and command[command.index("--steps") + 1] == "4000"
        run_folder = Path(command[command.index("--out") + 1])
        run_folder.mkdir()
        with (run_folder / "log.jsonl").open("a") as log:
            for step in range(20, 4001, 20):
                now["step"] = step
                for kind in ("steps", "validation")[: 1 + (step % 400 == 0)]:
                    log.write(json.dumps({"kind": kind, "step": step}) + "\n")
                log.flush()
                look(Path("/proc/self"))
        return {}

    def rss(_process: Path, _field: str) -> float:
        step = now["step"]
        return 400 + 0.05 * min(step, 1900) + kb_a_step * step / 1000 + 0.3 * (step // 20 % 3)

    monkeypatch.setattr(training_memory, "watched", run)
    monkeypatch.setattr(training_memory, "memory_mb", rss)
    row = measured(4000, tmp_path)
    assert row["growth_per_10000"]["mb"] == pytest.approx(10 * kb_a_step, abs=0.6)
    assert row["holds"] is holds and row["validations"] == 10
    assert "10 validations" in dict((name, figure) for name, _, figure in table.BARS)["training_memory"](row)


def test_a_run_that_is_too_short_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: Sequence[str], *_: Any) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(training_memory, "watched", run)
    with pytest.raises(SystemExit, match="after step 30; give more --steps"):
        measured(60, tmp_path)
