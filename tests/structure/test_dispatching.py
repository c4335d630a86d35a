"""A mode of leaky's own imports no compiler, and keeps out one that is there."""

from __future__ import annotations

import subprocess
import sys

RUN = """
import sys
import torch
from torch import nn

import leaky

model, data = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(16, 4)
first = leaky.check(model, data)
print(sorted({"torch._dynamo", "sympy", "torch.distributed.fsdp"} & {*sys.modules}))
import torch._dynamo

from leaky.structure.trace import Tracer

second = leaky.check(model, data)
sums = [checkup.record.sites[0].statistics.sums for checkup in (first, second)]
print(vars(Tracer).get("kept_out"), (sums[0] == sums[1]).all())
"""


def test_a_check_imports_no_compiler_and_keeps_one_out_that_came_later() -> None:
    run = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, timeout=120, check=True)
    assert run.stdout.split("\n")[:2] == ["[]", "True True"]
