"""What is to be measured: which networks, how large frames, how long."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from deploy.qualify.candidates import Candidate
from inspector.engine.quantised import quantisation
from inspector.package import ModelPackage


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is measured."""

    frames: tuple[tuple[int, int], ...]
    seconds: float
    """How long each engine is timed on each frame."""
    soak_minutes: float
    memory_mb: int
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """One network, by the name that rows call it."""

    name: str
    package: ModelPackage
    int8: ModelPackage | None = None
    """The same network in 8 bits."""

    def runs(self, candidate: Candidate) -> ModelPackage | None:
        """The package that this candidate computes; None for int8 where there is none."""
        if candidate.precision != "int8" or self.package.in_8_bits:
            return self.package
        return self.int8


def subjects_of(packages: list[ModelPackage]) -> list[Subject]:
    """One for each network: an int8 package goes with the one that it was made from, where that is given."""
    names, ids = names_of(packages), {one.id for one in packages}
    made = {one.id: found.source for one in packages if (found := quantisation(one)) is not None}
    int8 = {made[one.id]: one for one in packages if made.get(one.id) in ids}
    alone = [one for one in packages if made.get(one.id) not in ids]
    return [Subject(names[one.id], one, int8.get(one.id)) for one in alone]


def names_of(packages: list[ModelPackage]) -> dict[str, str]:
    """Package id -> what rows call it: its name, with its id where several have that name."""
    count = Counter(package.manifest.name for package in packages)
    return {
        one.id: one.manifest.name if count[one.manifest.name] == 1 else f"{one.manifest.name} {one.id[:12]}"
        for one in packages
    }
