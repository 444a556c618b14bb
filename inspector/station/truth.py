"""What a generated video is known to show, beside what the line said of it."""

from __future__ import annotations

import json
from pathlib import Path

from inspector.counting import counted
from inspector.types import Inspection, VerdictWord


class Truth:
    """Counts which frames passed that have defects, and which did not that have none."""

    def __init__(self, file: Path, damaged: dict[str, bool]) -> None:
        """damaged: source of each frame, such as `line.mp4#12` -> whether any defect is in view."""
        self._file, self._damaged = file, damaged
        self._frames = {True: 0, False: 0}
        self._stopped = {True: 0, False: 0}

    def add(self, inspection: Inspection) -> None:
        """Count a frame that was judged; of one that was not, nothing was said."""
        damaged = self._damaged.get(inspection.frame.source)
        word = inspection.verdict.word
        if damaged is not None and word is not VerdictWord.UNINSPECTED:
            self._frames[damaged] += 1
            self._stopped[damaged] += word is not VerdictWord.PASS

    def words(self) -> str:
        """A sentence for the end of a run; empty before the first judged frame."""
        if not any(self._frames.values()):
            return ""
        with_defects, without = counted(self._frames[True], "frame"), counted(self._frames[False], "frame")
        return (
            f"By {self._file}: of {with_defects} with defects, of any size and contrast,"
            f" {self._stopped[True]} did not pass; of {without} without any, {self._stopped[False]} did not."
        )


def truth_beside(source: str) -> Truth | None:
    """The truth that `trainer synth` wrote beside this video; None where there is none that can be read."""
    video = Path(source)
    file = video.with_suffix(".truth") / "truth.jsonl" if video.suffix else None
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file else []
        damaged = {f"{video.name}#{row['frame']}": bool(row["instances"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Truth(file, damaged) if file and damaged else None
