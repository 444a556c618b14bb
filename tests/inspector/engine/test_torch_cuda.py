"""The GPU's loop on tensors in host memory: order of copies, events, graphs, and what failures become."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fake_cuda import FakeCuda, Stream

from inspector.engine.onnx_weights import unet_weights
from inspector.engine.torch import CpuLoop, ReleaseNetwork
from inspector.engine.torch_cuda import CudaLoop, device_errors
from inspector.errors import DeviceLost, EngineError
from inspector.package import ModelPackage

HOST, GPU = torch.device("cpu"), torch.device("cuda", 0)
SHAPES = (1, 44, 52, 1), (1, 4, 12, 2)
TILES = [np.random.default_rng(n).integers(0, 256, SHAPES[0][1:], np.uint8) for n in range(5)]


@pytest.fixture(scope="module")
def network(tiny_package: ModelPackage) -> ReleaseNetwork:
    return ReleaseNetwork(unet_weights(tiny_package), tiny_package.manifest.normalisation, torch.float32)


@pytest.fixture(scope="module")
def expected(network: ReleaseNetwork) -> list[np.ndarray]:
    return outputs(CpuLoop(network, SHAPES))


def outputs(loop: CpuLoop | CudaLoop) -> list[np.ndarray]:
    found: dict[int, np.ndarray] = {}
    loop.run(iter(TILES), lambda index, probs: found.update({index: probs.copy()}))
    return [found[index] for index in range(len(TILES))]


def test_replayed_graphs_give_each_tile_its_own_probabilities(
    network: ReleaseNetwork, expected: list[np.ndarray]
) -> None:
    cuda = FakeCuda()
    loop = CudaLoop(network, SHAPES, HOST, True, cuda)
    assert loop.note == "CUDA graphs" and len(cuda.captured) == 2
    assert np.array_equal(outputs(loop), expected)
    assert len({one.tobytes() for one in expected}) == len(TILES)  # one could not stand for another


def test_plain_runs_do_too(network: ReleaseNetwork, expected: list[np.ndarray]) -> None:
    cuda = FakeCuda()
    loop = CudaLoop(network, SHAPES, HOST, False, cuda)
    assert loop.note == "" and not cuda.captured
    assert np.array_equal(outputs(loop), expected)


def test_without_the_events_the_results_are_wrong(
    network: ReleaseNetwork, expected: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the test above can fail: the fake punishes a missing wait."""
    loop = CudaLoop(network, SHAPES, HOST, True, FakeCuda())
    monkeypatch.setattr(Stream, "wait_event", lambda self, event: None)
    assert not np.array_equal(outputs(loop), expected)


@pytest.mark.parametrize(
    ("fault", "words"), [("stale", "differs from the plain run"), ("capture_fails", "failed")]
)
def test_graphs_that_do_not_give_the_plain_result_are_not_used_and_it_is_said(
    fault: str,
    words: str,
    network: ReleaseNetwork,
    expected: list[np.ndarray],
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = CudaLoop(network, SHAPES, HOST, True, FakeCuda(**{fault: True}))
    assert loop.note == "plain runs: CUDA graphs failed their test"
    assert words in caplog.text and "second line" not in caplog.text
    assert np.array_equal(outputs(loop), expected)


def test_a_tile_is_done_with_before_the_next_is_asked_for(
    network: ReleaseNetwork, expected: list[np.ndarray]
) -> None:
    """The pipeline cuts every tile into one buffer."""
    loop = CudaLoop(network, SHAPES, HOST, True, FakeCuda())
    buffer = np.empty(SHAPES[0][1:], np.uint8)
    found: dict[int, np.ndarray] = {}

    def cut():  # type: ignore[no-untyped-def]
        for tile in TILES:
            np.copyto(buffer, tile)
            yield buffer

    loop.run(cut(), lambda index, probs: found.update({index: probs.copy()}))
    assert np.array_equal([found[n] for n in range(len(TILES))], expected)


def test_values_that_are_not_finite_are_refused_and_the_loop_goes_on(expected: list[np.ndarray]) -> None:
    def blind(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = image.to(torch.float32).mean()
        levels = torch.zeros(SHAPES[1]) + mean
        return levels.to(torch.uint8), torch.isfinite(1 / (mean - 255))  # a white tile gives infinity

    loop = CudaLoop(blind, SHAPES, HOST, True, FakeCuda())
    white = np.full(SHAPES[0][1:], 255, np.uint8)
    with pytest.raises(EngineError, match="nonsense on tile 1"):
        loop.run(iter([TILES[0], white, TILES[1]]), lambda *_: None)
    assert len(outputs(loop)) == len(TILES)


def test_a_failing_delivery_leaves_nothing_under_way(
    network: ReleaseNetwork, expected: list[np.ndarray]
) -> None:
    cuda = FakeCuda()
    loop = CudaLoop(network, SHAPES, HOST, True, cuda)

    def burst(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop.run(iter(TILES), burst)
    assert not any(stream.queue for stream in cuda.streams)
    assert np.array_equal(outputs(loop), expected)


def test_memory_that_is_out_names_the_tile_and_the_remedy() -> None:
    with (
        pytest.raises(EngineError, match=r"no memory left for a tile of 44x52.*model\.tile"),
        device_errors(GPU, (44, 52)),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_cuda_fault_is_a_lost_device_and_anything_else_an_engine_fault() -> None:
    with pytest.raises(DeviceLost, match="illegal memory access"), device_errors(GPU, (44, 52)):
        raise torch.AcceleratorError("an illegal memory access was encountered\nmore")
    with pytest.raises(EngineError, match="cuDNN error") as fault, device_errors(GPU, (44, 52)):
        raise RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")
    assert not isinstance(fault.value, DeviceLost)


def test_a_closed_loop_says_so(network: ReleaseNetwork) -> None:
    loop = CudaLoop(network, SHAPES, HOST, True, FakeCuda())
    loop.close()
    loop.close()
    with pytest.raises(EngineError, match="closed"):
        loop.run(iter(TILES), lambda *_: None)
