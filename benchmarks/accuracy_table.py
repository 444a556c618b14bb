"""The page of accuracy, made from the committed rows.

    python -m benchmarks.accuracy_table > benchmarks/ACCURACY.md

Of each training the newest row counts, whatever it says. What has no row says NOT RUN.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.accuracy import MODERN, NAME, NO_BORDER, RECIPES, SEEDS
from benchmarks.accuracy_bars import MINUTES, NOT_RUN, bars, of_recipe, regions
from benchmarks.parts import RULE
from benchmarks.trials import BASE, DEPTH, Row, rows

EXPLAINED = f"""
Every recipe trains at base {BASE}, depth {DEPTH}, for {MINUTES:g} minutes on the train split, loading and its
own validation included, in a process of its own, and is judged once on the test split by the same code
(`trainer evaluate`): masks, defects, instances, membranes. `modern` and `paper` hold back part of train to
choose network and thresholds; the baseline (benchmarks/baseline.py) trains on all of it and
its mask is the argmax. Whole frames in float32; the baseline in the bf16 that it trained in.

- Intervals are 95 %, by physical part: one photograph's crops, one tile's exposures, neighbouring slices
  (benchmarks/parts.py). Validation is cut by part as well; the split into train and test is the set's own.
- Few parts make wide intervals: Student's quantile, with two parts 12.7 where many have 2.0.
- Spread: the highest less the lowest figure of the seeds, the larger one of the two recipes. With one seed
  each nobody knows it, so that modern is AHEAD or BEHIND and holds no bar by that.
- A run of any length: the longest with rows, the mean over its seeds.
- Defects: a true one is found when the mask covers a tenth of it; a predicted one is a false alarm unless
  three tenths of it lie on true ones.
- Instances: of a run whose class's instances touch on its validation frames, regions parted at necks and
  specks left out as `trainer fit` chose there. Plain regions, as the line counts them, stand beside; the
  baseline, which has no validation, has these alone. Merges that border weights save are counted on them.
- Cores: processor time over wall time of the training. Of 2 cores a training that had the machine to itself
  uses more than 1.5; less means that something else ran and that it saw fewer steps. Blank where a training
  was stopped and went on: what its earlier sittings took is not known.
"""


def page(found: Sequence[Row]) -> str:
    """The whole page in Markdown, of the rows whose parts were told by today's rule."""
    found = [row for row in found if row["parts_rule"] == RULE]
    lines = [
        "# Accuracy on real pictures",
        "",
        f"Made by `python -m benchmarks.accuracy_table` from `benchmarks/results/{NAME}.jsonl`, which"
        " `python -m benchmarks.accuracy` fills.",
        "",
        where(found),
        "",
        "| what | bar | figure | |",
        "|---|---|---|---|",
        *(f"| {bar.what} | {bar.bar} | {bar.figure} | {bar.word} |" for bar in bars(found)),
        EXPLAINED.rstrip(),
    ]
    for data in SEEDS:
        lines += ["", f"## {data}", "", *_settings(data), *_set(found, data)]
    return "\n".join([*lines, *provenance(found)])


def where(found: Sequence[Row]) -> str:
    """Machine and dates of the rows."""
    return f"Machine: {_machines(found)}. Dates: {_dates(found)}."


def _machines(found: Sequence[Row]) -> str:
    named = {
        f"{one['processor']}, {one['cores']} cores ({', '.join(one['isa'])}), {one['memory_gib']} GiB,"
        f" Python {one['python']}, {one['system']}"
        for one in (row["machine"] for row in found)
    }
    return "; ".join(sorted(named)) or NOT_RUN


def _dates(found: Sequence[Row]) -> str:
    days = sorted(row["date"][:10] for row in found)
    if not days:
        return NOT_RUN
    return days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"


def _settings(data: str) -> list[str]:
    given = " ".join(MODERN.get(data, ()))
    return [f"modern with `{given}`." if given else "modern as it is.", ""]


def _set(found: Sequence[Row], data: str) -> Iterator[str]:
    """A set's tables: whole masks first, then class by class."""
    shown = list(_shown(found, data))
    if not shown:
        yield f"{NOT_RUN}: `python -m benchmarks.accuracy --data {data}`"
        return
    heads, cells = _figures(data)
    yield from (f"Judged on {shown[0][1]['frames']} frames of {shown[0][1]['parts']} parts.", "")
    yield f"| recipe | seed | minutes | steps | cores | {' | '.join(heads)} |"
    yield "|" + "---|" * (5 + len(heads))
    for name, row in shown:
        cores = f"{row['cpu_s'] / row['wall_s']:.2f}" if row["sittings"] == 1 else ""
        first = f"{name} | {row['seed']} | {row['minutes']:g} | {row['steps']:,} | {cores}"
        yield f"| {first} | {' | '.join(cells(row))} |"
    yield from _missing(found, data)
    yield from ("", "| class | recipe | seed | IoU | F1 | defects found | false alarms a frame |")
    yield "|---|---|---|---|---|---|---|"
    classes = [name for name in shown[0][1]["per_class"] if name != "background"]
    for class_name in classes:
        for name, row in shown:
            yield f"| {class_name} | {name} | {row['seed']} | {' | '.join(_class(row, class_name))} |"


