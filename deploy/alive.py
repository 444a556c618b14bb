"""Does the line's station live? For a container's health check and for monitors: cheap, and never in its way.

    python -m deploy.alive --db sqlite:////var/lib/inspection/ledger.db

Reads the station's last sign of life from the ledger; starts no engine and opens no camera, which
`inspector doctor` would do to a machine that has its hands full.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from inspector.db.connect import open_ledger
from inspector.db.health import HealthBeat
from inspector.db.queries import health, latest_run
from inspector.errors import InspectionError

SILENT_AFTER_S = 10.0
OVER = ("ended", "failed")


def trouble(beat: HealthBeat | None, now_ns: int, silent_after_s: float = SILENT_AFTER_S) -> str:
    """Why this is not the beat of a living station; empty when it is one.

    A blind or paused station lives: starting it anew would not give it its camera back.
    """
    if beat is None:
        return "the ledger has no run that gave a sign of life"
    if beat.state in OVER:
        return f"the last run is {beat.state}" + (f": {beat.words}" if beat.words else "")
    age_s = (now_ns - beat.utc_ns) / 1e9
    if age_s > silent_after_s:
        return f"the station has been silent for {age_s:.0f} s, limit {silent_after_s:g} s"
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """One line about the newest run; 0 when its station lives, 1 when not, 2 without a ledger."""
    parser = argparse.ArgumentParser(prog="python -m deploy.alive", description=__doc__.split("\n")[0])
    parser.add_argument("--db", required=True, metavar="URL", help="ledger, such as sqlite:///ledger.db")
    parser.add_argument("--silent-after", type=float, default=SILENT_AFTER_S, metavar="SECONDS")
    given = parser.parse_args(arguments)
    try:
        ledger = open_ledger(given.db, create=False, busy_timeout_s=2.0)
        try:
            run = latest_run(ledger)
            beat = None if run is None else health(ledger, run.id)
        finally:
            ledger.dispose()
    except InspectionError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    wrong = trouble(beat, time.time_ns(), given.silent_after)
    if wrong or beat is None:
        print(f"Not alive: {wrong}.", file=sys.stderr)
        return 1
    print(f"{beat.state}, {beat.fps:.1f} frames/s" + (f", {beat.warning}" if beat.warning else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
