"""The figures of an evaluation as text for the terminal: what a quality engineer asks first stands first.

Every figure of --json that is left out here, such as Dice, stands in the report as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from trainer.escapes import outcomes
from trainer.report.notices import notices
from trainer.report.trade import EVERY, nothing_found
from trainer.report.words import (
    COUNTED,
    INTERVALS,
    MARKED,
    NOTHING,
    band,
    count,
    edge,
    many,
    measured,
    percent,
    rate,
    reject_rows,
    with_interval,
)

SINGLE = {
    "pixel_error": "Pixel error (share of pixels with the wrong class)",
    "rand_error": "Rand error (pairs of pixels wrongly joined or parted)",
    "warping_error": "Warping error (share of pixels that are torn, joined, or a hole or object too many)",
    "seg": "SEG (mean overlap of each true instance with its match)",
    "ap50": "AP50 (instances matched over matched, missed and invented ones)",
}
"""Figures that are computed where asked for, in words."""
KINDS = {
    "mergers": "merger",
    "splits": "split",
    "holes_added": "added hole",
    "holes_deleted": "lost hole",
    "objects_added": "added object",
    "objects_deleted": "lost object",
}
"""The errors of topology, one of each in words."""


def table(figures: dict[str, Any]) -> str:
    """figures: what `trainer evaluate --json` prints, with `escape` where a target was named."""
    return "\n".join(_lines(figures))


def _lines(figures: dict[str, Any]) -> Iterator[str]:
    shown = f"{many(figures['frames'], 'frame')} of {many(figures['parts'], 'part')}"
    yield f"{shown}. In brackets: {INTERVALS}"
    yield from notices(figures)
    yield ""
    yield from _defects(figures["per_defect"])
    yield ""
    yield from _rejects(figures["marked"])
    if "widths" in figures:
        yield ""
        yield from _widths(figures["widths"])
    yield ""
    yield from _outlines(figures)
    asked = [name for name in SINGLE if name in figures]
    if asked:
        yield ""
    for name in asked:
        yield f"{SINGLE[name]}: {_small(figures[name], figures[f'{name}_95'])}"
        if name == "warping_error":
            yield from _warping(figures["warping"])
        if name == "ap50":
            said = with_interval(figures["ap50_by_frame"], figures["ap50_by_frame_95"])
            yield f"  {said} as the mean over frames"
        if name in figures.get("challenge", {}):
            best = figures["challenge"][name]
            yield (
                f"  {best['lowest']:.4f} at a threshold of {best['threshold']:g}, the best of"
                f" {len(best['thresholds'])} on these frames, as the EM challenge takes it"
            )
    if "instances" in figures:
        yield _instances(figures["instances"])
        yield from _regions(figures.get("regions"))
    if figures.get("pixel_curves"):
        yield ""
        for name, curve in figures["pixel_curves"].items():
            said = with_interval(curve["average_precision"], curve["average_precision_95"])
            yield f"Mean precision of {name} pixels over all thresholds: {said}"
    if "escape" in figures:
        yield ""
        yield from _escape(figures["escape"])


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Head and rows in columns as wide as their widest cell, names to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        first, *others = (
            cell.rjust(width) if n else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join((first, *others)).rstrip()


def _defects(figures: dict[str, Any]) -> Iterator[str]:
    rows = [
        (
            name,
            *_found(row),
            count(row["found_as_any"], row["total"]),
            f"{row['false_alarms']:,}",
            _alarms(row),
        )
        for name, row in _with_all(figures["classes"], figures).items()
    ]
    yield from _columns(("Defects", "found", "recall", "as any class", "false alarms", "per frame"), rows)
    yield COUNTED
    yield "As any class: marked as a defect, whatever its class is called."


def _rejects(marked: dict[str, Any]) -> Iterator[str]:
    rows = [
        (what, wrong, count(number, row["total"]), percent(row["share"], row["share_95"]))
        for what, wrong, row, number in reject_rows(marked)
    ]
    yield from _columns(
        ("Whole frames and parts" if marked["parts"] else "Whole frames", "", "", "share"), rows
    )
    yield MARKED


def _found(row: dict[str, Any]) -> tuple[str, str]:
    return count(row["found"], row["total"]), percent(row["recall"], row["recall_95"])


def _alarms(row: dict[str, Any]) -> str:
    return with_interval(row["false_alarms_per_frame"], row["false_alarms_per_frame_95"], 2)


def _with_all(classes: dict[str, Any], every: Any) -> dict[str, Any]:
    """The rows by class, with one for all where there are several."""
    return {**classes, "all": every} if len(classes) > 1 else classes


def _widths(widths: dict[str, Any]) -> Iterator[str]:
    rows = [
        (name, band(row), *_found(row))
        for name, bands in _with_all(widths["classes"], widths["all"]).items()
        for row in bands
    ]
    yield from _columns(("Defects by width", "width", "found", "recall"), rows)
    yield COUNTED


def _outlines(figures: dict[str, Any]) -> Iterator[str]:
    rows = [
        (name, *(with_interval(row[k], row[f"{k}_95"]) for k in ("iou", "precision", "recall")),
         f"{row['true_px']:,}")
        for name, row in figures["per_class"].items()
    ]  # fmt: skip
    yield from _columns(("Outlines, by pixel", "IoU", "precision", "recall", "true pixels"), rows)
    mean = with_interval(figures["miou_defects"], figures["miou_defects_95"])
    every = with_interval(figures["miou"], figures["miou_95"])
    yield f"Mean IoU of the defect classes {mean}; with the background {every}."
    if near := edge(figures):
        yield near


def _small(value: float | None, bounds: Sequence[float | None] | None) -> str:
    """However small it is, with the digits that its interval bears: 0.024 (0.018-0.030)."""
    said, between = measured(value, bounds)
    return said + ("" if value is None or between == NOTHING else f" ({between.replace(' to ', '-')})")


def _warping(found: dict[str, Any]) -> Iterator[str]:
    counts = {words: found["kinds"][name]["errors"] for name, words in KINDS.items()}
    said = ", ".join(many(number, words) for words, number in counts.items() if number)
    yield f"  {said or 'nothing is torn, joined, or too many'}"
    torn = _small(found["splits_and_mergers"], found["splits_and_mergers_95"])
    yield f"  splits and mergers alone, as the EM challenge counts: {torn}"


def _instances(found: dict[str, Any]) -> str:
    merged, split = (
        (
            f"{found[name]:,} {words}, {percent(found[name] / found['true'], found[f'{name}_95'])}"
            for name, words in (("merged", "share a prediction"), ("split", "fell into pieces"))
        )
        if found["true"]
        else ("0 share a prediction", "0 fell into pieces")
    )
    return (
        f"  {count(found['matched'], found['true'])} instances matched, {found['invented']:,} invented;"
        f" {merged}; {split}"
    )


def _regions(found: dict[str, Any] | None) -> Iterator[str]:
    """Beside instances that are told apart: what the line would count."""
    if found is None:
        return
    said = with_interval(found["ap50"], found["ap50_95"])
    yield f"Regions as the line counts them, not told apart any further: AP50 {said}"
    yield _instances(found)


def _escape(escape: dict[str, Any]) -> Iterator[str]:
    target = f"{100 * escape['target']:g} %"
    yield f"What it would cost to miss at most {target} of the defects. (trainer fit chooses thresholds.)"
    yield COUNTED
    yield "Serves: each class at its own threshold. Each other row puts one threshold on all classes."
    classes = escape["classes"]
    for name, trade in ({**classes, EVERY: escape["all"]} if len(classes) > 1 else classes).items():
        if trade["at_target"] is None:
            yield f"{name}: {nothing_found(trade)}."
        else:
            yield f"{name}:"
            yield from _curve(trade, target)
    if escape["defects_needed"]:
        yield (
            f"To prove {target}, at least {escape['defects_needed']:,} defects of a class must be shown and"
            " all be found."
        )


def _curve(trade: dict[str, Any], target: str) -> Iterator[str]:
    """The served thresholds first, then each level that changes something; the better one is marked."""
    served, at, advice = trade["served"], trade["at_target"], trade["advice"]
    reached = trade["served_reached"] if advice == "served" else trade["reached"]
    goal = f"<- keeps {target}" if reached else f"<- fewest missed, {target} out of reach"
    own = "serves" if served["threshold"] is None else f"serves {rate(served['threshold'])}"
    rows = [(own, *_missed(served), _alarms(served), goal if advice == "served" else "")]
    for point in outcomes(trade["points"]):
        mark = goal if advice == "at_target" and point["threshold"] == at["threshold"] else ""
        rows.append((rate(point["threshold"]), *_missed(point), _alarms(point), mark))
    yield from _columns(("threshold", "found", "missed", "false alarms a frame", ""), rows)


def _missed(point: dict[str, Any]) -> tuple[str, str]:
    missed = [1 - bound for bound in reversed(point["recall_95"])]
    return count(point["found"], point["total"]), percent(1 - point["recall"], missed)
