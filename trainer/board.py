"""A run as TensorBoard shows it: curves of loss, learning rate and scores, and some validation frames.

tensorboard --logdir RUN        (or a folder with several runs)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import UsageError
from inspector.types import Image, Mask
from trainer.report.style import FOUND, INVENTED, MISSED
from trainer.validate import Shown, Validation
from trainer.weights import IGNORE

FOLDER = "tensorboard"
FRAMES = 4
"""Validation frames that are shown at each validation."""
LONGEST_PX = 640
"""Longest side of a shown frame."""


class Board:
    """Writes TensorBoard's files; what is written can be seen at the latest after a validation."""

    def __init__(self, run: Path, step: int = 0) -> None:
        """run: the RUN folder. step: where the run goes on; what was written of later steps is hidden.

        Raises UsageError when TensorBoard is not installed.
        """
        writer: Callable[..., Any] = summary_writer()
        # TensorBoard hides what was written from purge_step on.
        self._open = partial(writer, str(run / FOLDER), purge_step=step + 1 if step else None)

    @cached_property
    def _writer(self) -> Any:
        """Opened when there is something to write, so that a run that cannot start leaves nothing behind."""
        return self._open()

    def steps(self, step: int, loss: float, learning_rate: float) -> None:
        """The mean loss of the last steps."""
        self._scalar("training/loss", loss, step)
        self._scalar("training/learning_rate", learning_rate, step)

    def validated(self, step: int, found: Validation, classes: Sequence[str]) -> None:
        """The scores of a validation."""
        self._scalar("validation/iou", found.score, step)
        for name, choice in zip(classes, found.choices, strict=True):
            if choice.iou is not None:
                self._scalar(f"validation_iou/{name}", choice.iou, step)

    def frames(self, step: int, pictures: Iterable[Image]) -> None:
        """Validation frames as `marked` draws them."""
        for number, picture in enumerate(pictures):
            self._writer.add_image(f"validation/frame_{number}", picture, step, dataformats="HWC")
        self.flush()

    def flush(self) -> None:
        """Write out what is still in memory."""
        if "_writer" in self.__dict__:
            self._writer.flush()

    def _scalar(self, name: str, value: float, step: int) -> None:
        self._writer.add_scalar(name, value, step)


def summary_writer() -> type[Any]:
    """TensorBoard's writer as torch has it. Raises UsageError when TensorBoard is not installed."""
    try:
        # Imported here: it takes a second, and only those who ask for it have it.
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "--tensorboard needs TensorBoard, which is not installed; pip install tensorboard, or leave"
            " --tensorboard out: log.jsonl holds the same figures."
        ) from error
    return SummaryWriter


def shown_frames(frames: Sequence[Shown]) -> list[Shown]:
    """A few frames with defects, spread over all of them; any frames where none has a defect."""
    telling = [frame for frame in frames if ((frame.mask > 0) & (frame.mask != IGNORE)).any()] or list(frames)
    at = np.unique(np.linspace(0, len(telling) - 1, FRAMES).round().astype(int))
    return [telling[n] for n in at]


def marked(image: Image, truth: Mask, predicted: Mask) -> NDArray[np.uint8]:
    """RGB: the frame with what was found, missed and invented in the report's colours."""
    drawn = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)
    valid = truth != IGNORE
    true, said = (truth > 0) & valid, (predicted > 0) & valid
    right = true & (truth == predicted)
    for region, colour in ((said & ~right, INVENTED), (true & ~right, MISSED), (right, FOUND)):
        rgb = np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)])
        drawn[region] = (drawn[region] + rgb) // 2
    scale = LONGEST_PX / max(drawn.shape[:2])
    if scale < 1:
        drawn = cv2.resize(drawn, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(drawn, np.uint8)
