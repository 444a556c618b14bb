"""Colours, in one place: calm ground, one strong colour for the verdict, checked for contrast."""

from __future__ import annotations

from rich.style import Style

GROUND = {
    "pass": "#14653a",
    "reject": "#b3261e",
    "review": "#f2c230",
    "uninspected": "#6f3fa8",
    "blind": "#ff9a1f",
    "idle": "#34404c",
}
INK = {
    "pass": "#ffffff",
    "reject": "#ffffff",
    "review": "#000000",
    "uninspected": "#ffffff",
    "blind": "#000000",
    "idle": "#ffffff",
}
TEXT = {"PASS": "#6fd99a", "REJECT": "#ff8a80", "REVIEW": "#f2c230", "UNINSPECTED": "#cba6f7"}
"""Verdict words as text on the dark ground."""
QUIET = "#9aa7b4"
CLASS_BGR = ((40, 60, 255), (255, 200, 40), (60, 230, 255), (230, 90, 255), (90, 255, 120), (255, 255, 255))
"""Colour of defect class k at [(k - 1) % 6], as OpenCV takes it."""


def panel_style(tone: str) -> Style:
    return Style(color=INK[tone], bgcolor=GROUND[tone])


def class_bgr(class_id: int) -> tuple[int, int, int]:
    return CLASS_BGR[(class_id - 1) % len(CLASS_BGR)]
