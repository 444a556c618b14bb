"""Evaluation on whole frames: the figures of a known segmenter, and of a real RUN from the command line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from inspector.engine.fake import FakeEngine
from inspector.errors import EngineError, UsageError
from inspector.package import load_package
from inspector.tiling import Geometry, plan_tiles, whole_plan
from trainer.checkpoint import BEST, TrainedNetwork, save_network
from trainer.cli.evaluate import evaluate as evaluate_command
from trainer.cli.export import export as export_command
from trainer.dataset import load_dataset
from trainer.evaluate import NetworkEngine, Reading, Segmenter, evaluate
from trainer.golden import golden_tiles, save_tiles
from trainer.unet import UNet, UNetConfig


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of three parts and two sizes: dark squares are class 1, bright bars class 2."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    rng = np.random.default_rng(1)
    for n in range(6):
        image = rng.integers(120, 136, (70, 90 + 30 * (n % 2)), dtype=np.uint8)
        mask = np.zeros(image.shape, np.uint8)
        mask[10 + n : 24 + n, 30:50], mask[40:46, 20 + n : 70] = 1, 2
        image[mask == 1] -= 110
        image[mask == 2] += 110
        cv2.imwrite(str(folder / "images" / f"f{n}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"f{n}.png"), mask)
    (folder / "classes.json").write_text('{"1": "pit", "2": "scratch"}')
    (folder / "parts.json").write_text(json.dumps({f"f{n}": f"p{n // 2}" for n in range(6)}))
    (folder / "split.json").write_text(json.dumps({"train": ["f0", "f1", "f2", "f3"], "test": ["f4", "f5"]}))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Path:
    """A RUN folder whose network tells dark and bright pixels by their value, as its weights say."""
    folder = tmp_path_factory.mktemp("run")
    save_network(folder / BEST, by_value())
    samples = load_dataset([dataset]).split("train")
    save_tiles(folder, golden_tiles(samples, 2, Geometry(3)))
    return folder


def by_value() -> TrainedNetwork:
    """A U-Net with set weights: dark goes to plane 0 and bright to plane 1 of the first level's skip."""
    torch.manual_seed(0)
    config = UNetConfig(channels=1, classes=3, depth=3, base=4)
    net = UNet(config).eval()
    with torch.no_grad():
        for values in net.parameters():
            values.mul_(1e-3)
        chain = [net.down[0].conv1, net.down[0].conv2, net.up[1].convs.conv1, net.up[1].convs.conv2]  # type: ignore[union-attr]
        for depth, conv in enumerate(chain):
            for plane, sign in ((0, -1.0), (1, 1.0)):
                conv.weight[plane, 0 if depth == 0 else plane, 1, 1] = sign if depth == 0 else 1.0
        net.head.weight[1, 0, 0, 0] = net.head.weight[2, 1, 0, 0] = 40.0
        net.head.bias[0] = 20.0  # type: ignore[index]
    return TrainedNetwork(
        net=net,
        config=config,
        classes=("pit", "scratch"),
        channels=1,
        normalisation=((128.0,), (100.0,)),
        thresholds=(0.5, 0.5),
        mm_per_px=None,
        data_sha256="0" * 64,
        seed=0,
        metrics={},
        step=1,
        fit_config="",
    )


def test_a_segmenter_that_knows_the_truth_scores_as_counted(dataset: Path) -> None:
    samples = load_dataset([dataset]).split("all")
    masks = iter([sample.mask() for sample in samples])

    def knows(image: np.ndarray) -> np.ndarray:
        mask = next(masks)
        probs = np.zeros((*image.shape, 2), np.uint8)
        probs[mask == 1, 0] = 255
        probs[60:64, 5:9, 1] = 255  # misses every scratch, and sees one where nothing is
        return probs

    result = evaluate(samples, knows, Reading(("pit", "scratch"), (0.5, 0.5)), halo=20, also=["pixel_error"])
    figures = result.json()
    assert figures["frames"] == 6 and figures["parts"] == 3
    assert figures["per_class"]["pit"]["iou"] == 1.0 and figures["per_class"]["scratch"]["iou"] == 0.0
    assert figures["miou"] == pytest.approx(np.mean([figures["per_class"][n]["iou"] for n in
                                                     ("background", "pit", "scratch")]))  # fmt: skip
    scratch = figures["per_defect"]["classes"]["scratch"]
    assert (scratch["found"], scratch["total"], scratch["false_alarms"]) == (0, 6, 6)
    assert figures["per_defect"]["recall"] == pytest.approx(0.5)
    assert figures["per_defect"]["false_alarms_per_frame"] == pytest.approx(1.0)
    assert figures["border"]["px"] == 20
    assert figures["border"]["iou"]["pit"] == 1.0
    assert figures["border"]["iou_95"]["pit"] == [pytest.approx(0.4385, abs=1e-3), 1.0], "Wilson of 3 parts"
    assert figures["border"]["miou_95"][0] <= figures["border"]["miou"] <= figures["border"]["miou_95"][1]
    assert sum(figures["border"]["true_px"].values()) == result.border.matrix.sum()
    assert result.border.matrix.sum() == 3 * (70 * 90 - 30 * 50) + 3 * (70 * 120 - 30 * 80)
    wrong = 6 * 16 + sum(6 * (50 - n) for n in range(6))
    assert figures["pixel_error"] == pytest.approx(wrong / (70 * 90 * 3 + 70 * 120 * 3))
    assert "rand_error" not in figures
    json.dumps(figures, allow_nan=False)


