"""The page as a whole: one HTML file that a quality engineer reads from top to bottom, without a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from trainer.metrics.frames import FrameList, FrameResult
from trainer.report.html import facts, matrix
from trainer.report.identity import Identity
from trainer.report.notices import notices
from trainer.report.overlays import MOST_BOXES, overlay
from trainer.report.sections import curves, defects, instances, pixels, rejects, topology, widths
from trainer.report.style import CSS, FOUND, INVENTED, MISSED
from trainer.report.trade import trade
from trainer.report.words import COUNTED, INTERVALS, count, edge, interval, many, percents, rate

WORST, BEST = 6, 3


def page(figures: dict[str, Any], about: Identity, frames: FrameList, classes: Sequence[str]) -> str:
    """The whole file. figures: what is printed with --json, of an evaluation with `frames`."""
    title = f"Evaluation of {about.title}"
    sections = [
        _head(figures, about, title),
        *(f'<p class="warn">{escape(note)}</p>' for note in notices(figures)),
        defects(figures),
        rejects(figures),
        widths(figures),
        trade(figures),
        pixels(figures),
        curves(figures),
        _confusion(figures),
        topology(figures),
        instances(figures),
        "".join(_frames(frames, classes)),
        _identity(about),
        _definitions(figures),
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{CSS}</style></head><body>{''.join(sections)}</body></html>\n"
    )


def _head(figures: dict[str, Any], about: Identity, title: str) -> str:
    found = figures["per_defect"]
    tiles = (
        ("defects found", count(found["found"], found["total"]), f"95 %: {percents(found['recall_95'])}"),
        (
            "false alarms a frame",
            rate(found["false_alarms_per_frame"], 2),
            f"{found['false_alarms']:,} in all; 95 %: {interval(found['false_alarms_per_frame_95'], 2)}",
        ),
        (
            "mean IoU of the defect classes",
            rate(figures["miou_defects"]),
            f"95 %: {interval(figures['miou_defects_95'])}; with the background {rate(figures['miou'])}",
        ),
    )
    boxes = "".join(
        f'<div class="tile"><span>{escape(name)}</span><b>{escape(value)}</b>'
        f"<span>{escape(more)}</span></div>"
        for name, value, more in tiles
    )
    data = about.data
    where = f"{data['folders']}, split {data['split']}: {data['frames']}"
    subtitle = f"{where}. Measured {about.software['date (UTC)']} UTC."
    return (
        f'<h1>{escape(title)}</h1><p class="dim">{escape(subtitle)}</p><div class="tiles">{boxes}</div>'
        f'<p class="note">{escape(INTERVALS)}</p>'
    )


def _confusion(figures: dict[str, Any]) -> str:
    return (
        "<h2>Which class is taken for which</h2>"
        "<p>Pixels of all frames. Each row is one true class; its shares add up to all pixels of that class."
        " The diagonal is right.</p>" + matrix(figures["confusion"])
    )


def _frames(frames: FrameList, classes: Sequence[str]) -> Iterator[str]:
    worst, best = frames.worst(WORST), frames.best(BEST)
    key = (
        f'<p class="key"><i style="background:{FOUND}"></i>found <i style="background:{MISSED}"></i>missed'
        f' or of another class <i style="background:{INVENTED}"></i>not in the truth. Boxes: defects that'
        f" count as missed, and predictions that count as false alarms, if at most {MOST_BOXES} of a kind."
        " Between touching instances, a line that is not in the truth means that they were not parted.</p>"
    )
    if worst:
        yield "<h2>Worst frames</h2>"
        yield "<p>Most missed defects first, then most false alarms, then lowest IoU.</p>"
        yield key
        yield from (_frame(frame, classes) for frame in worst)
    if best:
        yield "<h2>Best frames that show a defect</h2>" + key
        yield from (_frame(frame, classes) for frame in best)


def _frame(frame: FrameResult, classes: Sequence[str]) -> str:
    drawn, counts = overlay(frame, classes), frame.counts
    shown = f"{counts.found} of {many(counts.total, 'defect')} found" if counts.total else "shows no defect"
    said = f"{shown}, {many(counts.false_alarms, 'false alarm')}"
    iou = "" if frame.iou != frame.iou else f", IoU {frame.iou:.3f}"
    kind = ' class="small"' if drawn.small else ""
    name = frame.sample.stem
    part = frame.sample.part.rsplit("/", 1)[-1]
    of_part = "" if part == name else f" (part {escape(part)})"
    return (
        f'<figure class="frame"><figcaption><b>{escape(name)}</b>{of_part}: {said}{iou}</figcaption>'
        f'<img{kind} src="{drawn.plain}" alt="picture {escape(name)}">'
        f'<img{kind} src="{drawn.marked}" alt="{escape(name)} with what was found and missed"></figure>'
    )


def _identity(about: Identity) -> str:
    return (
        "<h2>What was measured</h2><h3>Model</h3>"
        + facts(about.model)
        + "<h3>Data</h3>"
        + facts(about.data)
        + "<h3>Software</h3>"
        + facts(about.software)
    )


def _definitions(figures: dict[str, Any]) -> str:
    lines = [
        COUNTED,
        "IoU: pixels that truth and model agree on, over pixels that either gives the class. The means are"
        " over the classes that occur.",
        "Intervals are 95 % and by physical part: Wilson's for rates and Garwood's for false alarms, widened"
        " by how much the parts differ; all others by drawing whole parts again 2,000 times. A perfect score"
        " gets the interval that its number of trials proves.",
        edge(figures),
        "Pixels that the truth marks as ignored (255) count for nothing.",
    ]
    return (
        f"<h2>How it was counted</h2><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines if line)}</ul>"
    )
