"""Frame -> Inspection with an engine that sees what is dark as a scratch and what is bright as a dent."""

import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inspector.config import Recipe
from inspector.engine.fake import FakeEngine
from inspector.errors import ConfigError, EngineError, Refused, ShapeMismatch
from inspector.package import Manifest, ModelPackage, Normalisation, Threshold
from inspector.pipeline import Pipeline, refused
from inspector.tiling import Geometry, plan_tiles
from inspector.types import Fault, Frame, Inspection, Reason, VerdictWord

SIZE = (50, 70)
GEOMETRY = Geometry(3)
PLAN = plan_tiles(SIZE, (24, 32), GEOMETRY)


def package(channels: int = 1, **changes: object) -> ModelPackage:
    manifest = Manifest(
        name="tiny",
        version="1",
        classes=("scratch", "dent"),
        channels=channels,
        depth=3,
        base=4,
        halo=GEOMETRY.halo,
        grid=GEOMETRY.grid,
        normalisation=Normalisation(mean=(128.0,) * channels, std=(64.0,) * channels),
        thresholds={"scratch": Threshold(value=0.5), "dent": Threshold(value=0.5)},
        training_data_sha256="0" * 64,
        seed=1,
        **changes,  # type: ignore[arg-type]
    )
    return ModelPackage(Path("tiny"), manifest, manifest.package_id())


def pipeline(engine: FakeEngine | None = None, channels: int = 1, **recipe: object) -> Pipeline:
    engine = engine or FakeEngine(2, GEOMETRY, PLAN.input)
    return Pipeline(package(channels), engine, PLAN, Recipe.model_validate(recipe))


def frame(image: np.ndarray | None = None, fault: Reason | None = None) -> Frame:
    return Frame(7, image, time.time_ns(), time.monotonic_ns(), "cam", fault=fault)


def gray(level: int = 128) -> np.ndarray:
    return np.full(SIZE, level, np.uint8)


def scratched() -> np.ndarray:
    image = gray()
    image[20:22, 10:60] = 0
    return image


def code(inspection: Inspection) -> str:
    assert inspection.verdict.word is VerdictWord.UNINSPECTED
    assert inspection.defects == () and inspection.coverage == 0.0
    return inspection.verdict.reasons[0].code


@pytest.mark.parametrize("planes", [2, 5])
def test_a_picture_with_planes_that_no_rule_covers_is_uninspected(planes: int):
    assert code(pipeline().inspect(frame(np.zeros((*SIZE, planes), np.uint8)))) == "format"


def test_a_good_part_passes():
    said = pipeline().inspect(frame(gray()))
    assert said.verdict.word is VerdictWord.PASS
    assert said.mask is not None and not said.mask.any()
    assert said.coverage == 1.0 and set(said.stages_ms) == {"infer", "defects", "judge"}


def test_a_scratch_across_tiles_is_one_defect_that_rejects():
    said = pipeline().inspect(frame(scratched()))
    assert said.verdict.word is VerdictWord.REJECT
    (defect,) = said.defects
    assert (defect.class_name, defect.area_px, defect.box) == ("scratch", 100, (20, 10, 22, 60))


def test_segment_and_judge_in_two_steps_are_inspect():
    line, one = pipeline(), frame(scratched())
    said = line.judge(one, line.segment(one), {"infer": 3.0})
    assert said.stages_ms["infer"] == 3.0
    assert (said.verdict, said.defects) == (line.inspect(one).verdict, line.inspect(one).defects)


def test_the_recipe_decides_limits_thresholds_scale_gap_and_zones():
    rule = {"class": "scratch", "measure": "length_mm", "reject_above": 5.0, "review_above": 4.0}
    measured = pipeline(rules=[rule], mm_per_px=(0.1, 0.1)).inspect(frame(scratched()))
    assert measured.defects[0].length_mm == pytest.approx(5.0, abs=1e-3)
    assert measured.verdict.word in (VerdictWord.REVIEW, VerdictWord.REJECT)
    assert pipeline(rules=[rule], mm_per_px=(0.05, 0.05)).inspect(frame(scratched())).verdict.word == "PASS"
    faint = gray()
    faint[20:22, 10:60] = 90
    assert pipeline().inspect(frame(faint)).verdict.word == "PASS"
    assert pipeline(thresholds={"scratch": 0.2}).inspect(frame(faint)).verdict.word == "REJECT"
    broken = scratched()
    broken[20:22, 30:33] = 128
    assert len(pipeline().inspect(frame(broken)).defects) == 2
    assert len(pipeline(join_gap_px=3).inspect(frame(broken)).defects) == 1
    label = {"name": "label", "kind": "exclude", "polygon_px": [[15, 0], [15, 70], [30, 70], [30, 0]]}
    assert pipeline(zones=[label]).inspect(frame(scratched())).verdict.word == "PASS"


def test_an_included_area_outside_the_frame_is_uninspected():
    zone = {"name": "part", "polygon_px": [[0, 0], [0, 70], [100, 70], [100, 0]]}
    said = pipeline(zones=[zone]).inspect(frame(gray()))
    assert said.verdict.word is VerdictWord.UNINSPECTED
    assert (said.verdict.reasons[0].code, said.coverage) == ("coverage", pytest.approx(0.5))
    assert pipeline(zones=[zone], min_coverage=0.5).inspect(frame(gray())).verdict.word == "PASS"


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((50, 71), np.uint8),
        np.zeros(SIZE, np.uint16),
        np.zeros((*SIZE, 3, 1), np.uint8),
    ],
)
def test_another_size_or_depth_is_uninspected_format(image: np.ndarray):
    line = pipeline()
    assert code(line.inspect(frame(image))) == "format"
    with pytest.raises(ShapeMismatch):
        line.segment(frame(image))


