"""A block with weights of its own that is called several times in a pass is one block: its places are one site each."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 — the field's name for it
from torch import Tensor, nn

import leaky

W, N = 8, 60


class Block(nn.Module):
    """Keeps what it rectified, as an account that leaky has no part in."""

    def __init__(self, maps: int = 1) -> None:
        super().__init__()
        self.maps, self.norm = nn.ModuleList(nn.Linear(W, W) for _ in range(maps)), nn.LayerNorm(W)
        self.rectified: list[Tensor] = []

    def act(self, z: Tensor) -> Tensor:
        self.rectified.append(z.detach())
        return F.relu(z)


class After(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + self.maps[0](x))


class Before(Block):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.maps[0](self.act(self.norm(x)))


class Around(Block):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.maps[0](self.act(self.norm(self.maps[0](x))))


def leaked(z: Tensor) -> Tensor:
    return F.relu(z) - 0.1 * F.relu(-z)


class Spelled(Block):
    def forward(self, x: Tensor) -> Tensor:
        z = x + self.maps[0](x)
        self.rectified.append(z.detach())
        return leaked(z)


class Layered(Block):
    """One line behind two maps: two places, in each call."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.maps:
            x = self.act(x + layer(x))
        return x


class Model(nn.Module):
    def __init__(self, block: Block, way: str) -> None:
        super().__init__()
        self.block, self.way = block, way
        self.one, self.two, self.last = nn.Linear(6, W), nn.Linear(6, W), nn.Linear(W, 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "branches":
            return self.last(self.block(self.one(x)) - self.block(self.two(x)))
        h = self.one(x)
        for _ in range(3):
            h = self.block(h)
        return self.last(h)


def fired(calls: list[Tensor]) -> list[int]:
    """Samples on which each unit is positive in some call."""
    return torch.stack(calls).gt(0).any(0).sum(0).tolist()


@pytest.mark.parametrize("way", ["branches", "loop"])
@pytest.mark.parametrize("make", [After, Before, Around, Spelled])
def test_a_block_that_is_called_again_is_one_site(make: Callable[[], Block], way: str) -> None:
    torch.manual_seed(0)
    model, data = Model(make(), way), torch.randn(N, 6)
    (site,) = leaky.observe(model, data, batch_size=N).sites
    calls = 2 if way == "branches" else 3
    with torch.no_grad():
        model.block.rectified.clear()
        model(data)
    assert len(model.block.rectified) == calls
    assert site.samples == N
    assert site.statistics.fired.tolist() == fired(model.block.rectified)


@pytest.mark.parametrize("way", ["branches", "loop"])
def test_one_line_behind_two_maps_is_two_sites_however_often_the_block_is_called(way: str) -> None:
    torch.manual_seed(0)
    model, data = Model(Layered(2), way), torch.randn(N, 6)
    sites = leaky.observe(model, data, batch_size=N).sites
    with torch.no_grad():
        model.block.rectified.clear()
        model(data)
    for place, site in enumerate(sites):
        assert site.statistics.fired.tolist() == fired(model.block.rectified[place::2])
    assert len(sites) == 2


def test_the_names_do_not_depend_on_how_often_the_block_is_called() -> None:
    data = torch.randn(N, 6)
    names = {way: [s.name for s in leaky.observe(Model(Before(), way), data).sites] for way in ("branches", "loop")}
    assert names["branches"] == names["loop"]


class Chosen(Block):
    """Holds the layers of a network and runs one of them in a call."""

    def __init__(self, after: bool) -> None:
        super().__init__(2)
        self.after = after

    def forward(self, x: Tensor, number: int) -> Tensor:
        return self.act(x + self.maps[number](x)) if self.after else self.maps[number](self.act(x))


class Activation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(W))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x * self.scale)


class Several(nn.Module):
    """Calls with other weights behind the same line or module."""

    def __init__(self, called: nn.Module) -> None:
        super().__init__()
        self.one, self.two, self.last, self.called = nn.Linear(6, W), nn.Linear(W, W), nn.Linear(W, 2), called

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.called, Chosen):
            return self.last(self.called(self.called(self.one(x), 0), 1))
        return self.last(self.called(self.two(self.called(self.one(x)))))


@pytest.mark.parametrize("called", [Chosen(True), Chosen(False), Activation(), nn.PReLU(), nn.ReLU(), nn.PReLU(W)])
def test_what_is_called_with_other_weights_is_another_site(called: nn.Module) -> None:
    assert len(leaky.observe(Several(called), torch.randn(N, 6)).sites) == 2
