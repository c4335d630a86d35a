"""Modes of leaky's own: they import no compiler and keep out one that is there, and none is taken for open for ever."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import torch
from tests.hostile.interrupting import distinct, interrupted_at, points_of
from torch import Tensor, nn
from torch._dynamo import config

import leaky
from leaky.structure.dispatching import DispatchMode, end_modes

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


def graphs_made() -> int:
    """How many graphs torch makes of a function that is one, if it goes by its note of the open modes."""
    torch._dynamo.reset()
    made = []
    by_note = {BY_NOTE: False} if hasattr(config, BY_NOTE) else {}

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
        made.append(graph)
        return graph.forward

    with config.patch(by_note):
        torch.compile(lambda x: x.relu() + 1, backend=backend)(torch.ones(3))
    return len(made)


BY_NOTE = "inline_torch_dispatch_torch_compile"
"""Of torch's settings: False where it looks at its note of the open modes, as older versions do."""


class Passing(DispatchMode):
    """Has every operation done."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def test_torch_compiles_as_ever_after_a_mode_that_was_ended_from_outside() -> None:
    below, above = Passing(), Passing()
    above.__enter__()
    end_modes(lambda modes: True)
    assert graphs_made() == 1
    with below:
        above.__enter__()
        end_modes(lambda modes: modes[-1] is above)
        assert graphs_made() == 0, "torch leaves code under a mode of others to Python"
    assert graphs_made() == 1


def test_torch_compiles_as_ever_after_interruptions_wherever_modes_begin_and_end() -> None:
    model, data = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(20, 4)

    def run() -> None:
        leaky.observe(model, data)

    run()
    points = points_of(run)
    where = ("structure/trace.py", "structure/dispatching.py")
    chosen = [n for n in distinct(points) if points[n - 1].place.split(":")[0] in where]
    places = {interrupted_at(run, number) for number in chosen}
    assert len(places) > 20
    assert graphs_made() == 1
