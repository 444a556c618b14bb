"""What was measured with what: enough to repeat the evaluation and to prove that nothing was swapped."""

from __future__ import annotations

import dataclasses
import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from inspector.engine.protocol import EngineInfo
from inspector.package import ModelPackage
from trainer.checkpoint import BEST, TrainedNetwork
from trainer.dataset import Dataset, Sample
from trainer.metrics.parting import partings_of
from trainer.report.words import many

LIBRARIES = (
    "inspection-appliance",
    "numpy",
    "opencv-python-headless",
    "scipy",
    "scikit-image",
    "torch",
    "openvino",
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Model, data and software of one evaluation, each as names with values."""

    title: str
    """The model's name for a headline."""
    model: dict[str, str]
    data: dict[str, str]
    software: dict[str, str]

    def json(self) -> dict[str, Any]:
        """All of it, under `identity`."""
        return {"identity": {"model": self.model, "data": self.data, "software": self.software}}


def identity(
    path: Path,
    model: TrainedNetwork | ModelPackage,
    engines: Sequence[EngineInfo],
    dataset: Dataset,
    samples: Sequence[Sample],
    split: str,
) -> Identity:
    """path: of the model. engines: what has run. samples: those of the dataset that were evaluated."""
    about, title = (
        (_of_package(model), f"{model.manifest.name} {model.manifest.version}")
        if isinstance(model, ModelPackage)
        else (_of_run(path, model), f"run {path.resolve().name}")
    )
    about["engine"] = "; ".join(sorted({_engine(info) for info in engines})) or "none ran"
    folders = list(dict.fromkeys(sample.folder for sample in samples))
    parts = len({sample.part for sample in samples})
    shown = dataclasses.replace(dataset, samples=tuple(samples))
    data = {
        "folders": ", ".join(folder.name for folder in folders),
        "split": split,
        "frames": f"{many(len(samples), 'frame')} of {many(parts, 'part')}",
        "sha256 of these frames": shown.sha256(),
        "sha256 of all frames": dataset.sha256(),
        "sha256 of their files alone": dataset.files_sha256(),  # what models of earlier versions name
    }
    software = {
        "date (UTC)": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        **{name: version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    return Identity(title, about, data, software)


def _of_package(package: ModelPackage) -> dict[str, str]:
    manifest = package.manifest
    said = {
        "package": f"{manifest.name} {manifest.version}",
        "package id": package.id,
        **{f"sha256 of {name}": digest for name, digest in sorted(manifest.files.items())},
        "trained on (sha256)": manifest.training_data_sha256,
        "seed": str(manifest.seed),
        "network": f"U-Net, depth {manifest.depth}, base {manifest.base}, channels {manifest.channels}",
    }
    for name, threshold in manifest.thresholds.items():
        target = threshold.escape_target
        chosen = _aim(target, _choice(name, manifest.metrics))
        if package.in_8_bits and target is None:  # whatever it was chosen for, it was not for this network
            chosen = "for the network in floating point"
        said[f"threshold of {name}"] = f"{threshold.value:.3f}, chosen on validation frames {chosen}"
    return said | _told_apart(package.classes, manifest.metrics)


def _of_run(path: Path, trained: TrainedNetwork) -> dict[str, str]:
    config = trained.config
    return {
        "run": path.resolve().name,
        f"sha256 of {BEST}": hashlib.sha256((path / BEST).read_bytes()).hexdigest(),
        "trained on (sha256)": trained.data_sha256,
        "steps": f"{trained.step:,}",
        "seed": str(trained.seed),
        "network": f"U-Net, depth {config.depth}, base {config.base}, channels {config.channels}",
        **{
            f"threshold of {name}": f"{threshold:.3f}, chosen on validation frames"
            f" {_aim(choice.get('escape_target'), choice)}"
            for name, threshold in zip(trained.classes, trained.thresholds, strict=True)
            for choice in [_choice(name, trained.metrics)]
        },
        **_told_apart(trained.classes, trained.metrics),
    }


def _told_apart(classes: Sequence[str], metrics: Mapping[str, Any]) -> dict[str, str]:
    """How instances are told apart, of classes where something was chosen."""
    found = zip(classes, partings_of(classes, metrics), strict=True)
    return {f"instances of {name}": parting.words for name, parting in found if parting.words}


def _engine(info: EngineInfo) -> str:
    proof = "" if info.certificate == "none" else f", certificate {info.certificate[:12]}"
    return f"{info.name} {info.version}, {info.precision} on {info.device}{proof}"


def _choice(name: str, metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ClassChoice of a class, as it was kept; empty where none was."""
    found: Mapping[str, Any] = metrics.get("validation", {}).get("classes", {}).get(name, {})
    return found


def _aim(target: float | None, choice: Mapping[str, Any]) -> str:
    """What the threshold of a class was chosen for."""
    if target is not None:
        return f"for an escape target of {target:g}"
    return "to tell most instances apart" if choice.get("ap50") is not None else "for the best IoU"
