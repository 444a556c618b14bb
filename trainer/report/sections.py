"""The sections of the page that show figures; each gives HTML, or nothing where it was not measured."""

from __future__ import annotations

from html import escape
from typing import Any

from trainer.metrics.warping import KINDS
from trainer.report.chart import Axis, Series, chart, key, strip
from trainer.report.html import Raw, rows_table
from trainer.report.style import SERIES
from trainer.report.words import (
    COUNTED,
    MARKED,
    band,
    count,
    interval,
    measured,
    percent,
    percents,
    rate,
    reject_rows,
    with_interval,
)

_RATE = ("", "95 % interval")


def defects(figures: dict[str, Any]) -> str:
    """Found and invented defects by class."""
    found = figures["per_defect"]
    recall = "recall (95 %)"
    head = ("class", "found", recall, "", "as any class", recall, "false alarms", "a frame (95 %)")
    rows = [_defect_row(name, row) for name, row in _with_all(found).items()]
    words = "What the network makes of each defect, at the model's own thresholds."
    any_class = "As any class: marked as a defect, whatever its class is called."
    table = rows_table(head, rows, _last(rows))
    return f"<h2>Defects</h2><p>{words}</p>{table}{_note(COUNTED)}{_note(any_class)}"


def _note(words: str) -> str:
    return f'<p class="note">{escape(words)}</p>'


def rejects(figures: dict[str, Any]) -> str:
    """Good frames and parts that are marked, and bad ones on which nothing is."""
    rows = [
        [what, wrong, count(number, row["total"]), percent(row["share"], None),
         Raw(strip(row["share"], row["share_95"])), percents(row["share_95"])]
        for what, wrong, row, number in reject_rows(figures["marked"])
    ]  # fmt: skip
    words = "What would be wrongly rejected, and wrongly passed, if every mark rejected."
    table = rows_table(("", "went wrong", "number", "share", *_RATE), rows)
    return f"<h2>Good and bad frames</h2><p>{words}</p>{table}{_note(MARKED)}"


def _with_all(found: dict[str, Any]) -> dict[str, Any]:
    """The rows by class, with one for all where there are several."""
    classes: dict[str, Any] = found["classes"]
    return {**classes, "all": found} if len(classes) > 1 else classes


def _last(rows: list[list[str]]) -> dict[int, str]:
    return {len(rows) - 1: "total"} if len(rows) > 1 else {}


def _defect_row(name: str, row: dict[str, Any]) -> list[str]:
    return [
        name,
        count(row["found"], row["total"]),
        percent(row["recall"], row["recall_95"]),
        Raw(strip(row["recall"], row["recall_95"])),
        count(row["found_as_any"], row["total"]),
        percent(row["recall_as_any"], row["recall_as_any_95"]),
        f"{row['false_alarms']:,}",
        with_interval(row["false_alarms_per_frame"], row["false_alarms_per_frame_95"], 2),
    ]


def widths(figures: dict[str, Any]) -> str:
    """Recall by width."""
    if "widths" not in figures:
        return ""
    by_class = figures["widths"]["classes"]
    groups = {**by_class, "all": figures["widths"]["all"]} if len(by_class) > 1 else by_class
    rows: list[list[str]] = []
    marked: dict[int, str] = {}
    for name, bands in groups.items():
        for n, row in enumerate(bands):
            if name == "all":
                marked[len(rows)] = "first" if n == 0 else "sum"
            strips = Raw(strip(row["recall"], row["recall_95"]))
            found = count(row["found"], row["total"])
            words = [band(row), found, percent(row["recall"], None), strips, percents(row["recall_95"])]
            rows.append([name if n == 0 else "", *words])
    said = "Thin defects are missed first. The width is the diameter of the largest circle inside the defect."
    table = rows_table(("class", "width", "found", "recall", *_RATE), rows, marked)
    return f"<h2>Recall by width</h2><p>{said}</p>{table}{_note(COUNTED)}"


