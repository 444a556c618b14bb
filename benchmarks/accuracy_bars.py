"""The bars of the accuracy benchmark and whether the rows hold them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from benchmarks.accuracy import MODERN, NO_BORDER, SEEDS
from benchmarks.rows import verdict
from benchmarks.trials import BASE, DEPTH, Row

MINUTES = 12.0
NOT_RUN = "NOT RUN"


class Main(NamedTuple):
    """The figure by which a set compares recipes."""

    words: str
    of: Callable[[Row], float]
    sign: int
    """1: more is better; -1: less is."""


MAIN = {
    "masonry_crack": Main("crack F1", lambda row: float(row["per_class"]["class_1"]["dice"] or 0), 1),
    "magnetic_tile": Main("mean IoU", lambda row: float(row["miou"]), 1),
    "isbi2012_em": Main("Rand error", lambda row: float(row["rand_error"]), -1),
    "dsb2018_nuclei": Main("AP at IoU 0.5", lambda row: float(row["ap50"] or 0), 1),
    "deepcrack_256": Main("crack F1", lambda row: float(row["per_class"]["class_1"]["dice"] or 0), 1),
}
LEAST = {
    "masonry_crack": (("crack F1", MAIN["masonry_crack"].of, 0.80, 1),),
    "magnetic_tile": (("mean IoU", MAIN["magnetic_tile"].of, 0.55, 1),),
    "isbi2012_em": (
        ("Rand error", MAIN["isbi2012_em"].of, 0.05, -1),
        ("pixel error", lambda row: float(row["pixel_error"]), 0.07, -1),
    ),
    "dsb2018_nuclei": (("AP at IoU 0.5", MAIN["dsb2018_nuclei"].of, 0.75, 1),),
}
"""Set -> (figure, how to read it, bar, 1 for at least and -1 for at most) of the modern recipe."""
LONG_TILE = 0.70
FEWER_MERGES = 1 / 3


class Bar(NamedTuple):
    """One line of the page."""

    what: str
    bar: str
    figure: str
    word: str
    """HOLDS, FALLS SHORT, NOT RUN; where one seed each leaves the spread unknown, AHEAD or BEHIND."""


def of_recipe(rows: Sequence[Row], data: str, recipe: str, minutes: float | None = MINUTES) -> list[Row]:
    """The newest row of each seed, in order of seeds; modern with the settings that it is measured with.

    minutes: None for any but those of the bars.
    """
    settings = list(MODERN.get(data, ())) if recipe == "modern" else []
    found: dict[tuple[int, float], Row] = {}
    for row in rows:
        same = (row["data"], row["recipe"], row["settings"]) == (data, recipe, settings)
        right = row["minutes"] == minutes if minutes is not None else row["minutes"] != MINUTES
        if same and right and (row["base"], row["depth"]) == (BASE, DEPTH):
            found[row["seed"], row["minutes"]] = row
    return [found[key] for key in sorted(found)]


def bars(rows: Sequence[Row]) -> list[Bar]:
    """Every bar in the order of the page."""
    return [*(_above(rows, data) for data in SEEDS), *_least(rows), _long(rows), _merges(rows)]


def seeds(rows: Sequence[Row], read: Callable[[Row], float]) -> str:
    """The mean over the seeds with the lowest and the highest, or the one figure that there is."""
    values = [read(row) for row in rows]
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def spread(rows: Sequence[Row], read: Callable[[Row], float]) -> float | None:
    """The highest less the lowest of the seeds; None with one seed."""
    values = [read(row) for row in rows]
    return max(values) - min(values) if len(values) > 1 else None


def _above(rows: Sequence[Row], data: str) -> Bar:
    main, what = MAIN[data], f"{data}: modern above the baseline by more than the seeds' spread"
    modern, baseline = of_recipe(rows, data, "modern"), of_recipe(rows, data, "baseline")
    if not modern or not baseline:
        return Bar(what, main.words, "", NOT_RUN)
    means = [statistics.mean(map(main.of, some)) for some in (modern, baseline)]
    ahead = main.sign * (means[0] - means[1])
    spreads = [found for some in (modern, baseline) if (found := spread(some, main.of)) is not None]
    figure = (
        f"{seeds(modern, main.of)} against {seeds(baseline, main.of)}, {abs(ahead):.3f}"
        f" {'better' if ahead > 0 else 'worse'}; {_counted(modern, baseline)}"
    )
    if spreads:
        return Bar(what, main.words, f"{figure}, spread {max(spreads):.3f}", verdict(ahead > max(spreads)))
    word = "AHEAD" if ahead > 0 else "BEHIND"
    return Bar(what, main.words, figure, f"{word}, spread not known")


def _counted(modern: Sequence[Row], baseline: Sequence[Row]) -> str:
    counts = len(modern), len(baseline)
    if counts[0] == counts[1]:
        return "one seed each" if counts[0] == 1 else f"{counts[0]} seeds each"
    return f"{counts[0]} and {counts[1]} seeds"


def _least(rows: Sequence[Row]) -> Iterator[Bar]:
    for data, figures in LEAST.items():
        modern = of_recipe(rows, data, "modern")
        for words, read, least, sign in figures:
            bar = f"{'>=' if sign > 0 else '<='} {least:.2f}"
            if not modern:
                yield Bar(f"{data}: {words}", bar, "", NOT_RUN)
                continue
            mean = statistics.mean(map(read, modern))
            count = f"{len(modern)} seeds" if len(modern) > 1 else "one seed"
            figure, held = f"{seeds(modern, read)}, {count}", sign * (mean - least) >= 0
            yield Bar(f"{data}: {words}", bar, figure, verdict(held))


def _long(rows: Sequence[Row]) -> Bar:
    """Of the longest length that there is, all seeds: the best of lengths and seeds would be a choice on
    test frames. A length without the first seed does not count, so that no seed is picked either."""
    data, read = "magnetic_tile", MAIN["magnetic_tile"].of
    what, bar = f"{data}: mean IoU in a run of any length", f">= {LONG_TILE:.2f}"
    every = [*of_recipe(rows, data, "modern"), *of_recipe(rows, data, "modern", None)]
    lengths = [row["minutes"] for row in every if row["seed"] == SEEDS[data][0]]
    if not lengths:
        return Bar(what, bar, "", NOT_RUN)
    longest = [row for row in every if row["minutes"] == max(lengths)]
    named = f"seed{'s' if len(longest) > 1 else ''} {', '.join(str(row['seed']) for row in longest)}"
    figure = f"{seeds(longest, read)} in {max(lengths):g} minutes, {named}"
    return Bar(what, bar, figure, verdict(statistics.mean(map(read, longest)) >= LONG_TILE))


def regions(row: Row) -> Row:
    """Counts of a row's 8-connected regions, which are its instances where nothing else tells them apart."""
    found: Row = row.get("regions", row["instances"])
    return found


