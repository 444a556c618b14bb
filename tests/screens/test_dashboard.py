"""The operator's screen over a real ledger, by pilot and by screenshot."""

from __future__ import annotations

import html
import re
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from small_line import SmallLine
from textual.pilot import Pilot
from textual.widgets import Input

from inspector.dashboard.app import DashboardApp, run_dashboard
from inspector.dashboard.banner import banner_of
from inspector.dashboard.evidence_screen import EvidenceScreen
from inspector.dashboard.facts_panel import facts_text
from inspector.dashboard.feed import LedgerFeed
from inspector.dashboard.flag_dialog import FlagDialog, KindChooser
from inspector.dashboard.letters import fitting_letters
from inspector.dashboard.picture_view import PictureView
from inspector.dashboard.quit_dialog import QuitDialog
from inspector.dashboard.rejects_table import RejectsTable
from inspector.dashboard.snapshot import Beat, Judged, Snapshot
from inspector.dashboard.verdict_panel import VerdictPanel
from inspector.db import queries, writes
from inspector.errors import LedgerError, UsageError
from inspector.types import VerdictWord

SMALL, LARGE = (80, 24), (160, 45)


@pytest.fixture
def feed(line: SmallLine):  # type: ignore[no-untyped-def]
    found = LedgerFeed.open(line.url)
    yield found
    found.close()


