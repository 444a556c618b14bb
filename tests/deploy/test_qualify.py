"""The qualification's parts on tiny networks, and its page, verdict and refusals."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import qualified
from click.testing import CliRunner

from deploy.qualify import __main__ as command
from deploy.qualify import row, session
from deploy.qualify import scope as scoping
from deploy.qualify.candidates import Candidate, Machine, candidates
from deploy.qualify.graph import release_onnx
from deploy.qualify.network import flop_per_px, seeing_network
from deploy.qualify.reference import compute
from deploy.qualify.report import page
from deploy.qualify.row import Group, parity, row_of
from deploy.qualify.sample import frame_of, package_flop_per_px, seeing_package, spotted
from deploy.qualify.scope import Scope, Subject, names_of, subjects_of
from deploy.qualify.trial import Trial, outcome
from inspector.engine.openvino import CompileOptions, OpenVinoEngine
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


@pytest.mark.parametrize(
    ("level", "changed_px", "by", "verdict"),
    [(0, 1, 13, "holds"), (0, 1, 14, "FALLS SHORT"), (120, 10, 10, "holds"), (120, 11, 10, "FALLS SHORT")],
)
def test_an_engines_frame_is_held_against_the_reference(
    level: int, changed_px: int, by: int, verdict: str, package: ModelPackage
) -> None:
    """bf16: 0.05 are 12.75 levels, and one that rounding may add; a thousandth of 10,000 mask pixels."""
    theirs = np.full((100, 100, 2), level, np.uint8)
    mine = theirs.copy()
    mine.reshape(-1, 2)[:changed_px, 0] += by  # 130 of 255 is over the threshold of 0.5, 120 is not
    bf16 = Candidate("openvino", "bf16")
    found = parity(mine, theirs, package, bf16)
    assert (found["levels"], found["pixels"], found["verdict"]) == (by, 10_000, verdict)
    assert found["changed_px"] == (changed_px if level else 0)
    assert parity(mine, theirs, package, Candidate("openvino", "int8"))["verdict"] == "told"


def test_the_first_float32_is_the_reference_of_all(
    package: ModelPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ran before it, or in its stead, is held against nothing and says so."""
    level = {"openvino int8": 0, "openvino f32": 0, "openvino bf16": 99, "torch f32": 1}

    def trial(one: Trial) -> dict[str, Any]:
        assert one.keep is not None
        np.save(one.keep, np.full((4, 4, 2), level[one.candidate.name], np.uint8))
        product = {"words": "none"} if one.candidate.precision == "bf16" else {"flop_per_s": 1e9}
        return {"outcome": "ran", "frame_s": 0.5, "engine_only_s": 0.6, "product": product,
                "others_share": 0.2, "rss_mb": 9}  # fmt: skip

    monkeypatch.setattr(row, "run_trial", trial)
    group = Group(Subject("tiny", package, int8=package), (1000, 1000), tmp_path)
    scope = Scope(((1000, 1000),), 0.0, 0.0, 4096)
    rows = [row_of(group, parse_candidate(name), scope) for name in level]
    assert [one["parity"] and one["parity"]["verdict"] for one in rows] == [
        None,
        None,
        "FALLS SHORT",
        "holds",
    ]
    assert [one["reference"] for one in rows] == [False, True, False, False]
    assert [one["mpx_per_s"] for one in rows] == [2.0] * 4 and rows[0]["end_to_end"] == pytest.approx(1.2)
    useful = 2e6 * package_flop_per_px(package)
    assert [one["share"] for one in rows] == [useful / 1e9, useful / 1e9, None, useful / 1e9]
    assert [len(one["doubts"]) for one in rows] == [3, 3, 2, 3]  # others, end to end, share of the product


def parse_candidate(name: str) -> Candidate:
    engine, precision = name.split()
    return Candidate(engine, precision)


def test_an_int8_package_goes_with_the_one_that_it_was_made_from(
    package: ModelPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: Any = SimpleNamespace(id="b" * 64, in_8_bits=True, manifest=SimpleNamespace(name="tiny int8"))
    sources = {made.id: SimpleNamespace(source=package.id), package.id: None}
    monkeypatch.setattr(scoping, "quantisation", lambda one: sources[one.id])
    int8 = Candidate("openvino", "int8")
    (both,) = subjects_of([made, package])
    assert both.package is package and both.runs(int8) is made and both.runs(F32) is package
    (alone,) = subjects_of([made])
    assert alone.runs(int8) is alone.runs(F32) is made  # which says itself that it does not compute f32
    (lacking,) = subjects_of([package])
    found = row_of(Group(lacking, (9, 9), tmp_path), int8, Scope(((9, 9),), 0.0, 0.0, 64))
    assert found["outcome"] == "not run" and "`trainer export PACKAGE --int8 DATA" in found["words"]


def test_packages_of_one_name_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """An int8 package mostly has the name of the one that it was made from."""
    named = SimpleNamespace(name="demo")
    packages: Any = [
        SimpleNamespace(id=one * 64, path=Path(one), manifest=named, in_8_bits=False) for one in "ab"
    ]
    assert list(names_of(packages).values()) == ["demo " + "a" * 12, "demo " + "b" * 12]
    assert list(names_of(packages[:1]).values()) == ["demo"]
    int8 = Candidate("openvino", "int8")
    rows = [qualified.row(network="a"), qualified.row(network="b", engine_name=int8.name, mpx_per_s=9.0)]
    soaked: list[Trial] = []
    monkeypatch.setattr(session, "run_trial", lambda trial: soaked.append(trial) or {"outcome": "ran"})
    subjects = [Subject(name, one) for name, one in zip("ab", packages, strict=True)]
    scope = Scope(((90, 120),), 0.0, 1.0, 4096)
    session._soak(rows, [F32, int8], subjects, scope, lambda _: None)
    assert [(one.candidate, one.package) for one in soaked] == [(F32, "a")]


def test_the_whole_command_on_a_small_model(
    package: ModelPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the processes: the trials run here, so that the test takes seconds."""
    monkeypatch.setattr(row, "run_trial", outcome)
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
    assert len(ran) == 1 and ran[0]["share"] > 0 and 0 <= ran[0]["others_share"] <= 1
    assert figures["soak"]["wrong"] == 0 and figures["soak"]["answers_differ"]
    text = (tmp_path / "qualification.md").read_text()
    assert text.startswith("# Qualification") and "not run: no NVIDIA driver" in text
    assert text == page(figures) and "Only a glance" in text
    assert str(tmp_path) not in text and str(package.path.parent) not in text


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
    words = f"{package.path} is not what it was; make it again"
    monkeypatch.setattr(row, "run_trial", lambda _: {"outcome": "not run", "words": words})
    found = row_of(
        Group(Subject("tiny", package), (90, 120), Path("x")), F32, Scope(((90, 120),), 0.0, 0.0, 64)
    )
    assert found["words"] == "tiny is not what it was; make it again"


def test_the_command_on_the_page_names_no_folder_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--model=/somebody/s/folder/demo` was shown as it was typed."""
    typed = ["--model=/a/b=c/demo", "--model", "/a/int8", "--out=here", "--again", "--soak-minutes", "1"]
    monkeypatch.setattr(sys, "argv", ["qualify", *typed])
    shown = command._head([], Scope(((9, 9),), 0.0, 0.0, 64))["command"]
    assert shown == "python -m deploy.qualify --model=demo --model int8 --out=here --soak-minutes 1"


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
    with pytest.raises(UsageError, match=r"cannot be written \(Not a directory\); name another"):
        CliRunner().invoke(command.qualify, arguments, standalone_mode=False, catch_exceptions=False)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
