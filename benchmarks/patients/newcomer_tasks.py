"""The newcomers' tasks: losses and inputs that no patient before them has."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.patients.stranger_tasks import friedman
from benchmarks.patients.tasks import Task, _split, accuracy, digit_data, explained


def contrast(temperature: float) -> Task:
    """Two noisy views of each digit; which of the others' second views belongs to it."""
    x, y = digit_data()
    g = torch.Generator().manual_seed(21)
    views = tuple(x + 0.5 * torch.randn(x.shape, generator=g) for _ in range(2))

    def loss(out: tuple[Tensor, Tensor], wanted: Tensor) -> Tensor:
        alike = out[0] @ out[1].t() / temperature
        own = torch.arange(len(alike))
        return functional.cross_entropy(alike, own) + functional.cross_entropy(alike.t(), own)

    def points(out: tuple[Tensor, Tensor], wanted: Tensor) -> float:
        alike = out[0] @ out[1].t()
        return 100 * float((alike.argmax(1) == torch.arange(len(alike))).double().mean())

    return _split(views, y, loss, points)


@lru_cache
def tags() -> Task:
    """A tag for each of 16 tokens by itself and its neighbours; the points are the mean recall of three tags."""
    g = torch.Generator().manual_seed(22)
    x = torch.randint(0, 40, (1500, 16), generator=g)
    before, after = x.roll(1, 1), x.roll(-1, 1)
    before[:, 0], after[:, -1] = 0, 39
    y = torch.where((x < 16) & (before >= 20), 1, 0)
    y = torch.where((x >= 24) & (after < 20), 2, y)

    def points(out: Tensor, wanted: Tensor) -> float:
        right = out.argmax(1) == wanted
        return 100 * float(torch.stack([right[wanted == c].double().mean() for c in range(3)]).mean())

    return _split(x, y, functional.cross_entropy, points)


@lru_cache
def bags_of_images() -> Task:
    """Whether one of six digits is a zero."""
    x, y = digit_data()
    g = torch.Generator().manual_seed(23)
    chosen = torch.randint(len(y), (2500, 6), generator=g)
    return _split(x[chosen], (y[chosen] == 0).any(1).long(), functional.cross_entropy, accuracy)


@lru_cache
def mean_and_variance() -> Task:
    """A mean and a log variance by likelihood; the points are R² of the mean."""
    x, y = friedman()

    def loss(out: Tensor, wanted: Tensor) -> Tensor:
        mean, spread = out[:, :1], out[:, 1:]
        return 0.5 * (spread + (wanted - mean).square() * (-spread).exp()).mean()

    return _split(x, y, loss, lambda out, wanted: explained(out[:, :1], wanted))


