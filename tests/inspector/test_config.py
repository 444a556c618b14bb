"""line.toml: defaults, and errors that name key, file, line and remedy."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from inspector.config import LineConfig, Recipe, config_template, load_config
from inspector.errors import ConfigError
from inspector.types import Scale
from inspector.zones import Area


def load(tmp_path: Path, text: str) -> LineConfig:
    path = tmp_path / "line.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "line.toml")) and message.endswith(".") and "\n" not in message
    return message.removeprefix(str(tmp_path / "line.toml"))


def test_an_empty_file_gives_all_defaults(tmp_path: Path):
    assert load(tmp_path, "") == LineConfig()


def test_the_template_as_it_is_gives_all_defaults(tmp_path: Path):
    assert load(tmp_path, config_template()) == LineConfig()


def uncommented() -> str:
    return re.sub(r"(?m)^# ([a-z0-9_]+ = |\[)", r"\1", config_template())


def test_every_example_of_the_template_is_valid(tmp_path: Path):
    config = load(tmp_path, uncommented())
    assert [rule.measure for rule in config.recipe.rules] == ["length_mm", "count"]
    assert [zone.kind for zone in config.recipe.zones] == ["include", "exclude"]


def test_the_template_shows_every_key():
    text = uncommented()
    schema = LineConfig.model_json_schema(by_alias=True)
    keys = {key for table in schema["$defs"].values() for key in table["properties"]}
    keys |= set(schema["properties"])
    missing = {key for key in keys if not re.search(rf"(?m)^(\[+(recipe\.)?)?{key}\b", text)}
    assert missing == set()


def shown_defaults() -> str:
    """The template with every commented key switched on that is not marked as an example."""
    lines, example, after_key = [], False, False
    for line in config_template().splitlines():
        key = re.match(r"# ([a-z0-9_]+ = .*|\[.*)", line)
        if key:
            lines.append(line if example else key[1])
        else:
            lines.append(line)
            if line != "#":
                example = "(example" in line or (example and not after_key)
        after_key = bool(key) or line == "#"
    return "\n".join(lines)


def test_the_defaults_that_the_template_shows_are_the_real_ones(tmp_path: Path):
    text = shown_defaults()
    assert len(re.findall(r"(?m)^[a-z0-9_]+ = ", text)) > 15
    assert load(tmp_path, text) == LineConfig()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[camera]\nsourc = '0'", ["line 2", "camera.sourc ", "the nearest valid one is source"]),
        ("[camera]\n\nmm_per_px = [1, 1]", ["line 3", "camera.mm_per_px", "belongs under recipe"]),
        ("# a\nfoo = 1", ["line 2", "foo", "camera, model, recipe, recording, outputs"]),
        ("[camera]\nqueue = 0", ["line 2", "camera.queue = 0", "greater than or equal to 1"]),
        ("[camera]\npolicy = 'newst'", ["line 2", '"newst"', "the nearest valid one is newest"]),
        ("[model]\ntile = '57x'", ["line 2", "572x572"]),
        ("[model]\nmemory_mb = '4 GB'", ["line 2", "model.memory_mb", "integer", "4 GB is 4000."]),
        ("[recipe]\ndeadline_ms = '0.4s'", ["line 2", "it counts in ms and takes no unit: 0.4s is 400."]),
        ("[camera]\nread_timeout_s = '400ms'", ["it counts in s and takes no unit: 400ms is 0.4."]),
        ("[recipe]\nmm_per_px = ['1mm', 1]", ["line 2", "mm_per_px", "valid number, unable"]),
        ("[recipe.thresholds]\nscratch = 1.5", ["line 2", "recipe.thresholds.scratch = 1.5"]),
        ("[recording]\nkeep = ['reject', 'pas']", ["line 2", '"pas"', "the nearest valid one is pass"]),
        ("[recording]\ndb = 'x.db'", ["line 2", "sqlite:///ledger.db"]),
        ("[[outputs]]\nkind = 'jsonl'", ["line 1", "outputs[0].path is missing"]),
        ("camera = 3", ["line 1", "camera = 3", "table"]),
        ("[recipe]\nmm_per_px = 0.1", ["line 2", "array"]),
        ("[camera]\nsource = = 1", ["line 2"]),
        ("[recipe]\nmm_per_px = [nan, 1]", ["line 2", "mm_per_px"]),
    ],
)
def test_wrong_configs_name_the_place_and_the_remedy(tmp_path: Path, text: str, expected: list[str]):
    message = refusal(tmp_path, text)
    for part in expected:
        assert part in message


RULE = "[[recipe.rules]]\nclass = 'scratch'\nmeasure = '{}'\nreject_above = 2\n"


def test_a_limit_in_mm_without_a_scale_is_refused_at_its_line(tmp_path: Path):
    message = refusal(tmp_path, RULE.format("count") + RULE.format("length_mm"))
    assert "line 7" in message and "recipe.rules[1].measure" in message
    assert "a limit in mm needs the scale; set recipe.mm_per_px = [y, x]" in message
    scaled = "[recipe]\nmm_per_px = [0.1, 0.2]\n" + RULE.format("total_area_mm2")
    assert load(tmp_path, scaled).recipe.scale == Scale(y=0.1, x=0.2)
    with pytest.raises(ConfigError, match="mm2"):
        load(tmp_path, RULE.format("total_area_mm2"))


def test_an_unknown_unit_names_the_known_one(tmp_path: Path):
    message = refusal(tmp_path, RULE.format("length_cm"))
    assert (
        "line 3" in message and '"length_cm"' in message and "the nearest valid one is length_mm" in message
    )


def test_an_unknown_key_of_a_rule_is_found_in_the_second_rule(tmp_path: Path):
    message = refusal(tmp_path, RULE.format("count") + RULE.format("count") + "reject_abov = 3\n")
    assert "line 9" in message and "recipe.rules[1].reject_abov" in message and "reject_above" in message


ZONE = "[[recipe.zones]]\nname = 'rim'\npolygon_px = [\n  [0, 0],\n  [0, 9],\n  [9, 9],\n]\n"


def test_a_rule_of_an_unknown_zone_names_the_nearest(tmp_path: Path):
    message = refusal(tmp_path, ZONE + RULE.format("count") + "zones = ['rimm']\n")
    assert "line 12" in message and "no zone is called 'rimm'; the nearest valid one is rim" in message


def test_two_zones_of_one_name_are_refused(tmp_path: Path):
    message = refusal(tmp_path, ZONE + ZONE)
    assert "line 9" in message and "two zones are called 'rim'" in message


@pytest.mark.parametrize(
    "polygon", ["[[0, 0], [1, 1]]", "[[0, 0], [0, 5], [-1, 5]]", "[[0, 0], [0, 5], [5]]"]
)
def test_polygons_that_are_none_are_refused(tmp_path: Path, polygon: str):
    message = refusal(tmp_path, f"[[recipe.zones]]\nname = 'rim'\npolygon_px = {polygon}")
    assert "line 3" in message and "polygon_px" in message


def test_a_missing_config_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml.*inspector init"):
        load_config(tmp_path / "nowhere.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "binary.toml")


def test_the_config_cannot_be_changed():
    with pytest.raises(ValidationError):
        LineConfig().camera.source = "1"  # type: ignore[misc]


def test_zones_become_areas(tmp_path: Path):
    recipe = load(tmp_path, ZONE + "kind = 'exclude'\n").recipe
    assert recipe.areas == (Area("rim", ((0, 0), (0, 9), (9, 9)), exclude=True),)


def test_the_recipe_text_gives_the_recipe_back_and_its_hash_names_it(tmp_path: Path):
    recipe = load(tmp_path, uncommented()).recipe
    again = Recipe.model_validate_json(recipe.text())
    assert again.model_copy(update={"lot": recipe.lot}) == recipe
    assert again.hash() == recipe.hash() and len(recipe.hash()) == 64
    assert recipe.model_copy(update={"join_gap_px": 1}).hash() != recipe.hash()
    assert recipe.model_copy(update={"lot": "other"}).hash() == recipe.hash()
