"""The release graph and the package made of it, on small networks with weights like trained ones."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from inspector.engine.certificate import certify
from inspector.engine.graph import CompileOptions
from inspector.engine.openvino import OpenVinoEngine
from inspector.engine.parity import measure
from inspector.errors import CertificateError, Refused, UsageError
from inspector.package import load_package
from inspector.tiling import Geometry
from trainer.checkpoint import TrainedNetwork
from trainer.export import LEAST_EQUAL, HalfReport, export_package, half_report, probabilities
from trainer.golden import golden_tiles, load_tiles, save_tiles
from trainer.initial import start_from
from trainer.release import ReleaseGraph, bfloat16_keeping_sums, release_graph, released, to_onnx
from trainer.unet import UNet, UNetConfig


def network(depth: int = 3, channels: int = 1, skip: str = "concat", seed: int = 0) -> TrainedNetwork:
    """An untrained network whose batch norm and biases are not the neutral ones of a fresh one."""
    torch.manual_seed(seed)
    config = UNetConfig(channels=channels, classes=3, depth=depth, base=4, skip=skip, norm="batch")  # type: ignore[arg-type]
    net = UNet(config).eval()
    with torch.no_grad():
        for name, values in [*net.named_parameters(), *net.named_buffers()]:
            if "norm" in name and values.dtype == torch.float32:
                values.copy_(torch.rand_like(values) + 0.5)
            elif name.endswith("bias"):
                values.copy_(torch.randn_like(values) * 0.1)
        net.head.weight.mul_(0.1)
    return TrainedNetwork(
        net=net,
        config=config,
        classes=("scratch", "pit"),
        channels=channels,
        normalisation=((120.0,) * channels, (45.0,) * channels),
        thresholds=(0.5, 0.4),
        mm_per_px=(0.1, 0.1),
        data_sha256="0" * 64,
        seed=7,
        metrics={"miou": 0.5},
        step=1,
        fit_config="",
    )


def pictures(trained: TrainedNetwork, count: int, out: tuple[int, int] = (40, 40)) -> np.ndarray:
    geometry = Geometry(trained.config.depth)
    h, w = (geometry.input(geometry.output_at_least(n)) for n in out)
    shape = (count, h, w, trained.channels)
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module", params=[(3, 1, "concat"), (4, 3, "sum")])
def exported(request: pytest.FixtureRequest) -> tuple[TrainedNetwork, bytes]:
    depth, channels, skip = request.param
    trained = network(depth, channels, skip)
    return trained, to_onnx(release_graph(trained.net, trained.normalisation))


@pytest.mark.parametrize(("count", "out"), [(1, (4, 4)), (3, (28, 76)), (2, (60, 36))])
def test_one_graph_serves_every_legal_size_and_batch(
    exported: tuple[TrainedNetwork, bytes], count: int, out: tuple[int, int]
) -> None:
    trained, data = exported
    tiles = pictures(trained, count, out)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    prob, prob_f32 = session.run(["prob", "prob_f32"], {"image": tiles})
    reference = probabilities(ReleaseGraph(trained.net, trained.normalisation), tiles)
    assert prob.shape == reference.shape and prob.dtype == np.uint8
    assert np.abs(np.moveaxis(prob_f32[:, 1:], 1, -1) - reference).max() < 0.01
    assert prob_f32.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert np.abs(prob - 255 * np.moveaxis(prob_f32[:, 1:], 1, -1)).max() <= 0.5001
    assert reference.std() > 0.01, "the pictures make a difference"


def test_the_graph_is_the_contract_node_by_node(exported: tuple[TrainedNetwork, bytes]) -> None:
    trained, data = exported
    graph = onnx.load_from_string(data).graph
    kinds = [node.op_type for node in graph.node]
    assert kinds[:5] == ["Cast", "Transpose", "Sub", "Div", "Cast"]
    assert kinds[-6:] == ["Softmax", "Slice", "Transpose", "Mul", "Round", "Cast"]
    assert list(graph.node[-1].output) == ["prob"]
    assert list(graph.node[-6].output) == ["prob_f32"]
    assert not {"BatchNormalization", "Shape", "Gather", "Dropout"} & set(kinds)
    weights = {w.name: w.data_type for w in graph.initializer if w.name.startswith("net.")}
    assert set(weights.values()) == {onnx.TensorProto.FLOAT16}
    picture = graph.input[0].type.tensor_type
    assert picture.elem_type == onnx.TensorProto.UINT8
    sides = [side.dim_param for side in picture.shape.dim[:3]]
    rest = " + 4" if trained.config.depth == 4 else ""
    grid = 2 ** (trained.config.depth - 1)
    assert sides == ["n", f"{grid}*kh{rest}", f"{grid}*kw{rest}"]


def test_a_package_is_complete_and_its_golden_answers_are_the_networks(tmp_path: Path) -> None:
    # An untrained network is unsure everywhere; at this threshold no pixel hangs on the last bit of a half.
    trained = dataclasses.replace(network(), thresholds=(0.99, 0.99))
    tiles = pictures(trained, 3)
    package = export_package(trained, tiles, tmp_path / "package", "demo", "1.0.0")
    assert load_package(package.path).id == package.id
    assert package.classes == ("scratch", "pit") and package.thresholds == (0.99, 0.99)
    assert package.manifest.metrics["miou"] == 0.5 and package.manifest.seed == 7
    golden = package.golden()
    assert (golden.tiles == tiles).all()
    with torch.inference_mode():
        x = (torch.from_numpy(tiles).float().permute(0, 3, 1, 2) - 120) / 45
        expected = torch.softmax(released(trained.net)(x), 1)[:, 1:].permute(0, 2, 3, 1).numpy()
    assert np.abs(golden.probs - expected).max() < 1e-6
    # What `trainer fit --init` reads back is the released network.
    for key, values in released(trained.net).state_dict().items():
        assert torch.equal(start_from(package).state[key], values), key
    with pytest.raises(UsageError, match="exists already"):
        export_package(trained, tiles, tmp_path / "package", "demo", "1.0.0")


def test_without_golden_tiles_there_is_no_package(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="golden tiles"):
        export_package(network(), np.zeros((0, 1, 1, 1), np.uint8), tmp_path / "package", "demo", "1")


def test_activations_that_half_precision_cannot_hold_are_refused(tmp_path: Path) -> None:
    trained = network()
    with torch.no_grad():
        # Large inside, small again at the end: float32 does not mind.
        trained.net.down[0].norm2.weight.mul_(2e4)  # type: ignore[union-attr, operator]
        trained.net.down[0].norm2.bias.mul_(2e4)  # type: ignore[union-attr, operator]
        trained.net.head.weight.mul_(5e-5)
    tiles = pictures(trained, 2)
    graph = release_graph(trained.net, trained.normalisation)
    reference = probabilities(ReleaseGraph(trained.net, trained.normalisation), tiles)
    assert np.isfinite(reference).all()
    report = half_report(trained, graph, tiles, reference)
    assert not report.finite and report.largest_activation > 65_504
    with pytest.raises(Refused, match=r"activation of .* half"):
        export_package(trained, tiles, tmp_path / "package", "demo", "1")
    assert not list(tmp_path.iterdir())


def test_a_weight_above_the_largest_half_is_refused(tmp_path: Path) -> None:
    trained = network()
    with torch.no_grad():
        trained.net.head.bias[0] = 70_000.0  # type: ignore[index]
    with pytest.raises(Refused, match="A weight of 70,000 does not fit"):
        export_package(trained, pictures(trained, 1), tmp_path / "package", "demo", "1")


def test_what_half_precision_cannot_hold_is_refused() -> None:
    fine = HalfReport(1.0, 100.0, finite=True, difference=0.001, equal=1.0)
    fine.check()
    for change in ({"finite": False}, {"largest_activation": 5000.0}, {"largest_weight": 7e4}):
        with pytest.raises(Refused, match="train"):
            dataclasses.replace(fine, **change).check()


def test_other_masks_or_probabilities_in_half_precision_are_said_and_not_refused() -> None:
    fine = HalfReport(1.0, 100.0, finite=True, difference=0.001, equal=1.0)
    assert fine.doubt() is None
    for change in ({"difference": 0.03}, {"equal": 0.999}):
        unsure = dataclasses.replace(fine, **change)
        unsure.check()
        assert "fp16 engine's certificate" in str(unsure.doubt())


def test_an_unsure_network_is_exported_with_a_warning_for_f32_to_serve(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSPECTION_CACHE", str(tmp_path / "cache"))
    trained = network()
    tiles = pictures(trained, 3)
    reference = probabilities(ReleaseGraph(released(trained.net), trained.normalisation).eval(), tiles)
    # Pixels lie on both sides of this threshold, as near as the last bit of a half.
    unsure = dataclasses.replace(trained, thresholds=tuple(np.median(reference, (0, 1, 2)).tolist()))
    package = export_package(unsure, tiles, tmp_path / "package", "demo", "1")
    assert package.manifest.metrics["half"]["equal"] < LEAST_EQUAL
    assert "of the golden mask pixels (limit 99.99%)" in caplog.text
    engine = OpenVinoEngine(package, tiles.shape[1:3], CompileOptions("f32"))
    certify(engine, package)
    engine.info = dataclasses.replace(engine.info, precision="fp16", layers={})
    found = measure(engine, package, package.golden())
    found = found.model_copy(update={"mask_equal": package.manifest.metrics["half"]["equal"]})
    monkeypatch.setattr("inspector.engine.certificate.measure", lambda *_: found)
    with pytest.raises(CertificateError, match=r"golden mask pixels are equal, the limit is 99.99 %"):
        certify(engine, package)


class Picture:
    """A sample that is in memory."""

    def __init__(self, mask: np.ndarray) -> None:
        self._mask = mask

    def image(self) -> np.ndarray:
        return (40 * self._mask + 5).astype(np.uint8)

    def mask(self) -> np.ndarray:
        return self._mask


def with_defect(class_id: int, y: int, x: int) -> Picture:
    mask = np.zeros((120, 200), np.uint8)
    mask[y : y + 6, x : x + 9] = class_id
    return Picture(mask)


def test_golden_tiles_hold_every_class_even_the_rare_last_one(tmp_path: Path) -> None:
    samples = [with_defect(1, 5, 5 + n) for n in range(40)] + [with_defect(2, 112, 190), with_defect(0, 0, 0)]
    tiles = golden_tiles(samples, 3, Geometry(3))
    assert len(tiles) <= 16 and tiles.shape[1:] == (104, 104, 1)
    inside = tiles[:, 20:-20, 20:-20]
    assert (inside == 45).any(axis=(1, 2, 3)).sum() == 4
    assert (inside == 85).any(axis=(1, 2, 3)).sum() == 1
    assert (tiles == 5).all(axis=(1, 2, 3)).sum() == 1
    save_tiles(tmp_path, tiles)
    assert (load_tiles(tmp_path) == tiles).all()
    with pytest.raises(UsageError, match=r"golden_tiles\.npz"):
        load_tiles(tmp_path / "nowhere")
    kept = tmp_path / "golden_tiles.npz"
    kept.write_bytes(kept.read_bytes()[:200])
    with pytest.raises(UsageError, match=r"golden_tiles\.npz cannot be read; let"):
        load_tiles(tmp_path)


def test_the_exporter_says_nothing_on_its_own(tmp_path: Path) -> None:
    program = (
        "from trainer.release import release_graph, to_onnx\n"
        "from trainer.unet import UNet, UNetConfig\n"
        "net = UNet(UNetConfig(depth=2, base=4)).eval()\n"
        "print(len(to_onnx(release_graph(net, ((1.0,), (2.0,))))) > 1000)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_the_first_convolution_is_exact_in_bfloat16_and_answers_even_surfaces_as_before() -> None:
    trained = network(channels=3)
    before = trained.net.fold().down[0].conv1.weight.detach()
    after = released(trained.net).down[0].conv1.weight.detach()
    assert torch.equal(after, after.to(torch.bfloat16).float())
    assert torch.equal(after, after.half().float())
    kept = (after - before).sum((2, 3)).abs()
    plain = (before.to(torch.bfloat16).float() - before).sum((2, 3)).abs()
    assert kept.max() < 0.1 * plain.max()
    assert (after - before).abs().max() <= before.abs().max() / 64
    assert torch.equal(bfloat16_keeping_sums(after), after), "a released network is released already"


def test_a_release_graph_tells_nothing_of_the_machine_it_was_made_on(
    exported: tuple[TrainedNetwork, bytes],
) -> None:
    _, data = exported
    for trace in (str(Path(torch.__file__).parent), str(Path(__file__).parents[2]), "stack_trace"):
        assert trace.encode() not in data
