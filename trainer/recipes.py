"""The recipes: what each sets of a training's config, and the config with what the user gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from inspector.errors import ConfigError
from trainer.config import AugmentConfig, FitConfig, RecipeName
from trainer.config_errors import key_of, sentence

FAR_ABOVE = 20.0
"""Times the recipe's learning rate from which on a user is warned."""

MODERN: dict[str, Any] = {
    "crops": 2,
    "step_px": 4 * 204**2,
    "start_scale": 0.4,
    "start_scale_until": 0.75,
    "learning_rate": 8e-3,
    "augment": AugmentConfig(
        rotation_deg=5.0,
        scale=(0.9, 1.1),
        warp_chance=0.15,
        elastic_chance=0.0,
        gain=0.1,
        offset=0.03,
        gamma=0.05,
    ),
}
"""What the modern recipe changes of the values above, which are those of runs before these settings came.
magnetic_tile, three tenths of its tiles held back for validation, mean IoU of the five defects: with this
little augmentation 0.26 after 2,000 steps, with the fields' own 0.19 (one seed); with this learning rate
0.28, and ahead of half of it from step 300 on with another seed (0.18 against 0.14 after 700). Crops and
growth were chosen on frames whose tiles also trained, and are not measured on others. What it has learned
by step 1,000 is all that carries over to other tiles: the rest of a run fits its own ones better.
Not with strong augmentation, which shows many sizes already (masonry_crack at the end of 12 minutes, one
seed: 0.63, with these 0.60), nor where training goes on with a few pictures more."""

PAPER: dict[str, Any] = {
    "norm": "none",
    "dropout": 0.5,
    "border": "weight",
    "balance": "inverse",
    "weight_cap": 10.0,
    "dice": 0.0,
    "tile_px": 516,
    "step_px": 1,
    "defect_share": (0.5, 0.5),
    "optimizer": "sgd",
    "learning_rate": 1e-3,
    "momentum": 0.99,
    "weight_decay": 0.0,
    "average": False,
    "augment": AugmentConfig(elastic_chance=1.0, elastic_sd_share=1.0, warp_chance=1.0, scale=(1.0, 1.0)),
}
"""Ronneberger, Fischer, Brox 2015: SGD with momentum 0.99, one large tile a step, elastic at every step.
What the paper does not give is ours: the learning rate with its warm-up and its end at 0, the clipped
gradient, the class weights' cap, and that half of the tiles are aimed at a defect."""

STRONG: dict[str, Any] = {
    "rotation_deg": 45.0,
    "scale": (0.6, 1.6),
    "elastic_chance": 0.5,
    "gain": 0.35,
    "offset": 0.15,
    "gamma": 0.4,
    "tint": 0.2,
    "light_chance": 0.5,
    "light": 0.25,
    "blur_chance": 0.2,
    "noise_chance": 0.3,
    "noise": 10.0,
}
"""For few pictures from many places. On masonry_crack, validated by photograph, IoU 0.65 at the end of three
minutes where the usual augmentation ended at 0.61 to 0.62 (one seed); faint defects may drown in it."""

CONTINUE: dict[str, Any] = {
    "norm": "none",
    "dropout": 0.0,
    "learning_rate": 3e-4,
    "even_folders": True,
    "defect_share": (0.6, 0.5),
    "false_alarms_at": 0.0,
}
"""What changes when training goes on from a package: its batch norm is folded and its weights are good."""


def fit_config(recipe: RecipeName, going_on: bool = False, **settings: Any) -> FitConfig:
    """The recipe's settings with those that the user gave. Raises ConfigError, a line for each wrong one."""
    values = _recipe_values(recipe, going_on, settings.get("augmentation") == "strong")
    values |= {name: value for name, value in settings.items() if value is not None and name != "augment"}
    values["augment"] = _augment(values, settings.get("augment") or {})
    require_one_end(values)
    try:
        config = FitConfig(**values)
    except ValidationError as error:
        wrong = [sentence(key_of(one["loc"]), one) for one in error.errors()]
        raise ConfigError("\n".join(wrong)) from error
    config.unet()
    if config.deep_supervision and not config.coarse_shares():
        raise ConfigError(
            f"deep_supervision = {config.deep_supervision} needs a level between the bottom and the output,"
            f" and depth = {config.depth} has none; use 0, or a depth of 3 or more."
        )
    return config


def require_one_end(settings: Mapping[str, Any]) -> None:
    """Raises ConfigError unless exactly one of `minutes` and `steps` is given; None counts as not given."""
    if (settings.get("minutes") is None) == (settings.get("steps") is None):
        raise ConfigError("Either --minutes or --steps ends a training; give exactly one of them.")


def rate_doubt(config: FitConfig, going_on: bool) -> str | None:
    """What to say of a learning rate far above the recipe's; None where it is not."""
    augment = config.augment.model_dump()
    strong = all(augment[name] == value for name, value in STRONG.items())
    usual = FitConfig(**_recipe_values(config.recipe, going_on, strong))
    times = config.learning_rate / usual.learning_rate
    if config.optimizer != usual.optimizer or times < FAR_ABOVE:  # each has rates of its own
        return None
    return (
        f"The learning rate {config.learning_rate:g} is {times:,.0f} times the recipe's"
        f" {usual.learning_rate:g}, and the training may diverge; leave --learning-rate out to have the"
        " recipe's."
    )


def _recipe_values(recipe: RecipeName, going_on: bool, strong: bool = False) -> dict[str, Any]:
    """What the recipe changes of the defaults. going_on: from a package."""
    values: dict[str, Any] = {"recipe": recipe}
    if recipe == "paper":
        values |= PAPER
    elif not going_on and not strong:
        values |= MODERN
    return values | (CONTINUE if going_on else {})


def _augment(values: dict[str, Any], given: AugmentConfig | dict[str, Any]) -> dict[str, Any]:
    """The recipe's augmentation, changed by what a file gives of it, then by the options.

    Takes the options, which are no fields of FitConfig, out of `values`.
    """
    base: AugmentConfig = values.get("augment", AugmentConfig())
    changed = given.model_dump() if isinstance(given, AugmentConfig) else given
    options = STRONG if values.pop("augmentation", "usual") == "strong" else {}
    if "quarter_turns" in values:
        options = options | {"quarter_turns": values.pop("quarter_turns")}
    return base.model_dump() | changed | options
