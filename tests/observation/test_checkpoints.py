"""A reentrant checkpoint is looked into: its gradients are those of the same network without it."""

from __future__ import annotations

import pytest
import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

import leaky

N = 40


class Checkpointed(nn.Module):
    """A stack of layers, of which the middle ones may be run in a checkpoint."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how, self.first = how, nn.Linear(6, 7)
        self.middle = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 7), nn.Dropout(0.2), nn.ReLU())
        self.last = nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = x[:, :1].expand(-1, 7) if self.how == "of inputs" else self.first(x)
        if self.how == "sequential":
            return self.last(checkpoint_sequential(self.middle, 2, h, use_reentrant=True))  # type: ignore[no-any-return]
        plain = self.how == "plain"
        return self.last(self.middle(h) if plain else checkpoint(self.middle, h, use_reentrant=True))  # type: ignore[no-any-return]


def observed(how: str, mode: str = "train") -> leaky.record.Record:
    x = torch.randn(N, 6, generator=torch.Generator().manual_seed(1))
    return leaky.observe(Checkpointed(how), [x], loss=lambda out, _: out.square().mean(), mode=mode, seed=3)


@pytest.mark.parametrize("how", ["reentrant", "sequential"])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_gradient_in_a_reentrant_checkpoint_is_that_without_it(how: str, mode: str) -> None:
    plain, got = observed("plain", mode), observed(how, mode)
    for one, other in zip(plain.sites, got.sites, strict=True):
        assert one.statistics.gradient is not None
        assert other.statistics.gradient is not None
        assert one.statistics.gradient.absolute_sums.tolist() == other.statistics.gradient.absolute_sums.tolist()
    assert got.gradients == plain.gradients
    assert got.gradients is not None
    assert got.gradients.unreached == ()


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_what_training_would_not_reach_is_not_reached() -> None:
    model = Checkpointed("of inputs")
    model(torch.randn(N, 6)).square().mean().backward()
    unreached = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    record = observed("of inputs")
    assert record.gradients is not None
    assert {*record.gradients.unreached} == unreached
    assert "middle.0.weight" in unreached


def test_torch_s_own_function_is_back_afterwards_also_when_the_model_raises() -> None:
    own = torch.utils.checkpoint.CheckpointFunction
    observed("reentrant")
    assert torch.utils.checkpoint.CheckpointFunction is own

    class Raises(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        leaky.observe(Raises(), torch.randn(4, 2))
    assert torch.utils.checkpoint.CheckpointFunction is own
