"""What 8 bits may cost: refused above the limits, said within them; no escape target that nobody checked."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from benchmarks.networks import pictures, seeing_network
from inspector.engine.parity import Parity
from inspector.engine.quantised import AccuracyLoss, Calibration, DefectCount, Quantisation
from inspector.errors import Refused
from inspector.package import ModelPackage, Threshold
from trainer import quantise
from trainer.cli.export import _table
from trainer.dataset import Dataset, load_dataset
from trainer.export import export_package
from trainer.int8_loss import kept_thresholds, loss_doubts, refuse_lost
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
        refuse_lost(tiny_package, loss(defects))
    assert words in str(refused.value) and "serve it as it is" in str(refused.value)


@pytest.mark.parametrize(
    "defects",
    [{"dark": (20, 19, 18)}, {"dark": (150, 150, 147)}, {"dark": (60, 40, 44), "bright": (9, 0, 0)}],
)
def test_what_it_may_lose_is_not_refused(tiny_package: ModelPackage, defects: dict[str, Counts]) -> None:
    refuse_lost(tiny_package, loss(defects))


def test_a_lost_golden_defect_is_said_and_refuses_nothing(tiny_package: ModelPackage) -> None:
    """Golden defects are what f32 marks: of magnetic_tile int8 lost four of 57, each of a single pixel."""
    (words,) = loss_doubts(tiny_package, loss({"dark": (9, 9, 9)}), KEPT.model_copy(update={"lost": 1}))
    assert "int8 finds 8 of 9 defects that the network in floating point marks on its golden tiles" in words


def test_a_cost_that_no_frame_shows_is_refused(tiny_package: ModelPackage) -> None:
    with pytest.raises(Refused, match="None of the 30 validation frames shows a defect"):
        refuse_lost(tiny_package, loss({"dark": (0, 0, 0), "bright": (0, 0, 0)}))


def test_what_is_lost_within_the_limits_is_said_with_counts(tiny_package: ModelPackage) -> None:
    (words,) = loss_doubts(tiny_package, loss({"dark": (20, 19, 18), "bright": (30, 29, 30)}), KEPT)
    assert "finds 18 of 20 dark where f32 finds 19." in words and "bright" not in words
    assert not [*loss_doubts(tiny_package, loss({"dark": (20, 19, 19), "bright": (30, 29, 30)}), KEPT)]
    (words,) = loss_doubts(tiny_package, loss({"dark": (20, 19, 19), "bright": (0, 0, 0)}), KEPT)
    assert words.startswith("The validation frames show no bright: what int8 costs there was not measured.")


def test_an_escape_target_stays_only_where_int8_was_seen_to_keep_it(tiny_package: ModelPackage) -> None:
    def targets(package: ModelPackage, defects: dict[str, Counts]) -> list[float | None]:
        found = kept_thresholds(package, loss(defects))
        assert {threshold.value for threshold in found.values()} == {0.4}
        return [threshold.escape_target for threshold in found.values()]

    package = with_targets(tiny_package)
    both = {"dark": (20, 18, 18), "bright": (10, 10, 9)}
    assert targets(package, both) == [0.1, 0.1] and not [
        *loss_doubts(package, loss({**both, "bright": (10, 9, 9)}), KEPT)
    ]
    missed = {"dark": (20, 18, 17), "bright": (9, 9, 9)}
    assert targets(package, missed) == [None, None]
    _, words = loss_doubts(package, loss(missed), KEPT)
    assert "escape target of dark (0.1: misses 3 of 20, f32 2), bright (0.1: only 9 on" in words
    without = with_targets(tiny_package, None)
    assert targets(without, missed) == [None, None] and len([*loss_doubts(without, loss(missed), KEPT)]) == 1


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


@pytest.fixture(scope="module")
def dataset(spots: Path) -> Dataset:
    return load_dataset([spots], channels=1, classes=("dark", "bright"))


def test_an_int8_package_names_no_target_that_was_not_checked_and_says_so(
    tiny_package: ModelPackage, dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    package = with_targets(tiny_package)
    made = export_int8(package, dataset, tmp_path / "made", ("spots", "1"), tiles=8)
    assert [t.escape_target for t in made.manifest.thresholds.values()] == [None, None]
    assert "was not seen to keep the escape target of dark" in caplog.text
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
