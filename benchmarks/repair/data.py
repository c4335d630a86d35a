"""Data sets that ship in packages, each as standardised and raw splits: train, validation, test."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

NAMES = ("digits", "wine", "breast_cancer", "mnist1d")


@dataclass(frozen=True)
class Split:
    """Inputs, standardised and raw, and classes."""

    x: Tensor
    raw: Tensor
    y: Tensor


@dataclass(frozen=True)
class Task:
    """A data set.

    Attributes:
        train, validation, test: its splits.
        classes: how many.
    """

    train: Split
    validation: Split
    test: Split
    classes: int

    @property
    def features(self) -> int:
        """Inputs a sample."""
        return self.train.x.shape[1]


@lru_cache
def task(name: str) -> Task:
    """The data set of this name, split by a fixed seed: 60, 20 and 20 percent."""
    inputs, labels = _load(name)
    order = np.random.default_rng(0).permutation(len(inputs))
    inputs, labels = inputs[order], labels[order]
    first, second = int(0.6 * len(inputs)), int(0.8 * len(inputs))
    mean, deviation = inputs[:first].mean(0), inputs[:first].std(0)
    standard = (inputs - mean) / np.where(deviation > 0, deviation, 1.0)

    def part(place: slice) -> Split:
        x, raw = (torch.tensor(values[place], dtype=torch.float32) for values in (standard, inputs))
        return Split(x, raw, torch.tensor(labels[place], dtype=torch.long))

    splits = (part(slice(0, first)), part(slice(first, second)), part(slice(second, None)))
    return Task(*splits, classes=int(labels.max()) + 1)


def _load(name: str) -> tuple[np.ndarray, np.ndarray]:
    if name == "mnist1d":
        from mnist1d.data import get_dataset_args, make_dataset

        arguments = get_dataset_args()
        arguments.num_samples = 2000
        state = np.random.get_state()
        made = make_dataset(arguments)
        np.random.set_state(state)
        inputs, labels = np.concatenate([made["x"], made["x_test"]]), np.concatenate([made["y"], made["y_test"]])
        return inputs.astype(np.float64), labels.astype(np.int64)
    from sklearn import datasets

    found = {"digits": datasets.load_digits, "wine": datasets.load_wine, "breast_cancer": datasets.load_breast_cancer}
    data = found[name]()
    return np.asarray(data.data, np.float64), np.asarray(data.target, np.int64)