def _shown(found: Sequence[Row], data: str) -> Iterator[tuple[str, Row]]:
    """(recipe as the page calls it, row) of a set, in order."""
    for recipe in RECIPES:
        for minutes in (MINUTES, None):
            yield from ((recipe, row) for row in of_recipe(found, data, recipe, minutes))
    without = [row for row in found if row["data"] == data and row["settings"] == list(NO_BORDER)]
    yield from (("modern, no border weights", row) for row in without[-1:])


def _missing(found: Sequence[Row], data: str) -> Iterator[str]:
    for recipe in RECIPES:
        there = {row["seed"] for row in of_recipe(found, data, recipe)}
        for seed in SEEDS[data]:
            if seed not in there:
                yield f"| {recipe} | {seed} | {MINUTES:g} | {NOT_RUN} |"


def _figures(data: str) -> tuple[list[str], Any]:
    """Heads and cells of a set's own figures."""
    if data == "isbi2012_em":
        heads = [
            "Rand error",
            "pixel error",
            "warping error (splits and mergers)",
            "Rand, pixel over 7 rotations",
            "Rand, pixel as the challenge: best of 10 thresholds on these frames",
        ]
        return heads, _membranes
    if data == "dsb2018_nuclei":
        instances = ["merges", "splits", "missed, invented of all", "AP; merges, splits of plain regions"]
        return ["AP at IoU 0.5", "AP, mean over frames", "SEG", *instances, "mean IoU"], _nuclei
    return ["mean IoU", "defects found", "false alarms a frame"], _defects


def _membranes(row: Row) -> list[str]:
    over = row["averaged"].get("rotations")
    torn = row["warping"]["splits_and_mergers"]
    return [
        _with(row, "rand_error", 4),
        _with(row, "pixel_error", 4),
        f"{row['warping_error']:.6f} ({torn:.6f})",
        f"{over['rand_error']:.4f}, {over['pixel_error']:.4f}" if over else "",
        _challenge(row),
    ]


def _challenge(row: Row) -> str:
    best = row.get("challenge", {})
    said = (
        f"{best[name]['lowest']:.4f} (at {best[name]['threshold']:g})"
        for name in ("rand_error", "pixel_error")
        if name in best
    )
    return ", ".join(said)


def _nuclei(row: Row) -> list[str]:
    counts = row["instances"]
    both = f"{counts['missed']}, {counts['invented']} of {counts['true']}"
    return [
        _with(row, "ap50"), _with(row, "ap50_by_frame") if "ap50_by_frame" in row else "", _with(row, "seg"),
        str(counts["merges"]), str(counts["splits"]), both, _regions(row),
        _with(row, "miou"),
    ]  # fmt: skip


def _regions(row: Row) -> str:
    """What the line would count; empty where that is what the other columns tell."""
    if "regions" not in row:
        return "the same"
    counts = regions(row)
    return f"{counts['ap50']:.3f}; {counts['merges']}, {counts['splits']}"


def _defects(row: Row) -> list[str]:
    return [_with(row, "miou"), *_found(row["per_defect"])]


def _class(row: Row, name: str) -> list[str]:
    pixels = row["per_class"][name]
    return [_with(pixels, "iou"), _with(pixels, "dice"), *_found(row["per_defect"]["classes"][name])]


def _found(counts: Row) -> list[str]:
    """Defects found, and false alarms a frame."""
    return [
        f"{counts['found']}/{counts['total']}: {_with(counts, 'recall')}",
        _with(counts, "false_alarms_per_frame", 2),
    ]


def _with(figures: Row, name: str, digits: int = 3) -> str:
    """A figure with its 95 % interval."""
    value, bounds = figures[name], figures.get(f"{name}_95") or (None, None)
    if value is None:
        return "none"
    if None in bounds:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({bounds[0]:.{digits}f} to {bounds[1]:.{digits}f})"


def provenance(found: Sequence[Row]) -> Iterator[str]:
    """The table of what every row came from."""
    yield from ("", "## Rows", "", "| command | commit | began | sittings |", "|---|---|---|---|")
    for row in found:
        yield f"| `{row['command']}` | {row['commit']} | {row['began'][:16]} | {row['sittings']} |"


def main() -> None:
    """Print the page."""
    print(page(rows(NAME)))


if __name__ == "__main__":
    main()
