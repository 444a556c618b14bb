"""Frame -> Inspection: segment, measure, judge. No threads and no database."""

from __future__ import annotations

import importlib
import time
from difflib import get_close_matches

import numpy as np

from inspector.config import Recipe
from inspector.defects import find_defects
from inspector.engine.protocol import Engine, EngineInfo
from inspector.engine.segment import find_damage
from inspector.errors import ConfigError, EngineError, Refused, ShapeMismatch
from inspector.inputs import to_input
from inspector.needed import inspected_pixels, needed_tiles, reached_tiles
from inspector.package import ModelPackage
from inspector.tiling import TilePlan
from inspector.types import Fault, Frame, Image, Inspection, Reason, Segmentation, Verdict, VerdictWord
from inspector.units import shown
from inspector.verdict import judge
from inspector.zones import Zones

LARGEST_SCALE_DIFFERENCE = 0.10


class Pipeline:
    """Judges frames of one size with one package, engine and recipe.

    `segment` and `judge` may run in two threads, each always in the same one.
    """

    def __init__(self, package: ModelPackage, engine: Engine, plan: TilePlan, recipe: Recipe) -> None:
        """Raises ConfigError when the recipe names a class that the package lacks, Refused when the
        package was trained at another scale than the recipe says is under the camera."""
        check_recipe(recipe, package)
        if recipe.scale is not None and recipe.scale.y != recipe.scale.x:
            importlib.import_module("scipy.ndimage")  # widths will need it, and no frame shall wait for it
        self._package, self._engine, self._plan, self._recipe = package, engine, plan, recipe
        chosen = zip(package.classes, package.thresholds, strict=True)
        self._thresholds = tuple(recipe.thresholds.get(name, default) for name, default in chosen)
        self._zones = Zones(plan.frame, recipe.areas)
        self._tiles, seen = plan.tiles, None
        if recipe.areas:
            self._tiles = needed_tiles(plan, self._zones.counted)
            seen = inspected_pixels(plan, self._tiles)
        self._skipped = tuple(tile for tile in plan.tiles if tile not in self._tiles)
        # Of the tiles that will be computed, not of those that should be: a tile left out by mistake
        # lowers it, and the frame is UNINSPECTED(coverage).
        self._coverage = self._zones.coverage(seen)
        self._colours: int | None = None

    @property
    def served_by(self) -> EngineInfo:
        """What really runs."""
        return self._engine.info

    def check(self, frame: Frame) -> Reason | None:
        """Why this frame cannot be segmented, or None: its own fault, or another size, depth or
        number of colours than the run's first frame."""
        if frame.fault is not None:
            return frame.fault
        image = frame.image
        if image is None:
            return Reason(Fault.CAMERA.value, "the camera gave no picture")
        colours = image.shape[2] if image.ndim == 3 else 1
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or colours not in (1, 3, 4):
            words = f"picture of type {image.dtype} and shape {image.shape}, not 8-bit gray or colour"
        elif image.shape[:2] != self._plan.frame:
            words = f"picture of {_size(image.shape)} in a run of {_size(self._plan.frame)}"
        elif self._colours not in (None, colours):
            words = f"picture with {colours} colour planes in a run with {self._colours}"
        else:
            return None
        return Reason(Fault.FORMAT.value, words)

    def segment(self, frame: Frame) -> Segmentation:
        """Where the frame is damaged; nothing is marked in tiles outside the zones that no defect reaches.

        Beside the frame this takes 2 bytes a pixel and one tile, whatever the size of the frame.
        Raises ShapeMismatch for a frame that `check` finds fault with, EngineError when the
        engine fails.
        """
        wrong = self.check(frame)
        if wrong is not None or frame.image is None:
            raise ShapeMismatch(f"Frame {frame.number}: {wrong.words if wrong else 'no picture'}.")
        self._colours = frame.image.shape[2] if frame.image.ndim == 3 else 1
        return self._segment(to_input(frame.image, self._package.manifest.channels))

    def _segment(self, image: Image) -> Segmentation:
        """The needed tiles first, then, as long as damage leads into a skipped one, those as well."""
        found = Segmentation.of_nothing(self._plan.frame)
        tiles, skipped, reach = self._tiles, self._skipped, self._recipe.join_gap_px + 1
        while tiles:  # none at all when the zones leave nothing to inspect; coverage 0 says so
            find_damage(image, self._plan, self._engine, self._thresholds, tiles, found)
            tiles = reached_tiles(found.mask, skipped, reach)
            skipped = tuple(tile for tile in skipped if tile not in tiles)
        return found

    def judge(
        self, frame: Frame, found: Segmentation, stages_ms: dict[str, float] | None = None
    ) -> Inspection:
        """The inspection of a segmented frame; UNINSPECTED(late) past the recipe's deadline.

        stages_ms: what was measured before; the result adds `defects` and `judge`.
        Raises ShapeMismatch when what was found does not fit the plan and the classes.
        """
        started = time.perf_counter()
        defects = find_defects(
            found,
            self._package.classes,
            scale=self._recipe.scale,
            join_gap_px=self._recipe.join_gap_px,
            zones=self._zones,
        )
        measured = time.perf_counter()
        fault = frame.fault or self._late(frame)
        verdict = judge(defects, self._recipe, coverage=self._coverage, fault=fault)
        stages = {
            **(stages_ms or {}),
            "defects": 1000 * (measured - started),
            "judge": 1000 * (time.perf_counter() - measured),
        }
        return Inspection(frame, verdict, defects, found.mask, self._coverage, time.monotonic_ns(), stages)

    def inspect(self, frame: Frame) -> Inspection:
        """Segment and judge; every fault and engine failure becomes UNINSPECTED, never an error."""
        wrong = self.check(frame)
        if wrong is not None:
            return refused(frame, wrong)
        started = time.perf_counter()
        try:
            found = self.segment(frame)
        except EngineError as error:
            return refused(frame, Fault.ENGINE, str(error))
        return self.judge(frame, found, {"infer": 1000 * (time.perf_counter() - started)})

    def _late(self, frame: Frame) -> Reason | None:
        deadline_ms = self._recipe.deadline_ms
        age_ms = (time.monotonic_ns() - frame.mono_ns) / 1e6
        if deadline_ms is None or age_ms <= deadline_ms:
            return None
        words = f"judged {age_ms:.0f} ms after the grab, limit {shown(deadline_ms)} ms"
        return Reason(Fault.LATE.value, words)


