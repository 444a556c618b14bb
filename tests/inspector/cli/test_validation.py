"""What a package says of its own validation, and when that is a warning."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.cli.models_show import facts_of, text_of
from inspector.cli.validation import class_texts, validation_text, validation_warning
from inspector.package import ModelPackage


def metrics(*classes: tuple[str, float, int, int], counted: bool = True) -> dict[str, Any]:
    """As `trainer export` writes them; classes: (name, IoU, found, total)."""
    figures = {name: {"iou": iou, "defects": total} for name, iou, _, total in classes}
    validation: dict[str, Any] = {"frames": 40, "classes": figures}
    if counted:
        validation["per_defect"] = {
            "found": sum(found for _, _, found, _ in classes), "total": sum(total for *_, total in classes),
            "recall_95": [0.8, 0.9], "false_alarms": 1, "frames": 40,
            "classes": {name: {"found": found, "total": total} for name, _, found, total in classes},
        }  # fmt: skip
    return {"validation": validation}


GOOD = metrics(("pit", 0.8, 41, 50), ("crack", 0.4, 39, 40))


def test_the_figures_have_counts_and_an_interval() -> None:
    assert validation_text(GOOD) == (
        "IoU 0.60 (mean of classes), recall 88.9% (80 of 90 true defects, 95 %: 80.0% to 90.0%),"
        " 1 false alarm in 40 frames"
    )
    assert class_texts(GOOD) == ["pit IoU 0.80, 41 of 50 found", "crack IoU 0.40, 39 of 40 found"]
    assert validation_warning(GOOD) is None


def test_a_package_without_figures_says_so_and_warns_of_nothing() -> None:
    assert "records none" in validation_text({}) and class_texts({}) == []
    assert validation_warning({}) is None
    assert validation_text(metrics(("pit", 0.5, 0, 0), counted=False)) == "no IoU"


@pytest.mark.parametrize(
    "validation",
    [
        "good", ["pit"], {"per_defect": None}, {"classes": ["pit"]}, {"classes": {"pit": 0.5}},
        {"classes": {"pit": {"iou": "0.5"}}}, {"per_defect": {"total": 3, "found": "1"}},
        {"per_defect": {"total": 3, "found": 1, "recall_95": [None, None]}},
    ],
)  # fmt: skip
def test_a_package_with_something_else_in_their_place_is_shown_all_the_same(validation: object) -> None:
    """The manifest promises nothing of its metrics: doctor and models show ended on a traceback."""
    metrics = {"validation": validation}
    assert not any("0.5" in words for words in (validation_text(metrics), *class_texts(metrics)))
    assert validation_warning(metrics) is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (metrics(("pit", 0.0, 0, 50), ("crack", 0.0, 2, 40)), "found next to nothing"),
        (metrics(("pit", 0.01, 0, 50), counted=False), "found next to nothing"),
        (metrics(("pit", 0.02, 45, 50)), "hardly lay on the true defects"),
        (metrics(("pit", 0.8, 48, 50), ("crack", 0.0, 1, 40)), "next to none of the true defects of crack"),
        (metrics(("pit", 0.8, 48, 50), ("crack", 0.02, 35, 40)), None),  # hairlines: few pixels, and found
        (metrics(("pit", 0.8, 48, 50), ("crack", 0.0, 0, 0)), None),  # there were no cracks to find
    ],
)
def test_a_network_that_finds_nothing_is_one_warning(found: dict[str, Any], words: str | None) -> None:
    said = validation_warning(found)
    assert (said is None) == (words is None)
    assert words is None or (words in str(said) and "trainer lint" in str(said))


def test_models_show_tells_validation_from_what_an_engine_keeps(tiny_package: ModelPackage) -> None:
    blind = metrics(("pit", 0.0, 0, 50))
    facts = {**facts_of(tiny_package), "metrics": blind, "warning": validation_warning(blind)}
    text = text_of(facts)
    assert "validation  IoU 0.00 (mean of classes), recall 0.0% (0 of 50 true defects" in text
    assert "pit IoU 0.00, 0 of 50 found" in text and "WARNING     This network found next to nothing" in text
