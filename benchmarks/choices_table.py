"""The page of the recipe's choices, made from the committed rows.

    python -m benchmarks.choices_table > benchmarks/CHOICES.md

Of each training the newest row counts, whatever it says. What has no row says NOT RUN.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.accuracy import MODERN
from benchmarks.accuracy_bars import regions
from benchmarks.accuracy_table import provenance, where
from benchmarks.arms import Arms, Figure
from benchmarks.choices import ARMS, NAME, SEEDS, SETS, STEPS, arm
from benchmarks.parts import HELD_BACK
from benchmarks.trials import BASE, DEPTH, Row, rows

COMPARED = Arms({name: choice.words for name, choice in ARMS.items()}, arm, SEEDS)
COST = Figure("processor time, s", lambda row: float(row["cpu_s"]), 0)
DEFECTS = (
    Figure("mean IoU of the defects", lambda row: _mean_iou(row)),
    Figure("defects found", lambda row: float(row["per_defect"]["recall"] or 0)),
    Figure("false alarms a frame", lambda row: float(row["per_defect"]["false_alarms_per_frame"]), 2),
    COST,
)
FIGURES = {
    "magnetic_tile": DEFECTS,
    "masonry_crack": DEFECTS,
    "dsb2018_nuclei": (
        Figure("AP at IoU 0.5", lambda row: float(row["ap50"] or 0)),
        Figure("merges of regions", lambda row: float(regions(row)["merges"]), 0),
        Figure("IoU", lambda row: _mean_iou(row)),
        COST,
    ),
}
"""Set -> its columns, the first of which decides what a choice is worth."""
EXPLAINED = f"""
The modern recipe at base {BASE}, depth {DEPTH}, for {STEPS} steps with one choice taken back at a time. One
in {HELD_BACK} of the parts of the train split judges, the rest trains; the test split is not touched.
Figures are means over the seeds with the lower and the higher one. Worth: how much better the recipe as
it is does, by the first column, beside the larger spread of the seeds of the two. Less than that says
nothing, and of changes that change nothing one in five lies over it by chance, with two seeds. A choice
that is worth nothing here stays where it costs nothing and another set or a longer run may need it.
Processor time: of the last sitting alone where a training was stopped and went on.
"""


def page(found: Sequence[Row]) -> str:
    """The whole page in Markdown."""
    lines = [
        "# What each choice of the modern recipe is worth",
        "",
        f"Made by `python -m benchmarks.choices_table` from `benchmarks/results/{NAME}.jsonl`, which"
        " `python -m benchmarks.choices` fills.",
        "",
        where(found),
        EXPLAINED.rstrip(),
    ]
    for data in SETS:
        given = " ".join(MODERN.get(data, ()))
        lines += ["", f"## {data}", "", f"As it is: `{given}`." if given else "As it is: no options.", ""]
        lines += COMPARED.table(found, data, FIGURES[data])
    return "\n".join([*lines, *provenance(found)])


def _mean_iou(row: Row) -> float:
    """Without the classes that neither truth nor network shows, which have none."""
    ious = [one["iou"] for name, one in row["per_class"].items() if name != "background"]
    return statistics.mean(float(iou) for iou in ious if iou is not None)


def main() -> None:
    """Print the page."""
    print(page(rows(NAME)))


if __name__ == "__main__":
    main()