def _merges(rows: Sequence[Row]) -> Bar:
    """Of 8-connected regions: what border weights keep apart, not what is parted at necks afterwards."""
    what = "dsb2018_nuclei: merges of touching nuclei with the border weights than without"
    bar = "at least a third fewer"
    plain = [row for row in rows if (row["data"], row["minutes"]) == ("dsb2018_nuclei", MINUTES)]
    without = [row for row in plain if row["settings"] == list(NO_BORDER)][-1:]
    weighted = [row for row in of_recipe(rows, "dsb2018_nuclei", "modern") if without]
    weighted = [row for row in weighted if row["seed"] == without[0]["seed"]]
    if not weighted:
        return Bar(what, bar, "", NOT_RUN)
    pair = weighted[0], without[0]
    few, many = (int(regions(row)["merges"]) for row in pair)
    split = [int(regions(row)["splits"]) for row in pair]
    figure = f"{few} against {many} merges of regions, {split[0]} against {split[1]} splits, one seed each"
    if all("regions" in row for row in pair):
        parted = " against ".join(str(row["instances"]["merges"]) for row in pair)
        figure += f"; {parted} merges where regions are parted at necks"
    return Bar(what, bar, figure, verdict(many > 0 and few <= (1 - FEWER_MERGES) * many))
