"""Snapshots out of the ledger and the live picture; what is asked goes back as short transactions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Engine

from inspector.dashboard.evidence import Evidence, KeptDefect, evidence_of
from inspector.dashboard.flag_dialog import FlagAnswer
from inspector.dashboard.snapshot import Beat, Judged, RunFacts, Snapshot
from inspector.db import queries, writes
from inspector.db.connect import ledger_folder, open_ledger
from inspector.db.health import HealthBeat
from inspector.errors import InspectionError, UsageError
from inspector.flagged import flag_frame, kind_word
from inspector.live import Mark, Picture, PictureReader, picture_path
from inspector.types import Defect, Reason, VerdictWord
from inspector.verdict import class_of

BUSY_TIMEOUT_S = 1.0
"""A locked ledger costs the operator a second, and then says so."""
REJECTS = 40
_PER_FRAME = ("infer", "defects", "judge")
"""Stages that a frame keeps busy; the time that it waits is none of them."""
PICTURE_BEHIND_NS = 1_000_000_000
"""A picture this much older than the newest row is not the picture of now."""


class LedgerFeed:
    """Reads one run: the one that was asked for, else always the newest. One thread reads at a time."""

    def __init__(self, engine: Engine, run_id: str | None, clock: Callable[[], int] = time.time_ns) -> None:
        self._engine = engine
        self._run_id = run_id
        self._clock = clock
        self._shown: str | None = None
        self._pictures: PictureReader | None = None
        self._counted: tuple[int, Mapping[str, int]] = (0, {})
        self._rejects: tuple[tuple[int, int], tuple[Judged, ...]] = ((0, 0), ())
        self._briefs: dict[int, str] = {}

    @classmethod
    def open(cls, url: str, run_id: str | None = None) -> LedgerFeed:
        """Raises UsageError when there is no such ledger or run, LedgerError when it cannot be read."""
        engine = open_ledger(url, create=False, busy_timeout_s=BUSY_TIMEOUT_S)
        try:
            require_run(engine, run_id)
        except InspectionError:
            engine.dispose()
            raise
        return cls(engine, run_id)

    def read(self) -> Snapshot:
        """The state of this moment; trouble becomes a sentence in the snapshot, never an error."""
        now = self._clock()
        try:
            return self._read(now)
        except InspectionError as error:
            return Snapshot(now, trouble=str(error))

    def _read(self, now: int) -> Snapshot:
        run = (
            queries.latest_run(self._engine)
            if self._run_id is None
            else queries.run(self._engine, self._run_id)
        )
        if run is None:
            return Snapshot(now)
        self._follow(run.id)
        beat = queries.health(self._engine, run.id)
        newest = next(iter(queries.recent(self._engine, run.id, 1)), None)
        current, picture = self._current(newest)
        flagged = frozenset(flag.frame_number for flag in queries.flags(self._engine, run.id))
        counts = self._counts(run, beat, newest.id if newest else 0)
        return Snapshot(
            utc_ns=now,
            run=_facts(run),
            beat=None if beat is None else _beat(beat, run.end),
            counts=counts,
            gaps=counts.get("gaps", 0),
            current=None if current is None else _judged(current, flagged),
            newest=None if newest is None else _judged(newest, flagged),
            picture=picture,
            rejects=self._last_rejects(run.id, newest.id if newest else 0, flagged),
            asked=tuple(request.kind for request in writes.pending_requests(self._engine, run.id)),
        )

    def _follow(self, run_id: str) -> None:
        """Turn to another run's picture when a new run began."""
        if run_id != self._shown:
            if self._pictures is not None:
                self._pictures.close()
            self._pictures = PictureReader(picture_path(ledger_folder(self._engine.url), run_id))
            self._shown, self._counted, self._rejects = run_id, (0, {}), ((0, 0), ())

    def _current(self, newest: queries.Row | None) -> tuple[queries.Row | None, Picture | None]:
        """The newest row and its picture; the picture's own row where that is as good as the newest.

        The picture comes a few times a second and rows come faster: word and picture on the
        screen belong to one frame, and the word is always the committed one. A PASS with a
        picture never stands before a newer frame that did not pass.
        """
        picture = self._pictures.latest() if self._pictures is not None else None
        if newest is None or picture is None:
            return newest, None
        if picture.number == newest.number:
            return newest, picture
        if _when(newest) - picture.utc_ns > PICTURE_BEHIND_NS:
            return newest, None
        own = queries.inspection(self._engine, newest.run_id, picture.number)
        if own is None or (own.word is VerdictWord.PASS and newest.word is not VerdictWord.PASS):
            return newest, None
        return own, picture

    def _counts(self, run: queries.Run, beat: HealthBeat | None, newest_id: int) -> Mapping[str, int]:
        """The station's own counters while it runs; counted once for a run that is over."""
        over = run.end is not None or (beat is not None and beat.state in ("ended", "failed"))
        if beat is not None and beat.counts and not over:
            return beat.counts
        if self._counted[0] != newest_id:
            gaps = sum(gap.count for gap in queries.gaps(self._engine, run.id))
            self._counted = (newest_id, {**queries.counts(self._engine, run.id), "gaps": gaps})
        return self._counted[1]

    def _last_rejects(self, run_id: str, newest_id: int, flagged: frozenset[int]) -> tuple[Judged, ...]:
        key = (newest_id, len(flagged))
        if self._rejects[0] != key:
            words = [word for word in VerdictWord if word is not VerdictWord.PASS]
            # One query a word: each walks its own end of the index, however long the run.
            rows = [row for word in words for row in queries.recent(self._engine, run_id, REJECTS, [word])]
            rows = sorted(rows, key=lambda row: -row.number)[:REJECTS]
            # A row does not change: only new ones are looked up.
            self._briefs = {row.id: self._briefs.get(row.id) or self._brief(row) for row in rows}
            self._rejects = (
                key, tuple(replace(_judged(row, flagged), brief=self._briefs[row.id]) for row in rows)
            )  # fmt: skip
        return self._rejects[1]

    def _brief(self, row: queries.Row) -> str:
        """The reasons of a row; a class without a limit with its size: the sentence would be each row's."""
        if not any(reason.code == "unlisted" for reason in row.reasons):
            return row.why
        defects = queries.defects_of(self._engine, row.id)
        return "; ".join(_brief_reason(reason, defects) for reason in row.reasons)

    def flag(self, answer: FlagAnswer) -> str:
        """Flag the frame that was answered for; the sentence tells what became of it."""
        try:
            before = [
                flag
                for flag in queries.flags(self._engine, answer.run_id)
                if flag.frame_number == answer.number
            ]
            outcome = flag_frame(
                self._engine,
                answer.run_id,
                answer.number,
                operator=answer.operator,
                kind=answer.kind,
                note=answer.note,
            )
        except InspectionError as error:
            return f"Not flagged: {error}"
        return outcome.words + (_flagged_before(before[-1]) if before else "")

    def ask(self, kind: str, by: str) -> str:
        """Ask the station; the sentence begins with `Asked` when the request is written."""
        if self._shown is None:
            return "There is no run to ask."
        try:
            writes.add_request(self._engine, self._shown, kind, by)
        except InspectionError as error:
            return f"Not asked to {kind}: {error}"
        return f"Asked the station to {kind}."

    def evidence(self) -> LedgerEvidence:
        return LedgerEvidence(self._engine)

    def close(self) -> None:
        if self._pictures is not None:
            self._pictures.close()
        self._engine.dispose()


