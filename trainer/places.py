"""Where the next crop is cut: a picture, and the pixel that it must show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.config import FitConfig
from trainer.stock import FALSE_ALARM, Picture, Stock


class Draw(NamedTuple):
    """Pictures of which one is drawn."""

    numbers: NDArray[np.intp]
    """Of pictures in the stock."""
    chance: NDArray[np.float64] | None
    """Of each; they add up to 1. None: all the same."""

    def one(self, rng: np.random.Generator) -> int:
        """The number of the one that is drawn."""
        return int(rng.choice(self.numbers, p=self.chance))


class Places:
    """Draws pictures, each as often as the others or, with `even_places`, as many crops as it holds."""

    def __init__(self, stock: Stock, config: FitConfig, crop: tuple[int, int]) -> None:
        """crop: its (height, width)."""
        self._stock, self._config = stock, config
        sizes = np.array([picture.image.shape[:2] for picture in stock.pictures])
        self._crops = np.maximum(1, sizes.prod(axis=1) / np.prod(crop))
        """How many crops each picture holds."""
        everyone = range(len(stock.pictures))
        groups: list[Iterable[int]] = [everyone]
        if config.even_folders:
            folders = sorted({picture.folder for picture in stock.pictures})
            groups = [[n for n in everyone if stock.pictures[n].folder == folder] for folder in folders]
        self._groups = [self._draw(group) for group in groups]
        self._fooling = [n for n in everyone if FALSE_ALARM in stock.pictures[n].anchors]
        self._showing = [self._by_class(group, len(config.classes)) for group in groups]

    def draw(self, rng: np.random.Generator, share: float) -> tuple[Picture, tuple[int, int] | None]:
        """A picture and the pixel that the crop must show, which is a defect's in `share` of the draws.

        The class is drawn before the picture. Drawn the other way round, rare classes would stay as rare as
        they are.
        """
        if self._fooling and rng.random() < self._config.false_alarm_share:
            return self._at(rng, int(rng.choice(self._fooling)), FALSE_ALARM)
        group = int(rng.integers(len(self._groups)))
        showing = self._showing[group]
        if showing and rng.random() < share:
            class_id = list(showing)[int(rng.integers(len(showing)))]
            return self._at(rng, showing[class_id].one(rng), class_id)
        return self._stock.pictures[self._groups[group].one(rng)], None

    def _by_class(self, group: Iterable[int], classes: int) -> dict[int, Draw]:
        """The pictures of a group that show each class, without classes that none shows."""
        pictures = self._stock.pictures
        found = {c: [n for n in group if c in pictures[n].anchors] for c in range(1, classes + 1)}
        return {class_id: self._draw(some) for class_id, some in found.items() if some}

    def _draw(self, numbers: Iterable[int]) -> Draw:
        drawn = np.array(list(numbers), np.intp)
        crops = self._crops[drawn]
        return Draw(drawn, crops / crops.sum() if self._config.even_places else None)

    def _at(self, rng: np.random.Generator, number: int, kind: int) -> tuple[Picture, tuple[int, int]]:
        picture = self._stock.pictures[number]
        y, x = picture.anchors[kind][int(rng.integers(len(picture.anchors[kind])))]
        return picture, (int(y), int(x))
