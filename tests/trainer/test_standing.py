"""What validation can tell of two networks, and what it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.standing import Standing

UNION = 1000


def standing(*ious: list[float | None]) -> Standing:
    """One list a part: the IoU of each class there, None where it does not show the class."""
    both = [[round((iou or 0.0) * UNION) for iou in part] for part in ious]
    either = [[UNION if iou is not None else 0 for iou in part] for part in ious]
    shown = np.array([[iou is not None for iou in part] for part in ious])
    return Standing(np.stack([np.array(both), np.array(either)], -1), shown)


def test_the_score_is_the_mean_over_the_classes_shown() -> None:
    assert standing([0.8, None, 0.4], [0.6, None, 0.2]).score == 0.5
    assert standing([None], [None]).score == 0.0


def test_a_fall_on_every_part_is_told_from_one_that_parts_disagree_on() -> None:
    best = standing(*([iou] for iou in (0.9, 0.5, 0.7, 0.3, 0.8, 0.6)))
    everywhere = standing(*([iou] for iou in (0.86, 0.47, 0.66, 0.26, 0.77, 0.56)))
    mixed = standing(*([iou] for iou in (0.68, 0.61, 0.75, 0.21, 0.89, 0.38)))
    assert everywhere.score > mixed.score, "the smaller fall is the sure one"
    assert everywhere.worse_than(best)
    assert not mixed.worse_than(best)
    assert not best.worse_than(everywhere) and not best.worse_than(best)


def test_a_class_that_one_part_shows_does_not_decide_until_half_of_it_is_lost() -> None:
    best = standing([0.6, 0.6], [0.6, None], [0.62, None], [0.58, None])
    assert not standing([0.6, 0.35], [0.6, None], [0.62, None], [0.58, None]).worse_than(best)
    assert standing([0.6, 0.25], [0.6, None], [0.62, None], [0.58, None]).worse_than(best)


def test_one_class_of_many_is_not_lost_while_the_others_make_up_for_it() -> None:
    best = standing([0.6, 0.6, 0.6, 0.6, 0.6], [0.6, 0.6, 0.6, 0.6, 0.6])
    assert not standing([0.7, 0.7, 0.7, 0.7, 0.35], [0.8, 0.7, 0.7, 0.7, 0.35]).worse_than(best)
    assert standing([0.9, 0.9, 0.9, 0.9, 0.25], [0.9, 0.9, 0.9, 0.9, 0.3]).worse_than(best)


def test_a_class_that_was_hardly_found_cannot_be_lost() -> None:
    best = standing([0.6, 0.04], [0.6, None], [0.6, None])
    assert not standing([0.65, 0.0], [0.65, None], [0.65, None]).worse_than(best)


@pytest.mark.parametrize("alike", [True, False])
def test_without_a_difference_one_in_ten_is_called_worse(alike: bool) -> None:
    """Whether the classes of a part move together or each for itself."""
    random, said = np.random.default_rng(1), 0
    for _ in range(300):
        before = np.full((12, 4), 0.6)
        now = before + 0.1 * random.standard_normal((12, 1 if alike else 4))
        said += standing(*now.tolist()).worse_than(standing(*before.tolist()))
    assert 0.06 < said / 300 < 0.14


def test_a_network_that_finds_nothing_any_more_is_worse_however_few_parts_tell() -> None:
    assert standing([0.0]).worse_than(standing([0.3]))
    assert standing([0.0, 0.0], [None, None]).worse_than(standing([0.02, 0.01], [None, None]))


def test_without_a_defect_on_any_part_nothing_is_worse() -> None:
    assert not standing([None, None], [None, None]).worse_than(standing([None, None], [None, None]))


def test_it_is_kept_as_plain_values() -> None:
    one = standing([0.9, None], [0.3, 0.5])
    again = Standing.read(one.kept())
    assert np.array_equal(again.overlap, one.overlap) and np.array_equal(again.shown, one.shown)
    assert (again.overlap.dtype, again.shown.dtype) == (np.int64, np.bool_)
