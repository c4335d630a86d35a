"""How a loss was made, told while its gradient is on the way; mistakes, and what looks like them and is none."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import leaky

LOGITS = functional.binary_cross_entropy_with_logits
Loss = Callable[[Tensor, Tensor], Tensor]
ONE: dict[str, tuple[Loss, bool]] = {
    "written out": (lambda out, y: (out - y).square().mean(), True),
    "the other way round": (lambda out, y: ((y - out) ** 2).mean(), True),
    "squeezed the wrong one": (lambda out, y: (out[:, 0] - y[:, None]).abs().mean(), True),
    "mse_loss": (functional.mse_loss, True),
    "smooth_l1_loss, scaled": (lambda out, y: 0.5 * functional.smooth_l1_loss(out, y), True),
    "l1_loss with a penalty": (lambda out, y: functional.l1_loss(out, y) + 0.01 * out.square().mean(), True),
    "of one shape": (lambda out, y: (out[:, 0] - y).square().mean(), False),
    "of one shape, by mse_loss": (lambda out, y: functional.mse_loss(out, y[:, None]), False),
    "all pairs of outputs": (lambda out, y: ((out - out.T) - (y[:, None] - y)).square().mean(), False),
    "pairs with a detached side": (
        lambda out, y: ((out[:, 0][:, None] - out.detach()[:, 0]) - (y[:, None] - y)).square().mean(),
        False,
    ),
    "nine levels of one target": (lambda out, y: (out - torch.linspace(-1, 1, 9)).abs().mean() + out.mean(), False),
}
FOUR: dict[str, tuple[Loss, str | None]] = {
    "softmax": (lambda out, y: functional.cross_entropy(out.softmax(-1), y), "softmax"),
    "sigmoid": (lambda out, y: functional.cross_entropy(out.sigmoid(), y), "sigmoid"),
    "softmax, smoothed": (lambda out, y: functional.cross_entropy(out.softmax(-1), y, label_smoothing=0.1), "softmax"),
    "sigmoid twice": (
        lambda out, y: LOGITS(out[:, 0].sigmoid().view(-1, 1), y[:, None].gt(1) + 0.0),
        "sigmoid",
    ),
    "logits": (functional.cross_entropy, None),
    "one sigmoid": (lambda out, y: functional.binary_cross_entropy(out[:, 0].sigmoid(), y.gt(1) + 0.0), None),
    "logarithms twice": (lambda out, y: functional.cross_entropy(out.log_softmax(-1), y), None),
    "attention before": (
        lambda out, y: functional.cross_entropy(out.softmax(-1) @ torch.eye(4).roll(1, 0) * 5 + out, y),
        None,
    ),
}  # fmt: skip


def told(outputs: int, loss_of: Loss, target: Callable[[Tensor], Tensor]) -> list[tuple[str, str, str]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, outputs))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    names = ("target-shape", "loss-misfit")
    with warnings.catch_warnings(), leaky.watch(model, optimizer, alarms=names, on_alarm=lambda alarm: None) as watch:
        warnings.simplefilter("ignore", UserWarning)
        for _ in range(10):
            x = torch.randn(32, 6)
            optimizer.zero_grad()
            loss_of(model(x), target(x)).backward()
            optimizer.step()
    return [(alarm.finding.rule, alarm.finding.level, alarm.finding.message) for alarm in watch.alarms]


@pytest.mark.parametrize("name", ONE)
def test_outputs_that_are_compared_with_every_target_are_told(name: str) -> None:
    loss_of, wrong = ONE[name]
    found = told(1, loss_of, lambda x: x[:, 0])
    assert [each[:2] for each in found] == [("target-shape", "error")] * wrong
    assert not wrong or "32 × 32" in found[0][2]


@pytest.mark.parametrize("name", FOUR)
def test_probabilities_where_logits_are_asked_for_are_told(name: str) -> None:
    loss_of, squashed = FOUR[name]
    found = told(4, loss_of, lambda x: x[:, :4].argmax(1))
    assert [each[:2] for each in found] == [("loss-misfit", "warning")] * (squashed is not None)
    assert squashed is None or f"a {squashed} before" in found[0][2]
