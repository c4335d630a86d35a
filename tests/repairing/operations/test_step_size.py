"""The gain that fits an optimizer's step to the depth: when there is one, how much, and what it does to the range."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import leaky
from leaky.repairing.ground import Ground
from leaky.repairing.operations.step_size import MOST, step_size

DATA = torch.randn(1200, 8, generator=torch.Generator().manual_seed(0))


def plain(depth: int, width: int = 16) -> nn.Sequential:
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    size = 8
    for _ in range(depth):
        parts += [nn.Linear(size, width), nn.ReLU()]
        size = width
    return nn.Sequential(*parts, nn.Linear(size, 2))


class Skip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.act = nn.Linear(8, 8), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layer(self.act(x))


def normalised(depth: int) -> nn.Sequential:
    parts = [part for _ in range(depth) for part in (nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU())]
    return nn.Sequential(*parts, nn.Linear(8, 2))


def test_it_is_the_sum_of_the_layers_steps_over_their_sizes() -> None:
    model, rate = plain(60), 3e-3
    # 8→16 has √(8·16) over √2·√(16/8), 59 layers of 16→16 have 16/√2, 16→2 has √32/√2
    by_hand = rate * (math.sqrt(8 * 16) / 2 + 59 * 16 / math.sqrt(2) + math.sqrt(32) / math.sqrt(2))
    assert by_hand > MOST
    found = step_size(Ground(model, DATA[:2]), torch.optim.Adam(model.parameters(), rate))
    assert found == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [
        (plain(4), torch.optim.Adam),
        (plain(60), torch.optim.SGD),
        (nn.Sequential(*(Skip() for _ in range(120))), torch.optim.Adam),
        (normalised(120), torch.optim.Adam),
        (plain(60), None),
    ],
    ids=["shallow", "SGD", "shortcuts", "normalised", "no optimizer"],
)
def test_where_it_does_not_apply_nothing_is_done(
    model: nn.Module, optimizer: type[torch.optim.Optimizer] | None
) -> None:
    made = None if optimizer is None else optimizer(model.parameters(), lr=3e-3)  # type: ignore[call-arg]
    assert step_size(Ground(model, DATA[:2]), made) == 1.0


def test_a_deep_plain_network_that_begins_anew_has_the_gain_in_its_recipe_and_a_range_that_stays() -> None:
    model = plain(60)
    plan = leaky.repair(model, leaky.check(model, DATA), DATA)
    assert [action.kind for action in plan.actions] == ["begin anew"]
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    expected = 1 / step_size(Ground(model, DATA[:2]), optimizer)
    done = plan.apply(optimizer=optimizer)
    assert done.kept
    assert {r.gain for r in done.recipe.rectifiers} == {expected}
    again = leaky.apply_recipe(plain(60), done.recipe.to_dict())
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(DATA), model(DATA))
    sites = leaky.observe(model, DATA).sites
    sizes = [math.sqrt(float((site.mean**2 + site.variance).mean())) for site in sites]
    assert max(sizes) / min(sizes) < 5  # over 60 layers; at slope 0 with torch's own weights it is 1e-20


class Scaled(nn.Module):
    """A deep plain network behind a constant factor."""

    def __init__(self) -> None:
        super().__init__()
        self.net = plain(60)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x * 0.5)  # type: ignore[no-any-return]


def test_a_constant_factor_is_no_gate() -> None:
    model, other = Scaled(), plain(60)
    found = step_size(Ground(model, DATA[:2]), torch.optim.Adam(model.parameters(), 3e-3))
    assert found == step_size(Ground(other, DATA[:2]), torch.optim.Adam(other.parameters(), 3e-3)) > MOST