class LedgerEvidence:
    """Kept frames of any run of the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, judged: Judged) -> Evidence:
        try:
            row = queries.inspection(self._engine, judged.run_id, judged.number)
            defects = () if row is None else queries.defects_of(self._engine, row.id)
        except InspectionError as error:
            return Evidence(judged.number, None, str(error), "")
        kept = [KeptDefect(_mark(defect), defect_words(defect)) for defect in defects]
        image: Path | None = None if row is None else row.image_path
        mask: Path | None = None if row is None else row.mask_path
        return evidence_of(judged, image, mask, kept)


def require_run(engine: Engine, run_id: str | None) -> str:
    """The id of the run that is meant: the one asked for, else the newest. Raises UsageError without one."""
    found = queries.latest_run(engine) if run_id is None else queries.run(engine, run_id)
    if found is not None:
        return found.id
    if run_id is None:
        raise UsageError(f"The ledger {engine.url.database} has no run yet; start one with inspector run.")
    raise UsageError(
        f"The ledger {engine.url.database} has no run {run_id}; inspector report lists its runs."
    )


def defect_words(defect: Defect) -> str:
    """One defect in one line, in millimetres where they are known."""
    size = _size_words(defect)
    if defect.length_mm is None or defect.width_mm is None:
        size += f", {defect.area_px:,} px in all"
    zones = f", in {', '.join(defect.zones)}" if defect.zones else ""
    return f"{defect.class_name}  {size}, certain to {defect.confidence:.0%}{zones}"


def _brief_reason(reason: Reason, defects: Sequence[Defect]) -> str:
    """`pit 8 x 3 px (2)`: the largest of the class, and how many; a limit's own words name the size."""
    mine = [defect for defect in defects if defect.class_name == class_of(reason)]
    if reason.code != "unlisted" or not mine:
        return reason.words
    count = f" ({len(mine)})" if len(mine) > 1 else ""
    return f"{mine[0].class_name} {_size_words(mine[0])}{count}"


