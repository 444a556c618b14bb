"""The qualification's parts on tiny networks, and its page, verdict and refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from click.testing import CliRunner

from deploy.qualify import __main__ as command
from deploy.qualify import session
from deploy.qualify.candidates import Candidate, Machine, candidates
from deploy.qualify.graph import release_onnx
from deploy.qualify.network import flop_per_px, seeing_network
from deploy.qualify.rate import cpu_rate, gpu_rate
from deploy.qualify.reference import compute
from deploy.qualify.report import page
from deploy.qualify.sample import frame_of, seeing_package, spotted
from deploy.qualify.soak import soak
from deploy.qualify.trial import Trial, _resident_mb, outcome, parse_trial
from inspector.engine.openvino import CompileOptions, OpenVinoEngine, cpu_has_bf16
from inspector.engine.parity import measure
from inspector.errors import UsageError
from inspector.package import ModelPackage

F32 = Candidate("openvino", "f32")
ALL = Machine(no_bf16=None, no_torch=None, no_gpu=None, no_tensorrt=None)
NOTHING = Machine("no bf16", "torch is not installed", "no NVIDIA driver", "tensorrt is not installed")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    pytest.importorskip("onnx")
    return seeing_package(tmp_path_factory.mktemp("qualify") / "seeing", base=4, depth=3)


def test_flop_a_pixel_counts_every_product_of_the_network() -> None:
    network = seeing_network(16, 4)
    pairs = [(kernel, 0.25**level) for level, pair in enumerate(network.down) for kernel in pair]
    for level, (lift, *both) in zip((2, 1, 0), network.up, strict=True):
        pairs += [(kernel, 0.25**level) for kernel in both]
        pairs.append((lift[..., :1, :1], 0.25**level))  # one of its four taps reaches each output pixel
    counted = sum(2 * kernel.size * share for kernel, share in pairs) + 2 * network.head.size
    assert flop_per_px(16, 4, 1, 3) == pytest.approx(counted)
    assert flop_per_px(16, 4, 1, 3) == pytest.approx(71_000, rel=0.02)
    assert flop_per_px(16, 5, 1, 3) == pytest.approx(94_000, rel=0.03)


def test_numpy_and_every_engine_agree_on_the_network(package: ModelPackage) -> None:
    side = package.golden().tiles.shape[1]
    parity = measure(OpenVinoEngine(package, (side, side), CompileOptions("f32")), package, package.golden())
    assert parity.max_difference <= 1 / 255 and parity.changed == 0 and parity.defects > 0
    torch_engine = pytest.importorskip("inspector.engine.torch")
    exact = torch_engine.TorchEngine(package, (side, side), torch_engine.TorchOptions("f32", "cpu"))
    assert measure(exact, package, package.golden()).max_difference <= 1 / 255


def test_the_deep_levels_move_the_scores() -> None:
    """Else an engine that is wrong there would pass."""
    tile = spotted((76, 76), 0)
    network = seeing_network(4, 3)
    network = network.with_deep_scores(compute(network, tile).features)
    before = compute(network, tile).probs
    network.down[2][1][:] *= 0.5
    assert np.abs(compute(network, tile).probs - before).max() > 0.05


def test_the_graph_is_one_that_tensorrt_takes() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(release_onnx(seeing_network(4, 2)))
    assert [node.op_type for node in model.graph.node][0 :: len(model.graph.node) - 1] == ["Cast", "Cast"]
    assert [one.name for one in model.graph.output] == ["prob", "prob_f32"]


def test_without_onnx_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"pip install onnx`, or name packages with --model"):
        release_onnx(seeing_network(4, 2))


def test_a_frame_is_laid_with_golden_tiles(package: ModelPackage) -> None:
    tiles = package.golden().tiles
    side = tiles.shape[1]
    frame = frame_of(package, (side + 10, 2 * side + 5))
    assert frame.shape == (side + 10, 2 * side + 5)
    assert np.array_equal(frame[:side, side : 2 * side], tiles[1, :, :, 0])


def test_what_a_machine_lacks_has_its_reason() -> None:
    reasons = {one.name: NOTHING.lacks(one) for one in candidates(NOTHING)}
    assert reasons["openvino f32"] is None and reasons["openvino bf16"] == "no bf16"
    assert reasons["torch f32"] == reasons["torch fp16 GPU"] == "torch is not installed"
    assert reasons["tensorrt fp16 GPU"] == "no NVIDIA driver"
    assert not any(ALL.lacks(one) for one in candidates(ALL))
    assert candidates(ALL)[0] == Candidate("torch", "f32", on_gpu=True)  # the reference of a GPU machine


def test_the_matrix_product_runs_in_the_precision_it_says() -> None:
    for precision in ("f32", "int8", *(["bf16"] if cpu_has_bf16() else [])):
        assert cpu_rate(precision, 0.0)["flop_per_s"] > 1e8
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no NVIDIA GPU"):
            gpu_rate("fp16", 0.0)


def test_a_trial_measures_speed_memory_and_keeps_the_answer(package: ModelPackage, tmp_path: Path) -> None:
    kept = tmp_path / "probs.npy"
    trial = Trial(F32, str(package.path), (90, 120), 0.0, 4096, str(kept))
    assert parse_trial(json.dumps({**trial_fields(trial)})) == trial
    found = outcome(trial)
    assert found["outcome"] == "ran" and found["frames"] == 1 and found["rss_mb"] > 50
    assert found["engine"]["precision"] == "f32" and len(found["engine"]["certificate"]) == 64
    assert np.load(kept).shape == (90, 120, 2)


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
    monkeypatch.setattr(session.sys, "executable", "/bin/false")
    found = session.run_trial(Trial(F32, "", (1, 1), 0.0, 64))
    assert found == {"outcome": "failed", "words": "the process ended with 1: without a word"}


def test_a_soak_counts_answers_that_are_not_the_first() -> None:
    answers = iter([*[np.zeros((2, 2, 1), np.uint8)] * 5, np.full((2, 2, 1), 9, np.uint8)] * 2)
    found = soak(lambda: next(answers), 0.0)
    assert found["frames"] == 10 and found["wrong"] == 1
    assert found["rss_last_mb"] >= found["rss_first_mb"] - 5


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
    found, own_mb = soak(lambda: answer, 0.0), psutil.Process().memory_info().rss / 1e6
    assert found["rss_first_mb"] > own_mb + 60 and found["rss_last_mb"] > own_mb + 60


def test_memory_of_a_process_that_ended_before_does_not_count(child: subprocess.Popen[str]) -> None:
    """A compiler's, for one."""
    with_child = _resident_mb()
    child.communicate("")
    assert _resident_mb() < with_child - 60


