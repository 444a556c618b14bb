"""Thresholds where instances touch: as many as can be are told one by one."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from inspector.types import ProbMap
from trainer import finish as finishing
from trainer.checkpoint import TrainedNetwork
from trainer.finish import Aim, finish
from trainer.report.identity import _aim
from trainer.thresholds import PARTS_TO_TRUST, ClassChoice
from trainer.touching import LEVELS, TouchingInstances, touching_classes
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


def counted(parts: int, *frames: tuple[ProbMap, Shown], names: int = 1) -> TouchingInstances:
    """Each of the frames, or the two cells, once for each part."""
    shown = [(probs, frame, f"p{n}") for n in range(parts) for probs, frame in frames or [cells()]]
    curve = TouchingInstances([frame for _, frame, _ in shown], names)
    for probs, frame, part in shown:
        curve.add(probs, frame, part)
    return curve


def chosen(curve: TouchingInstances, prior: float | None = None) -> ClassChoice:
    return curve.choose([PLAIN], [prior])[0]


@pytest.mark.parametrize(("gap", "touch"), [(0, True), (1, True), (2, False), (3, False)])
def test_instances_touch_across_one_pixel_at_most(gap: int, touch: bool) -> None:
    frame = cells(gap=gap)[1]
    turned = frame._replace(mask=frame.mask.T.copy(), instances=frame.instances.T.copy())  # type: ignore[union-attr]
    for shown in (frame, turned):
        assert touching_classes([shown], 1) == (touch,)


def test_nothing_touches_where_nobody_can_tell() -> None:
    assert touching_classes([cells(named=False)[1]], 2) == (False, False)
    assert touching_classes([], 1) == (False,)


@pytest.mark.parametrize(("apart", "touch"), [(20, False), (19, False), (18, True)])
def test_a_few_that_touch_among_many_do_not_count(apart: int, touch: bool) -> None:
    frames = [*[cells(gap=2)[1]] * apart, cells()[1]]
    assert touching_classes(frames, 1) == (touch,)


def test_each_class_is_asked_by_itself() -> None:
    frame = cells()[1]
    mask, ids = (np.concatenate([part, part]) for part in (frame.mask, frame.instances))  # type: ignore[arg-type]
    mask[30:][ids[30:] == 2] = 2  # one of each class below: they touch, but not one of their own
    ids[30:][ids[30:] > 0] += 2
    assert touching_classes([Shown(mask, mask, ids, "p")], 2) == (True, False)


def test_a_rim_without_a_name_and_an_instance_in_pieces_are_none_of_their_own() -> None:
    frame = cells(gap=8)[1]
    rim = cv2.dilate(frame.mask, np.ones((3, 3), np.uint8))
    pieces = frame.instances.copy()  # type: ignore[union-attr]
    pieces[8:18:3] = 0
    assert touching_classes([frame._replace(mask=rim), frame._replace(instances=pieces)], 1) == (False,)


def test_the_threshold_lies_above_the_ridge() -> None:
    found = chosen(counted(PARTS_TO_TRUST))
    assert RIDGE < 255 * found.threshold <= INSIDE
    assert found.ap50 == 1.0 and found.iou == pytest.approx(190 / 200)
    assert (found.defects, found.pixels) == (PLAIN.defects, PLAIN.pixels)
    above = [level for level in LEVELS if RIDGE < level <= INSIDE]
    assert round(255 * found.threshold) == above[math.ceil((len(above) - 1) / 2)]


def test_a_network_that_is_sure_of_its_ridge_is_heard() -> None:
    probs, frame = cells()
    probs[probs == RIDGE], probs[probs == INSIDE] = 245, 255
    assert 255 * chosen(counted(PARTS_TO_TRUST, (probs, frame))).threshold > 245


def test_few_parts_lie_above_the_ridge_as_well_and_draw_towards_a_package() -> None:
    own = chosen(counted(PARTS_TO_TRUST)).threshold
    assert chosen(counted(1)).threshold == own
    drawn = chosen(counted(PARTS_TO_TRUST // 2), prior=0.9).threshold
    assert own < drawn < 0.9
    assert drawn == pytest.approx((own + 0.9) / 2, abs=0.026)
    assert chosen(counted(PARTS_TO_TRUST), prior=0.9).threshold == own


def test_frames_without_names_and_ignored_pixels_change_nothing() -> None:
    probs, frame = cells()
    ignored = frame.mask.copy()
    ignored[22:28] = 255
    louder = probs.copy()
    louder[22:28] = 255
    shown = [
        (louder, frame._replace(mask=ignored)),
        cells(named=False),
        (0 * probs, frame._replace(mask=0 * ignored)),
    ]
    assert chosen(counted(PARTS_TO_TRUST, *shown)) == chosen(counted(PARTS_TO_TRUST))


def test_what_is_invented_counts_against_a_level() -> None:
    probs, frame = cells()
    faint = probs.copy()
    faint[24:27, 3:6] = 200
    found = chosen(counted(PARTS_TO_TRUST, (faint, frame)))
    assert 255 * found.threshold > 200 and found.ap50 == 1.0


def clump(part: str = "p") -> tuple[ProbMap, Shown]:
    """Two discs that overlap where the network sees no ridge, and a speck of two pixels beside them."""
    ys, xs = np.mgrid[:30, :40]
    left, right = ((ys - 14) ** 2 + (xs - x) ** 2 <= 64 for x in (12, 26))
    ids = np.where(left, 1, np.where(right, 2, 0)).astype(np.uint16)
    mask = (ids > 0).astype(np.uint8)
    probs = np.where(mask > 0, INSIDE, 0).astype(np.uint8)
    probs[1, 1:3] = INSIDE
    return probs[..., None], Shown(mask, mask, ids, part)


def test_regions_are_parted_at_necks_where_that_matches_more() -> None:
    found = chosen(counted(PARTS_TO_TRUST, clump()))
    assert found.necks and found.ap50 == pytest.approx(2 / 3), "the speck is invented"
    assert not chosen(counted(PARTS_TO_TRUST)).necks, "a ridge is enough"


@pytest.mark.parametrize(("parts", "speck_px", "ap50"), [(49, 0, 2 / 3), (50, 190, 1.0)])
def test_what_is_smaller_than_nearly_all_true_instances_is_a_speck(
    parts: int, speck_px: int, ap50: float
) -> None:
    """With fewer than a hundred of them nobody can tell how small they are."""
    found = chosen(counted(parts, clump()))
    assert found.ap50 == pytest.approx(ap50)
    assert found.speck_px == pytest.approx(speck_px, abs=8)


def test_other_classes_and_those_matched_at_no_level_keep_their_choice() -> None:
    probs, frame = cells()
    mask, ids = (np.concatenate([part, part, part]) for part in (frame.mask, frame.instances))  # type: ignore[arg-type]
    mask[30:60][mask[30:60] > 0], mask[60:][ids[60:] == 1], mask[60:][ids[60:] == 2] = 2, 3, 0
    empty = np.zeros_like(probs)
    both = np.concatenate(
        [np.concatenate(planes) for planes in ((probs, empty, empty), (empty,) * 3, (empty, empty, probs))],
        axis=2,
    )
    frames = [(both, Shown(mask, mask, ids, "p"))]
    curve = counted(PARTS_TO_TRUST, *frames, names=3)
    choices = [PLAIN, replace(PLAIN, threshold=0.3), replace(PLAIN, threshold=0.4)]
    found = curve.choose(choices, [None] * 3)
    assert 255 * found[0].threshold > RIDGE
    assert found[1:] == tuple(choices[1:]), "one is never found, one does not touch"


@pytest.mark.filterwarnings("error")
def test_a_network_that_matches_nothing_keeps_its_choices() -> None:
    probs, frame = cells()
    assert chosen(counted(2, (0 * probs, frame))) == PLAIN


def test_without_touching_classes_there_is_nothing_to_choose() -> None:
    assert not counted(2, cells(gap=2)).any
    assert counted(2).any


class Map:
    """Stands for the network's probabilities of the frames, which are all alike."""

    def __init__(self, _trained: object, frames: list[Shown], *_: object) -> None:
        self.frames = frames

    def told(self, _words: str, _tell: object) -> list[tuple[ProbMap, Shown]]:
        return [(cells()[0], frame) for frame in self.frames]


