"""The running loop: a camera's frames through engine and judge into the ledger."""

from inspector.station.line import run_station
from inspector.station.summary import RunSummary

__all__ = ["RunSummary", "run_station"]
