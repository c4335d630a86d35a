"""Small tasks with a known good score, seeded: what the healthy networks are trained on."""

from __future__ import annotations

import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_friedman1, make_moons
from torch import Tensor


def standardised(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / (x.std(0) + 1e-3)


def digits() -> tuple[Tensor, Tensor]:
    """1,797 standardised images of 64 pixels, ten classes."""
    x, y = load_digits(return_X_y=True)
    return standardised(torch.tensor(x, dtype=torch.float32)), torch.tensor(y)


def table(name: str) -> tuple[Tensor, Tensor]:
    """Standardised rows of a data set of scikit-learn's, with their classes; repeated until they are evidence."""
    x, y = {"wine": load_wine, "cancer": load_breast_cancer}[name](return_X_y=True)
    return standardised(torch.tensor(x, dtype=torch.float32)), torch.tensor(y)


def friedman(seed: int, n: int = 1200) -> tuple[Tensor, Tensor]:
    """Friedman's first function of ten uniform features, standardised."""
    x, y = make_friedman1(n, noise=0.1, random_state=seed)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]
    return standardised(x), standardised(y)


def moons(seed: int, n: int = 1200) -> tuple[Tensor, Tensor]:
    """Two moons, targets 0 and 1 of shape (n, 1)."""
    x, y = make_moons(n, noise=0.1, random_state=seed)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]


def smooth(seed: int, features: int = 3, n: int = 1024) -> tuple[Tensor, Tensor]:
    """A sum, a product and a sine of uniform features."""
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(n, features, generator=g)
    kinds = (x.sum(1), x[:, 0] * x[:, 1] + x[:, -1], torch.sin(3 * x[:, 0]) + x[:, 1])
    return x, kinds[seed % 3][:, None]


def waves(seed: int, n: int = 1000, length: int = 40) -> tuple[Tensor, Tensor]:
    """One-dimensional signals of four shapes, shifted and noisy, (n, 1, length)."""
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(length) / length
    y = torch.randint(0, 4, (n,), generator=g)
    shift, noise = torch.rand(n, 1, generator=g), 0.2 * torch.randn(n, length, generator=g)
    phase = 6.283 * (t + shift)
    shapes = torch.stack([phase.sin(), (2 * phase).sin(), phase.sin().sign(), (3 * phase).sin().abs()])
    return (shapes[y, torch.arange(n)] + noise)[:, None], y


def sums(seed: int, n: int = 1000, length: int = 12) -> tuple[Tensor, Tensor]:
    """Sequences whose target is their mean's sign, as two classes."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, length, 2, generator=g)
    return x, (x[:, :, 0].mean(1) > 0).long()
