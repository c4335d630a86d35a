"""The strangers' tasks: losses and inputs that neither half of the other patients has."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.patients.tasks import Task, _split, accuracy, digit_data, explained


def _standard(x: Any) -> Tensor:
    found = torch.tensor(np.asarray(x), dtype=torch.float32)
    return (found - found.mean(0)) / found.std(0)


@lru_cache
def series() -> Task:
    """MNIST-1D: series of 40 values, of ten classes."""
    from mnist1d.data import get_dataset_args, make_dataset

    args = get_dataset_args()
    args.num_samples = 2500
    state = np.random.get_state()
    data = make_dataset(args)
    np.random.set_state(state)
    x = torch.tensor(np.concatenate([data["x"], data["x_test"]]), dtype=torch.float32)
    y = torch.tensor(np.concatenate([data["y"], data["y_test"]]))
    return _split((x - x.mean()) / x.std(), y, functional.cross_entropy, accuracy)


@lru_cache
def pairs() -> Task:
    """Whether two digits are the same one; half of the pairs are."""
    x, y = digit_data()
    g = torch.Generator().manual_seed(5)
    first = torch.randint(len(y), (3000,), generator=g)
    same = torch.rand(3000, generator=g) < 0.5
    draws = torch.randint(len(y), (3000,), generator=g)
    for i, (a, wanted) in enumerate(zip(first.tolist(), same.tolist(), strict=True)):
        if wanted:
            alike = (y == y[a]).nonzero()[:, 0]
            draws[i] = alike[draws[i] % len(alike)]
    target = (y[first] == y[draws]).float()

    def points(out: Tensor, wanted: Tensor) -> float:
        return 100 * float(((out > 0) == (wanted > 0.5)).double().mean())

    return _split((x[first], x[draws]), target, functional.binary_cross_entropy_with_logits, points)


@lru_cache
def labels() -> Task:
    """Five labels, each of which may hold or not; the points are the mean of their balanced accuracies."""
    from sklearn.datasets import make_multilabel_classification

    x, y = make_multilabel_classification(n_samples=2000, n_features=20, n_classes=5, n_labels=2, random_state=0)

    def points(out: Tensor, wanted: Tensor) -> float:
        right = ((out > 0) == (wanted > 0.5)).double()
        return 50 * float(
            torch.stack([right[wanted[:, c] == v, c].mean() for c in range(wanted.shape[1]) for v in (0.0, 1.0)]).mean()
            * 2
        )

    target = torch.tensor(y, dtype=torch.float32)
    return _split(_standard(x), target, functional.binary_cross_entropy_with_logits, points)


LEVELS = torch.tensor([0.1, 0.5, 0.9])


def _pinball(out: Tensor, y: Tensor) -> Tensor:
    rest = y - out
    return torch.maximum(LEVELS * rest, (LEVELS - 1) * rest).mean()


@lru_cache
def friedman() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import make_friedman1

    x, y = make_friedman1(2000, n_features=10, noise=1.0, random_state=0)
    return _standard(x), _standard(y)[:, None]


@lru_cache
def quantiles() -> Task:
    """Three quantiles; the points say how much smaller their loss is than that of the same ones for all."""
    x, y = friedman()
    fixed = _pinball(torch.quantile(y, LEVELS), y)
    return _split(x, y, _pinball, lambda out, wanted: max(-100.0, 100 * float(1 - _pinball(out, wanted) / fixed)))


@lru_cache
def survival() -> Task:
    """Times until an event, a third of them censored; a batch's partial likelihood, and concordance as points."""
    x, _ = friedman()
    g = torch.Generator().manual_seed(6)
    risk = 1.2 * x[:, 0] * x[:, 1] + torch.sin(2 * x[:, 2]) + 0.8 * x[:, 3]
    time = -torch.log(torch.rand(len(x), generator=g)) / risk.exp()
    limit = -2 * torch.log(torch.rand(len(x), generator=g)) * time.median()
    seen = (time <= limit).float()

    def loss(out: Tensor, target: tuple[Tensor, Tensor]) -> Tensor:
        order = target[0].argsort(descending=True)
        score, event = out[order, 0], target[1][order]
        return ((score.logcumsumexp(0) - score) * event).sum() / event.sum().clamp(min=1)

    def points(out: Tensor, target: tuple[Tensor, Tensor]) -> float:
        earlier = (target[0][:, None] < target[0][None]) & (target[1][:, None] > 0)
        difference = (out[:, None, 0] - out[None, :, 0])[earlier].double()
        return 100 * float(difference.sign().mean())

    return _split(x, (torch.minimum(time, limit), seen), loss, points)


