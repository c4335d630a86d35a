"""What an output ends in is told by the function that it computes, however it is written."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import leaky

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(3))


class Ends(nn.Module):
    """A linear layer and a function of what it gives."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(6, 3), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.linear(x))


def cut_by_hand(z: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(z, torch.tensor(-1.0)), torch.tensor(1.0))


@pytest.mark.parametrize(
    ("function", "name", "lowest", "highest"),
    [
        (lambda z: 1 / (1 + torch.exp(-z)), "sigmoid", None, None),
        (lambda z: 0.5 * (1 + torch.tanh(z / 2)), "sigmoid", None, None),
        (lambda z: (z.exp() - (-z).exp()) / (z.exp() + (-z).exp()), "tanh", None, None),
        (lambda z: torch.log1p(torch.exp(z)), "softplus", None, None),
        (lambda z: z * (z > 0), "relu", None, None),
        (cut_by_hand, "hardtanh", None, None),
        (lambda z: 3 * torch.tanh(z), "tanh", -3.0, 3.0),
        (lambda z: 2 * torch.sigmoid(3000 * z) + 1, "sigmoid", 1.0, 3.0),
        (lambda z: 10 * torch.sigmoid(-z) - 5, "tanh", -5.0, 5.0),
        (lambda z: torch.relu(z) + 1, "function", 1.0, None),
        (lambda z: 2 - z.square(), "function", None, 2.0),
        (torch.exp, "function", 0.0, None),
        (lambda z: z.clamp(-0.25, 8.0), "function", -0.25, 8.0),
        (lambda z: z / 3 + 1, None, None, None),
        (lambda z: torch.nn.functional.leaky_relu(z, 0.1), None, None, None),
        (lambda z: torch.sin(z) + z, None, None, None),
    ],
)
@pytest.mark.parametrize("with_loss", [False, True])
def test_an_output_is_known_by_its_function(
    function: Callable[[Tensor], Tensor],
    name: str | None,
    lowest: float | None,
    highest: float | None,
    with_loss: bool,
) -> None:
    torch.manual_seed(0)
    loss = (lambda out, _: out.square().mean()) if with_loss else None
    (output,) = leaky.observe(Ends(function), X, loss=loss).outputs
    assert output.made_by == name
    assert (output.lowest is None, output.highest is None) == (lowest is None, highest is None)
    assert output.lowest == pytest.approx(lowest, abs=1e-6)
    assert output.highest == pytest.approx(highest, abs=1e-6)


def shares(z: Tensor) -> Tensor:
    grown = torch.exp(z - z.amax(1, keepdim=True))
    return grown / grown.sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("function", "made_by", "over"), [(shares, "softmax", 3), (lambda z: 2 * shares(z), None, None)]
)
def test_shares_of_one_are_a_softmax_however_they_are_written(
    function: Callable[[Tensor], Tensor], made_by: str | None, over: int | None
) -> None:
    torch.manual_seed(0)
    (output,) = leaky.observe(Ends(function), X).outputs
    assert (output.made_by, output.made_over) == (made_by, over)


def test_what_is_spelled_out_before_a_loss_is_a_misfit_as_the_operator_is() -> None:
    """As `nn.Sigmoid` and `nn.Softmax` are, and the logits are none."""
    torch.manual_seed(0)
    classes, truth = torch.arange(40) % 3, (torch.arange(40) % 2).float()
    sigmoid, half = lambda z: 1 / (1 + torch.exp(-z)), nn.BCEWithLogitsLoss()
    cases = [
        (shares, nn.CrossEntropyLoss(), classes, ["loss-misfit"]),
        (lambda z: z, nn.CrossEntropyLoss(), classes, []),
        (sigmoid, lambda out, batch: half(out[:, 0], batch[1]), truth, ["loss-misfit"]),
        (lambda z: z, lambda out, batch: half(out[:, 0], batch[1]), truth, []),
    ]
    for function, loss, target, said in cases:
        found = leaky.check(Ends(function), (X, target), loss=loss).findings
        assert [f.rule for f in found if f.rule == "loss-misfit"] == said


@pytest.mark.parametrize(("least", "said"), [(0.5, []), (-2.0, ["target-range"])])
def test_targets_below_what_an_output_can_give(least: float, said: list[str]) -> None:
    target = torch.linspace(least, 4, 40)[:, None].expand(40, 3)
    model = Ends(lambda z: torch.relu(z) + 0.5)
    found = leaky.check(model, (X, target), loss=nn.MSELoss()).findings
    assert [f.rule for f in found if f.rule == "target-range"] == said
    assert all("0.5 to above" in f.message for f in found if f.rule == "target-range")


def test_a_rate_above_0_fits_counts_and_a_range_that_is_nearly_wide_enough_is_a_note() -> None:
    torch.manual_seed(0)
    counts, model = torch.poisson(torch.ones(40, 3)), Ends(lambda z: nn.functional.softplus(z) + 0.5)
    loss = nn.PoissonNLLLoss(log_input=False)
    assert [f.rule for f in leaky.check(model, (X, counts), loss=loss).findings if f.rule == "target-range"] == []
    exact = model(X).detach()
    exact[0, 0] = 0.4
    levels = {}
    for name, target in (("learned", exact), ("not", exact.flip(0))):
        found = leaky.check(model, (X, target), loss=nn.MSELoss()).findings
        levels[name] = [f.level for f in found if f.rule == "target-range"]
    assert levels == {"learned": ["info"], "not": ["warning"]}


def test_a_stretched_tanh_in_its_flat_ends_is_told() -> None:
    """Its derivative, 1 − tanh², has a mean below a hundredth, and the targets lie elsewhere."""
    torch.manual_seed(0)
    x, target = torch.randn(400, 6), torch.randn(400, 3).tanh()
    for steepness, said in ((1000.0, True), (0.3, False)):
        last = Ends(lambda z, s=steepness: 2 * torch.tanh(s * z))  # type: ignore[misc]
        model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), last)
        assert ((1 - (model(x).detach() / 2).square()).mean().item() < 0.01) is said
        found = leaky.check(model, (x, target), loss=nn.MSELoss()).findings
        assert any(f.rule == "no-gradient" and "ends in a tanh" in f.message for f in found) is said
