"""The committed qualification: its page says what its figures say, and names no folder of a machine."""

from __future__ import annotations

import json

from benchmarks.rows import RESULTS
from deploy.qualify.report import page
from deploy.qualify.verdict import verdict


def test_the_page_is_that_of_its_figures() -> None:
    """Where the report is worded anew: write `page(figures)` to benchmarks/QUALIFICATION.md again."""
    text = (RESULTS / "qualification.json").read_text(encoding="utf-8")
    figures = json.loads(text)
    shown = (RESULTS.parent / "QUALIFICATION.md").read_text(encoding="utf-8")
    assert shown == page(figures)
    assert figures["commit"] in shown and figures["command"] in shown
    judged = verdict(figures["rows"], figures["soak"], figures["scope"]["memory_mb"])
    assert {key: figures[key] for key in judged} == judged
    for folder in ("/work", "/tmp", "/root", "/home"):
        assert folder not in text + shown
