"""Figures of a qualification that nobody measured."""

from __future__ import annotations

from typing import Any

WRONG = {"levels": 40, "changed_px": 9, "pixels": 99, "verdict": "FALLS SHORT"}


def row(**changes: Any) -> dict[str, Any]:
    engine = {"name": "openvino", "precision": "f32", "note": ""}
    product = {"flop_per_s": 2e11, "tool": "OpenVINO, sides of 2048"}
    return {"network": "seeing-4-3", "base": 4, "depth": 3, "package": "a" * 64, "frame": [90, 120],
            "engine_name": "openvino f32", "precision": "f32", "on_gpu": False, "outcome": "ran",
            "engine": engine, "frame_s": 0.5, "mpx_per_s": 2.0, "useful_flop_per_s": 1e11, "share": 0.5,
            "product": product, "end_to_end": 0.97, "parity": None, "reference": True, "rss_mb": 400,
            "others_share": 0.02, "doubts": [], **changes}  # fmt: skip


def soaked(**changes: Any) -> dict[str, Any]:
    return {"outcome": "ran", "engine_name": "openvino f32", "network": "seeing-4-3", "frame": [90, 120],
            "frames": 100, "minutes": 1.0, "wrong": 0, "answers_differ": True, "others_share": 0.01,
            "first_ms": {"p50": 100.0, "max": 120.0}, "last_ms": {"p50": 100.0, "max": 120.0},
            "rss_first_mb": 400, "rss_last_mb": 400, "doubts": [], **changes}  # fmt: skip


def figures(rows: list[dict[str, Any]], soak: dict[str, Any] | None, **changes: Any) -> dict[str, Any]:
    """A whole qualification of these rows, under a limit of 4096 MB."""
    from deploy.qualify.verdict import verdict

    machine = {"device": "a processor", "cores": 2, "memory_gib": 8.0, "system": "Linux", "python": "3.11"}
    names = dict.fromkeys(one["engine_name"] for one in rows)
    return {"began": "2026-11-23T10:00:00+00:00", "finished": "2026-11-23T11:00:00+00:00", "version": "1",
            "command": "python -m deploy.qualify", "machine": machine, "scope": {"quick": False}, "notes": [],
            "engines": [{"name": name, "lacks": None} for name in names], "rows": rows, "soak": soak,
            "total": len(rows) + 1, **verdict(rows, soak, 4096), **changes}  # fmt: skip