def test_another_colour_than_the_first_frame_is_uninspected_format():
    line = pipeline()
    assert line.inspect(frame(gray())).verdict.word == "PASS"
    assert code(line.inspect(frame(np.full((*SIZE, 3), 128, np.uint8)))) == "format"
    assert line.inspect(frame(gray())).verdict.word == "PASS"


def test_a_colour_picture_goes_into_a_gray_model_and_a_gray_one_into_a_colour_model():
    assert pipeline().inspect(frame(np.dstack([scratched()] * 3))).verdict.word == "REJECT"
    assert pipeline(channels=3).inspect(frame(scratched())).verdict.word == "REJECT"


def test_a_frame_without_picture_or_with_a_fault_is_uninspected():
    assert code(pipeline().inspect(frame(None, Reason("black", "dark")))) == "black"
    assert code(pipeline().inspect(frame(None))) == "camera"
    assert code(pipeline().inspect(frame(gray(), Reason("frozen", "same")))) == "frozen"


@pytest.mark.parametrize("options", [{"fail_runs": (2,)}, {"missing_runs": (2,)}])
def test_an_engine_that_fails_gives_uninspected_and_the_next_frame_is_judged(options: dict[str, tuple[int]]):
    line = pipeline(FakeEngine(2, GEOMETRY, PLAN.input, **options))  # type: ignore[arg-type]
    words = [line.inspect(frame(gray())).verdict.word for _ in range(3)]
    assert words == ["PASS", "UNINSPECTED", "PASS"]
    line = pipeline(FakeEngine(2, GEOMETRY, PLAN.input, fail_runs=(1,)))
    with pytest.raises(EngineError):
        line.segment(frame(gray()))


def test_judged_after_its_deadline_is_late_whatever_was_found():
    old = replace(frame(scratched()), mono_ns=time.monotonic_ns() - 10**9)
    said = pipeline(deadline_ms=500).inspect(old)
    assert said.verdict.word is VerdictWord.UNINSPECTED and said.verdict.reasons[0].code == "late"
    assert len(said.defects) == 1
    assert pipeline(deadline_ms=60_000).inspect(frame(gray())).verdict.word == "PASS"


def test_refused_tells_what_it_was_told():
    said = refused(frame(gray()), Fault.PAUSED, "an operator paused the line")
    assert said.verdict.reasons == (Reason("paused", "an operator paused the line"),)
    assert code(said) == "paused" and said.mask is None


@pytest.mark.parametrize(
    "recipe",
    [
        {"thresholds": {"scrach": 0.4}},
        {"rules": [{"class": "scrach", "measure": "count", "reject_above": 1}]},
    ],
)
def test_a_class_that_the_package_lacks_is_named_with_the_nearest(recipe: dict[str, object]):
    with pytest.raises(ConfigError, match=r"recipe\.(thresholds|rules\[0\]\.class) names 'scrach'.*scratch"):
        pipeline(**recipe)


@pytest.mark.parametrize(
    ("here", "refused"), [((0.1, 0.109), False), ((0.1, 0.112), True), ((0.08, 0.1), True)]
)
def test_a_package_of_another_scale_is_refused(here: tuple[float, float], refused: bool):
    trained = package(mm_per_px=(0.1, 0.1))
    engine = FakeEngine(2, GEOMETRY, PLAN.input)
    if refused:
        with pytest.raises(Refused, match=r"trained at 0\.1 mm per pixel"):
            Pipeline(trained, engine, PLAN, Recipe(mm_per_px=here))
    else:
        Pipeline(trained, engine, PLAN, Recipe(mm_per_px=here))
    Pipeline(trained, engine, PLAN, Recipe())


def test_a_scale_under_a_microscope_is_no_power_of_ten() -> None:
    """`was trained at 5e-05 mm per pixel`."""
    trained, engine = package(mm_per_px=(5e-5, 5e-5)), FakeEngine(2, GEOMETRY, PLAN.input)
    with pytest.raises(Refused, match=r"trained at 0\.00005 mm per pixel \(y\) .* sees 0\.00008, more"):
        Pipeline(trained, engine, PLAN, Recipe(mm_per_px=(8e-5, 8e-5)))


def test_memory_beside_the_frame_is_two_bytes_a_pixel_a_tile_and_a_band() -> None:
    """Six megapixels and twelve classes, whose probabilities alone would be 72 MB."""
    names = tuple(f"class {k}" for k in range(12))
    plan = plan_tiles((2400, 2500), (252, 252), GEOMETRY)
    manifest = package().manifest.model_copy(
        update={"classes": names, "thresholds": dict.fromkeys(names, Threshold(value=0.5))}
    )
    many = ModelPackage(Path("many"), manifest, manifest.package_id())
    line = Pipeline(many, FakeEngine(12, GEOMETRY, plan.input), plan, Recipe())
    image = np.full(plan.frame, 128, np.uint8)
    image[3:40, 5:50] = image[-9:, -7:] = 0
    tracemalloc.start()
    said = line.inspect(frame(image))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [defect.area_px for defect in said.defects] == [37 * 45, 9 * 7]
    assert peak < 2 * image.size + 20e6
