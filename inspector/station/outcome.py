"""Whether a run that ended well was one: a line that looked at no frame has judged nothing."""

from __future__ import annotations

from collections.abc import Mapping

from inspector.counting import counted
from inspector.errors import InspectionError
from inspector.station.summary import Tally
from inspector.types import Fault

_MEANT = {Fault.PAUSED.value, Fault.SHUTDOWN.value}
"""Why a frame is left out because a person wanted it so."""
_PLAN = "see `inspector plan` for what this computer can do"
_REMEDIES: Mapping[str, str] = {
    Fault.LATE.value: f"raise recipe.deadline_ms, or {_PLAN}",
    Fault.STALE.value: f"raise camera.stale_ms, or {_PLAN}",
    Fault.FORMAT.value: "give pictures that can be read, all of one size and depth",
    Fault.COVERAGE.value: "lower recipe.min_coverage, or correct recipe.zones",
    Fault.BLACK.value: "look at light and lens, or lower camera.black_level",
    Fault.CAMERA.value: "look at the camera, its light and its exposure",
    Fault.FROZEN.value: "look at the camera, or raise camera.frozen_frames",
}


def nothing_inspected(tally: Tally, *, stopped: bool) -> InspectionError | None:
    """Why a run that looked at no frame is no success; None for one that did, or was not meant to.

    stopped: somebody ended it, perhaps before the first frame was done.
    """
    frames = tally.words.total()
    if tally.inspected or (stopped and not frames):
        return None
    if not frames:
        return InspectionError("The camera gave no frame, so nothing was inspected; look at the source.")
    meant = _MEANT | ({Fault.OVERRUN.value} if stopped else set())
    causes = {code: count for code, count in tally.reasons.frames().items() if code not in meant}
    if not causes:
        return None
    why = ", ".join(f"{code} {count}" for code, count in causes.items())
    remedy = next((words for code, words in _REMEDIES.items() if code in causes), "see these reasons")
    none = "The only frame was not" if frames == 1 else f"None of {counted(frames, 'frame')} was"
    return InspectionError(f"{none} inspected ({why}), so nothing was judged; {remedy}.")
