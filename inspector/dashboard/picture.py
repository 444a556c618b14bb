"""The dashboard as a picture: `python -m inspector.dashboard.picture LEDGER OUT.svg`.

Draws the very app that an operator sees from a real ledger, at a reject where there is one,
and writes it as SVG; nothing in it is fetched from outside.
"""

from __future__ import annotations

import asyncio
import re
import sys
from dataclasses import replace
from pathlib import Path

from inspector.dashboard.app import DashboardApp
from inspector.dashboard.evidence import EvidenceReader
from inspector.dashboard.feed import LedgerFeed
from inspector.dashboard.flag_dialog import FlagAnswer
from inspector.dashboard.snapshot import Snapshot
from inspector.durable import unwritable
from inspector.errors import InspectionError
from inspector.types import VerdictWord

FONTS = "'DejaVu Sans Mono', Menlo, Consolas, monospace"


class StillFeed:
    """One moment of a run, held still: the newest reject, as it stood on the screen when it was new."""

    def __init__(self, feed: LedgerFeed) -> None:
        self._feed = feed
        self._snapshot = _moment(feed)

    def read(self) -> Snapshot:
        return self._snapshot

    def flag(self, answer: FlagAnswer) -> str:
        return f"Frame {answer.number} of a still picture is not flagged."

    def ask(self, kind: str, by: str) -> str:
        return f"{by} cannot ask a still picture to {kind}."

    def evidence(self) -> EvidenceReader:
        return self._feed.evidence()

    def close(self) -> None:
        self._feed.close()


def _moment(feed: LedgerFeed) -> Snapshot:
    now = feed.read()
    at = next(
        (i for i, row in enumerate(now.rejects) if row.word is VerdictWord.REJECT and row.image_path), None
    )
    if at is None or now.beat is None:
        return now
    shown = now.rejects[at]
    picture = feed.evidence().read(shown).picture
    beat = replace(now.beat, state="running", utc_ns=shown.utc_ns)
    return replace(
        now,
        utc_ns=shown.utc_ns,
        current=shown,
        picture=picture,
        beat=beat,
        rejects=now.rejects[at:],
        asked=(),
    )


def self_contained(svg: str) -> str:
    """The same picture with fonts that every machine has, and no address in it."""
    svg = re.sub(r"@font-face\s*\{.*?\}", "", svg, flags=re.DOTALL)
    return re.sub(r"font-family: ?\"?Fira Code\"?[^;]*;", f"font-family: {FONTS};", svg)


async def screenshot(app: DashboardApp, size: tuple[int, int]) -> str:
    """The app at size (columns, rows) as SVG, once its first snapshot is drawn."""
    async with app.run_test(size=size) as pilot:
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()
        return self_contained(app.export_screenshot(title="inspector dashboard"))


def write_picture(ledger: str, out: Path, size: tuple[int, int]) -> None:
    """Draw the newest run of a ledger into the file `out`.

    Raises UsageError for a ledger that cannot be, LedgerError for one that cannot be read, what
    `unwritable` gives for the file.
    """
    feed = LedgerFeed.open(ledger)
    try:
        svg = asyncio.run(screenshot(DashboardApp(StillFeed(feed), refresh_s=3600.0), size))
    finally:
        feed.close()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(svg, encoding="utf-8")
    except OSError as error:
        raise unwritable(out, error) from error


def main(arguments: list[str]) -> int:
    """Exit code: 0 done, 1 the ledger cannot be read, 2 usage."""
    size = re.fullmatch(r"([1-9]\d{0,2})x([1-9]\d{0,2})", (arguments[2:] or ["132x40"])[0])
    if len(arguments) not in (2, 3) or size is None:
        print("usage: python -m inspector.dashboard.picture LEDGER OUT.svg [132x40]", file=sys.stderr)
        return 2
    try:
        write_picture(arguments[0], Path(arguments[1]), (int(size[1]), int(size[2])))
    except InspectionError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
