"""The one large word: alive, blind, or what was said of the frame. An old PASS is never current."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.counting import age_words, counted
from inspector.dashboard.snapshot import OLD_AFTER_S, SILENT_AFTER_S, Judged, Snapshot
from inspector.types import VerdictWord

SYMBOLS = {
    VerdictWord.PASS: "✓",
    VerdictWord.REJECT: "✗",
    VerdictWord.REVIEW: "?",
    VerdictWord.UNINSPECTED: "!",
}


@dataclass(frozen=True, slots=True)
class Banner:
    """Word, symbol and tone say the same thing three times, for eyes, distance and colour."""

    word: str
    symbol: str
    tone: str
    """pass, reject, review, uninspected, blind, idle."""
    words: str
    """One sentence for the operator."""
    age: str = ""
    """How old a verdict is that is not of now, such as `17 S`; stands in large behind the word."""


def banner_of(snapshot: Snapshot) -> Banner:
    """The banner of this moment, most serious cause first."""
    beat = snapshot.beat
    if snapshot.trouble is not None:
        return Banner("BLIND", "!", "blind", snapshot.trouble)
    if snapshot.run is None or beat is None:
        return Banner("WAITING", "…", "idle", "The station has not reported yet.")
    if beat.state == "failed":
        return Banner(
            "FAILED", "!", "blind", beat.words or "The station stopped with a fault; nothing is inspected."
        )
    if beat.state == "ended":
        return Banner(
            "ENDED", "■", "idle", f"The run is over; nothing is inspected. {_last(snapshot.newest)}"
        )
    if snapshot.beat_age_s > SILENT_AFTER_S:
        silent = f"The station has been silent for {age_words(snapshot.beat_age_s)}; nothing is inspected."
        return Banner("BLIND", "!", "blind", f"{silent} {_last(snapshot.newest)}")
    if beat.state == "blind":
        return Banner("BLIND", "!", "blind", beat.words or "The camera gives no usable picture.")
    if beat.state == "paused":
        return Banner("PAUSED", "‖", "idle", "Frames are not inspected while the line is paused; p resumes.")
    if beat.state == "stopping":
        return Banner("STOPPING", "■", "idle", "The station finishes what it has grabbed.")
    return _verdict_banner(snapshot)


def _verdict_banner(snapshot: Snapshot) -> Banner:
    current, beat = snapshot.current, snapshot.beat
    if current is None:
        return Banner("WAITING", "…", "idle", (beat and beat.words) or "No frame has been judged yet.")
    late = snapshot.current_age_s > OLD_AFTER_S
    if late and not snapshot.judging:
        return Banner("WAITING", "…", "idle", f"{_silence(snapshot)} {_last(snapshot.newest)}")
    why = f": {current.why}" if current.why else ""
    word, symbol, words = current.word.value, SYMBOLS[current.word], f"Frame {current.number:,}{why}"
    if not late:
        return Banner(word, symbol, word.lower(), words)
    # A late verdict is no verdict of what is under the camera: its age stands in large beside it, and
    # the green of a PASS says `good` of a part that nobody has looked at yet.
    tone = "idle" if current.word is VerdictWord.PASS else word.lower()
    return Banner(word, symbol, tone, f"{_behind(snapshot)} {words}", _large_age(snapshot.current_age_s))


def _silence(snapshot: Snapshot) -> str:
    """Why there is no verdict: no frame came, or frames wait and none is judged."""
    waiting = snapshot.beat.waiting if snapshot.beat else 0
    if waiting:
        return f"{counted(waiting, 'frame')} wait, none was judged for {age_words(snapshot.verdict_age_s)}."
    return f"No frame for {age_words(snapshot.current_age_s)}."


def _behind(snapshot: Snapshot) -> str:
    """How far a line that is slower than its camera has fallen behind."""
    waiting = snapshot.beat.waiting if snapshot.beat else 0
    how_far = f"{counted(waiting, 'frame')} behind, the" if waiting else "The"
    return f"{how_far} newest judged is {age_words(snapshot.newest_age_s)} old."


def _last(current: Judged | None) -> str:
    return (
        f"Last verdict: {current.word.value}, frame {current.number:,}."
        if current
        else "No frame was judged."
    )


def _large_age(seconds: float) -> str:
    """`17 S`, `3 MIN`, `2 H`: one unit, so that it stays large."""
    for unit, size in (("H", 3600), ("MIN", 60)):
        if seconds >= size:
            return f"{int(seconds) // size} {unit}"
    return f"{int(seconds)} S"
