"""python -m benchmarks.threads: what threads of the core's own would cost beside torch's.

Three ways to share a call's tasks are built from the core's own src/leaky/activation/kernels/threads.cpp, with g++, and
take turns in one process: torch's OpenMP threads, found at run time (as the core has it); the pool alone (what it falls
back to); and OpenMP linked the usual way, which brings a second runtime beside torch's. The work is y = max(x, αx) into
an output that is used again: alone, and as in a training right behind an operation of torch's, whose threads go on
spinning for milliseconds. Ratios of medians to the first way; benchmarks/results/threads.json keeps them.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import interleaved, machine, ratio

ROOT = Path(__file__).parents[1]
KERNELS = ROOT / "src" / "leaky" / "activation" / "kernels"
RESULTS = Path(__file__).parent / "results" / "threads.json"
SIZES = (1 << 20, 1 << 22, 1 << 24)
CHUNK = 1 << 17
"""Elements a task, as in the core."""

WORK = """
#include <cstdint>
#ifdef LINKED
#include <functional>
static void run_tasks(int64_t count, int threads, const std::function<void(int64_t)>& task) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t i = 0; i < count; ++i) task(i);
}
#else
#include "threads.hpp"
using leaky::run_tasks;
#endif
extern "C" void rectify(const float* x, float* y, int64_t n, int64_t chunk, int threads) {
    run_tasks((n + chunk - 1) / chunk, threads, [=](int64_t task) {
        const int64_t end = (task + 1) * chunk < n ? (task + 1) * chunk : n;
        for (int64_t i = task * chunk; i < end; ++i) y[i] = x[i] > 0 ? x[i] : .01f * x[i];
    });
}
"""
WAYS = {"torch's threads": [], "a pool of its own": ["-DLEAKY_OWN_THREADS"], "OpenMP, linked": ["-DLINKED", "-fopenmp"]}

Rectify = Callable[[torch.Tensor, torch.Tensor], Any]


def built(folder: Path, way: str, threads: int) -> Rectify:
    """The work with one way to share it."""
    source, library = folder / "work.cpp", folder / f"{[*WAYS].index(way)}.so"
    source.write_text(WORK)
    sources = [source] if "linked" in way else [source, KERNELS / "threads.cpp"]
    options = ["-std=c++17", "-O3", "-march=native", "-fno-trapping-math", "-fPIC", "-shared", "-pthread"]
    subprocess.run(["g++", *options, f"-I{KERNELS}", *WAYS[way], *sources, "-o", library, "-ldl"], check=True)
    function = ctypes.CDLL(str(library)).rectify
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int]
    return lambda x, y: function(x.data_ptr(), y.data_ptr(), x.numel(), CHUNK, threads)


def measured(ways: dict[str, Rectify], size: int, behind: bool, budget: float) -> dict[str, float]:
    """Each way's median ÷ that of torch's threads."""
    x, y = torch.randn(size), torch.empty(size)
    expected = torch.nn.functional.leaky_relu(x)

    def turn(rectify: Rectify) -> Callable[[], None]:
        def work() -> None:
            if behind:
                torch.add(x, 1.0, out=y)
            rectify(x, y)

        return work

    for name, rectify in ways.items():
        rectify(x, y)
        assert torch.equal(y, expected), name
    contenders: dict[str, Any] = {name: turn(rectify) for name, rectify in ways.items()}
    times = interleaved(contenders, budget)
    return {name: ratio(times, name, "torch's threads") for name in ways}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a second a row; no file is written")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        ways = {way: built(Path(folder), way, asked.threads) for way in WAYS}
        for behind in (False, True):
            for size in SIZES:
                name = f"{size:,} elements{', behind torch.add' if behind else ''}"
                rows[name] = measured(ways, size, behind, 1.0 if asked.quick else 8.0)
                print(f"{name:44}" + "".join(f"  {way} {rows[name][way]:.2f}" for way in WAYS), flush=True)
    if not asked.quick:
        result = {"about": {**machine(), "torch": torch.__version__, "threads": asked.threads}, "rows": rows}
        RESULTS.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