async def until(pilot: Pilot[str], true: Callable[[], bool]) -> None:
    """Wait for what must come; the test's own time limit is the bound."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, screen_text(pilot.app)
        await pilot.pause(0.05)


def test_a_class_without_a_limit_stands_in_the_table_with_its_size(line: SmallLine, feed: LedgerFeed) -> None:
    """One sentence of sixty letters stood in every row, and the size in none."""
    unlisted = "scratch found, any scratch rejects: no rule sets a limit for it"
    line.judge("REJECT", unlisted, code="unlisted")
    line.judge("REJECT", "scratch length 58 px, limit 40 px")
    line.judge("UNINSPECTED", "black", code="black")
    rows = {row.number: (row.brief, row.why) for row in feed.read().rejects}
    assert rows == {
        1: ("scratch 58 x 2 px", unlisted),
        2: ("scratch length 58 px, limit 40 px", "scratch length 58 px, limit 40 px"),
        3: ("black", "black"),
    }


@asynccontextmanager
async def showing(app: DashboardApp, word: str) -> AsyncIterator[Pilot[str]]:
    """The app on a small screen, once its banner says this word."""
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: banner(app) == word)
        yield pilot


async def flagging(pilot: Pilot[str]) -> None:
    """Open the flag dialog; it is ready for keys then."""
    app = pilot.app
    await pilot.press("f")
    await until(pilot, lambda: isinstance(app.screen, FlagDialog) and app.focused is not None)


def screen_text(app: object) -> list[str]:
    """The screen as lines of text, read back from its SVG picture."""
    svg: str = app.export_screenshot()  # type: ignore[attr-defined]
    lines: dict[float, dict[float, str]] = {}
    for x, y, text in re.findall(r'<text[^>]* x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)</text>', svg):
        lines.setdefault(float(y), {})[float(x)] = html.unescape(text).replace("\xa0", " ")
    rows = ["".join(text for _, text in sorted(row.items())) for _, row in sorted(lines.items())]
    return [row.rstrip("\n") for row in rows if row.strip("\n")]


PARTS = (
    "Frame 5: scratch 58 px is above 40 px", "✓ PASS 2", "✗ REJECT 1", "? REVIEW 1", "! UNINSPECTED 1",
    "29.8 frames/s", "31 ms", "ok, 120x160", "! infer 84%  judge 6%  record 12%",
    "! infer uses 84% of the frame period", "fake f32", "c0ffee123456", "tiny 1.2", "doors", "A-17",
    "station 7", "stain of 3.1", "scratch 0.93", "▀", "f flag", "p pause/resume", "q quit", "? help",
)  # fmt: skip


def missing(app: DashboardApp, parts: tuple[str, ...]) -> list[str]:
    text = "\n".join(screen_text(app))
    return [part for part in parts if part not in text]


def told(app: DashboardApp, words: str) -> bool:
    """Whether a notice with these words is on the screen."""
    return any(words in notice.message for notice in app._notifications)


def banner(app: DashboardApp) -> str:
    return app.screen_stack[0].query_one("#verdict", VerdictPanel).banner.word


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_all_that_an_operator_needs_is_on_the_screen(
    line: SmallLine, feed: LedgerFeed, size: tuple[int, int]
) -> None:
    for word in ("PASS", "PASS", "REVIEW", "UNINSPECTED", "REJECT"):
        line.judge(word, "stain of 3.1 mm2 needs a look" if word == "REVIEW" else "")
    line.beat()
    app = DashboardApp(feed)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: missing(app, PARTS) == [])
        panel = app.query_one("#verdict", VerdictPanel)
        rows = fitting_letters("✗ REJECT", size[0] - 4, panel.size.height - 2)
        assert len(rows) >= 3 and missing(app, tuple(row.rstrip() for row in rows)) == []
        view = app.query_one("#picture", PictureView)
        assert view.display and view.picture is not None and view.picture.number == 5
        assert len(screen_text(app)) <= size[1] and max(map(len, screen_text(app))) <= size[0]


async def test_a_silent_station_takes_the_pass_off_the_screen(line: SmallLine, feed: LedgerFeed) -> None:
    line.judge("PASS")
    line.beat()
    app = DashboardApp(feed, refresh_s=0.1)
    async with showing(app, "PASS") as pilot:
        line.beat(age_s=8.0)
        await until(pilot, lambda: banner(app) == "BLIND")
        text = "\n".join(screen_text(app))
        assert "silent for 8 s" in text and "no answer" in text and "LAST PICTURE, FRAME 1" in text
        await pilot.press("q")
        await pilot.pause()
    assert app.return_value == "over"  # nothing to ask about: no station lives


def test_the_feed_knows_what_waits_and_when_the_last_was_judged(line: SmallLine, feed: LedgerFeed) -> None:
    line.judge("PASS", age_s=17.0)
    stages_ms = {"wait": 90_000.0, "infer": 15_000.0, "defects": 800.0, "judge": 200.0}
    line.beat(queues={"infer": 11, "judge": 1}, stages_ms=stages_ms)
    snapshot = feed.read()
    assert snapshot.beat is not None and (snapshot.beat.waiting, snapshot.beat.frame_s) == (12, 16.0)
    assert snapshot.current_age_s > 16 and snapshot.verdict_age_s < 10
    assert banner_of(snapshot).word == "PASS" and "12 frames behind" in banner_of(snapshot).words


async def test_a_feed_that_hangs_is_told_and_not_waited_for(line: SmallLine, feed: LedgerFeed) -> None:
    clock = [0]
    release = threading.Event()

    class Hanging:
        reads = 0

        def read(self) -> Snapshot:
            self.reads += 1
            if self.reads > 1:
                assert release.wait(20)
            else:  # not before the app starts, which takes seconds on a busy machine
                line.judge("PASS")
                line.beat()
            return feed.read()

        def __getattr__(self, name: str) -> object:
            return getattr(feed, name)

    app = DashboardApp(Hanging(), refresh_s=0.05, clock=lambda: clock[0])  # type: ignore[arg-type]
    async with showing(app, "PASS") as pilot:
        clock[0] = time.time_ns() + 10 * 10**9
        await until(pilot, lambda: banner(app) == "BLIND")
        assert "The ledger has not answered for" in "\n".join(screen_text(app))
        release.set()


async def test_a_ledger_that_fails_is_a_sentence(
    line: SmallLine, feed: LedgerFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object) -> None:
        raise LedgerError("The ledger x is locked by another program; close that program.")

    line.judge("PASS")
    line.beat()
    monkeypatch.setattr(queries, "health", locked)
    app = DashboardApp(feed)
    async with showing(app, "BLIND"):
        text = "\n".join(screen_text(app))
        assert "locked by another program" in text and "Traceback" not in text


async def test_flagging_keeps_a_pass_that_would_have_been_forgotten(
    line: SmallLine, feed: LedgerFeed
) -> None:
    line.judge("PASS")
    line.beat()
    assert queries.inspection(line.ledger, line.run_id, 1).image_path is None  # type: ignore[union-attr]
    app = DashboardApp(feed, operator="")
    async with showing(app, "PASS") as pilot:
        await flagging(pilot)
        assert app.screen.query_one(KindChooser).kind == "missed"
        line.judge("REJECT")  # the line goes on; the dialog is still about frame 1
        await pilot.press(*"mia", "tab", "down", "up", "tab", *"dent", "enter")
        await until(pilot, lambda: bool(queries.flags(line.ledger, line.run_id)))
        await until(pilot, lambda: told(app, "its picture is kept"))
        assert app.operator == "mia"
    flag = queries.flags(line.ledger, line.run_id)[0]
    assert (flag.frame_number, flag.operator, flag.kind, flag.note) == (1, "mia", "missed", "dent")
    assert queries.inspection(line.ledger, line.run_id, 1).image_path.exists()  # type: ignore[union-attr]


async def test_a_flag_begins_at_the_kinds_and_tells_of_the_one_before(
    line: SmallLine, feed: LedgerFeed
) -> None:
    """It began at the operator, whose name a kind's key became."""
    line.judge("REJECT")
    line.beat()
    app = DashboardApp(feed, operator="line3", refresh_s=0.1)
    async with showing(app, "REJECT") as pilot:
        for keys in (["enter"], ["3", "enter"]):
            known = len(queries.flags(line.ledger, line.run_id))
            await flagging(pilot)
            assert app.focused is not None and app.focused.id == "kind"
            assert app.screen.query_one("#operator", Input).value == "line3"
            await pilot.press(*keys)
            await until(pilot, lambda known=known: len(queries.flags(line.ledger, line.run_id)) > known)
        await until(pilot, lambda: told(app, "It was flagged already: false-reject, by line3."))
    flags = [(flag.operator, flag.kind) for flag in queries.flags(line.ledger, line.run_id)]
    assert flags == [("line3", "false_reject"), ("line3", "unsure")]


