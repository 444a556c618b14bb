"""The station's sign of life, put together from what the stages say of themselves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from inspector.recorder import HealthBeat

if TYPE_CHECKING:
    from inspector.station.line import _Line


def beat_of(line: _Line, state: str | None = None, words: str = "") -> HealthBeat:
    """The beat of this moment; state None: running, paused or blind, as it is."""
    if state is None:
        state, words = _state(line)
    recent, info = line.tally.recent(), line.infer.serving.engine.info
    budget = line.budget.budget
    return HealthBeat(
        state=state,
        utc_ns=time.time_ns(),
        words=words,
        camera_state=line.grab.state,
        fps=round(recent.fps, 2),
        latency_p50_ms=recent.p50,
        latency_p95_ms=recent.p95,
        latency_max_ms=recent.max,
        queues={"infer": len(line.inbox), "judge": line.infer.outbox.qsize()},
        counts=line.tally.counts(),
        stages_ms=line.tally.stages_ms(),
        budget_ms={name: round(ms, 3) for name, ms in budget.ms.items()},
        budget_share={name: round(share, 4) for name, share in budget.shares.items()},
        warning=line.budget.warning,
        engine=info.name,
        precision=info.precision,
        device=info.device,
        package=info.package,
        certificate=info.certificate,
    )


def _state(line: _Line) -> tuple[str, str]:
    if line.control.paused.is_set():
        return "paused", f"paused by {line.control.paused_by}"
    silent_s = (time.monotonic_ns() - line.grab.last_ns) / 1e9
    if line.opened.camera.live and silent_s > line.config.camera.read_timeout_s:
        return "blind", f"no frame for {silent_s:.0f} s; camera {line.grab.state}"
    return "running", ""
