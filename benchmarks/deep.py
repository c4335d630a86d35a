"""A plain network of 100 layers, without shortcuts and normalisation: slopes from theory against ReLU.

    python -m benchmarks.deep

trains on scikit-learn's digits with the same steps for each network and rate, and keeps every run in results/deep.json.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import leaky
from benchmarks.repair.data import Task, task
from benchmarks.repair.training import accuracy, steps
from leaky import theory
from leaky.files import write_whole
from leaky.repairing.ground import Ground
from leaky.repairing.operations.step_size import step_size

RESULT = Path(__file__).parent / "results" / "deep.json"
DEPTH, WIDTH, STEPS, RATES, SEEDS = 100, 32, 300, (1e-3, 3e-3), 3


@dataclass(frozen=True)
class Network:
    """One way to build it.

    Attributes:
        name: for the table.
        negative_slope: of all its rectifiers.
        orthogonal: whether its weights are; else they are drawn independently.
        stepped: whether its activations have the gain that fits an optimizer's step to the depth, as `leaky.repair`
            gives them.
    """

    name: str
    negative_slope: float
    orthogonal: bool
    stepped: bool = False


def plain(data: Task, negative_slope: float, gain: float = 1.0) -> nn.Sequential:
    """DEPTH hidden layers, each behind the last."""
    parts: list[nn.Module] = []
    size = data.features
    for _ in range(DEPTH):
        parts += [nn.Linear(size, WIDTH), leaky.LeakyReLU(negative_slope, gain=gain)]
        size = WIDTH
    return nn.Sequential(*parts, nn.Linear(size, data.classes))


def networks(data: Task) -> list[Network]:
    """ReLU, the usual leak, and the slopes that two targets of the correlation give."""
    nine, five = (theory.tailored_slope(plain(data, 0.0), target).negative_slope for target in (0.9, 0.5))
    return [
        Network("ReLU, He", 0.0, orthogonal=False),
        Network("ReLU", 0.0, orthogonal=True),
        Network("ReLU, step fitted", 0.0, orthogonal=True, stepped=True),
        Network("leaky .01", 0.01, orthogonal=True),
        Network("tailored .9", nine, orthogonal=True),
        Network("tailored .5", five, orthogonal=True),
        Network("tailored .5, step fitted", five, orthogonal=True, stepped=True),
    ]


def run(network: Network, rate: float, seed: int) -> dict[str, Any]:
    """Train one network and say how it ended."""
    data = task("digits")
    torch.manual_seed(seed)
    model = plain(data, network.negative_slope)
    if network.stepped:
        size = step_size(Ground(model, data.train.x[:2]), torch.optim.Adam(model.parameters(), rate))
        model = plain(data, network.negative_slope, gain=1 / size)
    leaky.initialize(model, data.train.x[:2], orthogonal=network.orthogonal, seed=seed)
    steps(model, torch.optim.Adam(model.parameters(), rate), data.train.x, data.train.y, STEPS, seed)
    return {
        "name": network.name,
        "negative_slope": network.negative_slope,
        "rate": rate,
        "seed": seed,
        "gain": float(model[1].gain),
        "train": accuracy(model, data.train.x, data.train.y),
        "test": accuracy(model, data.test.x, data.test.y),
    }


def main() -> None:
    torch.set_num_threads(1)
    data = task("digits")
    chance = 100 * float(data.test.y.bincount().max()) / len(data.test.y)
    kept: dict[str, Any] = {"depth": DEPTH, "width": WIDTH, "steps": STEPS, "chance": chance, "runs": []}
    print(f"{'test accuracy':26}{'slope':>8}" + "".join(f"{f'rate {rate:g}':>18}" for rate in RATES))
    for network in networks(data):
        cells = []
        for rate in RATES:
            runs = [run(network, rate, seed) for seed in range(SEEDS)]
            kept["runs"] += runs
            scores = [r["test"] for r in runs]
            cells.append(f"{f'{np.mean(scores):.1f} ± {np.std(scores, ddof=1):.1f}':>18}")
        print(f"{network.name:26}{network.negative_slope:>8.4f}{''.join(cells)}", flush=True)
    write_whole(RESULT, (json.dumps(kept, indent=1) + "\n").encode())
    print(f"most frequent class: {chance:.1f}")


if __name__ == "__main__":
    main()