def test_tiles_of_the_network_engine_are_the_whole_frame() -> None:
    trained = by_value()
    image = np.random.default_rng(2).integers(0, 256, (75, 103), dtype=np.uint8)
    geometry = Geometry(3)
    tiled = Segmenter(
        geometry,
        lambda frame: plan_tiles(frame, (28, 36), geometry),
        lambda p: NetworkEngine(trained, p.input),
    )
    whole = Segmenter(
        geometry, lambda frame: whole_plan(frame, geometry), lambda p: NetworkEngine(trained, p.input)
    )
    a, b = tiled(image), whole(image)
    assert a.shape == (75, 103, 2) and b.std() > 10
    assert np.abs(a.astype(int) - b.astype(int)).max() <= 1


def test_an_open_engine_serves_frames_that_fit_its_tile() -> None:
    trained = by_value()
    opened: list[tuple[int, int]] = []
    geometry = Geometry(3)

    def open_at(plan):  # type: ignore[no-untyped-def]
        opened.append(plan.input)
        return NetworkEngine(trained, plan.input)

    segmenter = Segmenter(geometry, lambda frame: whole_plan(frame, geometry), open_at)
    for size in ((64, 64), (61, 63), (64, 64), (20, 20)):
        assert segmenter(np.zeros(size, np.uint8)).shape == (*size, 2)
    assert opened == [(104, 104), (60, 60)]
    segmenter.close()


def test_a_tile_opened_for_a_tiny_frame_is_not_stepped_over_a_larger_one() -> None:
    """At depth 4 a frame of 3x3 opens tiles of 4, below the grid of 8."""
    geometry = Geometry(4)
    segmenter = Segmenter(
        geometry,
        lambda frame: whole_plan(frame, geometry),
        lambda plan: FakeEngine(1, geometry, plan.input),
    )
    for size in ((3, 3), (40, 40), (3, 40)):
        assert segmenter(np.full(size, 128, np.uint8)).shape == (*size, 1)


def test_the_network_engine_refuses_another_tile() -> None:
    engine = NetworkEngine(by_value(), (60, 60))
    with pytest.raises(EngineError, match=r"\(64, 60\)"):
        engine.run([np.zeros((64, 60), np.uint8)], lambda index, probs: None)


def test_evaluate_a_run_from_the_command_line(run: Path, dataset: Path) -> None:
    done = CliRunner().invoke(evaluate_command, [str(run), str(dataset), "--json", "--also", "rand_error"])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["frames"] == 2 and figures["split"] == "test"
    assert figures["miou"] > 0.95
    assert figures["per_defect"]["found"] == figures["per_defect"]["total"] == 4
    assert set(figures["per_class"]["pit"]) >= {"iou", "dice", "precision", "recall"}
    assert "rand_error" in figures
    text = CliRunner().invoke(evaluate_command, [str(run), str(dataset), "--split", "all"])
    assert text.exit_code == 0
    assert "6 frames of 3 parts" in text.stdout and "scratch" in text.stdout and "12 of 12" in text.stdout


def test_the_figures_of_a_run_that_has_not_ended_say_so(run: Path, dataset: Path, tmp_path: Path) -> None:
    """They were quoted as those of the finished network, whose thresholds are others."""
    figures = {"score": 0.7, "classes": {}}
    for counted, said in (({}, True), ({"per_defect": {"classes": {}}}, False)):
        made = dataclasses.replace(by_value(), metrics={"validation": {**figures, **counted}})
        save_network(tmp_path / BEST, made)
        words = [str(tmp_path), str(dataset)]
        assert ("The run has not ended" in CliRunner().invoke(evaluate_command, words).stdout) == said
        done = CliRunner().invoke(evaluate_command, [*words, "--json"])
        assert json.loads(done.stdout.splitlines()[-1])["ended"] is not said


