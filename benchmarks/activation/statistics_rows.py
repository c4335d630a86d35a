"""The rows with statistics: the activation that watches itself, and `leaky check` of a whole network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import leaky
from benchmarks.activation.rows import SLOPE, Row, Section
from benchmarks.timing import interleaved, ratio
from leaky.activation import kernels
from leaky.activation.kernels.statistics import FLOAT32, Regions, UnitSums, dense_layout

SHAPES = (((128, 64, 56, 56), 0.85, 0.20), ((4096, 1024), 1.10, 0.05), ((256, 512, 7, 7), 1.30, 0.05))
"""Shapes, each with what the two rows may take, with AVX-512."""
WITHOUT_AVX512 = 0.90 / 0.81
"""By so much more the first may take there: on one thread a reference took .90 of torch's time for 4 million elements
with AVX2, and .81 with AVX-512."""


def fused(core: Any, x: Tensor, y: Tensor | None = None) -> Callable[[], Tensor]:
    """One pass of activation and statistics; into a fresh output where none is given."""
    layout = dense_layout(x.shape, x.stride(), range(x.dim()), x.shape[0], x.shape[1])
    assert layout is not None
    sums, regions, threads = UnitSums(core, x.shape[1]), Regions(), torch.get_num_threads()

    def run() -> Tensor:
        target = torch.empty_like(x) if y is None else y
        sums.add(
            FLOAT32, x.data_ptr(), layout, regions, 0, threads, target=target.data_ptr(), fresh=y is None, slope=SLOPE
        )
        return target

    return run


def reductions(x: Tensor) -> list[Tensor]:
    """The same figures through torch's reductions, one pass after another."""
    axes = (0, *range(2, x.dim()))
    above = x > 0
    positive, negative = torch.where(above, x, 0.0), torch.where(above, 0.0, x)
    fired = above.flatten(2).any(2) if x.dim() > 2 else above
    return [
        above.sum(axes),
        positive.sum(axes),
        negative.sum(axes),
        positive.square().sum(axes),
        negative.square().sum(axes),
        x.amin(axes),
        x.amax(axes),
        x.isfinite().logical_not().sum(axes),
        fired.sum(0),
    ]


def with_statistics(budget: float, quick: bool) -> Iterator[Row]:
    """Forward and every statistic of every unit, against the plain forward and against separate reductions."""
    core = kernels.core()
    if core is None:
        return
    for shape, reused_target, fresh_target in SHAPES:
        x = torch.randn(shape)
        y = torch.empty_like(x)
        plain = lambda x=x, y=y: torch.ops.aten.leaky_relu.out(x, SLOPE, out=y)  # noqa: E731
        times = interleaved({"torch": plain, "leaky": fused(core, x, y)}, budget)
        name = f"forward + all statistics {'×'.join(map(str, shape))}"
        most = reused_target * (1.0 if kernels.build_info().instruction_set == "avx512" else WITHOUT_AVX512)
        yield Row(f"{name}, reused output", "torch forward alone", ratio(times, "leaky", "torch"), most)
        if quick and x.numel() > 10**7:
            continue
        separate = lambda x=x: (torch.nn.functional.leaky_relu(x, SLOPE), reductions(x))  # noqa: E731
        times = interleaved({"torch": separate, "leaky": fused(core, x)}, budget, least=3)
        yield Row(f"{name}, fresh output", "torch forward + reductions", ratio(times, "leaky", "torch"), fresh_target)
    x = torch.randn(32, 128)
    times = interleaved({"plain": lambda: leaky.leaky_relu(x, SLOPE), "fused": fused(core, x)}, budget, least=200)
    extra = (times["fused"].median - times["plain"].median) * 1e6
    yield Row("call of 4096 elements with statistics", "without, the difference", extra, 8.0, unit="µs")


class Residual(nn.Module):
    """A block of a residual network."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, channels, 1, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x + self.body(x))


def network() -> nn.Module:
    """ResNet-50's blocks at their published widths, one of each stage, for 112×112 images."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(2)]
    before = 64
    for width in (64, 128, 256):
        layers += [nn.Conv2d(before, 4 * width, 3, 2, 1), nn.ReLU(), Residual(4 * width, width)]
        before = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10)).eval()


def check_of_a_network(budget: float, quick: bool) -> Iterator[Row]:
    """`leaky.check` against the forward passes that it needs anyway."""
    samples = 100 if quick else 1000
    model = network()
    data = np.random.default_rng(0).standard_normal((samples, 3, 112, 112), np.float32)
    batches = [torch.from_numpy(data[i : i + 50]) for i in range(0, samples, 50)]

    def plain() -> None:
        with torch.no_grad():
            for batch in batches:
                model(batch)

    times = interleaved({"plain": plain, "check": lambda: leaky.check(model, batches)}, budget, least=5)
    value = ratio(times, "check", "plain")
    yield Row(f"leaky.check of a CNN on {samples} samples", "the plain forward passes", value, 1.10)


SECTIONS: tuple[Section, ...] = (with_statistics, check_of_a_network)
