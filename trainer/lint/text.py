"""The report as an engineer reads it, and as one JSON object."""

from __future__ import annotations

from typing import Any

from trainer.lint.edges import LABELS_A_FRAME, LEAST_AREA
from trainer.lint.findings import ClassRow, Finding, Report, counted

SHOWN = 8
"""Places that a finding lists unless all are asked for."""


def text_of(report: Report, *, everything: bool = False) -> str:
    """The figures, then errors, then warnings, each with its places and its remedy.

    everything: list all places of a finding instead of the first eight.
    """
    lines = [_headline(report), ""]
    if report.addition:
        lines += [
            "Flagged frames, an addition to a dataset: no split, and no number of defects, is asked for.",
            "",
        ]
    lines += _table(report)
    for level in ("error", "warning"):
        for finding in report.of(level):
            lines += ["", *_finding(finding, everything)]
    errors, warnings = len(report.of("error")), len(report.of("warning"))
    lines += [
        "",
        "Clean." if not errors + warnings else f"{counted(errors, 'error')}, {counted(warnings, 'warning')}.",
    ]
    return "\n".join(lines)


def json_of(report: Report) -> dict[str, Any]:
    """The whole report as JSON types."""
    return {
        "folder": str(report.folder),
        "addition": report.addition,
        "frames": report.frames,
        "good_frames": report.good,
        "sizes": [list(size) for size in report.sizes],
        "classes": {
            name: {
                side: {"pixels": row.pixels, "share": row.share, "defects": row.defects, "frames": row.frames}
                for side, row in rows.items()
            }
            for name, rows in report.classes.items()
        },
        "edges": {
            name: {
                "measured": row.measured,
                "labels": row.labels,
                "width_px": round(row.width_px, 2),
                "excess_px": round(row.excess_px, 2),
                "ratio": round(row.ratio, 3),
            }
            for name, row in report.edges.items()
        },
        "groups": report.groups,
        "errors": [finding.json() for finding in report.of("error")],
        "warnings": [finding.json() for finding in report.of("warning")],
    }


def _headline(report: Report) -> str:
    sides = ", ".join(f"{number} {side}" for side, number in report.frames.items())
    return f"{report.folder}: {counted(sum(report.frames.values()), 'frame')} ({sides}); {_sizes(report)}"


def _sizes(report: Report) -> str:
    if not report.sizes:
        return "none can be read"
    if len(report.sizes) <= 3:
        return ", ".join(f"{height}x{width}" for height, width in report.sizes)
    heights, widths = zip(*report.sizes, strict=True)
    return f"{len(report.sizes)} sizes, {min(heights)}-{max(heights)} x {min(widths)}-{max(widths)}"


def _table(report: Report) -> list[str]:
    sides = list(report.frames)
    head = f"{'class':<16}" + "".join(f" {'% px ' + s:>11} {'defects':>8} {'frames':>7}" for s in sides)
    lines = [f"{head}  {'label':>9} {'by seen':>8} {'measured':>10}"]
    for name, rows in report.classes.items():
        edge = report.edges.get(name)
        tail = (
            f"  {'-':>9} {'-':>8} {'-':>10}"
            if edge is None
            else f"  {edge.width_px:>6.1f} px {edge.ratio:>7.2f}x {f'{edge.measured}/{edge.labels}':>10}"
        )
        lines.append(f"{name[:16]:<16}" + "".join(_cells(rows[side]) for side in sides) + tail)
    good = "".join(f" {'':>11} {'':>8} {report.good[side]:>7,}" for side in sides)
    lines.append(f"{'(no defect)':<16}{good}")
    if report.edges:
        lines += [
            "",
            "label: median width at the widest place. by seen: that width by the width of the visible edge",
            "(1 = fits; fading defects such as stains read above 1 with a right label too). measured: labels",
            f"with an edge to be seen, of those tried: the {LABELS_A_FRAME} largest of {LEAST_AREA} px or"
            " more of each frame and class.",
        ]
    return lines


def _cells(row: ClassRow) -> str:
    return f" {100 * row.share:>11.3f} {row.defects:>8,} {row.frames:>7,}"


def _finding(finding: Finding, everything: bool) -> list[str]:
    shown = finding.places if everything else finding.places[:SHOWN]
    more = len(finding.places) - len(shown)
    lines = [f"{finding.level.upper()} {finding.code}: {finding.words}"]
    lines += [f"    {place}" for place in shown]
    if more:
        lines.append(f"    and {more} more (--all)")
    return [*lines, f"  {finding.remedy}"]
