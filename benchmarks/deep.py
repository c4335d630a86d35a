"""A plain network of 100 layers, without shortcuts and normalisation: the tailored slope against ReLU.

    python -m benchmarks.deep

trains on scikit-learn's digits with the same steps for each and keeps every run in results/deep.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import leaky
from benchmarks.repair.data import task
from benchmarks.repair.training import accuracy, steps
from leaky import theory
from leaky.files import write_whole

RESULT = Path(__file__).parent / "results" / "deep.json"
DEPTH, WIDTH, STEPS, RATE, SEEDS = 100, 32, 300, 1e-3, 3


def plain(inputs: int, classes: int, negative_slope: float) -> nn.Sequential:
    """DEPTH hidden layers, each behind the last."""
    parts: list[nn.Module] = []
    size = inputs
    for _ in range(DEPTH):
        parts += [nn.Linear(size, WIDTH), nn.LeakyReLU(negative_slope)]
        size = WIDTH
    return nn.Sequential(*parts, nn.Linear(size, classes))


def run(name: str, negative_slope: float, orthogonal: bool, seed: int) -> dict[str, Any]:
    """Train one network and say how it ended."""
    data = task("digits")
    torch.manual_seed(seed)
    model = plain(data.features, data.classes, negative_slope)
    leaky.initialize(model, data.train.x[:2], orthogonal=orthogonal, seed=seed)
    steps(model, torch.optim.Adam(model.parameters(), RATE), data.train.x, data.train.y, STEPS, seed)
    return {
        "name": name,
        "negative_slope": negative_slope,
        "orthogonal": orthogonal,
        "seed": seed,
        "train": accuracy(model, data.train.x, data.train.y),
        "test": accuracy(model, data.test.x, data.test.y),
    }


def main() -> None:
    torch.set_num_threads(1)
    data = task("digits")
    tailored = theory.tailored_slope(plain(data.features, data.classes, 0.0)).negative_slope
    chance = 100 * float(data.test.y.bincount().max()) / len(data.test.y)
    kept: dict[str, Any] = {"depth": DEPTH, "width": WIDTH, "steps": STEPS, "rate": RATE, "chance": chance, "runs": []}
    networks = [("ReLU", 0.0), ("tailored", tailored), ("leaky .01", 0.01)]
    for orthogonal in (True, False):
        for name, slope in networks:
            runs = []
            for seed in range(SEEDS):
                runs.append(run(name, slope, orthogonal, seed))
                kept["runs"].append(runs[-1])
                write_whole(RESULT, (json.dumps(kept, indent=1) + "\n").encode())
            scores = [r["test"] for r in runs]
            drawn = "orthogonal" if orthogonal else "independent"
            spread = np.std(scores, ddof=1)
            print(f"{name:10} {slope:.4f} {drawn:12} test {np.mean(scores):5.1f} ± {spread:.1f}", flush=True)
    print(f"most frequent class: {chance:.1f}")


if __name__ == "__main__":
    main()