def row(**changes: Any) -> dict[str, Any]:
    engine = {"name": "openvino", "precision": "f32", "note": ""}
    return {"network": "seeing-4-3", "package": "a" * 64, "frame": (90, 120),
            "engine_name": "openvino f32", "precision": "f32", "outcome": "ran",
            "engine": engine, "mpx_per_s": 2.0, "useful_flop_per_s": 1e11, "share": 0.5,
            "end_to_end": 0.97, "parity": None, "rss_mb": 400, **changes}  # fmt: skip


@pytest.mark.parametrize(
    ("level", "changed_px", "by", "verdict"),
    [(0, 1, 13, "holds"), (0, 1, 14, "FALLS SHORT"), (120, 10, 10, "holds"), (120, 11, 10, "FALLS SHORT")],
)
def test_an_engines_frame_is_held_against_the_reference(
    level: int, changed_px: int, by: int, verdict: str, package: ModelPackage, tmp_path: Path
) -> None:
    """bf16: 0.05 are 12.75 levels, and one that rounding may add; a thousandth of 10,000 mask pixels."""
    theirs = np.full((100, 100, 2), level, np.uint8)
    mine = theirs.copy()
    mine.reshape(-1, 2)[:changed_px, 0] += by  # 130 of 255 is over the threshold of 0.5, 120 is not
    for name, probs in (("mine", mine), ("theirs", theirs)):
        np.save(tmp_path / name, probs)
    bf16 = Candidate("openvino", "bf16")
    found = session._parity(tmp_path / "mine.npy", tmp_path / "theirs.npy", package, bf16)
    assert (found["levels"], found["pixels"], found["verdict"]) == (by, 10_000, verdict)
    assert found["changed_px"] == (changed_px if level else 0)


