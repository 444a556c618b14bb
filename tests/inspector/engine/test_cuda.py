"""Every CUDA call of ours takes, in the real cuda-bindings, the arguments that we give it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from inspector.engine.cuda import CudaRuntime, check
from inspector.errors import DeviceLost, EngineError

pytest.importorskip("cuda.bindings", reason="CUDA-BINDINGS ARE NOT INSTALLED: nothing is held against them")

CALLS = """
import json
from cuda.bindings import runtime as cuda
stream, event, graph, executable = (
    cuda.cudaStream_t(0), cuda.cudaEvent_t(0), cuda.cudaGraph_t(0), cuda.cudaGraphExec_t(0)
)
mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
given = {
    "cudaGetDeviceCount": (), "cudaDriverGetVersion": (), "cudaGetDeviceProperties": (0,),
    "cudaSetDevice": (0,), "cudaMemGetInfo": (), "cudaMalloc": (1024,), "cudaFree": (0,),
    "cudaHostAlloc": (1024, 0), "cudaFreeHost": (0,),
    "cudaMemcpyAsync": (4096, 8192, 16, cuda.cudaMemcpyKind(1), stream),
    "cudaMemsetAsync": (4096, 0xFF, 16, stream), "cudaStreamCreateWithFlags": (1,),
    "cudaStreamSynchronize": (stream,), "cudaStreamWaitEvent": (stream, event, 0),
    "cudaStreamDestroy": (stream,), "cudaStreamBeginCapture": (stream, mode),
    "cudaStreamEndCapture": (stream,), "cudaEventCreateWithFlags": (3,),
    "cudaEventRecord": (event, stream), "cudaEventSynchronize": (event,), "cudaEventDestroy": (event,),
    "cudaGraphInstantiate": (graph, 0), "cudaGraphDestroy": (graph,),
    "cudaGraphLaunch": (executable, stream), "cudaGraphExecDestroy": (executable,),
}
codes = {}
for name, arguments in given.items():
    result = getattr(cuda, name)(*arguments)
    codes[name] = [int(result[0]), len(result)]
print(json.dumps({"codes": codes, "handle": int(cuda.cudaStream_t(7)),
                  "kinds": [cuda.cudaMemcpyKind(k).name for k in (1, 2)],
                  "properties": [hasattr(cuda.cudaDeviceProp, n) or n in dir(cuda.cudaDeviceProp())
                                 for n in ("name", "major", "minor", "totalGlobalMem")]}))
"""


def test_the_real_bindings_take_our_arguments() -> None:
    """Without a driver each call answers with a code; a wrong argument would be a TypeError."""
    environment = {"CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", CALLS], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    ours = {name for name in vars(CudaRuntime) if name.startswith("cuda")}
    assert set(told["codes"]) == ours
    assert told["codes"]["cudaMalloc"][0] in (35, 100)
    assert told["handle"] == 7
    assert told["kinds"] == ["cudaMemcpyHostToDevice", "cudaMemcpyDeviceToHost"]
    assert all(told["properties"])
    assert told["codes"]["cudaMemGetInfo"][1] == 3 and told["codes"]["cudaGetDeviceCount"][1] == 2


def test_a_code_says_when_and_which_and_whether_the_device_is_lost() -> None:
    from cuda.bindings import runtime

    with pytest.raises(DeviceLost, match=r"lost when a tile was copied \(cudaErrorIllegalAddress 700\)"):
        check((runtime.cudaError_t(700), None), "a tile was copied")
    with pytest.raises(EngineError, match=r"full when x \(cudaErrorMemoryAllocation 2\)"):
        check((runtime.cudaError_t(2), None), "x")
