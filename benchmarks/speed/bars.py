"""What is asked of the line's speed, and the names under which rows and page speak of it."""

from __future__ import annotations

from inspector.engine.quantised import MOST_LOST

EFFICIENCY = 0.95
"""Least share of the engine's own speed that the line keeps from grab to commit."""
USEFUL = {(4, "12mp"): 0.75, (5, "12mp"): 0.80, (4, "1080p"): 0.70, (5, "1080p"): 0.65}
"""(depth, frame) -> least share of the bf16 matrix product."""
GPU = {"useful": 0.60, "efficiency": EFFICIENCY, "masks": 0.9999}
"""Least share of the fp16 matrix product, of the engine's own speed, and of mask pixels as in float32."""
GPU_ENGINE = "torch fp16 GPU"
"""Which engine they are for, by the name that `deploy.qualify` gives it."""
INT8 = 1.6
"""How many times as fast as bf16."""
INT8_LOST = 100 * MOST_LOST
"""Most points of IoU that it may cost."""
PEERS = {
    "MONAI": 10.0,
    "torch float32": 3.0,
    "torch bf16": 1.5,
    "ONNX Runtime": 2.5,
    "model_api": 1.0,
    "SAHI": 1.0,
}
"""Tool -> how many times as fast as its fastest form the line must be; of 1, more than that."""
OURS, BARE = "this line", "bare OpenVINO"
TRAINED, DRAWN = "trained", "drawn"
INSTALL = (
    "pip install --no-deps --target FOLDER monai openvino-model-api sahi shapely tqdm"
    " && python -m benchmarks.speed peers --peers FOLDER"
)


def beats(bar: str, ratio: float) -> bool:
    """Whether the line is fast enough beside this tool."""
    return ratio >= PEERS[bar] if PEERS[bar] > 1 else ratio > 1
