"""Settings of a run: the recipes, what a TOML file changes of them, and which wrong key or value is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_run import TINY, make_data

from inspector.errors import ConfigError, UsageError
from trainer.config import AugmentConfig, FitConfig, RecipeName, from_toml, to_toml
from trainer.config_file import read_settings
from trainer.fit import Request, prepare
from trainer.recipes import fit_config, rate_doubt


def test_paper_recipe_is_the_papers() -> None:
    config = fit_config("paper", steps=1)
    assert (config.optimizer, config.momentum, config.norm) == ("sgd", 0.99, "none")
    assert (config.border, config.w0, config.sigma_px, config.dice) == ("weight", 10.0, 5.0, 0.0)
    assert config.augment.elastic_chance == 1.0 and config.augment.elastic_sd_px == 10.0
    assert config.dropout > 0


@pytest.mark.parametrize("recipe", ["modern", "paper"])
def test_quarter_turns_change_nothing_else_of_the_augmentation(recipe: RecipeName) -> None:
    plain, turned = (fit_config(recipe, steps=1, quarter_turns=turns) for turns in (False, True))
    assert turned.augment.quarter_turns and not plain.augment.quarter_turns
    assert turned.augment == plain.augment.model_copy(update={"quarter_turns": True})
    assert fit_config(recipe, steps=1).augment.elastic_chance == turned.augment.elastic_chance


def test_strong_augmentation_goes_together_with_quarter_turns() -> None:
    usual = fit_config("modern", steps=1, augmentation="usual")
    assert usual == fit_config("modern", steps=1)
    strong = fit_config("modern", steps=1, augmentation="strong", quarter_turns=True).augment
    assert strong.quarter_turns and strong.scale == (0.6, 1.6) and strong.flips == usual.augment.flips


def test_strong_augmentation_shows_pictures_at_their_own_size_unless_it_is_asked_for() -> None:
    strong = fit_config("modern", steps=1, augmentation="strong")
    assert (strong.start_scale, strong.crops) == (1.0, 1) and fit_config("modern", steps=1).start_scale < 1
    assert fit_config("modern", steps=1, augmentation="strong", start_scale=0.5).start_scale == 0.5
    assert fit_config("paper", steps=1, augmentation="strong").step_px == 1


def test_config_survives_its_toml() -> None:
    for recipe in ("modern", "paper"):
        config = fit_config(
            recipe,
            minutes=1.5,
            augmentation="strong",
            classes=("a", 'quoted "b"', "Riß 😀\x7f"),
            mm_per_px=(0.1, 0.2),
        )  # type: ignore[arg-type]
        assert from_toml(to_toml(config)) == config


def test_a_config_of_another_version_says_so() -> None:
    text = to_toml(fit_config("modern", steps=1)).replace("warm_up", "warm_down")
    with pytest.raises(ConfigError, match=r"another version of trainer, whose warm_down is not known"):
        from_toml(text)


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"steps": 1, "minutes": 1.0},
        {"steps": 1, "learning_rate": -1},
        {"steps": 1, "colour": 1},
        {"steps": 1, "seed": 2**32},
        {"steps": 1, "deep_supervision": 0.5, "depth": 2},
    ],
)
def test_wrong_settings_name_themselves(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        fit_config("modern", **bad)


def written(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps = 5\nlearnin_rate = 0.1\n", r"line 2: learnin_rate is no key .*valid one is learning_rate\."),
        ("steps = 5\n\n[augment]\nflip = true\n", r"line 4: augment\.flip is no .*valid one is flips\."),
        ("rotation_deg = 5.0\n", r"line 1: rotation_deg .*; it belongs under \[augment\]"),
        ("[augment]\nsteps = 5\n", r"line 2: augment\.steps .*; it belongs above \[augment\]"),
        ("zzz = 5\n", r"zzz is no key that is known here; valid keys are recipe, minutes, "),
        ("steps = 0\n", r"line 1: steps = 0 cannot be used: should be greater than or equal to 1\."),
        ('border = "wide"\n', r"border = \"wide\" cannot be used: should be 'weight', 'ignore' or 'none'"),
        ("[augment]\nscale = [1.1, 0.9]\n", r"line 2: augment\.scale = \[1\.1, 0\.9\] .* smaller .* first\."),
        ("[augment]\nscale = [0, 1]\n", r"line 2: augment\.scale = 0 .* greater than 0\."),
        ("[augment]\nscale = 0.9\n", r"augment\.scale = 0\.9 .* be two numbers, as in \[0\.9, 1\.1\]\."),
        ("mm_per_px = [0.1]\n", r"mm_per_px = \[0\.1\] .* should be two numbers"),
        ("mm_per_px = [0.1, -0.1]\n", r"line 1: mm_per_px = -0\.1 .* greater than 0\."),
        ("defect_share = [0.5, 1.5]\n", r"line 1: defect_share = 1\.5 .* less than or equal to 1\."),
        ('[augment]\nflips = "yes"\n', r"line 2: augment\.flips = \"yes\" .* should be true or false\."),
        ("average = 1\n", r"line 1: average = 1 .* should be true or false\."),
        ('learning_rate = "0.1"\n', r"learning_rate = \"0\.1\" .* should be a valid number\."),
        ("learning_rate = inf\n", r"learning_rate = Infinity .* should be a finite number\."),
        ('classes = "dent"\n', r"classes = \"dent\" .* should be a list, as in \[\"scratch\"\]\."),
        ('augment = "strong"\n', r"is a table: .* a line \[augment\], or give .* --augmentation strong\."),
        ('augmentation = "strong"\n', r"it is an option of the command line, --augmentation\."),
        ("steps = \n", r"is not TOML: .*line 1.*; mend that line"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_with_key_line_and_remedy(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_settings(written(tmp_path, text))


def test_all_that_is_wrong_is_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, 'steps = 0\nlearnin_rate = 1.0\nbase = "wide"\n[augment]\nscale = [2, 1]\n')
    with pytest.raises(ConfigError) as told:
        read_settings(path)
    keys = ("steps", "learnin_rate", "base", "augment.scale")
    for number, (line, key) in enumerate(zip(str(told.value).splitlines(), keys, strict=True)):
        assert line.startswith(f"{path}, line {(1, 2, 3, 5)[number]}: {key} ") and line.endswith(".")
    with pytest.raises(ConfigError) as told:
        fit_config("modern", steps=0, base=0, augment={"scale": (2.0, 1.0)})
    named = [line.split(" = ")[0] for line in str(told.value).splitlines()]
    assert named == ["steps", "base", "augment.scale"]


def test_a_range_the_wrong_way_round_leaves_no_folder(tmp_path: Path) -> None:
    data = make_data(tmp_path / "line")
    settings = {**TINY, "steps": 1, "augment": {"scale": (1.1, 0.9)}}
    with pytest.raises(ConfigError, match=r"augment\.scale"):
        prepare(Request((data,), tmp_path / "run", settings=settings))
    assert not (tmp_path / "run").exists()


def test_a_kept_config_explains_every_key() -> None:
    config = fit_config("modern", minutes=1.0, mm_per_px=(0.1, 0.1), escape_target=0.1)
    lines = to_toml(config.model_copy(update={"steps": 1})).splitlines()
    keys = [number for number, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    assert len(keys) == len(FitConfig.model_fields) - 1 + len(AugmentConfig.model_fields)
    for number in keys:
        assert lines[number - 1].startswith("# ") and lines[number - 1].endswith("."), lines[number]
    assert max(len(line) for line in lines if line.startswith("#")) <= 110
    assert "# Largest rotation to either side.\nrotation_deg = 5.0" in "\n".join(lines)
    assert "\n".join(lines).count("One seed only") == 0, "the first sentence is enough"


def test_a_learning_rate_is_far_above_the_recipes_own_and_that_of_its_optimizer() -> None:
    assert rate_doubt(fit_config("modern", steps=1), False) is None
    high = fit_config("modern", steps=1, learning_rate=0.16)
    assert "0.16 is 20 times the recipe's 0.008" in (rate_doubt(high, False) or "")
    assert "533 times the recipe's 0.0003" in (rate_doubt(high, True) or "")
    assert "160 times the recipe's 0.001" in (
        rate_doubt(fit_config("paper", steps=1, learning_rate=0.16), False) or ""
    )
    assert rate_doubt(fit_config("modern", steps=1, learning_rate=0.16, optimizer="sgd"), False) is None
    strong = fit_config("modern", steps=1, learning_rate=0.08, augmentation="strong", quarter_turns=True)
    assert "0.08 is 20 times the recipe's 0.004" in (rate_doubt(strong, False) or "")
    assert rate_doubt(fit_config("modern", steps=1, learning_rate=0.08), False) is None


def test_a_missing_file_says_where_one_is_to_be_had(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml cannot be read .*RUN/config\.toml"):
        read_settings(tmp_path / "nothing.toml")


def test_the_command_line_wins_over_the_file_and_the_file_over_the_recipe(tmp_path: Path) -> None:
    data = make_data(tmp_path / "line")
    lines = "\n".join(f"{name} = {value}" for name, value in TINY.items())
    path = written(tmp_path, f'recipe = "paper"\nminutes = 3.0\nseed = 4\n{lines}\n\n[augment]\ngain = 0.3\n')
    given = {"steps": 2, "base": 5, "seed": None, "quarter_turns": True}
    config = prepare(Request((data,), tmp_path / "r", settings=given, config=path)).config
    assert (config.recipe, config.optimizer, config.momentum) == ("paper", "sgd", 0.99)
    assert (config.minutes, config.steps, config.seed, config.base, config.depth) == (None, 2, 4, 5, 3)
    # The paper's augmentation, with what the file and the command line say of it.
    assert (config.augment.elastic_chance, config.augment.gain) == (1.0, 0.3)
    assert config.augment.quarter_turns
    modern = Request((data,), tmp_path / "m", "modern", None, given, path)
    assert prepare(modern).config.optimizer == "muon"


def test_the_config_that_a_run_keeps_starts_an_equal_run(tmp_path: Path) -> None:
    data = make_data(tmp_path / "line")
    first = prepare(Request((data,), tmp_path / "a", "paper", None, {**TINY, "steps": 2, "seed": 3})).config
    again = Request((data,), tmp_path / "b", config=tmp_path / "a" / "config.toml")
    assert prepare(again).config == first


def test_a_recipe_that_the_file_would_undo_is_refused(tmp_path: Path) -> None:
    """The kept config is whole: with it --recipe paper would train the modern recipe under another name."""
    data = make_data(tmp_path / "line")
    prepare(Request((data,), tmp_path / "a", None, None, {**TINY, "steps": 2}))
    kept = tmp_path / "a" / "config.toml"
    with pytest.raises(UsageError, match=r"config\.toml holds all .*recipe modern .*--recipe paper would"):
        prepare(Request((data,), tmp_path / "b", "paper", None, {}, kept))
    assert prepare(Request((data,), tmp_path / "c", "modern", None, {}, kept)).config.optimizer == "muon"


def test_a_file_with_other_classes_than_the_data_is_refused(tmp_path: Path) -> None:
    data = make_data(tmp_path / "line")
    path = written(tmp_path, 'steps = 1\nclasses = ["dent"]\n')
    with pytest.raises(Exception, match="hole"):
        prepare(Request((data,), tmp_path / "r", config=path))
    assert not (tmp_path / "r").exists()