@lru_cache
def three_tasks(weight: float = 1.0) -> Task:
    """Digits: the class, how much ink, and how much of it is in the upper half; `weight` is the ink's."""
    x, y = digit_data()
    ink, upper = x.mean(1, keepdim=True), x[:, :32].mean(1, keepdim=True) - x[:, 32:].mean(1, keepdim=True)
    ink, upper = ink / ink.std(), upper / upper.std()

    def loss(out: tuple[Tensor, Tensor, Tensor], wanted: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        named = functional.cross_entropy(out[0], wanted[0])
        return named + weight * functional.mse_loss(out[1], wanted[1]) + functional.mse_loss(out[2], wanted[2])

    def points(out: tuple[Tensor, Tensor, Tensor], wanted: tuple[Tensor, Tensor, Tensor]) -> float:
        return (accuracy(out[0], wanted[0]) + explained(out[1], wanted[1]) + explained(out[2], wanted[2])) / 3

    return _split(x, (y, ink, upper), loss, points)


@lru_cache
def forecast() -> Task:
    """Four steps ahead of 32 values of a Mackey-Glass series with some noise."""
    g = torch.Generator().manual_seed(24)
    values = [1.2] * 18
    for _ in range(9000):
        late = values[-18]
        values.append(values[-1] + 0.2 * late / (1 + late**10) - 0.1 * values[-1])
    series = torch.tensor(values[1000::3])
    series = (series - series.mean()) / series.std()
    x, y = series.unfold(0, 36, 1)[:, :32], series.unfold(0, 36, 1)[:, 35:]
    order = torch.randperm(len(x), generator=g)
    return _split(x[order] + 0.05 * torch.randn(x.shape, generator=g), y[order].clone(), functional.mse_loss, explained)


@lru_cache
def graphs() -> Task:
    """Twelve nodes with four features, and who is near whom; how alike neighbours are, on average."""
    g = torch.Generator().manual_seed(25)
    places, x = torch.rand(1600, 12, 2, generator=g), torch.randn(1600, 12, 4, generator=g)
    near = ((places[:, :, None] - places[:, None]).norm(dim=-1) < 0.35).float()
    near = near / near.sum(-1, keepdim=True)
    around = near @ x
    y = (around[..., 0].relu() + (around[..., 1] * around[..., 2]).tanh()).mean(1, keepdim=True)
    y = (y - y.mean()) / y.std()
    return _split((x, near), y, functional.mse_loss, explained)


@lru_cache
def segmentation() -> Task:
    """Where the rectangle is in a noisy image of 8×8; the points are the overlap, twice over the sum (Dice)."""
    g = torch.Generator().manual_seed(26)
    images, masks = torch.zeros(1200, 1, 8, 8), torch.zeros(1200, 1, 8, 8)
    for i in range(1200):
        top, left = (int(v) for v in torch.randint(0, 4, (2,), generator=g))
        height, width = (int(v) for v in torch.randint(2, 5, (2,), generator=g))
        masks[i, 0, top : top + height, left : left + width] = 1
        images[i, 0, :, int(torch.randint(0, 8, (1,), generator=g))] = 1.5  # a line that is none
    images = images + masks + 0.5 * torch.randn(images.shape, generator=g)

    def points(out: Tensor, wanted: Tensor) -> float:
        found = (out > 0).float()
        return 100 * float(2 * (found * wanted).sum() / (found.sum() + wanted.sum()).clamp(min=1))

    return _split(images, masks, functional.binary_cross_entropy_with_logits, points)


@lru_cache
def with_gaps(code: float = 0.0) -> Task:
    """Regression of which a fifth of the values is missing; they come as `code`, with a mask beside them."""
    x, y = friedman()
    known = (torch.rand(x.shape, generator=torch.Generator().manual_seed(27)) >= 0.2).float()
    return _split((torch.where(known > 0, x, torch.tensor(code)), known), y, functional.mse_loss, explained)


@lru_cache
def conditions() -> Task:
    """A function of eight values that is another one under each of four conditions."""
    g = torch.Generator().manual_seed(28)
    x, which = torch.randn(2000, 8, generator=g), torch.randint(0, 4, (2000,), generator=g)
    made = torch.stack([x[:, 0] * x[:, 1], torch.sin(2 * x[:, 2]), x[:, 3].abs(), x[:, 4] + x[:, 5].relu()], 1)
    y = made.gather(1, which[:, None]) + 0.1 * torch.randn(2000, 1, generator=g)
    return _split((x, functional.one_hot(which, 4).float()), y / y.std(), functional.mse_loss, explained)


@lru_cache
def clicks(raw: bool = False) -> Task:
    """Clicks by three categories and three numbers, one of them a count; points: twice the area under ROC, less 1."""
    g = torch.Generator().manual_seed(29)
    fields = torch.randint(0, 12, (3000, 3), generator=g)
    numbers = torch.randn(3000, 3, generator=g)
    effects = torch.randn(3, 12, generator=g)
    logit = sum(effects[i][fields[:, i]] for i in range(3)) + numbers[:, 0] * numbers[:, 1] + numbers[:, 2]
    y = (torch.rand(3000, generator=g) < (1.5 * logit).sigmoid()).float()[:, None]
    if raw:
        numbers = torch.cat([numbers[:, :2], (numbers[:, 2:] + 6).exp()], 1)

    def points(out: Tensor, wanted: Tensor) -> float:
        yes, no = out[wanted > 0.5], out[wanted <= 0.5]
        return 100 * float((yes[:, None] - no[None]).sign().double().mean())

    return _split((fields, numbers), y, functional.binary_cross_entropy_with_logits, points)


@lru_cache
def counts() -> Task:
    """Counts by their logarithm, Poisson; the points say how much of the deviance is explained."""
    x, y = friedman()
    wanted = torch.poisson((0.8 * y + 0.5).exp(), generator=torch.Generator().manual_seed(30))

    def loss(out: Tensor, target: Tensor) -> Tensor:
        return functional.poisson_nll_loss(out, target, log_input=True)

    def deviance(rate: Tensor, target: Tensor) -> Tensor:
        log = torch.where(target > 0, target * (target / rate).log(), torch.zeros(()))
        return 2 * (log - (target - rate)).double().mean()

    def points(out: Tensor, target: Tensor) -> float:
        found = 1 - deviance(out.clamp(-20, 20).exp(), target) / deviance(target.mean(), target)
        return max(-100.0, 100 * float(found))

    return _split(x, wanted, loss, points)
