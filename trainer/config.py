"""Every setting of one training run: one frozen object, saved whole in each checkpoint."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from inspector.errors import ConfigError

if TYPE_CHECKING:
    from trainer.unet import UNetConfig

RecipeName = Literal["modern", "paper"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]

STRICT = ConfigDict(
    frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
)
"""No word stands for true, no text for a number; a TOML array is a pair all the same (strict=False there)."""
COMMENT_COLUMNS = 100


class AugmentConfig(BaseModel):
    """How far a training tile may differ from the picture that it was cut from."""

    model_config = STRICT

    flips: bool = True
    """Mirror half of the tiles left to right, and half of them upside down."""
    quarter_turns: bool = False
    """Turn by 90 degrees as well: right where parts lie in any direction."""
    rotation_deg: float = Field(15.0, ge=0, le=180)
    """Largest rotation to either side."""
    scale: tuple[Positive, Positive] = Field((0.8, 1.25), strict=False)
    """Smallest and largest magnification."""
    warp_chance: float = Field(0.7, ge=0, le=1)
    """Share of tiles that are rotated and scaled; the others keep their pixels as they are."""
    elastic_chance: float = Field(0.3, ge=0, le=1)
    """Share of tiles that are distorted elastically."""
    elastic_sd_px: float = Field(10.0, ge=0)
    """Standard deviation of the displacement at each node of the coarse 3x3 grid."""
    elastic_sd_share: float = Field(0.035, gt=0)
    """The deviation is at most this share of the grid's spacing, so that small tiles are not torn."""
    gain: float = Field(0.2, ge=0, lt=1)
    """Largest relative change of contrast."""
    offset: float = Field(0.1, ge=0, le=1)
    """Largest change of brightness, as a share of the range."""
    gamma: float = Field(0.2, ge=0, lt=1)
    """Largest relative change of the gamma curve."""
    tint: float = Field(0.0, ge=0, lt=1)
    """Largest relative change of one colour channel's gain."""
    light_chance: float = Field(0.0, ge=0, le=1)
    """Share of tiles under uneven light."""
    light: float = Field(0.15, ge=0)
    """Standard deviation of the logarithm of that light at each node of a 3x3 grid."""
    blur_chance: float = Field(0.0, ge=0, le=1)
    """Share of tiles that are blurred."""
    blur_px: float = Field(1.2, ge=0.3)
    """Largest standard deviation of the blur, pixels."""
    noise_chance: float = Field(0.0, ge=0, le=1)
    """Share of tiles with noise added."""
    noise: float = Field(6.0, ge=0)
    """Largest standard deviation of the noise, gray values."""
    jpeg_chance: float = Field(0.0, ge=0, le=1)
    """Share of tiles that are compressed as JPEG and read again."""
    jpeg_quality: int = Field(50, ge=1, le=95)
    """Lowest quality of the compression."""

    @field_validator("scale")
    @classmethod
    def _smallest_first(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if scale[0] > scale[1]:
            raise ValueError("the smaller number comes first")
        return scale


class FitConfig(BaseModel):
    """One training run. Raises ConfigError on a value out of range (through `fit_config`)."""

    model_config = STRICT

    recipe: RecipeName = "modern"
    """Where the values come from that nobody gave."""
    minutes: float | None = Field(None, gt=0)
    """Wall-clock limit; the schedule ends with it. Either this or `steps`."""
    steps: int | None = Field(None, ge=1)
    """Length of the run in steps."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Of weights, tiles and validation."""
    # network
    channels: Literal[1, 3] = 1
    """1: gray; 3: colour."""
    classes: tuple[str, ...] = Field(("class_1",), strict=False)
    """Defect classes without the background."""
    depth: int = Field(4, ge=2, le=6)
    """Levels; a pixel's verdict sees 20, 44 and 92 pixels to each side at 3, 4 and 5."""
    base: int = Field(16, ge=1)
    """Feature maps of the first level, doubled at each further one."""
    skip: Literal["concat", "sum"] = "concat"
    """How a level's maps join those from below."""
    norm: Literal["none", "batch"] = "batch"
    """Batch norm is folded into the convolutions at export."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of features dropped at the end of the contracting path."""
    # loss
    border: Literal["weight", "ignore", "none"] = "none"
    """Background between instances: weighs more, or the contour counts nothing, or neither."""
    w0: float = Field(10.0, ge=0)
    """Largest extra weight between two instances."""
    sigma_px: float = Field(5.0, gt=0)
    """How far from them it reaches."""
    balance: Literal["inverse", "root"] = "root"
    """Class weights by inverse frequency (paper) or by its square root."""
    weight_cap: float = Field(20.0, gt=0)
    """No class weighs more; uncapped, a class with 0.016 % of the pixels would weigh thousands."""
    dice: float = Field(1.0, ge=0)
    """Share of batch Dice beside the cross entropy."""
    deep_supervision: float = Field(0.0, ge=0)
    """Share of the cross entropy at the decoder's level next to the output, which has half its size, beside
    that of the output; half of it at the next coarser level, and so on. Their heads are not served."""
    # tiles
    tile_px: int = Field(204, ge=4)
    """Longest side of a training tile's output; smaller pictures get smaller tiles. Valid convolutions
    make small tiles dearer; in return a step aims at three places instead of one. One seed only."""
    crops: int = Field(1, ge=1, le=4)
    """Crops along each side of a training tile, each of tile_px, from places of their own. They share the
    tile's halo, so that a step computes fewer pixels for as many learned ones; at the seams they see each
    other instead of their surroundings."""
    step_px: int = Field(131_072, ge=1)
    """Output pixels of one step, which fixes how many tiles it takes. Twice as many gave half the steps and
    a lower IoU in the same minutes (masonry_crack, one seed: 0.65 against 0.66)."""
    start_scale: float = Field(1.0, gt=0, le=1)
    """Magnification of the pictures at the start of the run, which rises to 1 in a line. Small at
    first, a tile shows more of a picture and large defects take fewer steps (progressive resizing)."""
    start_scale_until: float = Field(0.6, gt=0, le=1)
    """Share of the run at which the pictures have their own size."""
    defect_share: tuple[Share, Share] = Field((0.8, 0.4), strict=False)
    """Share of tiles that are aimed at a defect, at the start and at the end; the class is drawn first."""
    false_alarm_share: float = Field(0.0, ge=0, lt=1)
    """Share of tiles that are aimed at what the network falsely calls a defect in the training frames."""
    false_alarms_at: float = Field(0.6, ge=0, lt=1)
    """Share of the run after which it looks for them, once."""
    edge_share: float = Field(0.0, ge=0, le=1)
    """Share of crops that see the frame end at one of their sides, mirrored from there on, as a part that
    leaves a line's view does. Of several crops a tile: at a side that is the tile's own."""
    paste_chance: float = Field(0.0, ge=0, le=1)
    """Share of crops into which a defect of the training pictures is set, its class drawn first; fewer where
    there is no room among good pixels."""
    even_places: bool = False
    """Draw all places of the training pictures as often, not all pictures: right where pictures of several
    sizes show different things, of which the large ones would hardly be learned. Nuclei of dsb2018_nuclei
    on a bright ground are 5 % of the pictures and a third of the pixels: average precision on frames held
    back after 500 steps 0.68 and 0.72 (two seeds), without 0.59 and 0.63. Pictures of magnetic_tile show the
    same things in all sizes: IoU of the defects 0.08 and 0.08, without 0.11 and 0.10."""
    even_folders: bool = False
    """Draw the folder first, so that a few flagged frames weigh as much as the old data."""
    validation: float = Field(0.15, gt=0, lt=1)
    """Share of the training parts that validates."""
    augment: AugmentConfig = Field(AugmentConfig(), strict=False)
    """How far a training tile may differ from the picture that it was cut from."""
    # steps
    optimizer: Literal["muon", "adamw", "sgd"] = "muon"
    """muon: Muon (Jordan 2024) on the convolutions, AdamW on the rest; on twelve fixed tiles of magnetic_tile
    the cross entropy was 0.30 after 80 steps, under AdamW at the best of five learning rates 0.63."""
    learning_rate: float = Field(4e-3, gt=0)
    """The highest of the run."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Of sgd; muon has its own."""
    weight_decay: float = Field(1e-2, ge=0)
    """Pull of the weights towards 0, times the learning rate."""
    warm_up: float = Field(0.05, ge=0, lt=1)
    """Share of the run in which the learning rate rises; from then on it falls linearly to 0."""
    clip_norm: float = Field(1.0, gt=0)
    """Longest gradient of a step; a longer one is shortened to it."""
    average: bool = True
    """Serve the moving average of the weights over the last tenth of the steps."""
    freeze_norm_at: float = Field(0.8, gt=0, le=1)
    """Share of the run after which batch norm keeps its statistics, re-estimated at that moment."""
    precision: Literal["auto", "f32", "bf16"] = "auto"
    """Arithmetic of the training; auto: bf16 where the processor computes it natively, else f32."""
    mm_per_px: tuple[Positive, Positive] | None = Field(None, strict=False)
    """Scale of the pictures, y and x, which the package is to name."""
    escape_target: float | None = Field(None, ge=0, lt=1)
    """Share of defects that may be missed: thresholds are the highest that keep it on the validation
    frames. None: thresholds with the best IoU, which draw the outline best, or where instances touch those
    that tell most of them apart."""

    def coarse_shares(self) -> tuple[float, ...]:
        """What the cross entropy of each supervised coarser level counts, finest first."""
        if self.deep_supervision == 0:
            return ()
        return tuple(self.deep_supervision / 2**level for level in range(self.depth - 2))

    def scale_at(self, progress: float) -> float:
        """Magnification of the training pictures at this share of the run, at most 1."""
        return min(1.0, self.start_scale + (1 - self.start_scale) * progress / self.start_scale_until)

    def unet(self) -> UNetConfig:
        """The network's part of the config."""
        from trainer.unet import UNetConfig  # not above: a wrong value must not wait for torch

        return UNetConfig(
            channels=self.channels,
            classes=len(self.classes) + 1,
            depth=self.depth,
            base=self.base,
            skip=self.skip,
            norm=self.norm,
            dropout=self.dropout,
        )


def to_toml(config: FitConfig) -> str:
    """The whole config as TOML, above each key what it means; values that are not set are left out."""
    lines: list[str] = []
    for name, value in config.model_dump(mode="json").items():
        if isinstance(value, dict):
            continue
        if value is not None:
            lines += [*_comment(FitConfig, name), f"{name} = {_toml(value)}"]
    # Last, since all that follows a table's header belongs to it.
    lines += ["", *_comment(FitConfig, "augment"), "[augment]"]
    for name, value in config.augment.model_dump(mode="json").items():
        lines += [*_comment(AugmentConfig, name), f"{name} = {_toml(value)}"]
    return "\n".join(lines) + "\n"


def _comment(model: type[BaseModel], name: str) -> list[str]:
    """The first sentence of the field's docstring, as comment lines."""
    words = " ".join((model.model_fields[name].description or "").split())
    first = re.split(r"(?<=\.)\s", words, maxsplit=1)[0]
    return [f"# {line}" for line in textwrap.wrap(first, COMMENT_COLUMNS)]


def _toml(value: Any) -> str:
    """JSON's strings, numbers, booleans and lists of these are TOML's as well, but for escapes beyond 16 bits
    and one control character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def from_toml(text: str) -> FitConfig:
    """The config that `to_toml` wrote. Raises ConfigError when another version of the trainer wrote it."""
    try:
        return FitConfig(**tomllib.loads(text))
    except ValidationError as error:
        name = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ConfigError(
            f"The run was begun by another version of trainer, whose {name} is not known here in that form;"
            " go on with that version, or begin a run in a new --out."
        ) from error
