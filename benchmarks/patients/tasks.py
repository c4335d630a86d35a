"""Small tasks of many kinds: data, a loss and a metric in points, where 100 is perfect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Batch = Any
"""A tensor, a tuple of several inputs as one item, or a dict of keyword inputs."""

BATCH = 64


def pick(x: Batch, index: Tensor) -> Batch:
    """Some samples of inputs of any form."""
    if isinstance(x, dict):
        return {key: value[index] for key, value in x.items()}
    return tuple(part[index] for part in x) if isinstance(x, tuple) else x[index]


def call(model: Callable[..., Any], x: Batch) -> Any:
    """The model on inputs of any form."""
    if isinstance(x, dict):
        return model(**x)
    return model(*x) if isinstance(x, tuple) else model(x)


@dataclass(frozen=True)
class Split:
    """Inputs and targets."""

    x: Batch
    y: Any
    count: int


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        train, validation, test: its splits.
        loss: of outputs and targets.
        points: of outputs and targets; 100 is perfect.
    """

    train: Split
    validation: Split
    test: Split
    loss: Callable[[Any, Any], Tensor]
    points: Callable[[Any, Any], float]


def accuracy(out: Tensor, y: Tensor) -> float:
    """In percent."""
    return 100 * float((out.argmax(-1) == y).double().mean())


def balanced(out: Tensor, y: Tensor) -> float:
    """Accuracy of each class, averaged, in percent."""
    right = out.argmax(-1) == y
    return 100 * float(torch.stack([right[y == c].double().mean() for c in y.unique()]).mean())


def explained(out: Tensor, y: Tensor) -> float:
    """R², in percent, at least −100."""
    rest, whole = (out - y).double().square().mean(), (y - y.mean(0)).double().square().mean()
    return max(-100.0, 100 * float(1 - rest / whole))


def _split(x: Batch, y: Any, loss: Any, points: Any, shares: tuple[float, float] = (0.6, 0.8)) -> Task:
    count = len(y[0]) if isinstance(y, tuple) else len(y)
    first, second = (int(share * count) for share in shares)

    def part(start: int, end: int) -> Split:
        index = torch.arange(start, end)
        return Split(pick(x, index), pick(y, index), end - start)

    return Task(part(0, first), part(first, second), part(second, count), loss, points)


@lru_cache
def digits() -> Task:
    """8×8 images of ten digits, standardised by one mean and deviation."""
    x, y = digit_data()
    return _split(x, y, functional.cross_entropy, accuracy)


@lru_cache
def digit_data() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(data.data, dtype=torch.float32)[order]
    return (x - x.mean()) / x.std(), torch.tensor(data.target)[order]


def _smooth(count: int, features: int, seed: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(count, features, generator=g)
    y = torch.sin(1.5 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.5 * (x[:, 3] > 0) + 0.1 * torch.randn(count, generator=g)
    return x, y[:, None]


@lru_cache
def regression(count: int = 2000, features: int = 8) -> Task:
    """A smooth function with an interaction, a step and some noise."""
    x, y = _smooth(count, features, 1)
    return _split(x, y, functional.mse_loss, explained)


@lru_cache
def autoencoding() -> Task:
    """Digits from themselves."""
    x, _ = digit_data()
    return _split(x, x, functional.mse_loss, explained)


@lru_cache
def values() -> Task:
    """State-action values of a random world, by what they are after many sweeps: regression onto six actions."""
    g = torch.Generator().manual_seed(2)
    states = torch.randn(1500, 6, generator=g)
    mixing = torch.randn(6, 6, generator=g)
    rewards = torch.tanh(states @ mixing) + 0.3 * (states[:, :1] * states[:, 1:2])
    return _split(states, rewards, functional.mse_loss, explained)


@lru_cache
def sequences() -> Task:
    """Which of two motifs a noisy sequence of 12 steps holds, of three classes."""
    g = torch.Generator().manual_seed(3)
    y = torch.randint(0, 3, (1500,), generator=g)
    x = 0.8 * torch.randn(1500, 12, 4, generator=g)
    motifs = torch.randn(3, 4, 4, generator=g)
    for i, c in enumerate(y.tolist()):
        start = int(torch.randint(0, 8, (1,), generator=g))
        x[i, start : start + 4] += motifs[c]
    return _split(x, y, functional.cross_entropy, accuracy)


@lru_cache
def imbalanced() -> Task:
    """Digits: the eight, a tenth of the samples, against all others."""
    x, y = digit_data()
    return _split(x, (y == 8).long(), _weighted, balanced)


def _weighted(out: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(out, y, weight=torch.tensor([1.0, 9.0]))


@lru_cache
def two_heads() -> Task:
    """Digits: the class by one head, how much ink by the other."""
    x, y = digit_data()
    ink = x.mean(1, keepdim=True)

    def loss(out: Any, target: Any) -> Tensor:
        return functional.cross_entropy(out[0], target[0]) + functional.mse_loss(out[1], target[1])

    def points(out: Any, target: Any) -> float:
        return (accuracy(out[0], target[0]) + explained(out[1], target[1])) / 2

    return _split(x, (y, ink / ink.std()), loss, points)


@lru_cache
def two_inputs(as_dict: bool = False) -> Task:
    """Digits in two halves, the upper and the lower one."""
    x, y = digit_data()
    halves: Batch = {"upper": x[:, :32], "lower": x[:, 32:]} if as_dict else (x[:, :32], x[:, 32:])
    return _split(halves, y, functional.cross_entropy, accuracy)


@lru_cache
def tokens() -> Task:
    """Whether one group of tokens is the more frequent one."""
    g = torch.Generator().manual_seed(4)
    x = torch.randint(0, 30, (1800, 10), generator=g)
    return _split(x, ((x < 10).sum(1) > (x >= 20).sum(1)).long(), functional.cross_entropy, accuracy)


@lru_cache
def few() -> Task:
    """Only 140 digits to train on and 60 to choose by."""
    x, y = digit_data()
    return _split(x[:800], y[:800], functional.cross_entropy, accuracy, (0.175, 0.25))