@pytest.mark.parametrize(("keys", "operator"), [([*"mia"], "mia"), (["delete"], "line3"), (["2"], "line3")])
async def test_a_typed_operator_takes_the_place_of_the_account(
    line: SmallLine, feed: LedgerFeed, keys: list[str], operator: str
) -> None:
    line.judge("REJECT")
    line.beat()
    app = DashboardApp(feed, operator="line3")
    async with showing(app, "REJECT") as pilot:
        await flagging(pilot)
        await pilot.press("shift+tab", *keys, "enter", "enter")
        await until(pilot, lambda: bool(queries.flags(line.ledger, line.run_id)))
    assert [flag.operator for flag in queries.flags(line.ledger, line.run_id)] == [operator]


async def test_a_flag_is_remembered_only_with_a_name(line: SmallLine, feed: LedgerFeed) -> None:
    """`unknown` was proposed as the operator from then on."""
    line.judge("REJECT")
    line.beat()
    app = DashboardApp(feed, operator="")
    async with showing(app, "REJECT") as pilot:
        await flagging(pilot)
        await pilot.press("enter", "enter")
        await until(pilot, lambda: bool(queries.flags(line.ledger, line.run_id)))
        assert app.operator == ""


async def test_escape_flags_nothing(line: SmallLine, feed: LedgerFeed) -> None:
    line.judge("REJECT")
    line.beat()
    app = DashboardApp(feed, operator="mia")
    async with showing(app, "REJECT") as pilot:
        await flagging(pilot)
        assert app.screen.query_one(KindChooser).kind == "false_reject"
        assert app.screen.query_one("#operator", Input).value == "mia"
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, FlagDialog))
    assert queries.flags(line.ledger, line.run_id) == []


async def test_pause_is_asked_and_shown_as_asked_until_it_is_done(line: SmallLine, feed: LedgerFeed) -> None:
    line.judge("PASS")
    line.beat()
    app = DashboardApp(feed, refresh_s=0.1)
    async with showing(app, "PASS") as pilot:
        await pilot.press("p")
        await until(pilot, lambda: "pause asked, not done yet" in screen_text(app)[0])
        assert banner(app) != "PAUSED"
        request = writes.pending_requests(line.ledger, line.run_id)[0]
        line.beat("paused")
        writes.finish_request(line.ledger, request.id, done=True)
        await until(pilot, lambda: banner(app) == "PAUSED" and "asked" not in screen_text(app)[0])
        await pilot.press("p")
        await until(pilot, lambda: bool(writes.pending_requests(line.ledger, line.run_id)))
    assert writes.pending_requests(line.ledger, line.run_id)[0].kind == "resume"