@pytest.fixture
def trained() -> TrainedNetwork:
    config = UNetConfig(channels=1, classes=2, depth=3, base=2)
    return TrainedNetwork(
        net=UNet(config), config=config, classes=("cell",), channels=1, normalisation=((0.0,), (1.0,)),
        thresholds=(0.5,), mm_per_px=None, data_sha256="0" * 64, seed=0, metrics={"validation": {}},
        step=1, fit_config="",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("gap", "target", "frames", "said"),
    [
        (0, None, 12, "to tell most instances apart"),
        (2, None, 12, "for the best IoU"),
        (0, 0.5, 12, "for an escape target of 0.5"),
        (0, 0.5, 2, "to tell most instances apart"),  # too few defects to keep a target
    ],
)
@pytest.mark.parametrize("parts", [1, 12])
def test_finish_tells_instances_apart_where_they_touch(
    monkeypatch: pytest.MonkeyPatch,
    trained: TrainedNetwork,
    parts: int,
    gap: int,
    target: float | None,
    frames: int,
    said: str,
) -> None:
    monkeypatch.setattr(finishing, "calibrated", lambda best, *_: best)
    monkeypatch.setattr(finishing, "KeptMaps", Map)
    shown = [cells(f"p{number % parts}", gap)[1] for number in range(frames)]
    served = finish(trained, shown, Aim([None], target), None, lambda *_: None, lambda *_: None)  # type: ignore[arg-type]
    choice = served.metrics["validation"]["classes"]["cell"]
    assert _aim(choice["escape_target"], choice) == said
    assert (255 * served.thresholds[0] > RIDGE) == (gap == 0)