def test_the_first_float32_is_the_reference_of_all(
    package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ran before it, or in its stead, is held against nothing and says so."""
    level = {"openvino int8": 0, "openvino f32": 0, "openvino bf16": 99}

    def trial(one: Trial) -> dict[str, Any]:
        assert one.keep is not None
        np.save(one.keep, np.full((4, 4, 2), level[one.candidate.name], np.uint8))
        return {"outcome": "ran", "frame_s": 0.5, "engine_only_s": 0.4}

    monkeypatch.setattr(session, "run_trial", trial)
    able = [Candidate("openvino", precision) for precision in ("int8", "f32", "bf16")]
    scope = session.Scope(((1000, 1000),), 0.0, 0.0, 4096)
    rows = session.side_by_side(able, package, (1000, 1000), scope, lambda _: None)
    assert [one["parity"] and one["parity"]["verdict"] for one in rows] == [None, None, "FALLS SHORT"]
    assert [one["mpx_per_s"] for one in rows] == [2.0] * 3 and rows[0]["end_to_end"] == pytest.approx(0.8)
    rates = {"openvino f32": 2 * rows[1]["useful_flop_per_s"], "openvino bf16": None}
    assert [session.share_of(one, rates) for one in rows[1:]] == [0.5, None]


def test_the_verdict_falls_short_for_anything_that_ran_wrong() -> None:
    still = {"outcome": "ran", "wrong": 0}
    assert session.verdict([row()], still).startswith("HOLDS: 1 run")
    assert session.verdict([row(), row(outcome="not run", words="no driver")], still).startswith("HOLDS")
    wrong = {"levels": 40, "changed_px": 9, "pixels": 99, "verdict": "FALLS SHORT"}
    for bad in (row(parity=wrong), row(outcome="refused", words="x"), row(outcome="failed", words="x")):
        assert "openvino f32 on seeing-4-3" in session.verdict([row(), bad], still)
    assert "soak" in session.verdict([row()], {"outcome": "ran", "wrong": 2})
    assert "soak" in session.verdict([row()], {"outcome": "refused", "words": "x"})
    grown = {**still, "rss_first_mb": 400, "rss_last_mb": 900}
    assert session.verdict([row()], grown) == "FALLS SHORT: the soak began with 400 MB and ended with 900 MB."
    assert session.verdict([row()], {**grown, "rss_last_mb": 420}).startswith("HOLDS")
    assert session.verdict([], {"outcome": "not run"}).startswith("NOTHING RAN")


def test_packages_of_one_name_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """An int8 package mostly has the name of the one that it was made from."""
    named = SimpleNamespace(name="demo")
    packages: Any = [SimpleNamespace(id=one * 64, path=Path(one), manifest=named) for one in "ab"]
    assert list(session.names_of(packages).values()) == ["demo " + "a" * 12, "demo " + "b" * 12]
    assert list(session.names_of(packages[:1]).values()) == ["demo"]
    int8 = Candidate("openvino", "int8")
    rows = [row(), row(package="b" * 64, engine_name=int8.name, mpx_per_s=9.0)]
    soaked: list[Trial] = []
    monkeypatch.setattr(session, "run_trial", lambda trial: soaked.append(trial) or {"outcome": "ran"})
    scope = session.Scope(((90, 120),), 0.0, 1.0, 4096)
    session._soak(rows, [F32, int8], packages, scope, lambda _: None)
    assert [(one.candidate, one.package) for one in soaked] == [(F32, "a")]


def test_the_whole_command_on_a_small_model(
    package: ModelPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the processes: the trials run here, so that the test takes seconds."""
    monkeypatch.setattr(session, "run_trial", outcome)
    monkeypatch.setattr(session, "this_machine", lambda: NOTHING)
    monkeypatch.setattr(command, "QUICK_FRAMES", ((90, 120),))
    arguments = ["--quick", "--model", str(package.path), "--seconds", "0", "--soak-minutes", "0.0001"]
    done = CliRunner().invoke(
        command.qualify, [*arguments, "--out", str(tmp_path), "--json"], standalone_mode=False
    )
    assert done.return_value == 0, done.output
    figures = json.loads((tmp_path / "qualification.json").read_text())
    assert json.loads(done.stdout.splitlines()[-1]) == figures
    assert [one["lacks"] for one in figures["engines"]].count(None) == 2  # f32, and int8 without its graph
    ran = [one for one in figures["rows"] if one["outcome"] == "ran"]
    assert len(ran) == 1 and ran[0]["share"] > 0 and figures["soak"]["wrong"] == 0
    text = (tmp_path / "qualification.md").read_text()
    assert text.startswith("# Qualification") and "not run: no NVIDIA driver" in text
    assert text == page(figures)


def test_networks_that_end_with_the_run_leave_nothing_in_the_cache(
    package: ModelPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSPECTION_CACHE", str(tmp_path))
    seen: list[str] = []

    def look(*_: Any) -> list[ModelPackage]:
        seen.append(os.environ["INSPECTION_CACHE"])
        raise UsageError("seen enough")

    monkeypatch.setattr(command, "_packages", look)
    for arguments in (["--quick"], ["--model", str(package.path)]):
        with pytest.raises(UsageError, match="seen enough"):
            CliRunner().invoke(command.qualify, arguments, standalone_mode=False, catch_exceptions=False)
    own, kept = seen
    assert own != str(tmp_path) and not Path(own).exists()
    assert kept == os.environ["INSPECTION_CACHE"] == str(tmp_path)


def test_the_page_names_the_network_and_not_the_folder_that_it_was_in(
    package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = f"{package.path} has no int8 graph on this machine; make one"
    monkeypatch.setattr(session, "run_trial", lambda _: {"outcome": "not run", "words": words})
    scope = session.Scope(((90, 120),), 0.0, 0.0, 4096)
    (found,) = session.side_by_side([F32], package, (90, 120), scope, lambda _: None)
    assert found["words"] == "seeing-4-3 has no int8 graph on this machine; make one"


def test_a_folder_that_cannot_be_written_and_help(package: ModelPackage, tmp_path: Path) -> None:
    done = CliRunner().invoke(command.qualify, ["--help"])
    assert done.exit_code == 0 and "Example:" in done.output
    with pytest.raises(UsageError, match="no model package"):
        CliRunner().invoke(
            command.qualify,
            ["--model", str(tmp_path / "gone")],
            standalone_mode=False,
            catch_exceptions=False,
        )


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*_: Any) -> None:
        raise AssertionError("an hour of measuring would be lost")

    monkeypatch.setattr(command, "_packages", measured)
    (tmp_path / "file").touch()
    arguments = ["--quick", "--out", str(tmp_path / "file" / "report")]
    with pytest.raises(UsageError, match=r"cannot be written \(Not a directory\); give another --out"):
        CliRunner().invoke(command.qualify, arguments, standalone_mode=False, catch_exceptions=False)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
