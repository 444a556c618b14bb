"""Which pictures a network has seen, so that none of them passes for an exam frame."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from inspector.types import Image

SEEN = "seen"
"""Key in a checkpoint and among a package's metrics."""
_DIGITS = 16
"""Hexadecimal digits that are kept of each picture's hash. Among a million pictures the chance that any two
share them is 3 in 100 million."""


def picture_sha256(image: Image) -> str:
    """Hash over size and pixels of a picture as the network takes it, whatever file it came from."""
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class SeenPictures:
    """The pictures behind a network, each by the first digits of `picture_sha256`."""

    trained: frozenset[str]
    """It learned from these."""
    validated: frozenset[str]
    """These chose its best checkpoint and its thresholds."""

    @classmethod
    def of(cls, trained: Iterable[Image], validated: Iterable[Image]) -> SeenPictures:
        """The pictures by their content."""
        return cls(_short(trained), _short(validated))

    @classmethod
    def read(cls, kept: Any) -> SeenPictures | None:
        """What `kept` wrote down; None where an earlier version wrote nothing."""
        if not isinstance(kept, dict):
            return None
        return cls(*(frozenset(_parted(kept.get(name, ""))) for name in ("trained", "validated")))

    def joined(self, before: SeenPictures | None) -> SeenPictures:
        """These and what the network had seen that training goes on from, as far as it is known."""
        if before is None:
            return self
        return SeenPictures(self.trained | before.trained, self.validated | before.validated)

    def kept(self) -> dict[str, str]:
        """In plain values: the digits of all pictures, sorted, in one text each."""
        return {"trained": "".join(sorted(self.trained)), "validated": "".join(sorted(self.validated))}

    def among(self, images: Iterable[Image]) -> dict[str, int]:
        """How many of these pictures `trained` and, of the others, `validated` the network."""
        trained = validated = 0
        for image in images:
            digits = picture_sha256(image)[:_DIGITS]
            trained += digits in self.trained
            validated += digits in self.validated and digits not in self.trained
        return {"trained": trained, "validated": validated}


def _short(images: Iterable[Image]) -> frozenset[str]:
    return frozenset(picture_sha256(image)[:_DIGITS] for image in images)


def _parted(digits: str) -> list[str]:
    return [digits[at : at + _DIGITS] for at in range(0, len(digits), _DIGITS)]