def test_export_a_run_and_evaluate_the_package_alike(
    run: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "packages" / "tiles"
    done = CliRunner().invoke(export_command, [str(run), "--out", str(out), "--version", "2.1.0", "--json"])
    assert done.exit_code == 0, done.output
    package = load_package(out)
    assert json.loads(done.stdout)["id"] == package.id
    assert (package.manifest.name, package.manifest.version) == ("tiles", "2.1.0")
    done = CliRunner().invoke(evaluate_command, [str(out), str(dataset), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["miou"] > 0.95


def test_the_figures_that_are_asked_for_have_their_names_and_intervals(run: Path, dataset: Path) -> None:
    names = ("pixel_error", "rand_error", "warping_error", "seg", "ap50")
    also = [word for name in names for word in ("--also", name)]
    done = CliRunner().invoke(evaluate_command, [str(run), str(dataset), *also, "--json"])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout.splitlines()[-1])
    for name in names:
        assert 0 <= figures[f"{name}_95"][0] <= figures[name] <= figures[f"{name}_95"][1] <= 1, name
    assert figures["seg"] > 0.9 and figures["ap50"] == 1.0
    assert figures["instances"]["classes"]["scratch"]["matched"] == 2
    assert figures["identity"]["data"]["frames"] == "2 frames of 1 part"
    assert len(figures["identity"]["data"]["sha256 of these frames"]) == 64
    assert (
        "float" not in figures["identity"]["model"]["engine"]
        and "f32" in figures["identity"]["model"]["engine"]
    )
    plain = CliRunner().invoke(evaluate_command, [str(run), str(dataset), "--json"])
    assert not set(names) & set(json.loads(plain.stdout.splitlines()[-1]))


def test_averaging_is_said_aloud_and_in_the_figures(run: Path, dataset: Path) -> None:
    for how in ("flips", "rotations"):
        words = [str(run), str(dataset), "--average", how, "--json"]
        done = CliRunner().invoke(evaluate_command, words)
        assert done.exit_code == 0, done.output
        assert "the line does not run this" in done.stderr
        figures = json.loads(done.stdout.splitlines()[-1])
        assert figures["average"] == how and figures["miou"] > 0.85


def test_an_escape_target_shows_the_trade_of_each_class(run: Path, dataset: Path) -> None:
    words = [str(run), str(dataset), "--split", "all", "--escape-target", "0.01"]
    done = CliRunner().invoke(evaluate_command, [*words, "--json"])
    assert done.exit_code == 0, done.output
    escape = json.loads(done.stdout.splitlines()[-1])["escape"]
    assert escape["target"] == 0.01 and set(escape["classes"]) == {"pit", "scratch"}
    pit = escape["classes"]["pit"]
    assert pit["reached"] and pit["at_target"]["found"] == pit["at_target"]["total"] == 6
    assert pit["at_target"]["recall_95"][0] < 0.7 and pit["served_threshold"] == 0.5
    text = CliRunner().invoke(evaluate_command, words).stdout
    assert "<- keeps 1 %" in text and "381 defects" in text and "6 of 6" in text


def test_the_report_is_one_file_with_the_figures_of_the_command(
    run: Path, dataset: Path, tmp_path: Path
) -> None:
    report = tmp_path / "page.html"
    done = CliRunner().invoke(evaluate_command, [str(run), str(dataset), "--report", str(report), "--json"])
    assert done.exit_code == 0, done.output
    assert str(report) in done.stderr, "data alone on stdout"
    figures = json.loads(done.stdout.splitlines()[-1])
    text = report.read_text(encoding="utf-8")
    assert figures["identity"]["model"]["sha256 of best.pt"] in text
    assert "4 of 4" in text and "data:image/" in text and "Recall by width" in text


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_measured(
    run: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.evaluate.evaluate", None)  # would fail when called
    place = tmp_path / "nowhere" / "page.html"
    done = CliRunner().invoke(evaluate_command, [str(run), str(dataset), "--report", str(place)])
    assert isinstance(done.exception, UsageError) and str(place) in str(done.exception)
    assert done.exception.exit_code == 2


@pytest.mark.parametrize("words", [["--escape-target", "1"], ["--escape-target", "-0.1"], ["--also", "iou"],
                                   ["--average", "shifts"]])  # fmt: skip
def test_an_option_out_of_range_is_a_usage_error(run: Path, dataset: Path, words: list[str]) -> None:
    done = CliRunner().invoke(evaluate_command, [str(run), str(dataset), *words])
    assert done.exit_code == 2 and words[0] in done.output


def test_what_is_not_there_is_named(run: Path, dataset: Path, tmp_path: Path) -> None:
    def fails(*words: str) -> str:
        done = CliRunner().invoke(evaluate_command, list(words))
        assert isinstance(done.exception, UsageError)
        return str(done.exception)

    assert "nowhere" in fails(str(tmp_path / "nowhere"), str(dataset))
    (dataset / "split.json").rename(dataset / "split.off")
    try:
        assert "--split all" in fails(str(run), str(dataset))
    finally:
        (dataset / "split.off").rename(dataset / "split.json")


def test_a_run_without_golden_tiles_says_so(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    copy.mkdir()
    save_network(copy / BEST, dataclasses.replace(by_value(), step=2))
    done = CliRunner().invoke(export_command, [str(copy), "--out", str(tmp_path / "package")])
    assert isinstance(done.exception, UsageError) and "golden_tiles.npz" in str(done.exception)
    assert not (tmp_path / "package").exists()