@lru_cache
def grades() -> Task:
    """Five grades in their order; the points say how much nearer than the middle grade."""
    from sklearn.datasets import make_friedman3

    x, y = make_friedman3(2000, noise=0.05, random_state=0)
    value = torch.tensor(y, dtype=torch.float32)
    grade = torch.bucketize(value, torch.quantile(value, torch.tensor([0.2, 0.4, 0.6, 0.8])))

    def loss(out: Tensor, wanted: Tensor) -> Tensor:
        above = (wanted[:, None] > torch.arange(4)).float()
        return functional.binary_cross_entropy_with_logits(out, above)

    def points(out: Tensor, wanted: Tensor) -> float:
        off = ((out > 0).sum(1) - wanted).abs().double().mean()
        return max(-100.0, 100 * float(1 - off / (wanted - 2).abs().double().mean()))

    return _split(_standard(x), grade, loss, points)


@lru_cache
def oscillator() -> Task:
    """A damped oscillation of which a sixth of the values is known; everywhere its equation must hold."""
    g = torch.Generator().manual_seed(7)
    t = torch.rand(1500, 1, generator=g) * 3
    pace = (9 - 0.0625) ** 0.5
    u = torch.exp(-0.25 * t) * torch.cos(pace * t)
    known = (torch.rand(1500, 1, generator=g) < 1 / 6).float()

    def loss(out: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]) -> Tensor:
        fit = ((out[0] - target[0]).square() * target[1]).sum() / target[1].sum().clamp(min=1)
        return fit + 0.01 * out[1].square().mean()

    return _split(t, (u, known), loss, lambda out, target: explained(out[0], target[0]))


@lru_cache
def bandit() -> Task:
    """Which digit to say: reward 1 if it is right. The expected policy gradient against the critic's value."""
    x, y = digit_data()

    def loss(out: tuple[Tensor, Tensor], wanted: Tensor) -> Tensor:
        policy = out[0].softmax(1)
        reward = functional.one_hot(wanted, 10).float()
        gain = -(policy * (reward - out[1].detach())).sum(1).mean()
        entropy = -(policy * out[0].log_softmax(1)).sum(1).mean()
        value = (policy.detach() * reward).sum(1, keepdim=True)
        return 5 * gain - 0.05 * entropy + functional.mse_loss(out[1], value)

    return _split(x, y, loss, lambda out, wanted: accuracy(out[0], wanted))


@lru_cache
def variational() -> Task:
    """Digits from themselves through noise; the bound on their likelihood, and R² of the mean as points."""
    x, _ = digit_data()

    def loss(out: tuple[Tensor, Tensor, Tensor], wanted: Tensor) -> Tensor:
        made, mean, spread = out
        divergence = 0.5 * (mean.square() + spread.exp() - 1 - spread).sum(1).mean()
        return functional.mse_loss(made, wanted) + 0.002 * divergence

    return _split(x, x, loss, lambda out, wanted: explained(out[0], wanted))


@lru_cache
def bags() -> Task:
    """Digits as bags of the places that have ink."""
    x, y = digit_data()
    tokens = torch.full((len(y), 40), 64)
    for i, image in enumerate(x > 0.2):
        places = image.nonzero()[:40, 0]
        tokens[i, : len(places)] = places
    return _split(tokens, y, functional.cross_entropy, accuracy)


@lru_cache
def denoising() -> Task:
    """Digits from noisy ones."""
    x, _ = digit_data()
    images = x.unflatten(1, (1, 8, 8))
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(8))
    return _split(images + 0.7 * noise, images, functional.mse_loss, explained)


@lru_cache
def in_units(other: bool) -> Task:
    """Regression; with one column in units a thousand times as small and from another zero."""
    x, y = friedman()
    if other:
        x = x.clone()
        x[:, 3] = 1000 * x[:, 3] + 5000
    return _split(x, y, functional.mse_loss, explained)


@lru_cache
def domain(other: bool) -> Task:
    """Digits; as another scanner gives them, which is brighter and of more contrast."""
    x, y = digit_data()
    return _split(5 * x + 12 if other else x, y, functional.cross_entropy, accuracy)


@lru_cache
def ratings() -> Task:
    """Who likes what: a matrix of low rank, and some noise."""
    from sklearn.datasets import make_low_rank_matrix

    matrix = torch.tensor(make_low_rank_matrix(60, 50, effective_rank=3, tail_strength=0.02, random_state=0)).float()
    matrix = matrix / matrix.std()
    order = torch.randperm(3000, generator=torch.Generator().manual_seed(9))
    who, what = order // 50, order % 50
    return _split((who, what), matrix[who, what][:, None], functional.mse_loss, explained)


@lru_cache
def points() -> Task:
    """Digits as sets of their 16 strongest places: row, column, ink."""
    x, y = digit_data()
    best = x.topk(16, dim=1)
    sets = torch.stack([best.indices // 8 / 3.5 - 1, best.indices % 8 / 3.5 - 1, best.values], 2)
    return _split(sets, y, functional.cross_entropy, accuracy)
