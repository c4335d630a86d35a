"""Networks drawn from a seed, of every structure that repair supports, and a way to kill units in them."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F  # noqa: N812 — the field's name for it
from torch import Tensor, nn

from leaky.repairing.ground import Ground


class Parallel(nn.Module):
    """Two branches, concatenated along the channels."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.first(x), self.second(x)], 1)


class Residual(nn.Module):
    """A branch, an identity shortcut and a rectifier behind the sum."""

    def __init__(self, branch: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.branch, self.act = branch, act

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.branch(x) + x)


class Flattened(nn.Module):
    """Channels first or channels last, in front of a linear layer."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        return (x.permute(0, 2, 3, 1) if self.last else x).flatten(1)


class Functional(nn.Module):
    """A rectifier that is no module."""

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, 0.1)


def activation(draw: random.Random) -> nn.Module:
    return draw.choice([nn.ReLU(), nn.ReLU(inplace=True), nn.LeakyReLU(0.2), nn.PReLU(), Functional()])


def convolution(draw: random.Random, inputs: int, outputs: int) -> list[nn.Module]:
    bias = draw.random() < 0.7
    kind = draw.choice(["plain", "plain", "padded", "grouped", "transposed"])
    groups = 2 if kind == "grouped" and inputs % 2 == 0 and outputs % 2 == 0 else 1
    layer: nn.Module
    if kind == "transposed":
        layer = nn.ConvTranspose2d(inputs, outputs, 2, stride=draw.choice([1, 2]), bias=bias)
    else:
        layer = nn.Conv2d(inputs, outputs, 3, padding=int(kind == "padded"), groups=groups, bias=bias)
    norm = [nn.BatchNorm2d(outputs)] if draw.random() < 0.5 else []
    return [layer, *norm, activation(draw)]


def network(seed: int) -> tuple[nn.Module, Tensor]:
    """A network in eval mode with BatchNorm statistics of its own, and inputs."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    images = draw.random() < 0.7
    parts: list[nn.Module] = []
    if images:
        width = draw.choice([4, 6])
        parts += convolution(draw, 3, width)
        for _ in range(draw.randint(1, 2)):
            pooled = any(isinstance(part, (nn.MaxPool2d, nn.AvgPool2d)) for part in parts)
            shape = draw.choice(["plain", "parallel", "residual", "plain" if pooled else "pool"])
            if shape == "parallel":
                parts.append(Parallel(nn.Conv2d(width, 4, 3), nn.Conv2d(width, 2, 3)))
                parts.append(activation(draw))
                width = 6
            elif shape == "residual":
                inner = nn.Conv2d(width, 5, 3, padding=1)
                branch = nn.Sequential(inner, activation(draw), nn.Conv2d(5, width, 3, padding=1))
                parts.append(Residual(branch, activation(draw)))
            elif shape == "pool":
                parts.append(draw.choice([nn.MaxPool2d(2), nn.AvgPool2d(2)]))
            parts += convolution(draw, width, 4) if shape != "residual" else []
            width = width if shape == "residual" else 4
        parts.append(
            Flattened(draw.random() < 0.5)
            if draw.random() < 0.7
            else nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        )
    data = torch.randn(24, 3, 12, 12) if images else torch.randn(16, 5)
    with torch.no_grad():
        size = nn.Sequential(*parts)(data).shape[1]
    for _ in range(draw.randint(1, 3)):
        norm = [nn.BatchNorm1d(7)] if draw.random() < 0.3 else []
        parts += [nn.Linear(size, 7), *norm, activation(draw)]
        size = 7
    model = nn.Sequential(*parts, nn.Linear(size, 3))
    with torch.no_grad():
        model.train()(data)
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return model.eval(), data


def kill(ground: Ground, draw: random.Random, most: int = 2) -> dict[str, list[int]]:
    """Make some units of sites dead, or constant where the slope is not 0, among those that repair can change."""
    killed: dict[str, list[int]] = {}
    with torch.no_grad():
        for name, site in ground.structure.sites.items():
            free = [u for u in range(site.units) if site.refusal(u) is None and not any(m.joined for m in site.made)]
            chosen = draw.sample(free, min(len(free), most, site.units - 1))
            for unit in chosen:
                for made in site.made:
                    ground.tensor(made.weight)[made.owner == unit] = 0.0
                    if made.bias is not None:
                        ground.tensor(made.bias[0])[made.bias[1] == unit] = -1.0
                    for norm in made.norms:
                        for parameter, owner in list(norm.owners.items())[:2]:
                            ground.tensor(parameter)[owner == unit] = -1.0
            if chosen:
                killed[name] = sorted(chosen)
    return killed
