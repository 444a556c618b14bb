"""The station's sign of life: one row a run, overwritten by each beat."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from sqlalchemy import Connection, insert, update

from inspector.db.schema import HealthRow


@dataclass(frozen=True, slots=True)
class HealthBeat:
    """How the station is right now. A beat older than a few seconds means that it hangs or is dead."""

    state: str
    """starting, running, paused, blind, stopping, ended or failed."""
    utc_ns: int
    words: str = ""
    """What an operator reads beside the state, such as why the line is blind."""
    camera_state: str = ""
    fps: float = 0.0
    latency_p50_ms: float | None = None
    """From grab until COMMIT returned, over the last frames; None before the first."""
    latency_p95_ms: float | None = None
    latency_max_ms: float | None = None
    queues: dict[str, int] = field(default_factory=dict)
    """Frames that wait, by stage."""
    counts: dict[str, int] = field(default_factory=dict)
    """Frames by verdict word since the run began, and `gaps`."""
    stages_ms: dict[str, float] = field(default_factory=dict)
    budget_ms: dict[str, float] = field(default_factory=dict)
    """95th percentile of each stage (infer, judge, record) and of the total over the last seconds."""
    budget_share: dict[str, float] = field(default_factory=dict)
    """The same as shares of the time between two frames, and of the deadline; without what has no limit."""
    warning: str = ""
    """Why frames may soon be late; empty while there is time to spare."""
    engine: str = ""
    precision: str = ""
    device: str = ""
    package: str = ""
    certificate: str = ""


def write_health(connection: Connection, run_id: str, beat: HealthBeat) -> None:
    """Put this beat in the place of the last one."""
    values = {"utc_ns": beat.utc_ns, "state": beat.state, "beat": dataclasses.asdict(beat)}
    changed = connection.execute(update(HealthRow).where(HealthRow.run_id == run_id).values(values))
    if changed.rowcount == 0:
        connection.execute(insert(HealthRow).values(run_id=run_id, **values))