@pytest.mark.parametrize(("key", "answer", "asked"), [("l", "leave", []), ("s", "stop", ["stop"])])
async def test_quitting_asks_what_becomes_of_the_line(
    line: SmallLine, feed: LedgerFeed, key: str, answer: str, asked: list[str]
) -> None:
    line.judge("PASS")
    line.beat()
    app = DashboardApp(feed)
    async with showing(app, "PASS") as pilot:
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, QuitDialog))
        await pilot.press("c")
        await until(pilot, lambda: not isinstance(app.screen, QuitDialog))
        await pilot.press("q", key)
        await until(pilot, lambda: app.return_value is not None)
    assert app.return_value == answer
    assert [request.kind for request in writes.pending_requests(line.ledger, line.run_id)] == asked


async def test_a_past_reject_is_shown_with_its_evidence(line: SmallLine, feed: LedgerFeed) -> None:
    for word in ("REJECT", "UNINSPECTED", "PASS"):
        line.judge(word, "engine failed" if word == "UNINSPECTED" else "")
    line.beat()
    app = DashboardApp(feed, refresh_s=0.1)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: app.query_one(RejectsTable).row_count == 2)
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, EvidenceScreen))
        view = app.screen.query_one("#past", PictureView)
        await until(pilot, lambda: view.picture is not None)
        text = "\n".join(screen_text(app))
        assert (
            "not what is under the camera now" in text
            and "scratch  58 x 2 px" in text
            and "scratch 0.93" in text
        )
        await pilot.press("up")
        await until(pilot, lambda: "not kept" in "\n".join(screen_text(app)))
        await pilot.press("enter")  # there is nothing more to look at
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, EvidenceScreen))


async def test_the_cursor_stays_on_its_frame_while_rejects_come(line: SmallLine, feed: LedgerFeed) -> None:
    for _ in range(3):
        line.judge("REJECT")
    line.beat()
    app = DashboardApp(feed, refresh_s=0.1)
    async with app.run_test(size=SMALL) as pilot:
        table = app.query_one(RejectsTable)
        await until(pilot, lambda: table.row_count == 3)
        await pilot.press("down")
        assert table.chosen().number == 2  # type: ignore[union-attr]
        line.judge("REJECT")
        await until(pilot, lambda: table.row_count == 4)
        assert table.chosen().number == 2  # type: ignore[union-attr]


async def test_help_and_a_tiny_terminal(line: SmallLine, feed: LedgerFeed) -> None:
    line.judge("PASS")
    line.beat()
    app = DashboardApp(feed)
    async with app.run_test(size=(50, 16)) as pilot:
        await until(pilot, lambda: banner(app) == "PASS")
        text = "\n".join(screen_text(app))
        assert "✓ PASS 1" in text and not app.query_one("#picture").display
        await pilot.press("question_mark")
        await until(pilot, lambda: "Keys and words" in "\n".join(screen_text(app)))


