"""Peak memory of training steps: each measured in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.activation.rows import Row, Section

BLOCKS, CHANNELS, SIZE, BATCH = 8, 64, 64, 16  # one map is 16 MiB

_STEP = """
import sys, torch, leaky
from pathlib import Path
from torch import nn
def highest():  # not getrusage: a child begins with its parent's
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
kind, where, blocks, channels, size, batch = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
torch.manual_seed(0)
def activation():
    return leaky.LeakyReLU(0.1) if kind == "leaky" else nn.LeakyReLU(0.1, inplace=True)
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 1)
        self.activation = activation()
        self.dropout = nn.Dropout(0.1)
    def forward(self, x):
        if where == "before addition":
            return x + self.activation(self.convolution(x))
        return self.dropout(self.activation(self.convolution(x)))
model = nn.Sequential(*(Block() for _ in range(blocks)))
x = torch.randn(batch, channels, size, size)
model(x[:1]).sum().backward()
before = highest()
model(x).mean().backward()
print(highest() - before)
"""


def peak(kind: str, where: str) -> float:
    """KiB that a training step needs above what the process had before; what is freed is given back at once."""
    arguments = [kind, where, *map(str, (BLOCKS, CHANNELS, SIZE, BATCH))]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    command = [sys.executable, "-c", _STEP, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout)


def residual_blocks(budget: float, quick: bool) -> Iterator[Row]:
    """Blocks where writing in place does not help: what the next operation saves is written over, or added to."""
    if not Path("/proc/self/status").exists():
        return
    for where in ("before addition", "before dropout"):
        value = peak("leaky", where) / peak("torch in place", where)
        yield Row(f"peak memory of {BLOCKS} blocks, activation {where}", "torch in place", value, 0.75)


SECTIONS: tuple[Section, ...] = (residual_blocks,)
