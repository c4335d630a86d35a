"""Units that are alive but fire on 1% of samples must not be called dead: fresh networks and fresh data, seed by seed.

Two questions. With one such unit a layer among healthy ones, is it ever called dead (or locked) at the n that leaky
asks for? And with nothing but such units, the worst case of the bound, does any wrong call happen in more than δ of the
runs?
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn

import leaky
from benchmarks.faults.trial import BATCH, RATE, samples_needed

SLOPES = (0.0, 0.01, 0.2)
CALIBRATION = 20_000
"""Samples by which a unit is made bursty; none of them is among those that leaky sees."""


@dataclass
class Bursty:
    """What the seeds showed.

    Attributes:
        seeds: runs.
        units: bursty units among healthy ones, over all seeds.
        samples: the n of the networks, smallest and largest.
        fewest, most: samples that a bursty unit fired on.
        called_dead: bursty units that leaky called dead or locked.
        silent_on_a_batch: bursty units silent on the first batch, which a count of zeros on a batch calls dead.
        expected: units that the bound lets leaky call dead, on average over all seeds.
        worst_case_units: all of them bursty, in one layer.
        worst_case_runs: runs with any wrong call among them.
    """

    seeds: int
    units: int = 0
    samples: tuple[int, int] = (0, 0)
    fewest: int = 0
    most: int = 0
    called_dead: int = 0
    silent_on_a_batch: int = 0
    expected: float = 0.0
    worst_case_units: int = 256
    worst_case_runs: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return dict(vars(self))


@dataclass(frozen=True)
class _Case:
    """A network with some bursty units: by the index of the activation in the sequence, which unit."""

    model: nn.Sequential
    bursty: dict[int, int]
    units: int
    shape: tuple[int, ...]


def measure(seeds: int, progress: Callable[[], None] = lambda: None) -> Bursty:
    """Both questions, for seeds 0 … seeds − 1."""
    result = Bursty(seeds)
    fired: list[int] = []
    sizes: set[int] = set()
    for seed in range(seeds):
        case = _case(seed)
        n = samples_needed(case.units)
        sizes.add(n)
        data = torch.randn(n, *case.shape, generator=torch.Generator().manual_seed(10_000 + seed))
        fired += _one_seed(case, data, result)
        result.expected += len(case.bursty) * (1 - RATE) ** n
        result.worst_case_runs += _worst_case(seed, result.worst_case_units)
        progress()
    result.samples = (min(sizes), max(sizes))
    result.fewest, result.most = min(fired), max(fired)
    return result


def _one_seed(case: _Case, data: Tensor, result: Bursty) -> list[int]:
    diagnosis = leaky.diagnose(leaky.observe(case.model, data))
    fired = []
    for index, unit in case.bursty.items():
        verdicts = diagnosis.verdicts[str(index)]
        fires = _peaks(case.model, index, data, unit) > 0
        result.units += 1
        result.called_dead += unit in (*verdicts.dead, *verdicts.locked_negative, *verdicts.locked_positive)
        result.silent_on_a_batch += not bool(fires[:BATCH].any())
        fired.append(int(fires.sum()))
    return fired


def _case(seed: int) -> _Case:
    """An MLP or a CNN under one of the slopes, one unit a hidden layer made bursty."""
    torch.manual_seed(seed)
    slope = SLOPES[seed // 2 % len(SLOPES)]

    def act() -> nn.Module:
        return nn.LeakyReLU(slope) if slope else nn.ReLU()

    if seed % 2 == 0:
        model = nn.Sequential(nn.Linear(32, 128), act(), nn.Linear(128, 128), act(), nn.Linear(128, 4))
        case = _Case(model, {1: seed % 128, 3: seed % 127}, 256, (32,))
    else:
        parts = nn.Conv2d(2, 64, 3), act(), nn.Flatten(), nn.Linear(64 * 16, 64), act(), nn.Linear(64, 4)
        case = _Case(nn.Sequential(*parts), {1: seed % 64, 4: seed % 63}, 128, (2, 6, 6))
    data = torch.randn(CALIBRATION, *case.shape, generator=torch.Generator().manual_seed(20_000 + seed))
    for index, unit in case.bursty.items():
        _make_bursty(case.model, index, unit, data)
    return case


def _make_bursty(model: nn.Sequential, index: int, unit: int, data: Tensor) -> None:
    layer = model[index - 1]
    assert isinstance(layer, (nn.Linear, nn.Conv2d))
    level = _peaks(model, index, data, unit).quantile(1 - RATE)
    with torch.no_grad():
        assert layer.bias is not None
        layer.bias[unit] -= level


def _peaks(model: nn.Sequential, index: int, data: Tensor, unit: int) -> Tensor:
    """The largest pre-activation on each sample, of a unit of the activation at this index."""
    layers = nn.Sequential(*list(model)[:index])
    with torch.no_grad():
        parts = [layers(part)[:, unit].reshape(len(part), -1) for part in torch.split(data, 5000)]
    return torch.cat([part.amax(dim=1) for part in parts])


def _worst_case(seed: int, units: int) -> bool:
    """Whether any of these units, which all fire on exactly 1% of samples, is called dead."""
    torch.manual_seed(30_000 + seed)
    layer = nn.Linear(64, units)
    with torch.no_grad():
        layer.bias.copy_(-layer.weight.norm(dim=1) * NormalDist().inv_cdf(1 - RATE))
    diagnosis = leaky.diagnose(leaky.observe(nn.Sequential(layer, nn.ReLU()), torch.randn(samples_needed(units), 64)))
    return bool(diagnosis.verdicts["1"].dead)
