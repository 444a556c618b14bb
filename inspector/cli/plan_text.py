"""The speed contract as a person reads it: the optics at once, the measured rest when it is known."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from inspector.counting import counted
from inspector.speed import LineFacts, optics
from inspector.units import shown


def optics_text(facts: LineFacts) -> str:
    """What is known before the measurement, which takes long: scale, and what the optics decide."""
    scale = facts.scale
    found = (_condition_line(asdict(one)) for one in optics(facts))
    return "\n".join([f"scale   {shown(scale.y)} x {shown(scale.x)} mm a pixel (height x width)", *found])


def _condition_line(one: dict[str, Any]) -> str:
    return f"{one['state']:<5} {one['name']:<9} {one['words']}"


def contract_text(facts: LineFacts, figures: dict[str, Any]) -> str:
    """The measured figures as a person reads them, and the conclusion of all."""
    engine, most = figures["engine"], figures["largest_speed_mm_s"]
    some = (
        "" if figures["tiles"] == figures["tiles_all"] else f" of {figures['tiles_all']}, as the zones need"
    )
    measured = counted(figures["measured_tiles"], "tile")
    size = f"{figures['tile']['h']}x{figures['tile']['w']} pixels of input"
    rows = [
        ("tiles", f"{figures['tiles']}{some}, each {size}"),
        ("time", f"{shown(figures['frame_ms'])} ms a frame, from {measured} measured here"
                 f" on {engine['name']} {engine['precision']}"),
        ("margin", _margin(figures["margin"], facts.period_ms)),
        ("memory", f"at most {figures['memory_mb']['predicted']} MB resident, the limit model.memory_mb is"
                   f" {figures['memory_mb']['limit']}"),
        ("line", "no speed limits it" if most is None else f"at most {shown(most)} mm/s on this machine"),
    ]  # fmt: skip
    if some:
        rows.append(
            ("worst", f"{shown(figures['frame_ms_all_tiles'])} ms, where damage leads through all the tiles")
        )
    told = {one.name for one in optics(facts)}
    lines = [f"{name:<7} {words}" for name, words in rows]
    lines += [_condition_line(one) for one in figures["conditions"] if one["name"] not in told]
    return "\n".join([*lines, _conclusion_line(figures["conditions"])])


def _conclusion_line(found: list[dict[str, Any]]) -> str:
    failed, doubted = (
        ", ".join(one["name"] for one in found if one["state"] == state) for state in ("fail", "warn")
    )
    if failed:
        return f"The contract fails on: {failed}" + (f"; in doubt: {doubted}." if doubted else ".")
    return f"The contract is in doubt: {doubted}; all else holds." if doubted else "The contract holds."


def _margin(margin: float, period_ms: float) -> str:
    """margin: share of the time between two frames that is left, below 0 what is lacking."""
    if margin < 0:
        return f"none, a frame takes {shown(1 - margin)} times the {shown(period_ms)} ms between two frames"
    return f"{margin:.1%} of the {shown(period_ms)} ms between two frames is left"