async def test_it_can_be_read_without_colour(
    line: SmallLine, feed: LedgerFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    line.judge("REJECT")
    line.beat()
    app = DashboardApp(feed)
    async with showing(app, "REJECT"):
        colours = re.findall(r"(?:fill: ?|fill=\")#([0-9a-f]{6})", app.export_screenshot())
        own = [c for c in colours if c not in ("ff5f57", "febc2e", "28c840", "292929", "c5c8c6")]
        assert own and all(c[:2] == c[2:4] == c[4:] for c in own)
        assert fitting_letters("✗ REJECT", 76, 4)[0].rstrip() in "\n".join(screen_text(app))


def test_a_new_run_is_followed_and_a_named_one_is_kept(line: SmallLine, tmp_path: Path) -> None:
    line.judge("REJECT")
    line.beat("ended")
    newest, named = LedgerFeed.open(line.url), LedgerFeed.open(line.url, line.run_id)
    other = SmallLine(tmp_path)
    try:
        other.judge("PASS")
        run = newest.read().run
        assert run is not None and run.run_id == other.run_id
        run = named.read().run
        assert run is not None and run.run_id == line.run_id
    finally:
        newest.close()
        named.close()
        other.close()


def test_a_run_that_died_is_failed_not_running(line: SmallLine, feed: LedgerFeed) -> None:
    line.judge("PASS")
    line.beat()
    from sqlalchemy import text

    with line.ledger.begin() as connection:
        connection.execute(text("UPDATE runs SET end = 'crash'"))
        # What recovery says of a frame that the last sign of life did not know of yet.
        connection.execute(text("UPDATE inspections SET verdict = 'UNINSPECTED'"))
    snapshot = feed.read()
    assert snapshot.beat is not None and snapshot.beat.state == "failed"
    assert (snapshot.counts["PASS"], snapshot.counts["UNINSPECTED"]) == (0, 1)


@pytest.mark.parametrize("word", ["REJECT", "UNINSPECTED"])
def test_a_pass_with_a_picture_never_hides_what_was_said_after_it(
    line: SmallLine, feed: LedgerFeed, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspector.dashboard.feed.PICTURE_BEHIND_NS", 10**12)  # a busy machine is no cause
    line.judge("PASS")
    line.live.publish = lambda *_: False  # type: ignore[method-assign]  # it came too soon after the last
    line.judge(word)
    line.beat()
    snapshot = feed.read()
    assert snapshot.current is not None and (snapshot.current.number, snapshot.current.word) == (2, word)
    assert snapshot.picture is None
    line.judge("PASS")  # the line is well again: the last picture is as good as the newest row
    snapshot = feed.read()
    assert snapshot.current is not None and snapshot.picture is not None
    assert snapshot.current.number == snapshot.picture.number == 1


async def test_a_flag_belongs_to_the_run_of_its_frame(
    line: SmallLine, feed: LedgerFeed, tmp_path: Path
) -> None:
    line.judge("REJECT")
    line.beat()
    app = DashboardApp(feed, operator="mia", refresh_s=0.1)
    other = SmallLine(tmp_path)
    try:
        other.recorder.close()
        app._feed = named = LedgerFeed.open(line.url, line.run_id)
        async with app.run_test(size=SMALL) as pilot:
            await until(pilot, lambda: banner(app) == "REJECT")
            await flagging(pilot)
            named._run_id = None  # the station starts anew while the operator thinks
            await until(pilot, lambda: named._shown == other.run_id)
            await pilot.press("enter", "enter")
            await until(pilot, lambda: bool(queries.flags(line.ledger)))
        named.close()
    finally:
        other.close()
    assert [(flag.run_id, flag.frame_number) for flag in queries.flags(line.ledger)] == [(line.run_id, 1)]


async def test_what_a_silent_station_said_is_not_shown_as_now(line: SmallLine, feed: LedgerFeed) -> None:
    line.judge("PASS")
    line.beat(age_s=8.0)
    app = DashboardApp(feed)
    async with showing(app, "BLIND"):
        assert missing(app, ("was 29.8 frames/s", "was 31 ms", "was ok, 120x160")) == []


def test_a_ledger_that_does_not_answer_has_not_counted_zero() -> None:
    assert facts_text(Snapshot(1, trouble="It is locked."), 60).plain.splitlines() == [
        "✓ PASS –           ✗ REJECT –         ",
        "? REVIEW –         ! UNINSPECTED –    ",
    ]


@pytest.mark.parametrize("size", [(60, 24), SMALL, (100, 30), (132, 24), (132, 40), LARGE])
async def test_reasons_have_all_the_width_that_is_left(
    line: SmallLine, feed: LedgerFeed, size: tuple[int, int]
) -> None:
    """At 132x40 they had 11 cells beside the picture, at 80x24 they had 43."""
    why = "".join(f"{at:04}" for at in range(40))
    line.judge("REJECT", why)
    line.judge("PASS")  # so that the reason stands in the table alone
    line.beat()
    async with DashboardApp(feed).run_test(size=size) as pilot:
        beside = size[0] - 37  # the other columns' and the space around all
        await until(pilot, lambda: why[: beside - 1] in "\n".join(screen_text(pilot.app)))
        assert pilot.app.query_one(RejectsTable).size.height >= 3
        facts, picture = pilot.app.query_one("#facts"), pilot.app.query_one("#picture")
        if size[0] >= 72:  # the first layout comes before the size is known
            await until(pilot, lambda: facts.size.height >= 10)
            await until(pilot, lambda: picture.size.height >= (16 if size[1] >= 40 else 10))


async def test_facts_that_were_cut_are_whole_when_the_window_grows(line: SmallLine, feed: LedgerFeed) -> None:
    """They stayed cut until the next refresh: for good in a still picture of the screen."""
    line.judge("PASS")
    line.beat()
    async with DashboardApp(feed, refresh_s=3600.0).run_test(size=(30, 24)) as pilot:
        await until(pilot, lambda: "latency" in "\n".join(screen_text(pilot.app)))
        assert "max 80" not in "\n".join(screen_text(pilot.app))
        await pilot.resize_terminal(*SMALL)
        await until(pilot, lambda: "max 80" in "\n".join(screen_text(pilot.app)))


@pytest.mark.parametrize(
    ("latency", "words"),
    [
        ((31.0, 44.0, 80.0), "31 ms  95 % 44  max 80"),
        ((9_998.0, 9_999.0, 9_999.0), "9998 ms  95 % 9999  max 9999"),
        ((17_012.0, 45_678.0, 49_712.0), "17.0 s  95 % 45.7  max 49.7"),
        ((999_900.0, 999_900.0, 999_900.0), "999.9 s  95 % 999.9  max 999.9"),
    ],
)
@pytest.mark.parametrize("alive", [True, False])
def test_the_largest_latency_of_a_slow_line_is_whole_at_80_columns(
    latency: tuple[float, float, float], words: str, alive: bool
) -> None:
    beat = Beat("running", "", 10**18, "ok", 30.0, latency)
    text = facts_text(Snapshot(10**18 + (0 if alive else 10**10), beat=beat), 43).plain
    assert f"latency  {'' if alive else 'was '}{words}" in text.splitlines()


async def test_frame_numbers_of_a_long_run_are_whole(line: SmallLine, feed: LedgerFeed) -> None:
    async with DashboardApp(feed).run_test(size=SMALL) as pilot:
        many = Judged(line.run_id, 78_123_456, VerdictWord.UNINSPECTED, "camera lost", 0)
        pilot.app.query_one(RejectsTable).show((many,))
        await until(pilot, lambda: "78,123,456  00:00:00  ! UNINSPECTED" in "\n".join(screen_text(pilot.app)))


def test_a_screen_that_fails_is_no_success(
    line: SmallLine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from inspector.dashboard import app as module

    def broken(*_: object) -> Snapshot:
        raise KeyError("nobody foresaw this")

    run = DashboardApp.run
    monkeypatch.setattr(LedgerFeed, "read", broken)
    monkeypatch.setattr(DashboardApp, "run", lambda self: run(self, headless=True))
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    assert module.run_dashboard(line.url) == 1


@pytest.mark.parametrize("to_a_file", ["stdin", "stdout", "stderr"])
def test_a_dashboard_that_could_not_be_seen_is_not_started(
    line: SmallLine, to_a_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It draws on stderr: `2>log` left a blank terminal, which only a blind `q` got rid of."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(getattr(sys, name), "isatty", lambda name=name: name != to_a_file)
    monkeypatch.setattr(DashboardApp, "run", lambda _: pytest.fail("it was started"))
    with pytest.raises(UsageError, match="needs a terminal"):
        run_dashboard(line.url)


def test_what_is_missing_is_a_usage_error(line: SmallLine, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run 01NO"):
        LedgerFeed.open(line.url, "01NO")
    with pytest.raises(UsageError, match="nowhere"):
        LedgerFeed.open(f"sqlite:///{tmp_path / 'nowhere.db'}")


def test_the_picture_command_draws_a_real_ledger(line: SmallLine, tmp_path: Path) -> None:
    from inspector.dashboard.picture import main

    line.judge("REJECT")
    line.judge("PASS")
    line.beat("ended")
    out = tmp_path / "docs" / "dashboard.svg"
    assert main([str(tmp_path / "ledger.db"), str(out), "132x40"]) == 0
    svg = html.unescape(out.read_text()).replace("\xa0", " ")
    assert "scratch 58 px is above 40 px" in svg and "scratch 0.93" in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "").replace(
        "https://www.textualize.io", ""
    )
    assert main([str(tmp_path / "none.db"), str(out)]) == 2
    assert main([str(tmp_path / "ledger.db"), str(out), "wide"]) == 2
    assert main([str(tmp_path / "ledger.db"), str(tmp_path / "ledger.db" / "out.svg"), "80x24"]) == 2