def refused(frame: Frame, fault: Fault | Reason, words: str = "") -> Inspection:
    """UNINSPECTED for a frame that nobody inspected. words: for a Fault, what to tell."""
    reason = Reason(fault.value, words) if isinstance(fault, Fault) else fault
    verdict = Verdict(VerdictWord.UNINSPECTED, (reason,))
    return Inspection(frame, verdict, judged_mono_ns=time.monotonic_ns())


def check_recipe(recipe: Recipe, package: ModelPackage) -> None:
    """Raises ConfigError for a class that the package does not know, Refused for a package that
    was trained at a scale more than 10 % away from the one under the camera."""
    named = [("recipe.thresholds", name) for name in recipe.thresholds]
    named += [(f"recipe.rules[{i}].class", rule.class_name) for i, rule in enumerate(recipe.rules)]
    for key, name in named:
        if name not in package.classes:
            close = get_close_matches(name, package.classes, n=1)
            hint = f"the nearest is {close[0]}" if close else f"it has {', '.join(package.classes)}"
            raise ConfigError(f"{key} names {name!r}, which {package.path} does not know; {hint}.")
    trained, here = package.manifest.mm_per_px, recipe.mm_per_px
    if trained is None or here is None:
        return
    for axis, at_training, now in zip("yx", trained, here, strict=True):
        if abs(now - at_training) > LARGEST_SCALE_DIFFERENCE * at_training:
            raise Refused(
                f"{package.path} was trained at {shown(at_training)} mm per pixel ({axis}) and the camera"
                f" sees {shown(now)}, more than 10 % away; correct recipe.mm_per_px or train at this scale."
            )


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
