"""Numbers of units on their way along a pass: where they arrive, which weights take them, and where they end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from leaky.observation.following import follow
from leaky.structure.label_propagation import Propagation, propagate
from leaky.structure.label_rules import NONE
from leaky.structure.pass_index import PassIndex

UNITS = torch.arange(4)


class Net(nn.Module):
    """A forward pass over two layers."""

    def __init__(self, run: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.run, self.norm = run, nn.BatchNorm2d(4)
        self.first, self.second, self.act = nn.Conv2d(2, 4, 3), nn.Linear(4, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def sent(run: Callable[[Net, Tensor], Tensor], through_sites: bool = True) -> tuple[Propagation, Tensor]:
    """The numbers of the first layer's units, sent onwards; and those that the last value carries."""
    model = Net(run).eval()
    history = follow(model, torch.randn(2, 2, 5, 5))
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    made = next(event for event in history.events if event.call.produced).results[0]
    labels: dict[int, Tensor] = {}
    start = UNITS.reshape(1, -1, 1, 1).expand(made.shape)
    propagation = propagate(PassIndex(history, shapes), {made.index: start}, through_sites=through_sites, labels=labels)
    return propagation, labels.get(history.events[-1].results[0].index, torch.full((1,), NONE))


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (lambda net, x: net.first(x).flatten(1), UNITS.repeat_interleave(9)),
        (lambda net, x: net.first(x).permute(0, 2, 3, 1).flatten(1), UNITS.repeat(9)),
        (lambda net, x: net.first(x).mean((2, 3)).flip(1), UNITS.flip(0)),
        (lambda net, x: functional.pad(net.first(x)[:, :, 0, 0], (1, 2)), torch.tensor([-1, 0, 1, 2, 3, -1, -1])),
        (lambda net, x: net.first(x).chunk(2, 1)[1].amax((2, 3)), UNITS[2:]),
    ],
    ids=["flattened", "channels last", "flipped", "padded", "a part"],
)
def test_numbers_go_where_the_operators_put_their_elements(
    run: Callable[[Net, Tensor], Tensor], expected: Tensor
) -> None:
    propagation, carried = sent(run)
    assert torch.equal(carried, torch.where(expected < 0, NONE, expected).expand(carried.shape))
    assert [ended.reason for ended in propagation.ended] == ["it is part of the model's output"]


def test_they_arrive_at_a_site_and_end_there_unless_they_go_through() -> None:
    def run(net: Net, x: Tensor) -> Tensor:
        return net.second(net.act(net.norm(net.first(x))).mean((2, 3)))

    stays, _ = sent(run, through_sites=False)
    (reached,) = stays.reached
    assert torch.equal(reached.labels, UNITS)
    assert (stays.taken, stays.ended) == ([], [])
    goes, _ = sent(run)
    (taken,) = goes.taken
    assert (goes.reached, taken.weight, taken.bias, taken.kind) == ([], "second.weight", "second.bias", "linear")
    assert torch.equal(taken.owner, UNITS.expand(3, 4))
    for propagation in (stays, goes):
        (channelled,) = propagation.channelled
        assert channelled.norm
        assert list(channelled.owners) == ["norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"]
        assert all(torch.equal(owner, UNITS) for owner in channelled.owners.values())
    assert "mean" in goes.passed - stays.passed


@pytest.mark.parametrize(
    ("run", "reason", "joined"),
    [
        (lambda net, x: net.first(x).softmax(1), "mixes units", False),
        (lambda net, x: (lambda h: h + h.flip(1))(net.first(x)), "joins units with other units", False),
        (lambda net, x: net.first(x) + x[:, :1, 1:4, 1:4], "it is part of the model's output", True),
        (lambda net, x: x.flatten(1)[:, :4] @ net.first(x).mean((2, 3)).T, "takes it for a weight", False),
    ],
    ids=["mixed", "joined with others", "other data", "as a weight"],
)
def test_where_units_are_not_alone_any_more_the_reason_is_told(
    run: Callable[[Net, Tensor], Tensor], reason: str, joined: bool
) -> None:
    propagation, _ = sent(run)
    assert any(reason in ended.reason and ended.labels == (0, 1, 2, 3) for ended in propagation.ended)
    assert [ended.labels for ended in propagation.joined] == [(0, 1, 2, 3)] * joined