def _size_words(defect: Defect) -> str:
    """Length and width, in millimetres where they are known."""
    if defect.length_mm is not None and defect.width_mm is not None:
        return f"{defect.length_mm:.2f} x {defect.width_mm:.2f} mm"
    return f"{defect.length_px:.0f} x {defect.width_px:.0f} px"


def _flagged_before(flag: queries.Flag) -> str:
    return f" It was flagged already: {kind_word(flag.kind)}, by {flag.operator}."


def _mark(defect: Defect) -> Mark:
    return Mark(defect.class_id, defect.class_name, defect.box, defect.confidence)


def _when(row: queries.Row) -> int:
    return row.grab_utc_ns if row.grab_utc_ns is not None else row.committed_utc_ns


def _judged(row: queries.Row, flagged: frozenset[int]) -> Judged:
    image = None if row.image_path is None else str(row.image_path)
    return Judged(
        row.run_id, row.number, row.word, row.why, _when(row), image, row.number in flagged,
        row.committed_utc_ns,
    )  # fmt: skip


def _facts(run: queries.Run) -> RunFacts:
    return RunFacts(
        run_id=run.id,
        camera=run.camera_id,
        engine=run.engine,
        precision=run.precision,
        device=run.device,
        certificate=run.certificate,
        package=f"{run.package_name} {run.package_version}",
        package_id=run.package_id,
        recipe=run.recipe_name,
        recipe_hash=run.recipe_hash,
        lot=run.lot or "",
    )


def _beat(beat: HealthBeat, end: str | None) -> Beat:
    """The sign of life, corrected by what the ledger knows of a run that died."""
    state, words = beat.state, beat.words
    if end == "crash":
        state, words = "failed", "The station died without a word; nothing is inspected."
    elif end is not None and state not in ("ended", "failed"):
        state = "ended"
    p50, p95, most = beat.latency_p50_ms, beat.latency_p95_ms, beat.latency_max_ms
    latency = None if p50 is None or p95 is None or most is None else (p50, p95, most)
    return Beat(
        state, words, beat.utc_ns, beat.camera_state, beat.fps, latency,
        beat.budget_ms, beat.budget_share, beat.warning,
        sum(beat.queues.values()), sum(beat.stages_ms.get(stage, 0.0) for stage in _PER_FRAME) / 1000,
    )  # fmt: skip
