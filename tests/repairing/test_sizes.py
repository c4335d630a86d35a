"""Whether weights have a usual size is told from the weights themselves where no activation shows it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import leaky
from leaky.repairing.ground import Ground
from leaky.repairing.sizes import odd_weights

DATA = torch.randn(300, 8, 12, generator=torch.Generator().manual_seed(1))


class Attends(nn.Module):
    """Attention behind a norm: neither has a site."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__()
        self.norm, self.last = nn.LayerNorm(12), nn.Linear(12, 3)
        self.asks, self.keys, self.values = (nn.Linear(12, 12) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(x)
        scores = self.asks(x) @ self.keys(x).transpose(1, 2) / math.sqrt(12)
        out: torch.Tensor = self.last((scores.softmax(2) @ self.values(x)).mean(1))
        return out


def scaled(by: float) -> Attends:
    model = Attends()
    with torch.no_grad():
        for layer in (model.asks, model.keys, model.values):
            layer.weight.mul_(by)
    return model


@pytest.mark.parametrize("draw", [nn.init.kaiming_uniform_, nn.init.kaiming_normal_, nn.init.xavier_uniform_])
def test_no_usual_initialisation_is_odd_at_any_width(draw: object) -> None:
    for width in (8, 64, 512):
        model = nn.Sequential(nn.Linear(12, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3))
        assert odd_weights(Ground(model, DATA[:, 0])) is None
        for layer in (model[0], model[2], model[4]):
            draw(layer.weight)  # type: ignore[operator]
        assert odd_weights(Ground(model, DATA[:, 0])) is None


@pytest.mark.parametrize("by", [10.0, 0.01])
def test_attention_that_was_blown_up_or_has_decayed_is_seen_and_told(by: float) -> None:
    model = scaled(by)
    middle = float(model.keys.weight.detach().square().mean().sqrt()) * math.sqrt(12)
    words = odd_weights(Ground(model, DATA))
    assert words is not None
    assert float(words.split("weights are ")[1].split(" ")[0]) == pytest.approx(middle, rel=0.1)
    plan = leaky.repair(model, DATA)
    assert [treatment.name for treatment in plan.treatments] == ["rescaled", "begun anew"]
    assert plan.plan.planned is None
    assert not leaky.repair(scaled(1.0), DATA)


def test_frozen_weights_and_zeros_do_not_count() -> None:
    model = scaled(10.0)
    for layer in (model.asks, model.keys, model.values):
        layer.weight.requires_grad_(False)
    assert odd_weights(Ground(model, DATA)) is None
    model = scaled(1.0)
    with torch.no_grad():
        model.asks.weight.zero_()
        model.keys.weight.zero_()
    assert odd_weights(Ground(model, DATA)) is None
