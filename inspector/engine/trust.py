"""When figures of speed are not to be trusted: the machine was not ours, or they cannot be."""

from __future__ import annotations

from inspector.engine.rivals import BUSY_SHARE

MOST_EFFICIENCY = 1.05
"""The line cannot be faster than the engine inside it; what is above 1 by less is the clock and chance."""
MOST_PRODUCT_SHARE = 1.1
"""No network is computed faster than the machine multiplies matrices, give or take the size of these."""


def speed_doubts(
    others: float | None, efficiency: float | None = None, product_share: float | None = None
) -> list[str]:
    """Why figures of speed are not to be trusted, one clause each; empty for figures that may be.

    others: share of the processor that other programs took meanwhile, 0 to 1. efficiency: speed end to
    end over that of the engine alone. product_share: useful rate over the machine's matrix product.
    None: not known.
    """
    found = []
    if others is not None and others >= BUSY_SHARE:
        found.append(f"other programs took {others:.0%} of the processor")
    if efficiency is not None and efficiency > MOST_EFFICIENCY:
        found.append(f"end to end cannot be {efficiency:.2f} times as fast as the engine alone")
    if product_share is not None and product_share > MOST_PRODUCT_SHARE:
        found.append(f"a network cannot run at {product_share:.2f} times the matrix product")
    return found