def pixels(figures: dict[str, Any]) -> str:
    """Pixel figures by class."""
    head = ["class", "true px"]
    for name in ("IoU", "Dice", "precision", "recall"):
        head += [name, "95 % interval"]
    rows = []
    for name, row in figures["per_class"].items():
        shares = [(row[key], row[f"{key}_95"]) for key in ("iou", "dice", "precision", "recall")]
        cells = [text for value, bounds in shares for text in (rate(value), interval(bounds))]
        rows.append([name, f"{row['true_px']:,}", *cells])
    words = "How well the outlines fit, over all pixels of the set, on the line's own mask."
    return f"<h2>Pixels</h2><p>{words}</p>" + rows_table(head, rows)


def curves(figures: dict[str, Any]) -> str:
    """Precision over recall, by pixel and by defect."""
    if "pixel_curves" not in figures:
        return ""
    both = Axis("recall", 0.0, 1.0), Axis("precision", 0.0, 1.0)
    colours = {name: SERIES[n % len(SERIES)] for n, name in enumerate(figures["defect_curves"])}
    shown = figures["pixel_curves"]
    # The shades of many classes would hide each other; the table has their intervals.
    by_pixel = [_pixel_curve(name, curve, colours[name], len(shown) < 3) for name, curve in shown.items()]
    by_defect = [_defect_curve(name, figures, colours[name]) for name in shown]
    plots = [
        _plot("by pixel", by_pixel, both),
        _plot("by defect", by_defect, both),
    ]
    means = ((name, c["average_precision"], c["average_precision_95"]) for name, c in shown.items())
    rows = [[name, rate(value), interval(bounds)] for name, value, bounds in means]
    table = rows_table(("class", "mean precision of pixels", "95 % interval"), rows)
    return f'<h2>Precision and recall</h2><p>{_CURVES}</p><div class="charts">{"".join(plots)}</div>{table}'


_CURVES = (
    "Each curve runs over the thresholds, low ones to the right. By pixel: each class against all the rest,"
    " shaded the 95 % interval where parts differ. By defect: recall is the share of true defects found;"
    " precision is the share of predicted defects that are no false alarms. It counts predictions: several"
    " pieces on one true defect count each, and so does a piece on a defect of another class. Hence more"
    " predictions can be right than defects are found. The curve puts one threshold on all classes; the ring"
    " is where the model serves, each class at its own threshold, and need not lie on the curve."
)


def _plot(name: str, series: list[Series], axes: tuple[Axis, Axis]) -> str:
    """A chart of the series that reach anything, and the names of those that do not."""
    drawn = [line for line in series if any(recall for recall, _ in line.points)]
    empty = [line.name for line in series if line not in drawn]
    said = _note(f"No curve: nothing of {', '.join(empty)} is found at any threshold.") if empty else ""
    plot = key(drawn) + chart(drawn, *axes, f"precision over recall {name}") if drawn else ""
    return f"<figure><h3>{name}</h3>{plot}{said}</figure>"


def _pixel_curve(name: str, curve: dict[str, Any], colour: str, shaded: bool) -> Series:
    known = [p for p in curve["points"] if p["precision"] is not None]
    points = tuple((p["recall"], p["precision"]) for p in known)
    bounds = (p["precision_95"] if _differs(p) else [p["precision"]] * 2 for p in known)
    return Series(name, colour, points, tuple((low, high) for low, high in bounds) if shaded else ())


def _differs(point: dict[str, Any]) -> bool:
    """Whether parts differ at this point; else its interval is a bound of another kind."""
    return 0 < point["precision"] < 1 and point["precision_95"][0] is not None


def _defect_curve(name: str, figures: dict[str, Any], colour: str) -> Series:
    line = figures["defect_curves"][name]
    points = tuple((p["recall"], p["precision"]) for p in line if p["precision"] is not None)
    served = figures["per_defect"]["classes"][name]
    at = () if served["precision"] is None else ((served["recall"], served["precision"], ""),)
    return Series(name, colour, points, marks=at)


