"""What 8 bits may cost: refused above the limits, said within them; no escape target that nobody checked."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks.networks import pictures, seeing_network
from inspector.engine.parity import Parity, measure
from inspector.engine.protocol import EngineInfo
from inspector.engine.quantised import (
    LEAST_GOLDEN_PX,
    AccuracyLoss,
    Calibration,
    DefectCount,
    Quantisation,
)
from inspector.errors import Refused
from inspector.package import Golden, ModelPackage, Threshold
from inspector.types import Image, ProbMap
from trainer import quantise
from trainer.cli.export import _table, export
from trainer.dataset import Dataset, load_dataset
from trainer.export import export_package
from trainer.int8_loss import ENOUGH_FRAMES, kept_thresholds, loss_doubts, refuse_lost
from trainer.metrics.parting import Parting, partings_of
from trainer.quantise import export_int8
from trainer.report.identity import identity

KEPT = Parity(
    max_difference=0.1, mean_difference=0.01, mask_equal=0.99, changed=1, pixels=100, defects=9, lost=0,
    iou_change={},
)  # fmt: skip
Counts = tuple[int, int, int]
"""True defects, and how many f32 and int8 find."""


def loss(defects: Mapping[str, Counts]) -> AccuracyLoss:
    """Of a network whose mean IoU int8 even betters."""
    counts = {name: DefectCount(total=n, f32=f32, int8=int8) for name, (n, f32, int8) in defects.items()}
    ious = {"background": 1.0} | dict.fromkeys(defects, 0.5)
    return AccuracyLoss(
        frames=30, held_out=True, iou_f32=ious, iou_int8=ious, miou_f32=0.7, miou_int8=0.71, defects=counts
    )


def with_targets(package: ModelPackage, target: float | None = 0.1) -> ModelPackage:
    """The same package, its thresholds chosen for an escape target."""
    thresholds = {name: Threshold(value=0.4, escape_target=target) for name in package.classes}
    return replace(package, manifest=package.manifest.model_copy(update={"thresholds": thresholds}))


@pytest.mark.parametrize(
    ("defects", "words"),
    [
        ({"dark": (20, 19, 17)}, "30 validation frames it finds 17 of 20 dark where f32 finds 19 (1 may"),
        ({"dark": (150, 150, 146)}, "146 of 150 dark where f32 finds 150 (3 may be lost)"),
        ({"dark": (300, 300, 300), "bright": (1, 1, 0)}, "0 of 1 bright where f32 finds 1"),
        ({"dark": (40, 40, 39), "bright": (40, 39, 38)}, "2 of 80 fewer than f32: 1 dark, 1 bright (1 may"),
        ({"dark": (60, 50, 60), "bright": (20, 18, 16)}, "finds 16 of 20 bright where f32 finds 18"),
    ],
)  # fmt: skip
def test_a_network_that_loses_defects_is_refused_with_both_counts(
    tiny_package: ModelPackage, defects: dict[str, Counts], words: str
) -> None:
    with pytest.raises(Refused) as refused:
        refuse_lost(tiny_package, loss(defects), KEPT)
    assert words in str(refused.value) and "serve it as it is" in str(refused.value)


@pytest.mark.parametrize(
    "defects",
    [{"dark": (20, 19, 18)}, {"dark": (150, 150, 147)}, {"dark": (60, 40, 44), "bright": (9, 0, 0)}],
)
def test_what_it_may_lose_is_not_refused(tiny_package: ModelPackage, defects: dict[str, Counts]) -> None:
    refuse_lost(tiny_package, loss(defects), KEPT)


def test_a_lost_golden_defect_is_refused(tiny_package: ModelPackage) -> None:
    """The design: no golden defect lost."""
    with pytest.raises(
        Refused, match=r"golden defects in int8: of 9 with at least 9 px it finds 8, and none"
    ):
        refuse_lost(tiny_package, loss({"dark": (9, 9, 9)}), KEPT.model_copy(update={"lost": 1}))


class Speckless:
    """An engine that gives the golden probabilities without the region at (2, 2), three pixels across."""

    def __init__(self, package: ModelPackage, golden: Golden, wide: int) -> None:
        height, width = golden.tiles.shape[1:3]
        self.info = EngineInfo("torch", "1", "int8", "cpu", package.id, "none", (height, width))
        self._answers = iter(np.round(255 * golden.probs).astype(np.uint8))
        self._wide = wide

    def run(self, tiles: Iterable[Image], deliver: Callable[[int, ProbMap], None]) -> None:
        for index, _ in enumerate(tiles):
            probs = next(self._answers).copy()
            probs[2 : 2 + self._wide, 2:5] = 0
            deliver(index, probs)

    def close(self) -> None: ...


@pytest.mark.parametrize(("wide", "lost"), [(2, 0), (3, 1)])
def test_specks_of_the_network_in_floating_point_are_no_golden_defects(
    tiny_package: ModelPackage, wide: int, lost: int
) -> None:
    """Of a set of real defects int8 lost four golden ones, each a single pixel that f32 marks."""
    golden = tiny_package.golden()
    probs = np.zeros_like(golden.probs[:1])
    probs[0, 2 : 2 + wide, 2:5, 0] = 1.0  # 6 or 9 pixels
    probs[0, 10:14, 10:14, 1] = 1.0
    one = Golden(golden.tiles[:1], probs)
    blind = measure(Speckless(tiny_package, one, wide), tiny_package, one, LEAST_GOLDEN_PX)
    assert (blind.defects, blind.lost, blind.changed) == (1 + lost, lost, 3 * wide)
    assert measure(Speckless(tiny_package, one, wide), tiny_package, one).lost == 1


def test_a_golden_defect_is_as_wide_as_plan_asks_for() -> None:
    assert LEAST_GOLDEN_PX == 9 and "golden defect of 9 pixels or more" in " ".join(
        (export.help or "").split()
    )
    assert f"from {ENOUGH_FRAMES} of them on" in " ".join((export.help or "").split())


def test_a_cost_that_no_frame_shows_is_refused(tiny_package: ModelPackage) -> None:
    with pytest.raises(Refused, match="None of the 30 validation frames shows a defect"):
        refuse_lost(tiny_package, loss({"dark": (0, 0, 0), "bright": (0, 0, 0)}), KEPT)


def test_what_few_frames_show_is_said_to_be_chance(tiny_package: ModelPackage) -> None:
    """Nine frames gave a refusal, and nobody said that so few tell nothing, nor how many do."""
    lossy = loss({"dark": (20, 19, 17)})
    few = lossy.model_copy(update={"frames": 9})
    with pytest.raises(Refused) as refused:
        refuse_lost(tiny_package, few, KEPT)
    assert "on so few it may be chance, 30 are enough to tell: label more, or serve it as it is" in str(
        refused.value
    )
    with pytest.raises(
        Refused, match=r"0\.30 points of mean IoU in int8 on 9 frames that it was fitted on as"
    ):
        less = {"frames": 9, "held_out": False, "miou_int8": 0.697}
        refuse_lost(tiny_package, lossy.model_copy(update=less), KEPT)
    with pytest.raises(Refused) as refused:
        refuse_lost(tiny_package, lossy, KEPT)
    assert "chance" not in str(refused.value)
    kept = loss({"dark": (20, 19, 19)})
    (words,) = loss_doubts(tiny_package, kept.model_copy(update={"frames": 29}))
    assert words.startswith("What int8 costs was measured on only 29 validation frames: on so few")
    assert not [*loss_doubts(tiny_package, kept)]


def test_what_is_lost_within_the_limits_is_said_with_counts(tiny_package: ModelPackage) -> None:
    (words,) = loss_doubts(tiny_package, loss({"dark": (20, 19, 18), "bright": (30, 29, 30)}))
    assert "finds 18 of 20 dark where f32 finds 19." in words and "bright" not in words
    assert not [*loss_doubts(tiny_package, loss({"dark": (20, 19, 19), "bright": (30, 29, 30)}))]
    (words,) = loss_doubts(tiny_package, loss({"dark": (20, 19, 19), "bright": (0, 0, 0)}))
    assert words.startswith("The validation frames show no bright: what int8 costs there was not measured.")


def test_an_escape_target_stays_only_where_int8_was_seen_to_keep_it(tiny_package: ModelPackage) -> None:
    def targets(package: ModelPackage, defects: dict[str, Counts]) -> list[float | None]:
        found = kept_thresholds(package, loss(defects))
        assert {threshold.value for threshold in found.values()} == {0.4}
        return [threshold.escape_target for threshold in found.values()]

    package = with_targets(tiny_package)
    both = {"dark": (20, 18, 18), "bright": (10, 10, 9)}
    assert targets(package, both) == [0.1, 0.1] and not [
        *loss_doubts(package, loss({**both, "bright": (10, 9, 9)}))
    ]
    missed = {"dark": (20, 18, 17), "bright": (9, 9, 9)}
    assert targets(package, missed) == [None, None]
    _, words = loss_doubts(package, loss(missed))
    assert "escape target of dark (0.1: misses 3 of 20, f32 2), bright (0.1: only 9 on" in words
    without = with_targets(tiny_package, None)
    assert targets(without, missed) == [None, None] and len([*loss_doubts(without, loss(missed))]) == 1


def test_the_note_and_the_table_have_the_counts() -> None:
    def made(defects: dict[str, Counts]) -> Quantisation:
        calibration = Calibration(data_sha256="0", tiles=8, tile=(60, 60), frames=5)
        return Quantisation(source="ab" * 32, calibration=calibration, loss=loss(defects), golden=KEPT)

    one_less = made({"dark": (20, 19, 18), "bright": (30, 29, 30)})
    assert one_less.note == "in 8 bits from package abababababab, +1.00 points of mIoU against f32," + (
        " 1 of 48 defects lost (dark)"
    )
    assert made({"dark": (20, 19, 19)}).note.endswith("none of 19 defects lost")
    assert made({}).note.endswith("against f32"), "a package that was made before defects were counted"
    rows = [*_table(one_less)]
    assert rows[3].split() == ["dark", "0.5000", "0.5000", "+0.0000", "20", "19", "18"]
    assert len(rows[2].split()) == 4 and rows[-1].startswith("Golden tiles: 9 of 9 defects kept that")
    assert rows[0].startswith("int8, fitted on 8 tiles, cut from 5 training frames; ")
    assert rows[0].endswith("found on 30 validation frames:")
    sized = one_less.model_copy(update={"golden_least_px": 9})
    assert sized.golden_words.startswith("9 of 9 defects of at least 9 px kept that")
    shared = one_less.loss.model_copy(update={"held_out": False})
    (first, *_) = _table(one_less.model_copy(update={"loss": shared}))
    assert first.endswith("on 30 training frames, too few to keep some of them apart for validation:")


@pytest.fixture(scope="module")
def dataset(spots: Path) -> Dataset:
    return load_dataset([spots], channels=1, classes=("dark", "bright"))


def test_an_int8_package_names_no_target_that_was_not_checked_and_says_so(
    tiny_package: ModelPackage, dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    package = with_targets(tiny_package)
    kept = {"validation": {"classes": {"bright": {"speck_px": 4, "necks": True}}}}
    manifest = package.manifest.model_copy(update={"metrics": package.manifest.metrics | kept})
    package = replace(package, manifest=manifest)
    caplog.set_level("INFO", "trainer.quantise")
    made = export_int8(package, dataset, tmp_path / "made", ("spots", "1"), tiles=8)
    assert [t.escape_target for t in made.manifest.thresholds.values()] == [None, None]
    assert partings_of(made.classes, made.manifest.metrics) == (Parting(), Parting(4, True))
    assert "was not seen to keep the escape target of dark" in caplog.text
    training = len(dataset.validation(seed=package.manifest.seed)[0])
    assert f"8 tiles, cut from {min(8, training)} of {training} training frames." in caplog.text
    said = [
        identity(one.path, one, [], dataset, dataset.split("train"), "train").model["threshold of dark"]
        for one in (package, made)
    ]
    assert "for an escape target of 0.1" in said[0] and said[1].endswith("for the network in floating point")


def test_a_network_that_loses_a_class_in_8_bits_is_not_written(
    tiny_package: ModelPackage, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = quantise.accuracy_loss

    def blind(*given: Any, **named: Any) -> tuple[AccuracyLoss, dict[str, Any]]:
        loss, figures = measured(*given, **named)
        assert loss.defects["dark"].int8 > 0
        dark = loss.defects["dark"].model_copy(update={"int8": 0})
        return loss.model_copy(update={"defects": {**loss.defects, "dark": dark}}), figures

    monkeypatch.setattr(quantise, "accuracy_loss", blind)
    with pytest.raises(Refused, match=r"finds 0 of \d+ dark where f32 finds \d+"):
        export_int8(tiny_package, dataset, tmp_path / "out", ("spots", "1"), tiles=8)
    assert list(tmp_path.iterdir()) == []


def test_frames_are_cut_by_the_share_that_fit_cut_them_by(dataset: Dataset, tmp_path: Path) -> None:
    trained = seeing_network(4, 3)
    tiles = pictures(2, (108, 108), 1)
    packages = [
        export_package(replace(trained, fit_config=config), tiles, tmp_path / f"{number}", "n", "1")
        for number, config in enumerate(("", "validation = 0.5\n"))
    ]
    usual, half = (quantise._cut(package, dataset) for package in packages)
    assert usual == dataset.validation(seed=trained.seed) and half == dataset.validation(0.5, trained.seed)
    assert len(usual[1]) < len(half[1])
