"""`inspector models show`: a package's manifest, certificates and compiled engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inspector.cli.validation import class_texts, validation_text, validation_warning
from inspector.units import shown

if TYPE_CHECKING:
    from inspector.engine.compiled import CompiledEngine
    from inspector.package import ModelPackage


def facts_of(package: ModelPackage) -> dict[str, Any]:
    """Everything that is shown, as JSON. Raises PackageError where it does not say how its int8 was made."""
    from inspector.engine.quantised import quantisation

    manifest, made = package.manifest, quantisation(package)
    return {
        "path": str(package.path),
        "id": package.id,
        "name": manifest.name,
        "version": manifest.version,
        "classes": {name: manifest.thresholds[name].value for name in package.classes},
        "channels": manifest.channels,
        "depth": manifest.depth,
        "base": manifest.base,
        "halo_px": manifest.halo,
        "mm_per_px": manifest.mm_per_px,
        "training_data_sha256": manifest.training_data_sha256,
        "metrics": manifest.metrics,
        "warning": validation_warning(manifest.metrics),
        "int8": None if made is None else made.note,
        "golden": None if made is None else made.golden_words,
        "certificates": certificates_of(package),
        "engines": engines_of(package),
    }


def certificates_of(package: ModelPackage) -> list[dict[str, Any]]:
    """This machine's certificates of the package; one that was changed says so under `refused`."""
    from inspector.engine.certificate import kept_certificates
    from inspector.errors import CertificateError

    return [
        {"refused": str(one)}
        if isinstance(one, CertificateError)
        else {"id": one.id(), **one.model_dump(mode="json")}
        for one in kept_certificates(package)
    ]


def engines_of(package: ModelPackage) -> list[dict[str, Any]]:
    """This machine's compiled engines; one that may not serve here says why under `refused`."""
    from inspector.engine.compiled import Stored, stored_engines

    found: list[dict[str, Any]] = []
    for one in stored_engines(package):
        if isinstance(one, Stored):
            found.append({"record": str(one.path), **one.record.model_dump(mode="json")})
            found[-1]["refused"] = _why_not(package, one.record)
        else:
            found.append({"refused": str(one)})
    return found


def _why_not(package: ModelPackage, record: CompiledEngine) -> str | None:
    """Why this engine would be refused on this machine, or None."""
    from inspector.engine.compiled import verify
    from inspector.engine.cuda import cuda_runtime, probe_gpu
    from inspector.engine.tensorrt_api import load_tensorrt
    from inspector.errors import InspectionError

    try:
        gpu = probe_gpu(cuda_runtime())
        verify(record, package, load_tensorrt("tensorrt").__version__, gpu)
    except InspectionError as error:
        return str(error)
    return None


def text_of(facts: dict[str, Any]) -> str:
    """The facts for people."""
    colour = "gray" if facts["channels"] == 1 else "colour"
    scale = "no scale" if facts["mm_per_px"] is None else f"{facts['mm_per_px']} mm a pixel (y, x)"
    classes = ", ".join(f"{name} from {value:.3f}" for name, value in facts["classes"].items())
    lines = [
        f"{facts['name']} {facts['version']}  {facts['id']}",
        f"  network     {colour}, depth {facts['depth']}, base {facts['base']}, halo {facts['halo_px']} px",
        f"  classes     {classes}",
        f"  trained     {scale}, data {facts['training_data_sha256'][:12]}",
        f"  validation  {validation_text(facts['metrics'])}",
        *(f"              {words}" for words in class_texts(facts["metrics"])),
    ]
    if facts["warning"]:
        lines.append(f"  WARNING     {facts['warning']}")
    for one in facts["certificates"]:
        lines.append(f"  certificate {_certificate_text(one)}")
    if not facts["certificates"]:
        lines.append("  certificate none on this machine yet; one is made at the first load")
    for one in facts["engines"]:
        lines.append(f"  engine      {_engine_text(one)}")
    if facts["int8"]:
        lines.append(f"  engine      {facts['int8']}; none to compile")
        lines.append(f"  golden      {facts['golden']}")
    elif not facts["engines"]:
        on_gpu = f"only for an NVIDIA GPU, with `inspector models compile {facts['path']}`"
        lines.append(f"  engine      openvino runs the package as it is; TensorRT is compiled {on_gpu}")
    return "\n".join(lines)


def _certificate_text(one: dict[str, Any]) -> str:
    from inspector.package import LARGEST_HALF

    if "refused" in one:
        return f"REFUSED: {one['refused']}"
    parity = one["parity"]
    worst = max(parity["iou_change"], key=lambda name: float(parity["iou_change"][name]))
    note = f" ({one['note']})" if one["note"] else ""
    trained = "network in 8 bits" if one["precision"] == "int8" else "trained network"
    text = (
        f"{one['id'][:12]}  {one['engine']} {one['engine_version']} {one['precision']}{note}, tile"
        f" {one['tile'][0]}x{one['tile'][1]}, {one['device']}: largest difference"
        f" {parity['max_difference']:.4f}, mean {parity['mean_difference']:.6f}, {parity['changed']} of"
        f" {parity['pixels']} mask pixels changed, {parity['defects'] - parity['lost']} of the"
        f" {parity['defects']} defects kept that the {trained} itself marks on the golden tiles, IoU"
        f" with it changed by at most {parity['iou_change'][worst]:.4f} ({worst})"
    )
    if one["precision"] == "int8" and len(one["layers"]) > 1:
        text += f", only {one['layers']['int8']} of {sum(one['layers'].values())} convolutions in int8"
    if one["precision"] == "fp16":
        text += f", inner values to {shown(one['activation'])} of {LARGEST_HALF:.0f}"
    return text


def _engine_text(one: dict[str, Any]) -> str:
    if "record" not in one:
        return f"REFUSED: {one['refused']}"
    what = (
        f"{one['engine']} {one['version']} {one['precision']}, tile {one['tile'][0]}x{one['tile'][1]}, up to"
        f" {one['batch']['most']} at once, {one['gpu']}, {one['plan_bytes'] / 1e6:.1f} MB, {one['built_utc']}"
    )
    return what if one["refused"] is None else f"{what}\n              REFUSED here: {one['refused']}"


@click.command()
@click.argument("package", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(package: Path, as_json: bool) -> int:
    """Show a PACKAGE's manifest, and its certificates and compiled engines on this machine.

    \b
    Example:  inspector models show demo_model --json
    """
    from inspector.package import load_package

    facts = facts_of(load_package(package))
    click.echo(json.dumps(facts) if as_json else text_of(facts))
    return 0
