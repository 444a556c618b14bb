"""The figures of an evaluation as a table for the terminal, with their counts and intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trainer.escapes import outcomes
from trainer.metrics.warping import KINDS
from trainer.report.words import band, count, interval, many, rate

SINGLE = ("pixel_error", "rand_error", "warping_error", "seg", "ap50")
_WIDE = 16


def table(figures: dict[str, Any]) -> str:
    """figures: what `EvaluationResult.json` gives, with `escape` where a target was named."""
    return "\n".join(_lines(figures))


def _lines(figures: dict[str, Any]) -> Iterator[str]:
    yield f"{many(figures['frames'], 'frame')} of {many(figures['parts'], 'part')}; intervals are 95 %"
    yield f"mIoU {rate(figures['miou'])} ({interval(figures['miou_95'])})"
    yield ""
    yield from _pixels(figures["per_class"])
    yield ""
    yield from _defects(figures["per_defect"])
    if "widths" in figures:
        yield ""
        yield from _widths(figures["widths"])
    border = figures["border"]
    yield ""
    yield f"mIoU within {border['px']} px of the frame's edge {rate(border['miou'])}"
    for name in SINGLE:
        if name in figures:
            yield f"{name} {rate(figures[name], 6)} ({interval(figures[f'{name}_95'], 6)})"
        if name == "warping_error" and name in figures:
            yield _warping(figures["warping"])
    if "instances" in figures:
        yield _instances(figures["instances"])
    for name, curve in figures.get("pixel_curves", {}).items():
        said = f"{rate(curve['average_precision'])} ({interval(curve['average_precision_95'])})"
        yield f"average precision of pixels, {name}: {said}"
    if "escape" in figures:
        yield ""
        yield from _escape(figures["escape"])


def _pixels(rows: dict[str, Any]) -> Iterator[str]:
    head = ("IoU", "dice", "precision", "recall")
    yield f"{'pixels':<{_WIDE}}" + "".join(f" {name:>22}" for name in head) + f" {'true px':>12}"
    for name, row in rows.items():
        shares = (f"{rate(row[k])} ({_short(row[f'{k}_95'])})" for k in ("iou", *head[1:]))
        yield f"{name[:_WIDE]:<{_WIDE}}" + "".join(f" {s:>22}" for s in shares) + f" {row['true_px']:>12,}"


def _defects(figures: dict[str, Any]) -> Iterator[str]:
    yield f"{'defects':<{_WIDE}} {'found':>12} {'recall':>22} {'false alarms':>13} {'a frame':>22}"
    for name, row in _with_all(figures["classes"], figures).items():
        recall = f"{rate(row['recall'])} ({_short(row['recall_95'])})"
        alarms = f"{rate(row['false_alarms_per_frame'])} ({_short(row['false_alarms_per_frame_95'])})"
        found = f"{row['found']}/{row['total']}"
        yield (f"{name[:_WIDE]:<{_WIDE}} {found:>12} {recall:>22} {row['false_alarms']:>13,} {alarms:>22}")


def _with_all(classes: dict[str, Any], every: Any) -> dict[str, Any]:
    """The rows by class, with one for all where there are several."""
    return {**classes, "all": every} if len(classes) > 1 else classes


def _widths(widths: dict[str, Any]) -> Iterator[str]:
    yield f"{'defects by width':<{_WIDE}} {'width':>14} {'found':>12} {'recall':>22}"
    for name, rows in _with_all(widths["classes"], widths["all"]).items():
        for row in rows:
            recall = f"{rate(row['recall'])} ({_short(row['recall_95'])})"
            found = f"{row['found']}/{row['total']}"
            yield f"{name[:_WIDE]:<{_WIDE}} {band(row):>14} {found:>12} {recall:>22}"


def _warping(found: dict[str, Any]) -> str:
    said = ", ".join(
        f"{found['kinds'][name]['errors']} {name.replace('_', ' ')}"
        for name in KINDS
        if found["kinds"][name]["errors"]
    )
    part = f"{rate(found['splits_and_mergers'], 6)} ({interval(found['splits_and_mergers_95'], 6)})"
    return f"  of it splits and mergers, as the EM challenge counts: {part}; {said or 'none at all'}"


def _instances(found: dict[str, Any]) -> str:
    return (
        f"  instances: {count(found['matched'], found['true'])} matched, {found['invented']:,} invented;"
        f" {found['merged']:,} in merges ({interval(found['merged_95'])}),"
        f" {found['split']:,} in pieces ({interval(found['split_95'])})"
    )


def _escape(escape: dict[str, Any]) -> Iterator[str]:
    yield f"escape target {escape['target']:g}, shown on these frames (thresholds are chosen by trainer fit):"
    for name, trade in escape["classes"].items():
        at = trade["at_target"]
        if at is None:
            yield f"{name}: no such defect is shown"
            continue
        yield f"{name}: serves at {trade['served_threshold']:.3f}"
        goal = "<- target" if trade["reached"] else "<- fewest missed, target out of reach"
        for point in outcomes(trade["points"]):
            mark = goal if point["threshold"] == at["threshold"] else ""
            yield (
                f"  t {point['threshold']:.3f} {point['found']:>6}/{point['total']:<6}"
                f" recall {rate(point['recall'])} ({_short(point['recall_95'])}),"
                f" false alarms a frame {rate(point['false_alarms_per_frame'])}"
                f" ({_short(point['false_alarms_per_frame_95'])}) {mark}"
            ).rstrip()
    if escape["defects_needed"]:
        yield f"To prove the target, {escape['defects_needed']:,} defects of a class must all be found."


def _short(bounds: list[float | None] | None) -> str:
    return interval(bounds).replace(" to ", "..")
