"""What the page says beside its figures: each word of the trade in one line."""

from __future__ import annotations

GLANCE = (
    "**Only a glance:** `--quick` measures one small network on one small frame for about a second; run"
    " without it before anything is bought or signed."
)
WORDS = (
    "## Words",
    "",
    "- **Network:** drawn for this measurement unless named with `--model`; base = channels of its first"
    " level, depth = levels. Twice the base costs about four times as much a frame.",
    "- **Engine:** the program that computes the network: OpenVINO on the processor, TensorRT on an NVIDIA"
    " GPU, torch on either.",
    "- **f32, bf16, fp16, int8:** numbers of 32, 16, 16 and 8 bits. Fewer bits are faster and less exact; how"
    " much may change has a limit for each.",
    "- **Certificate:** an engine serves only after it gave the trained network's answers on the package's"
    " own sample tiles, on this machine.",
    "- **Answer:** largest difference of any probability from the first float32 engine's on the same frame,"
    " in levels of 256, and the pixels whose class changed. `told`: not judged here; int8 is another network,"
    " whose cost was measured with masks when it was made.",
    "- **Mpx/s:** megapixels of frame a second; what tiles compute twice does not count.",
    "- **Useful GFLOP/s:** these pixels x the network's operations a pixel, in thousand millions a second.",
    "- **Matrix product, of product:** how fast this machine multiplies large matrices in that precision,"
    " and the share of it that the network reaches. 1 is about the most there is.",
    "- **End to end:** speed with cutting and pasting of tiles over that of the engine alone; what is above"
    " 1 is chance.",
    "- **Memory:** the most that the engine's processes held; the limit is `--memory-mb`.",
    "- **Others:** what other programs took of the processor meanwhile. From 10 % on, or where a figure"
    " cannot be, speeds are marked with ? and not to be trusted; answers are right or wrong on a busy machine"
    " as well.",
    "- **Soak:** frames again and again for minutes; answers, speed and memory must stay.",
    "",
    "## Files",
    "",
    "`qualification.md` is this page; `qualification.json` beside it has every figure, reason and remedy."
    " Both are written anew after each measurement: stopped, the same command goes on; `--again` or another"
    " `--out` starts over.",
    "",
)
