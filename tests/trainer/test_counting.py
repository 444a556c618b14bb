"""Thresholds where instances touch: as many as can be are told one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inspector.types import ProbMap
from trainer import finish as finishing
from trainer.checkpoint import TrainedNetwork
from trainer.counting import LEVELS, InstanceCurve, instances_touch
from trainer.finish import Aim, finish
from trainer.thresholds import PARTS_TO_TRUST, ClassChoice
from trainer.unet import UNet, UNetConfig
from trainer.validate import Shown

PLAIN = ClassChoice(0.2, 0.9, 1, 200)
RIDGE, INSIDE = 140, 250


def cells(part: str = "p", gap: int = 0, named: bool = True) -> tuple[ProbMap, Shown]:
    """Two squares of 10x10 that stand `gap` apart; the network sees a ridge of one pixel between them."""
    mask, instances = np.zeros((30, 40), np.uint8), np.zeros((30, 40), np.uint16)
    for number, x in enumerate((5, 15 + gap), start=1):
        mask[8:18, x : x + 10], instances[8:18, x : x + 10] = 1, number
    probs = np.where(mask > 0, INSIDE, 0).astype(np.uint8)
    probs[8:18, 14] = RIDGE
    return probs[..., None], Shown(mask, mask, instances if named else None, part)


def counted(parts: int) -> InstanceCurve:
    curve = InstanceCurve(1)
    for number in range(parts):
        curve.add(*cells(f"p{number}"))
    return curve


def test_instances_touch_where_two_share_a_region() -> None:
    assert instances_touch([cells()[1]])
    assert not instances_touch([cells(gap=2)[1]])
    assert not instances_touch([cells(named=False)[1]])  # nobody can tell
    assert not instances_touch([])


def test_a_few_that_touch_among_many_do_not_count() -> None:
    apart = cells(gap=2)[1]
    assert not instances_touch([*[apart] * 20, cells()[1]])
    assert instances_touch([*[apart] * 18, cells()[1]])


def test_instances_of_two_classes_do_not_touch() -> None:
    frame = cells()[1]
    mask = frame.mask.copy()
    mask[frame.instances == 2] = 2
    assert not instances_touch([frame._replace(mask=mask)])


def test_the_threshold_lies_above_the_ridge() -> None:
    (chosen,) = counted(PARTS_TO_TRUST).choose([PLAIN])
    assert RIDGE < 255 * chosen.threshold <= INSIDE
    assert chosen.ap50 == 1.0 and chosen.iou == pytest.approx(190 / 200)
    assert (chosen.defects, chosen.pixels) == (PLAIN.defects, PLAIN.pixels)
    above = LEVELS[(LEVELS > RIDGE) & (LEVELS <= INSIDE)]
    assert abs(255 * chosen.threshold - (above[0] + above[-1]) / 2) <= (LEVELS[1] - LEVELS[0]) / 2


def test_few_parts_draw_towards_the_threshold_of_best_iou() -> None:
    low, high = (counted(parts).choose([PLAIN])[0].threshold for parts in (2, PARTS_TO_TRUST))
    assert PLAIN.threshold < low < high


def test_ignored_pixels_and_frames_without_the_class_change_nothing() -> None:
    probs, frame = cells()
    ignored = frame.mask.copy()
    ignored[22:28] = 255
    louder = probs.copy()
    louder[22:28] = 255
    curve = InstanceCurve(1)
    for number in range(PARTS_TO_TRUST):
        curve.add(louder, frame._replace(mask=ignored, part=f"p{number}"))
        curve.add(np.zeros_like(probs), Shown(frame.image, np.zeros_like(frame.mask), None, "good"))
    assert curve.choose([PLAIN]) == counted(PARTS_TO_TRUST).choose([PLAIN])


def test_what_is_invented_counts_against_a_level() -> None:
    probs, frame = cells(gap=3)
    faint = probs.copy()
    faint[8:18, 14] = INSIDE  # no ridge here
    faint[24:27, 3:6] = 200
    curve = InstanceCurve(1)
    for number in range(PARTS_TO_TRUST):
        curve.add(faint, frame._replace(part=f"p{number}"))
    (chosen,) = curve.choose([PLAIN])
    assert 255 * chosen.threshold > 200 and chosen.ap50 == 1.0


def test_a_class_outlined_at_no_level_keeps_its_choice() -> None:
    probs, frame = cells()
    curve = InstanceCurve(2)
    curve.add(np.concatenate([probs, np.zeros_like(probs)], axis=2), frame)
    other = replace(PLAIN, threshold=0.3)
    assert curve.choose([PLAIN, other])[1] == other


class Map:
    """Stands for the network's probabilities of frames that are all alike."""

    def __init__(self, *_: object) -> None:
        self._shown = [cells(f"p{number}") for number in range(PARTS_TO_TRUST)]

    def told(self, _words: str, _tell: object) -> list[tuple[ProbMap, Shown]]:
        return self._shown


@pytest.fixture
def trained() -> TrainedNetwork:
    config = UNetConfig(channels=1, classes=2, depth=3, base=2)
    return TrainedNetwork(
        net=UNet(config), config=config, classes=("cell",), channels=1, normalisation=((0.0,), (1.0,)),
        thresholds=(0.5,), mm_per_px=None, data_sha256="0" * 64, seed=0, metrics={"validation": {}},
        step=1, fit_config="",
    )  # fmt: skip


@pytest.mark.parametrize(("gap", "target", "counts"), [(0, None, True), (2, None, False), (0, 0.5, False)])
def test_finish_counts_instances_where_they_touch_and_no_escapes_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, trained: TrainedNetwork, gap: int, target: float | None, counts: bool
) -> None:
    monkeypatch.setattr(finishing, "calibrated", lambda best, *_: best)
    monkeypatch.setattr(finishing, "KeptMaps", Map)
    frames = [cells(f"p{number}", gap)[1] for number in range(PARTS_TO_TRUST)]
    served = finish(trained, frames, Aim([None], target), None, lambda *_: None, lambda *_: None)  # type: ignore[arg-type]
    figures = served.metrics["validation"]["classes"]["cell"]
    assert (figures["ap50"] is not None) == counts
    assert (255 * served.thresholds[0] > RIDGE) == (counts or target is not None)
