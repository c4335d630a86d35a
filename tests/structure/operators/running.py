"""Cases of the table of operators, traced once, and what disturbing one entry of their input changes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from tests.structure.operators.cases import CASES, SAMPLES, UNITS, Case
from torch import Tensor, nn

from leaky.structure.axes import Axes, factor, plain
from leaky.structure.graph import Call, Node
from leaky.structure.history import Event, History
from leaky.structure.operators import axes_of
from leaky.structure.trace import SiteCall, Tracer

ALL = [(name, index) for name, cases in CASES.items() for index in range(len(cases))]


class Quiet:
    """Listens to a tracer and lets everything run."""

    def before(self, call: SiteCall, pre_activation: Tensor) -> Tensor | None: ...
    def after(self, call: SiteCall, output: Tensor) -> None: ...
    def between(self) -> None: ...
    def not_examined(self, name: str, reason: str) -> None: ...


class Sites(Quiet):
    """Keeps what comes to a site, and as what it is taken."""

    def __init__(self) -> None:
        self.calls: list[tuple[SiteCall, Tensor]] = []

    def before(self, call: SiteCall, pre_activation: Tensor) -> Tensor | None:
        self.calls.append((call, pre_activation.clone()))
        return None


class Model(nn.Module):
    """The call of a case."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case
        generator = torch.Generator().manual_seed(1)
        shape = case.weight
        self.weight = None if shape is None else nn.Parameter(torch.rand(shape, generator=generator).double() + 0.5)

    def forward(self, x: Tensor) -> Any:
        try:
            return self.case.run(x) if self.weight is None else self.case.run(x, self.weight)
        except (NotImplementedError, RuntimeError, AttributeError) as error:
            if torch.__version__ < "2.13":
                pytest.skip(f"torch {torch.__version__} has no such operator: {error}")
            raise


class Ran:
    """A case that was traced: the event of the operator in question and what the row says of its results.

    Attributes:
        start: the axes that x is taken to have, samples and units.
        axes: those of each result.
        before: the results on x.
    """

    def __init__(self, model: Model, x: Tensor, history: History, event: Event) -> None:
        self.model, self.x, self.history, self.event = model, x, history, event
        self.node = history.inputs[0]
        units = plain(x.shape[1:2]) if model.case.indices else ((factor(UNITS, "unit"),),)
        self.start: Axes = ((factor(SAMPLES, "sample"),), *units, *plain(x.shape[2:]))
        known = {self.node.index: self.start}
        for each in history.events:
            made = axes_of(with_axes(each.call, known))
            known |= {node.index: axes for node, axes in zip(each.results, made, strict=True)}
            if each is event:
                self.axes = made
        self.before = self.values(x)

    def values(self, x: Tensor) -> list[Tensor]:
        """The results on other values."""
        with torch.no_grad():
            output = self.model(x)
        return [t.detach() for t in (output if isinstance(output, (list, tuple)) else [output])]


def with_axes(call: Call, known: dict[int, Axes]) -> Call:
    """The call with these axes of its arguments."""

    def put(value: Any) -> Any:
        if isinstance(value, Node):
            return replace(value, axes=known.get(value.index, value.axes))
        return [put(item) for item in value] if isinstance(value, (list, tuple)) else value

    return Call(call.name, [*map(put, call.args)], {k: put(v) for k, v in call.kwargs.items()}, call.shapes, call.names)


@cache
def ran(name: str, index: int) -> Ran:
    """A case of an operator, traced."""
    case = CASES[name][index]
    model, history = Model(case), History()
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(case.shape, generator=generator).double() + 0.5
    if case.indices:
        x = torch.randint(UNITS, case.shape, generator=generator)
    for seen in (torch.no_grad, torch.inference_mode):  # only the second does not take composite operators apart
        tracer = Tracer(model, Quiet(), history=history)
        with seen(), tracer.following([x], 0):
            model(x)
        found = [event for event in history.events if event.call.name == name]
        if found:
            return Ran(model, x, history, found[-1])
    raise AssertionError(f"{name} did not run")


def split_by(values: Tensor, axes: Axes) -> tuple[Tensor, list[Any]]:
    """A result with each of its axes split into its factors, and those."""
    factors = [f for axis in axes for f in axis]
    return values.reshape([f.size for f in factors]), factors


def moved_when(disturbed: int, dim: int, run: Ran, kind: int) -> Tensor:
    """Which elements of a result change with one entry of x along an axis."""
    other = run.x.clone()
    part = other.select(dim, disturbed)
    noise = torch.rand(part.shape, generator=torch.Generator().manual_seed(disturbed)).double()
    part.add_(3 if run.model.case.indices else 0.1 + noise).remainder_(UNITS if run.model.case.indices else 1e9)
    before, after = run.before[kind], run.values(other)[kind]
    return (before != after) & ~(before.isnan() & after.isnan())
