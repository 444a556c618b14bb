"""A network knows which pictures it has seen, and whoever measures it on them is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_run import Silent, make_data, request, resumption

from inspector.package import ModelPackage, write_package
from trainer import quantise
from trainer.checkpoint import load_run
from trainer.cli.evaluate import evaluate
from trainer.dataset import load_dataset
from trainer.export import export_package
from trainer.fit import prepare, run
from trainer.golden import load_tiles
from trainer.resume import prepare_resume
from trainer.seen import SEEN, SeenPictures


def picture(seed: int, shape: tuple[int, int] = (6, 8)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


BEFORE = SeenPictures.of([picture(1)], [picture(2)])


def test_pictures_are_known_by_size_and_pixels_and_counted_once() -> None:
    seen = SeenPictures.of([picture(1), picture(2)], [picture(2), picture(3)])
    asked = [picture(1), picture(2), picture(3), picture(4), picture(1).reshape(8, 6), picture(1).copy()]
    assert seen.among(asked) == {"trained": 3, "validated": 1}
    again = SeenPictures.read(json.loads(json.dumps(seen.kept())))
    assert again == seen and again.among(asked) == seen.among(asked)
    joined = SeenPictures.of([picture(4)], []).joined(seen)
    assert joined.among(asked) == {"trained": 4, "validated": 1}
    assert seen.joined(None) == seen and SeenPictures.read(None) is None


def of(folder: Path) -> SeenPictures:
    train, held_out = load_dataset([folder]).validation(0.15, 0)
    return SeenPictures.of([s.image() for s in train], [s.image() for s in held_out])


def test_a_run_keeps_what_it_saw_also_when_it_is_resumed(data: Path, interrupted: Path) -> None:
    assert load_run(interrupted).seen == of(data)
    run(prepare_resume(resumption(data, interrupted)), Silent())
    seen = load_run(interrupted).seen
    assert seen == of(data) and (len(seen.trained), len(seen.validated)) == (10, 2)


def test_going_on_from_a_package_keeps_what_that_had_seen(
    data: Path, tiny_package: ModelPackage, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(data, tmp_path / "d"))
    (folder / "classes.json").write_text('{"1": "dark", "2": "bright"}')
    package = knowing(tiny_package, tmp_path / "p")
    settings = {"steps": 2, "init": package.path, "recipe": None, "base": None, "depth": None}
    begun = prepare(request(folder, tmp_path / "r", **settings))
    assert begun.training._origin.seen == of(folder).joined(BEFORE)


def test_an_int8_package_has_seen_what_its_source_saw_and_what_it_was_fitted_to(
    tiny_package: ModelPackage, spots: Path, tmp_path: Path
) -> None:
    training, validation = load_dataset([spots], channels=1, classes=("dark", "bright")).validation()
    fitted = SeenPictures.of([s.image() for s in training], [s.image() for s in validation])
    kept = quantise._seen(knowing(tiny_package, tmp_path / "p"), training, validation)
    assert SeenPictures.read(kept[SEEN]) == fitted.joined(BEFORE)
    assert quantise._seen(tiny_package, training, validation) == {}, "its source does not say"


def knowing(package: ModelPackage, out: Path) -> ModelPackage:
    """The package, with BEFORE as what it has seen."""
    manifest = package.manifest.model_copy(update={"metrics": {SEEN: BEFORE.kept()}})
    return write_package(out, manifest, package.onnx.read_bytes(), package.golden())


def test_test_frames_that_were_trained_on_are_said_aloud_of_run_and_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when somebody changes split.json after the training."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data, stems = make_data(tmp_path / "d"), [str(n) for n in range(12)]
    (data / "split.json").write_text(json.dumps({"train": stems[:9], "test": stems[9:]}))
    run(prepare(request(data, tmp_path / "r", steps=2)), Silent())
    export_package(load_run(tmp_path / "r"), load_tiles(tmp_path / "r"), tmp_path / "p", "p", "1")
    train, held_out = load_dataset([data]).validation(0.15, 0)
    assert (len(train), len(held_out)) == (7, 2)

    def told(model: str, *words: str) -> tuple[dict[str, int], str, str]:
        done = CliRunner().invoke(evaluate, [str(tmp_path / model), str(data), *words])
        assert done.exit_code == 0, done.output
        counted = CliRunner().invoke(evaluate, [str(tmp_path / model), str(data), *words, "--json"])
        return json.loads(counted.stdout.splitlines()[-1])["seen"], done.stdout, done.stderr

    for model in ("r", "p"):
        seen, table, said = told(model)
        assert seen == {"trained": 0, "validated": 0} and "this model" not in table + said
    test = [train[0].stem, train[1].stem, held_out[0].stem, "9"]
    others = [stem for stem in stems if stem not in test]
    (data / "split.json").write_text(json.dumps({"train": others, "test": test}))
    for model in ("r", "p"):
        seen, table, said = told(model)
        assert seen == {"trained": 2, "validated": 1}
        for words in (table, said):
            assert "2 of these 4 test frames trained this model" in words
            assert "1 of these 4 test frames chose this model's thresholds" in words
        assert told(model, "--split", "all")[0] == {"trained": 7, "validated": 2}
