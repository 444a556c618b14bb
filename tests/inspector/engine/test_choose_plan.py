import re

import pytest

from inspector.config import ModelConfig
from inspector.engine.memory import MB, MemoryModel
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
