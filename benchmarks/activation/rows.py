"""What a row of the benchmark is, and the rows of the function without statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

import leaky
from benchmarks.timing import interleaved, ratio
from leaky.activation import kernels

SLOPE = 0.01


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        work: what was timed.
        against: what it was held against.
        value: the figure: a ratio of medians, or what `unit` says.
        target: the bound on it.
        at_least: whether the bound is a lower one.
        unit: of the figure.
        limit: what the figure would be if the work were a streaming-store copy of its bytes; None where not measured.
    """

    work: str
    against: str
    value: float
    target: float
    at_least: bool = False
    unit: str = "ratio"
    limit: float | None = None

    @property
    def met(self) -> bool:
        return self.value >= self.target if self.at_least else self.value <= self.target


Section = Callable[[float, bool], Iterator[Row]]
"""Takes the seconds a figure may take and whether to be quick; yields rows."""


def into_a_reused_output(budget: float, quick: bool) -> Iterator[Row]:
    """Forward into `out=`, against torch's and against a copy with streaming stores.

    In pairs, as what a pass finds in the cache is what the one before left there.
    """
    core = kernels.core()
    targets = {torch.float32: 0.60, torch.bfloat16: 0.40, torch.float16: 0.40}
    for dtype, target in targets.items():
        for count in (10**7,) if quick else (10**7, 10**8):
            x = torch.randn(count).to(dtype)
            y = torch.empty_like(x)
            name = f"forward {str(dtype)[6:]} {count:.0e}, reused output"
            torch_s = lambda x=x, y=y: torch.ops.aten.leaky_relu.out(x, SLOPE, out=y)  # noqa: E731
            ours = lambda x=x, y=y: leaky.leaky_relu(x, SLOPE, out=y)  # noqa: E731
            value = ratio(interleaved({"torch": torch_s, "leaky": ours}, budget), "leaky", "torch")
            share = None
            if core is not None:
                args = (x.data_ptr(), y.data_ptr(), x.nbytes, torch.get_num_threads())
                copy = lambda args=args, core=core: core.copy(*args)  # noqa: E731
                share = ratio(interleaved({"copy": copy, "leaky": ours}, budget), "copy", "leaky")
            limit = None if share is None else value * share
            yield Row(name, "torch.ops.aten.leaky_relu.out", value, target, limit=limit)
            if share is not None and dtype == torch.float32:
                yield Row(name, "streaming-store copy, its bandwidth", share, 0.95, at_least=True)


def into_a_fresh_output(budget: float, quick: bool) -> Iterator[Row]:
    """Forward into a tensor that the call makes."""
    for exponent in range(3, 7 if quick else 9):
        x = torch.randn(10**exponent)
        times = interleaved(
            {
                "torch": lambda x=x: torch.nn.functional.leaky_relu(x, SLOPE),
                "leaky": lambda x=x: leaky.leaky_relu(x, SLOPE),
            },
            budget,
        )
        yield Row(f"forward float32 1e{exponent}, fresh output", "torch", ratio(times, "leaky", "torch"), 1.10)


def numpy_arrays(budget: float, quick: bool) -> Iterator[Row]:
    """NumPy's usual spellings."""
    for exponent in range(5, 7 if quick else 9):
        x = np.random.default_rng(0).standard_normal(10**exponent, np.float32)
        a = np.float32(SLOPE)
        times = interleaved(
            {
                "where": lambda x=x, a=a: np.where(x > 0, x, a * x),
                "maximum": lambda x=x, a=a: np.maximum(x, a * x),
                "leaky": lambda x=x: leaky.leaky_relu(x, SLOPE),
            },
            budget,
        )
        name = f"NumPy forward float32 1e{exponent}, fresh output"
        yield Row(name, "np.where(x > 0, x, a*x)", ratio(times, "leaky", "where"), 0.10)
        yield Row(name, "np.maximum(x, a*x)", ratio(times, "leaky", "maximum"), 0.45)


def training_step(budget: float, quick: bool) -> Iterator[Row]:
    """Forward and backward of one activation, and the bytes kept between them."""
    count = 10**6 if quick else 10**7
    x = torch.randn(count, requires_grad=True)
    gradient = torch.randn(count)

    def step(function: Callable[..., torch.Tensor]) -> Callable[[], None]:
        def run() -> None:
            x.grad = None
            function(x, SLOPE).backward(gradient)

        return run

    times = interleaved({"torch": step(torch.nn.functional.leaky_relu), "leaky": step(leaky.leaky_relu)}, budget)
    yield Row(f"forward + backward {count:.0e}", "torch", ratio(times, "leaky", "torch"), 0.80)
    for clamp, share in ((None, 32), (6.0, 16)):
        saved = _saved_bytes(lambda clamp=clamp: leaky.leaky_relu(x, SLOPE, clamp=clamp))
        name = f"bytes saved for backward{', with clamp' if clamp else ''}"
        yield Row(name, "the input", saved / x.nbytes, (1 + 1e-3) / share)


def _saved_bytes(work: Callable[[], object]) -> int:
    saved: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        work()
    return sum(saved)


def tiny_calls(budget: float, quick: bool) -> Iterator[Row]:
    """Calls whose time is not in the elements."""
    for count in (64, 4096):
        x, leaf, gradient = torch.randn(count), torch.randn(count, requires_grad=True), torch.ones(count)
        functions = {"torch": torch.nn.functional.leaky_relu, "leaky": leaky.leaky_relu}
        times = interleaved({n: lambda f=f, x=x: f(x, SLOPE) for n, f in functions.items()}, budget, least=200)
        yield Row(f"call of {count} elements without gradient", "torch", ratio(times, "leaky", "torch"), 1.15)
        steps = {n: lambda f=f, a=leaf, g=gradient: f(a, SLOPE).backward(g) for n, f in functions.items()}
        times = interleaved(steps, budget, least=200)
        yield Row(f"forward + backward of {count} elements", "torch", ratio(times, "leaky", "torch"), 1.25)


SECTIONS: tuple[Section, ...] = (into_a_reused_output, into_a_fresh_output, numpy_arrays, training_step, tiny_calls)
