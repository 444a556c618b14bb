"""The page of the ablation, made from the committed rows.

    python -m benchmarks.ablation_table > benchmarks/ABLATION.md

Of each training the newest row counts, whatever it says. What has no row says NOT RUN.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.ablation import ARMS, MINUTES, NAME, SEEDS, SETS, arm
from benchmarks.accuracy import MODERN
from benchmarks.accuracy_bars import regions
from benchmarks.accuracy_table import provenance, where
from benchmarks.arms import Arms, Figure
from benchmarks.trials import BASE, DEPTH, Row, rows

COMPARED = Arms(ARMS, arm, SEEDS)


CLASS = "class_1"
IOU = Figure("IoU", lambda row: float(row["per_class"][CLASS]["iou"] or 0))
BORDER = Figure("IoU near the frame's border", lambda row: float(row["border"]["iou"][CLASS] or 0))
STEPS = Figure("steps", lambda row: float(row["steps"]), 0)
FIGURES: dict[str, tuple[Figure, ...]] = {
    "masonry_crack": (
        IOU,
        BORDER,
        Figure("F1", lambda row: float(row["per_class"][CLASS]["dice"] or 0)),
        Figure("defects found", lambda row: float(row["per_defect"]["recall"] or 0)),
        Figure("false alarms a frame", lambda row: float(row["per_defect"]["false_alarms_per_frame"]), 2),
        STEPS,
    ),
    "dsb2018_nuclei": (
        Figure("AP at IoU 0.5", lambda row: float(row["ap50"] or 0)),
        Figure("SEG", lambda row: float(row["seg"] or 0)),
        Figure("merges of regions", lambda row: float(regions(row)["merges"]), 0),
        Figure("splits of regions", lambda row: float(regions(row)["splits"]), 0),
        IOU,
        BORDER,
        STEPS,
    ),
}
"""Set -> its columns, the first of which decides what an idea is worth."""
EXPLAINED = f"""
The modern recipe at base {BASE}, depth {DEPTH}, for {MINUTES:g} minutes on the train split, with one idea of
the paper changed at a time; figures on the test split, the mean over {len(SEEDS)} seeds with the lower and
the higher one. Worth: how much better the recipe as it is does than the arm, by the first column, beside the
larger spread of the seeds of the two; less than that says nothing. Every arm has the same minutes, not the
same steps: valid convolutions pay for their halo in steps. Near the border: within 44 pixels, the halo of
depth 4. With padded convolutions (benchmarks/altered.py) a frame cut into tiles would not give what the
whole frame gives; here every frame is one tile for them.
"""


def page(found: Sequence[Row]) -> str:
    """The whole page in Markdown."""
    lines = [
        "# What each idea of the paper is worth",
        "",
        f"Made by `python -m benchmarks.ablation_table` from `benchmarks/results/{NAME}.jsonl`, which"
        " `python -m benchmarks.ablation` fills.",
        "",
        where(found),
        EXPLAINED.rstrip(),
    ]
    for data in SETS:
        lines += [
            "",
            f"## {data}",
            "",
            f"As it is: `{' '.join(MODERN[data])}`.",
            "",
            *COMPARED.table(found, data, FIGURES[data]),
        ]
    return "\n".join([*lines, *provenance(found)])


def main() -> None:
    """Print the page."""
    print(page(rows(NAME)))


if __name__ == "__main__":
    main()
