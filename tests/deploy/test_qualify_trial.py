"""One measurement: rounds, the matrix product beside them, memory, and a soak that finds old answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from deploy.qualify import row
from deploy.qualify import trial as trials
from deploy.qualify.candidates import Candidate
from deploy.qualify.rate import Product, cpu_rate, gpu_product
from deploy.qualify.sample import seeing_package
from deploy.qualify.soak import soak
from deploy.qualify.trial import Trial, Work, _resident_mb, outcome, parse_trial
from inspector.engine.memory import MB
from inspector.engine.open import choose_plan
from inspector.engine.openvino import cpu_has_bf16
from inspector.engine.planner import memory_model
from inspector.errors import EngineError, UsageError
from inspector.package import ModelPackage
from inspector.types import ProbMap

F32 = Candidate("openvino", "f32")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    pytest.importorskip("onnx")
    return seeing_package(tmp_path_factory.mktemp("qualify") / "seeing", base=4, depth=3)


def test_the_matrix_product_runs_in_the_precision_it_says() -> None:
    for precision in ("f32", "int8", *(["bf16"] if cpu_has_bf16() else [])):
        assert cpu_rate(precision, 0.0)["flop_per_s"] > 1e8  # raises where OpenVINO runs another one
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no NVIDIA GPU"):
            gpu_product("fp16")


def test_a_trial_measures_speed_memory_and_keeps_the_answer(package: ModelPackage, tmp_path: Path) -> None:
    kept = tmp_path / "probs.npy"
    trial = Trial(F32, str(package.path), (90, 120), 0.0, 4096, str(kept))
    assert parse_trial(json.dumps({**trial_fields(trial)})) == trial
    found = outcome(trial)
    assert found["outcome"] == "ran" and found["frames"] == 1 and found["rss_mb"] > 50
    assert found["engine"]["precision"] == "f32" and len(found["engine"]["certificate"]) == 64
    assert np.load(kept).shape == (90, 120, 2)


def test_each_round_has_its_matrix_product_and_the_memory_is_taken_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Measured once before the hour, it was that of a busy minute: a network ran at 1.96 times of it."""
    done: list[str] = []
    now = [0.0]

    def takes(what: str, seconds: float) -> Any:
        def run(*_: Any) -> Any:
            done.append(what)
            now[0] += seconds
            return np.zeros((2, 2, 1), np.uint8)

        return run

    product = Product("a processor", "a tool", 1e9, takes("product", 0.25))
    monkeypatch.setattr(trials.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(trials, "product_of", lambda _: done.append("made") or product)
    monkeypatch.setattr(trials, "Rivals", lambda: SimpleNamespace(share=lambda: 0.4567))
    monkeypatch.setattr(Work, "whole", takes("whole", 1.0))
    monkeypatch.setattr(Work, "alone", takes("alone", 0.75))
    plan: Any = SimpleNamespace(input=(4, 4))
    work = Work(plan, plan, np.zeros((4, 4), np.uint8))
    found = work.speed(Trial(F32, "", (4, 4), 5.0, 64), lambda: done.append("taken") or {"rss_mb": 7})
    each = ["whole", "alone", "product"]
    assert done == ["whole", "whole", "alone", "taken", "made", "product", *each, *each]
    assert (found["frames"], found["frame_s"], found["engine_only_s"]) == (3, 1.0, 0.75)
    assert found["product"]["flop_per_s"] == 4e9 and found["others_share"] == 0.457 and found["rss_mb"] == 7


@pytest.mark.parametrize("error", [EngineError, RuntimeError])
def test_a_matrix_product_that_fails_costs_only_its_own_figure(
    error: type[Exception], package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Candidate) -> Product:
        raise error("OpenVINO multiplies otherwise.")

    monkeypatch.setattr(trials, "product_of", fail)
    found = outcome(Trial(F32, str(package.path), (90, 120), 0.0, 4096))
    assert found["outcome"] == "ran" and found["product"] == {"words": "OpenVINO multiplies otherwise."}


def test_the_memory_limit_decides_how_a_frame_is_cut(package: ModelPackage) -> None:
    frame, settings = (500, 700), F32.settings(4096)
    whole = choose_plan(package, frame, settings)
    needs_mb = memory_model(package, settings).resident_bytes(frame, whole.input) / MB
    trials_of = [Trial(F32, str(package.path), frame, 0.0, int(needs_mb) + more) for more in (1, 0)]
    assert [outcome(one)["tiles"] > 1 for one in trials_of] == [False, True]


def trial_fields(trial: Trial) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(trial)


def test_what_a_trial_cannot_run_and_what_it_may_not_run_differ(
    package: ModelPackage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from inspector.engine.certificate import LIMITS

    monkeypatch.setenv("INSPECTION_CACHE", str(tmp_path))
    missing = Trial(F32, str(package.path / "gone"), (90, 120), 0.0, 4096)
    assert outcome(missing)["outcome"] == "not run"
    trial = Trial(F32, str(package.path), (90, 120), 0.0, 4096)
    monkeypatch.setitem(LIMITS, "f32", LIMITS["f32"].model_copy(update={"mask_equal": 1.1}))
    found = outcome(trial)
    assert found["outcome"] == "refused" and "not the trained model" in found["words"]


def test_a_trial_whose_process_dies_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row.sys, "executable", "/bin/false")
    found = row.run_trial(Trial(F32, "", (1, 1), 0.0, 64))
    assert found == {"outcome": "failed", "words": "the process ended with 1: without a word"}


def answers(*levels: int) -> Callable[[], ProbMap]:
    """A frame's answers, one after the other, the last again and again."""
    waiting = list(levels)
    return lambda: np.full((2, 2, 1), waiting.pop(0) if len(waiting) > 1 else waiting[0], np.uint8)


def test_a_soak_counts_answers_that_are_not_their_frames_first() -> None:
    found = soak([answers(0), answers(200)], 0.0)
    assert (found["frames"], found["wrong"], found["answers_differ"]) == (10, 0, True)
    # Each by one level is rounding, by two it is another answer; one that comes back is the first again.
    assert soak([answers(7, 8, 6, 9, 5, 7), answers(200)], 0.0)["wrong"] == 2
    assert 0 <= found["others_share"] <= 1 and found["rss_last_mb"] >= found["rss_first_mb"] - 5


def test_a_soak_finds_an_engine_that_hands_out_an_old_answer() -> None:
    """One frame again and again would never show it."""
    old = answers(30)
    assert soak([old, answers(200, 200, 30)], 0.0)["wrong"] == 4
    assert not soak([old, answers(31)], 0.0)["answers_differ"]


def test_the_soaks_frames_are_the_frame_and_itself_upside_down(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ProbMap] = []

    def whole(work: Work) -> ProbMap:
        seen.append(work.frame)
        return work.frame

    monkeypatch.setattr(Work, "whole", whole)
    nothing: Any = None
    found = Work(nothing, nothing, np.arange(12, dtype=np.uint8).reshape(4, 3, 1) * 20).soak(0.0)
    assert found["answers_differ"] and found["wrong"] == 0
    assert np.array_equal(seen[1], seen[0][::-1]) and not np.array_equal(seen[0], seen[1])


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    """A process of this one that holds 80 MB, such as an engine's."""
    program = "held = b'x' * 80_000_000; print('ready', flush=True); open(0).read()"
    started = [sys.executable, "-S", "-c", program]
    with subprocess.Popen(started, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process


def test_memory_is_that_of_an_engines_own_process_too(child: subprocess.Popen[str]) -> None:
    answer = np.zeros((2, 2, 1), np.uint8)
    found, own_mb = soak([lambda: answer] * 2, 0.0), psutil.Process().memory_info().rss / 1e6
    assert found["rss_first_mb"] > own_mb + 60 and found["rss_last_mb"] > own_mb + 60


def test_memory_of_a_process_that_ended_before_does_not_count(child: subprocess.Popen[str]) -> None:
    """A compiler's, for one."""
    with_child = _resident_mb()
    child.communicate("")
    assert _resident_mb() < with_child - 60
