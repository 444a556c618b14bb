"""Keys typed in one breath, as a hand or a paste does: each finds the screen that the one before it left."""

from __future__ import annotations

import time

import pytest
from small_line import SmallLine
from test_dashboard import SMALL, banner, until
from textual.events import Key, Paste
from textual.pilot import Pilot

from inspector.dashboard import banner as banner_module
from inspector.dashboard import snapshot
from inspector.dashboard.app import DashboardApp
from inspector.dashboard.evidence_screen import EvidenceScreen
from inspector.dashboard.feed import LedgerFeed
from inspector.dashboard.flag_dialog import FlagAnswer, FlagDialog
from inspector.db import queries, writes

Said = tuple[int, str, str, str]


def type_at_once(app: DashboardApp, *keys: str) -> None:
    """All keys before the app has read the first, as its driver hands them over; <text> is pasted."""
    for key in keys:
        event = (
            Paste(key[1:-1]) if len(key) > 2 and key[0] == "<" else Key(key, key if len(key) == 1 else None)
        )
        app.post_message(event)


def flags(line: SmallLine) -> list[Said]:
    return [(f.frame_number, f.operator, f.kind, f.note) for f in queries.flags(line.ledger, line.run_id)]


async def flagged(pilot: Pilot[str], line: SmallLine, count: int = 1) -> list[Said]:
    await until(pilot, lambda: len(flags(line)) >= count)
    await pilot.pause()
    return flags(line)


@pytest.fixture
def judged(line: SmallLine, monkeypatch: pytest.MonkeyPatch) -> SmallLine:
    """Three frames: two rejects, then a PASS that stays on the screen, however slow this machine is."""
    for module in (snapshot, banner_module):
        for name in ("SILENT_AFTER_S", "OLD_AFTER_S"):
            monkeypatch.setattr(module, name, 1e4)
    for word in ("REJECT", "REJECT", "PASS"):
        line.judge(word)
    line.beat()
    return line


NAME = "shift+tab"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["f", "3", "enter"], (3, "line3", "unsure", "")),
        (["f", "enter"], (3, "line3", "missed", "")),
        ([*"foil", "enter"], (3, "line3", "missed", "oil")),  # it became the operator's name
        ([*"f1oil, 3 drops", "enter"], (3, "line3", "false_reject", "oil, 3 drops")),
        ([*"f1 öl", "enter"], (3, "line3", "false_reject", "öl")),
        (["f", "down", "enter"], (3, "line3", "unsure", "")),
        (["f", "1", "tab", *"3 dents", "enter"], (3, "line3", "false_reject", "3 dents")),
        (["f", "<left, oil>", "3", "enter"], (3, "line3", "missed", "left, oil3")),
        (["f", NAME, *"mia", "enter", "3", "enter"], (3, "mia", "unsure", "")),
        (["f", NAME, *"mia", "tab", "1", "tab", *"dent", "enter"], (3, "mia", "false_reject", "dent")),
        (
            ["f", NAME, "<mia>", "enter", "tab", "<dent, left>", "enter", "f"],
            (3, "mia", "missed", "dent, left"),
        ),
        (["f", NAME, *"123", "enter", "2", "enter"], (3, "123", "missed", "")),  # a badge may be a number
        (["f", NAME, "1", "enter", "enter"], (3, "line3", "false_reject", "")),  # a kind's key is no name
        (["f", NAME, "3", "tab", *"oil", "enter"], (3, "line3", "unsure", "oil")),
        (["down", "enter", "f", "3", "enter"], (1, "line3", "unsure", "")),  # of the past frame
    ],
)
async def test_a_flag_is_what_was_typed_in_that_order(judged: SmallLine, keys: list[str], said: Said) -> None:
    """The keys behind `f` were lost, or became the operator, and Enter flagged the likely kind instead."""
    assert await flagged_by(judged, "line3", *keys) == [said]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ([*"fmia", "enter", "3", "enter"], (3, "mia", "unsure", "")),
        (["f", "1", "enter", "enter"], (3, "unknown", "false_reject", "")),
    ],
)
async def test_an_operator_whom_nobody_knows_is_asked_first(
    judged: SmallLine, keys: list[str], said: Said
) -> None:
    assert await flagged_by(judged, "", *keys) == [said]


async def flagged_by(judged: SmallLine, operator: str, *keys: str) -> list[Said]:
    feed = LedgerFeed.open(judged.url)
    app = DashboardApp(feed, operator=operator)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: banner(app) == "PASS")
        type_at_once(app, *keys)
        found = await flagged(pilot, judged)
    feed.close()
    return found


async def test_a_known_operator_flags_with_three_keys_at_once(judged: SmallLine) -> None:
    feed = LedgerFeed.open(judged.url)
    app = DashboardApp(feed, operator="line3")
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: banner(app) == "PASS")
        type_at_once(app, "f", "3", "enter", "f", "1", "enter", "f", "escape", "f", "2", "enter")
        assert [kind for _, _, kind, _ in await flagged(pilot, judged, 3)] == [
            "unsure", "false_reject", "missed",
        ]  # fmt: skip
        type_at_once(app, "enter", "f", "3", "enter")  # from the past frame as well: nobody asks again
        assert (await flagged(pilot, judged, 4))[3] == (2, "line3", "unsure", "")
    feed.close()


async def test_flags_are_written_though_the_operator_leaves_at_once(
    judged: SmallLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, write = LedgerFeed.open(judged.url), LedgerFeed.flag

    def slowly(feed: LedgerFeed, answer: FlagAnswer) -> str:
        time.sleep(0.3)
        return write(feed, answer)

    monkeypatch.setattr(LedgerFeed, "flag", slowly)
    app = DashboardApp(feed, operator="line3")
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: banner(app) == "PASS")
        type_at_once(app, "f", "3", "enter", "f", "1", "enter", "f", "2", "enter", "q", "l")
        await until(pilot, lambda: app.return_value == "leave")
    assert [kind for _, _, kind, _ in flags(judged)] == ["unsure", "false_reject", "missed"]
    feed.close()


@pytest.mark.parametrize(("keys", "asked"), [("qs", ["stop"]), ("ql", []), ("qcql", []), ("qcfqs", None)])
async def test_the_answer_to_the_question_of_quitting_is_the_key_behind_q(
    judged: SmallLine, keys: str, asked: list[str] | None
) -> None:
    """asked: what the station was asked; None: the flag dialog has the keys behind its `f`."""
    feed = LedgerFeed.open(judged.url)
    app = DashboardApp(feed)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: banner(app) == "PASS")
        type_at_once(app, *keys)
        if asked is None:
            await until(pilot, lambda: isinstance(app.screen, FlagDialog))
        else:
            await until(pilot, lambda: app.return_value is not None)
    assert [one.kind for one in writes.pending_requests(judged.ledger, judged.run_id)] == (asked or [])
    feed.close()


async def test_enter_looks_at_the_row_that_the_arrows_chose(judged: SmallLine) -> None:
    feed = LedgerFeed.open(judged.url)
    app = DashboardApp(feed)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: banner(app) == "PASS")
        type_at_once(app, "down", "enter", "up", "escape", "down", "enter")
        await until(pilot, lambda: isinstance(app.screen, EvidenceScreen))
        await pilot.pause()
        assert isinstance(app.screen, EvidenceScreen) and app.screen.judged.number == 1
    feed.close()
