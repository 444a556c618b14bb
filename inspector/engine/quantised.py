"""What an int8 package says of its making: from which network, on which pictures, at what cost.

Its graph computes in 8 bits whatever engine reads it, and its golden probabilities are those of the
network in 8 bits. What 8 bits changed is therefore not the certificate's to find; it was measured
on frames with masks when the package was made, and stands in the manifest.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

from inspector.counting import counted
from inspector.engine.parity import Parity
from inspector.errors import PackageError, UsageError
from inspector.package import INT8, ModelPackage
from inspector.speed import LEAST_DEFECT_PX

MOST_LOST = 0.002
"""Of mean IoU on frames with masks, f32's less int8's: what lost more is not exported."""
LEAST_GOLDEN_PX = round(LEAST_DEFECT_PX**2)
"""Area from which a golden defect counts for int8: as wide each way as the thinnest defect for which
`inspector plan` lets a line be bought. Smaller ones are marks of the network in floating point, mostly of a
single pixel at its threshold, and no defect that anybody promised to find."""


class Calibration(BaseModel):
    """The pictures that the network in 8 bits was fitted on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_sha256: str
    """Over the tiles in their order, as the network read them."""
    tiles: int
    tile: tuple[int, int]
    """(height, width) of their input."""
    frames: int
    """Training frames that they were cut from."""


class DefectCount(BaseModel):
    """True defects of one class, and how many of them each network finds by the design's matching rule."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    total: int
    f32: int
    int8: int

    @property
    def lost(self) -> int:
        """How many fewer int8 finds; 0 where it finds as many or more."""
        return max(0, self.f32 - self.int8)


class AccuracyLoss(BaseModel):
    """What int8 changed on frames with masks, against the same network in f32 at the same thresholds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int
    held_out: bool
    """Whether none of the frames gave a calibration tile; where there are few, all calibrate and measure."""
    iou_f32: dict[str, float | None]
    """Class, background included -> IoU over all pixels; None: the class is in no frame."""
    iou_int8: dict[str, float | None]
    miou_f32: float | None
    miou_int8: float | None
    defects: dict[str, DefectCount] = {}
    """Defect class -> its counts; empty in packages that were made before defects were counted."""

    @property
    def miou_change(self) -> float | None:
        """int8's mean IoU less f32's, negative for a loss; None where no frame showed anything."""
        if self.miou_f32 is None or self.miou_int8 is None:
            return None
        return self.miou_int8 - self.miou_f32

    @property
    def too_much(self) -> bool:
        """Whether more was lost than int8 may cost."""
        return self.miou_change is not None and self.miou_change < -MOST_LOST

    @property
    def lost(self) -> dict[str, int]:
        """Class -> how many fewer of its defects int8 finds; classes that lose any."""
        return {name: one.lost for name, one in self.defects.items() if one.lost}

    @property
    def change(self) -> dict[str, float]:
        """Class -> int8's IoU less f32's, negative for a loss; classes that both have."""
        return {
            name: after - before
            for name, before in self.iou_f32.items()
            if before is not None and (after := self.iou_int8.get(name)) is not None
        }


class Quantisation(BaseModel):
    """How an int8 package was made; `metrics.int8` of its manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    """Id of the package whose network it is."""
    calibration: Calibration
    loss: AccuracyLoss
    golden: Parity | None = None
    """Its golden probabilities against those of the network in floating point; None in packages that were
    made before these were compared."""
    golden_least_px: int = 1
    """Area from which a golden defect counted there; all of them in packages that do not say it."""

    @property
    def note(self) -> str:
        """What is to be said wherever it runs."""
        change = self.loss.miou_change
        cost = "cost not measured" if change is None else f"{100 * change:+.2f} points of mIoU against f32"
        return f"in 8 bits from package {self.source[:12]}, {cost}{self._defects}"

    @property
    def golden_words(self) -> str:
        """How far its golden probabilities are from those of the network in floating point."""
        if self.golden is None:
            return "not compared with the network in floating point"
        one, least = self.golden, self.golden_least_px
        sized = f" of at least {least} px" if least > 1 else ""
        return (
            f"{one.defects - one.lost} of {one.defects} defects{sized} kept that the network in floating"
            f" point marks, {one.changed:,} of {one.pixels:,} mask pixels changed, largest difference"
            f" {one.max_difference:.4f}"
        )

    @property
    def _defects(self) -> str:
        """How many of the defects that f32 finds are lost, and of which classes; empty where none counted."""
        lost, found = self.loss.lost, sum(one.f32 for one in self.loss.defects.values())
        if not found:
            return ""
        classes = f" ({', '.join(lost)})" if lost else ""
        return f", {sum(lost.values()) or 'none'} of {counted(found, 'defect')} lost{classes}"


def quantisation(package: ModelPackage) -> Quantisation | None:
    """How it was made; None for a package in floating point.

    Raises PackageError where the manifest does not say it in full.
    """
    if not package.in_8_bits:
        return None
    try:
        return Quantisation.model_validate(package.manifest.metrics[INT8])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PackageError(
            f"{package.path} does not say how its int8 graph was made ({where}: {first['msg']}); make it"
            " again with `trainer export`."
        ) from error


def require_float(package: ModelPackage, what: str) -> None:
    """Raises UsageError where `what` cannot use an int8 package, naming the one that it was made from."""
    made = quantisation(package)
    if made is not None:
        raise UsageError(
            f"{package.path} is an int8 package, which OpenVINO computes on a CPU and {what} cannot; give"
            f" the package that it was made from, {made.source[:12]}."
        )
