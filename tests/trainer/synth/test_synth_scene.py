"""What `trainer synth` renders: the same for the same seed, and labels that fit the pixels."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from inspector.errors import UsageError
from trainer.synth.defects import CLASSES
from trainer.synth.line import FramePlan, LineSpec, View, is_clean, moving_frames, part_size, still_frames
from trainer.synth.nuisances import NUISANCES
from trainer.synth.scene import Rendered, Scene
from trainer.synth.surfaces import SURFACES

SIZE = (300, 420)
QUIET = LineSpec(SIZE, 3, nuisances=(), clean_share=0.0, defects=4)


def frames(spec: LineSpec, count: int = 6) -> list[Rendered]:
    return list(Scene(spec).frames(still_frames(spec, count)))


def test_same_seed_gives_the_same_pixels_in_any_order() -> None:
    spec = LineSpec(SIZE, 5, clean_share=0.0)
    plans = still_frames(spec, 5)
    forwards = {plan.number: Scene(spec).render(plan) for plan in plans}
    backwards = {frame.number: frame for frame in Scene(spec).frames(plans[::-1])}
    for number, frame in forwards.items():
        assert np.array_equal(frame.image, backwards[number].image)
        assert np.array_equal(frame.instances, backwards[number].instances)
        assert frame.defects == backwards[number].defects


def test_another_seed_gives_another_line() -> None:
    one, other = frames(LineSpec(SIZE, 1), 1)[0], frames(LineSpec(SIZE, 2), 1)[0]
    assert np.mean(one.image != other.image) > 0.5


def test_labels_are_the_pixels_that_the_defects_altered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same frames without defects differ inside the masks and hardly anywhere else."""
    damaged = frames(QUIET, 4)
    with monkeypatch.context() as patch:
        patch.setattr("trainer.synth.parts._damage", lambda *_: None)
        clean = frames(QUIET, 4)
    for bad, good in zip(damaged, clean, strict=True):
        assert bad.mask.any() and not good.mask.any()
        change = np.abs(bad.image.astype(int) - good.image.astype(int)).max(axis=2)
        near = cv2.dilate((bad.mask > 0).astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
        assert change[~near].max() <= 8, "a defect visibly altered pixels far from its label"
        for defect in bad.defects:
            inside = bad.instances == defect.id
            assert np.median(change[inside]) >= 4, f"{defect.class_name} is labelled but cannot be seen"


def test_thin_defects_have_thin_labels() -> None:
    for frame in frames(QUIET, 8):
        for defect in frame.defects:
            if defect.class_name in ("scratch", "crack"):
                assert defect.width_px <= 7
                assert defect.area_px <= 6 * max(defect.length_px, 20) + 60


def test_truth_agrees_with_the_masks() -> None:
    seen = set()
    for frame in frames(replace(QUIET, defects=8, nuisances=NUISANCES), 8):
        assert np.array_equal(frame.mask > 0, frame.instances > 0)
        assert set(np.unique(frame.instances)) == {0, *(defect.id for defect in frame.defects)}
        for defect in frame.defects:
            inside = frame.instances == defect.id
            y0, x0, y1, x1 = defect.box
            assert set(np.unique(frame.mask[inside])) == {defect.class_id}
            assert inside.sum() == inside[y0:y1, x0:x1].sum() == defect.area_px
            assert (
                inside[y0].any() and inside[y1 - 1].any() and inside[:, x0].any() and inside[:, x1 - 1].any()
            )
            assert defect.class_name == CLASSES[defect.class_id - 1]
            assert defect.length_px >= defect.width_px - 2 > -2 and defect.contrast_to_noise >= 0
            seen.add(defect.class_name)
    assert seen == set(CLASSES)


def test_more_contrast_is_more_visible() -> None:
    def mean_contrast(contrast: float) -> float:
        found = frames(replace(QUIET, contrast=contrast), 6)
        return float(np.mean([defect.contrast_to_noise for frame in found for defect in frame.defects]))

    assert mean_contrast(1.2) > 2 * mean_contrast(0.3)


@pytest.mark.parametrize("nuisance", NUISANCES)
def test_every_nuisance_changes_the_picture_and_no_label(nuisance: str) -> None:
    """Vibration moves the part, so that its labels move along and only their sizes stay."""
    calm = frames(replace(QUIET, seed=8), 2)
    disturbed = frames(replace(QUIET, seed=8, nuisances=(nuisance,)), 2)
    assert any(not np.array_equal(a.image, b.image) for a, b in zip(calm, disturbed, strict=True))
    if nuisance not in ("vibration", "texture"):
        assert all(np.array_equal(a.mask, b.mask) for a, b in zip(calm, disturbed, strict=True))


@pytest.mark.parametrize("surface", SURFACES)
def test_every_surface_renders_within_the_sensor_range(surface: str) -> None:
    spec = LineSpec(SIZE, 4, surfaces=(surface,))
    for frame in frames(spec, 3):
        assert frame.surfaces == (surface,)
        gray = cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY)
        assert 25 < gray.mean() < 200
        assert np.mean(gray >= 254) < 0.2, "the picture is washed out"


def test_clean_share_holds() -> None:
    for share in (0.0, 0.3, 0.5, 1.0):
        spec = LineSpec(SIZE, 9, clean_share=share)
        assert np.mean([is_clean(spec, part) for part in range(400)]) == pytest.approx(share, abs=0.04)
    assert not any(frame.defects for frame in frames(LineSpec(SIZE, 9, clean_share=1.0), 4))


def test_parts_of_a_moving_line_move_by_the_speed_and_keep_their_id() -> None:
    spec = LineSpec(SIZE, 2, nuisances=())
    plans = moving_frames(spec, 30, 25)
    at = [{view.part: view.x for view in plan.views} for plan in plans]
    for before, after in pairwise(at):
        assert all(after[part] == before[part] - 25 for part in before.keys() & after.keys())
    assert len({part for places in at for part in places}) >= 2
    assert any(len(places) == 2 for places in at), "two parts are never in view together"


def test_a_part_cut_by_the_border_keeps_its_labels_in_place() -> None:
    spec = replace(QUIET, defects=10)
    _, columns = part_size(spec, 0)
    whole = Scene(spec).render(FramePlan(1, (View(0, 5, 10),), 0, moment=1))
    moved = Scene(spec).render(FramePlan(1, (View(0, 5, 10 - columns // 2),), 0, moment=1))
    cut = columns // 2
    assert np.array_equal(moved.mask[:, : columns - cut], whole.mask[:, cut:columns])
    assert not moved.mask[:, columns - cut + 10 :].any()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (LineSpec((50, 400), 1), "50x400"),
        (LineSpec((4000, 4000), 1), "4000x4000"),
        (LineSpec(SIZE, 1, surfaces=("velvet",)), "velvet"),
        (LineSpec(SIZE, 1, nuisances=("rain",)), "rain"),
        (LineSpec(SIZE, 1, clean_share=1.5), "1.5"),
        (LineSpec(SIZE, 1, contrast=0.0), "0.0"),
        (LineSpec(SIZE, 1, defects=0), "0"),
    ],
)
def test_what_cannot_be_generated_is_named(spec: LineSpec, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Scene(spec)