def instances(figures: dict[str, Any]) -> str:
    """Merges and splits, SEG, AP."""
    if "instances" not in figures:
        return ""
    found = figures["instances"]
    head = (
        "class",
        "true",
        "predicted",
        "matched",
        "in merges",
        "95 % interval",
        "in pieces",
        "95 % interval",
    )
    rows = [_instance_row(name, row) for name, row in _with_all(found).items()]
    said = ". ".join(
        f"{words}: {rate(figures[key])} ({interval(figures[f'{key}_95'])})"
        for key, words in (
            (
                "seg",
                "Mean overlap (IoU) of true instances with their matches (SEG, Cell Tracking Challenge)",
            ),
            (
                "ap50",
                "Matched instances over matched, missed and invented ones (average precision at IoU 0.5)",
            ),
            ("ap50_by_frame", "The same as the mean over frames, a crowded one counting like any other"),
        )
        if key in figures
    )
    words = (
        "Matched: IoU above 0.5. In merges: true instances that share a prediction, which holds more than"
        " half of each. In pieces: true instances with several predictions that each lie mostly inside."
    )
    table = rows_table(head, rows, _last(rows))
    regions = _regions(figures["regions"], head) if "regions" in figures else ""
    return f"<h2>Instances</h2><p>{escape(said)}.</p><p>{words}</p>{table}{regions}"


def _regions(found: dict[str, Any], head: tuple[str, ...]) -> str:
    """Beside instances that are told apart: what the line would count."""
    said = (
        "The same for 8-connected regions as they are, which is what the line counts: average precision"
        f" {rate(found['ap50'])} ({interval(found['ap50_95'])})."
    )
    rows = [_instance_row(name, row) for name, row in _with_all(found).items()]
    return f"<p>{escape(said)}</p>{rows_table(head, rows, _last(rows))}"


def _instance_row(name: str, row: dict[str, Any]) -> list[str]:
    return [
        name,
        f"{row['true']:,}",
        f"{row['predicted']:,}",
        f"{row['matched']:,}",
        f"{row['merged']:,}",
        interval(row["merged_95"]),
        f"{row['split']:,}",
        interval(row["split_95"]),
    ]


def topology(figures: dict[str, Any]) -> str:
    """Pixel, Rand and warping error."""
    names = {
        "pixel_error": "Pixel error (share of pixels with the wrong class)",
        "rand_error": "Rand error",
        "warping_error": "Warping error",
    }
    rows = [
        [words, *measured(figures[key], figures[f"{key}_95"])]
        for key, words in names.items()
        if key in figures
    ]
    for error, best in figures.get("challenge", {}).items():
        words = f"{names[error].split(' (')[0]} as the challenge takes it, at {best['threshold']:g}"
        rows.append([words, f"{best['lowest']:.4f}", ""])
    if "warping" in figures:
        warping = figures["warping"]
        part = measured(warping["splits_and_mergers"], warping["splits_and_mergers_95"])
        rows.append(["of it splits and mergers", *part])
    if not rows:
        return ""
    if len(rows) == 1:
        name, value, between = rows[0]
        return f"<p>{escape(f'{name}: {value} (95 %: {between}).')}</p>"
    words = (
        "Rand error: pairs of pixels wrongly joined or parted. Warping error: share of pixels that still"
        " differ when boundaries may move and nothing may tear or join (Jain et al. 2010). These are the"
        " errors of the challenge on neurons in electron microscopy (EM), but at the model's own thresholds,"
        " where the challenge takes the best of all thresholds, which is named beside it."
    )
    table = rows_table(("", "error", "95 % interval"), rows)
    return f"<h2>Segmentation errors</h2><p>{words}</p>{table}{_kinds(figures.get('warping'))}"


def _kinds(warping: dict[str, Any] | None) -> str:
    if warping is None:
        return ""
    kinds = ((name, warping["kinds"][name]) for name in KINDS)
    rows = [[name.replace("_", " "), f"{kind['errors']:,}", f"{kind['px']:,}"] for name, kind in kinds]
    return rows_table(("what does not fit after warping", "errors", "pixels"), rows)
