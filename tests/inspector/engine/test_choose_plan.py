import re
from dataclasses import replace

import pytest

from inspector.config import ModelConfig
from inspector.engine.memory import MB, MOST_WAITING, MemoryModel, UnderWay
from inspector.engine.open import choose_plan
from inspector.errors import MemoryLimitError, ShapeMismatch
from inspector.package import ModelPackage

LARGE = (3000, 4000)


def test_auto_takes_the_whole_frame_while_it_fits(tiny_package: ModelPackage) -> None:
    plan = choose_plan(tiny_package, (480, 640), ModelConfig())
    assert len(plan.tiles) == 1


def test_auto_stays_within_the_limit(tiny_package: ModelPackage) -> None:
    settings = ModelConfig(memory_mb=900)
    plan = choose_plan(tiny_package, LARGE, settings)
    assert len(plan.tiles) > 1
    assert MemoryModel(tiny_package, "f32").resident_bytes(LARGE, plan.input) <= 900 * MB


def test_the_whole_frame_over_the_limit_is_refused_with_sizes_and_remedy(tiny_package: ModelPackage) -> None:
    with pytest.raises(MemoryLimitError, match=r"need about \d+ MB, the limit.* is 900 MB.*auto") as refusal:
        choose_plan(tiny_package, LARGE, ModelConfig(memory_mb=900, tile="whole"))
    assert refusal.value.exit_code == 3
    predicted = int(re.findall(r"about (\d+) MB", str(refusal.value))[0])
    assert predicted > 900
    assert (
        len(choose_plan(tiny_package, LARGE, ModelConfig(memory_mb=predicted + 1, tile="whole")).tiles) == 1
    )


def test_a_limit_below_the_smallest_tile_names_it(tiny_package: ModelPackage) -> None:
    with pytest.raises(MemoryLimitError, match="memory_mb = 64"):
        choose_plan(tiny_package, LARGE, ModelConfig(memory_mb=64))


def test_an_asked_tile_is_an_input_size(tiny_package: ModelPackage) -> None:
    assert choose_plan(tiny_package, (480, 640), ModelConfig(tile="140x180")).input == (140, 180)
    with pytest.raises(ShapeMismatch, match="140 or 144"):
        choose_plan(tiny_package, (480, 640), ModelConfig(tile="141x180"))


def test_more_channels_pixels_and_precision_cost_more(tiny_package: ModelPackage) -> None:
    f32, bf16 = MemoryModel(tiny_package, "f32"), MemoryModel(tiny_package, "bf16")
    assert f32.resident_bytes(LARGE, (500, 500)) > bf16.resident_bytes(LARGE, (500, 500))
    assert f32.resident_bytes(LARGE, (500, 500)) > f32.resident_bytes((1000, 1000), (500, 500))
    assert f32.tile_px_within(LARGE, 64 * MB) == 0


@pytest.mark.parametrize(("base", "classes", "measured"), [(8, 2, 39.7), (16, 5, 68.8), (32, 2, 129.5)])
def test_int8_takes_a_byte_a_value(
    tiny_package: ModelPackage, base: int, classes: int, measured: float
) -> None:
    """A little more than what was measured of OpenVINO 2026.4 at depth 4: bytes for each pixel of a tile."""
    names = tuple(f"class_{number}" for number in range(classes))
    manifest = tiny_package.manifest.model_copy(update={"base": base, "classes": names})
    model = MemoryModel(replace(tiny_package, manifest=manifest), "int8")
    assert measured < model.bytes_per_input_px < 1.25 * measured


def test_zones_are_planes_of_the_frame(tiny_package: ModelPackage) -> None:
    none, two = MemoryModel(tiny_package, "f32"), MemoryModel(tiny_package, "f32", areas=2)
    assert two.fixed_bytes(LARGE) - none.fixed_bytes(LARGE) == 3 * LARGE[0] * LARGE[1]


def test_what_lies_under_way_takes_what_the_limit_leaves(tiny_package: ModelPackage) -> None:
    model, tile = MemoryModel(tiny_package, "f32"), (500, 500)
    least = model.resident_bytes(LARGE, tile)
    tight = model.under_way(LARGE, tile, least + MB)
    assert tight == UnderWay() and tight.judging == 1
    usual = model.under_way(LARGE, tile, 2 * least)
    assert (usual.ahead, usual.judging) == (2, 3) and 1 < usual.waiting < MOST_WAITING
    added = usual.bytes_per_px(1, 1.0) - tight.bytes_per_px(1, 0.25)
    assert least + added * LARGE[0] * LARGE[1] <= 2 * least
    assert model.under_way((480, 640), tile, 4096 * MB).waiting == MOST_WAITING


def test_the_largest_frame_is_the_last_that_is_planned(tiny_package: ModelPackage) -> None:
    px = MemoryModel(tiny_package, "f32").frame_px_within(1500 * MB)
    assert 50e6 < px < 200e6
    choose_plan(tiny_package, (1000, px // 1000), ModelConfig(memory_mb=1500))
    with pytest.raises(MemoryLimitError, match=r"before the first tile.*memory_mb = 1500"):
        choose_plan(tiny_package, (1000, 2 * px // 1000), ModelConfig(memory_mb=1500))
    assert MemoryModel(tiny_package, "f32").frame_px_within(64 * MB) == 0
