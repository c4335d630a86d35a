"""Data and losses as people write them: (inputs, targets), torch's own losses; against a spelled-out form."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # as everybody calls it

import leaky
from leaky.observation.forms import is_inputs_and_targets
from leaky.record import Record

X = torch.randn(600, 6, generator=torch.Generator().manual_seed(0))
CLASSES, VALUES = X[:, 0].gt(0).long(), X.sum(1, keepdim=True)


def model(outputs: int = 2) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, outputs))


def spelled(outputs: int, y: Tensor, loss: Any) -> Record:
    batches = [(X[i : i + 256], y[i : i + 256]) for i in range(0, 600, 256)]
    return leaky.observe(model(outputs), batches, loss=lambda output, batch: loss(output, batch[1]))


def assert_same(found: Record, wanted: Record) -> None:
    assert found.samples == wanted.samples == 600
    for ours, theirs in zip(found.sites, wanted.sites, strict=True):
        assert ours.statistics.gradient is not None
        assert theirs.statistics.gradient is not None
        np.testing.assert_array_equal(ours.statistics.gradient.squares, theirs.statistics.gradient.squares)
        np.testing.assert_array_equal(ours.statistics.sums, theirs.statistics.sums)


@pytest.mark.parametrize(
    "data", [(X, CLASSES), [X, CLASSES], (X.numpy(), CLASSES.numpy())], ids=["tuple", "list", "NumPy"]
)
@pytest.mark.parametrize(
    "loss",
    [F.cross_entropy, nn.CrossEntropyLoss(), partial(F.cross_entropy, label_smoothing=0.0)],
    ids=["function", "module", "partial"],
)
def test_inputs_and_targets_with_a_loss_of_torch(data: Any, loss: Any) -> None:
    assert_same(leaky.observe(model(), data, loss=loss), spelled(2, CLASSES, F.cross_entropy))


def test_targets_as_wide_as_the_inputs_are_targets() -> None:
    target = X.flip(1)
    assert_same(leaky.observe(model(6), (X, target), loss=F.mse_loss), spelled(6, target, F.mse_loss))


def test_a_loader_s_own_batch_is_one_batch() -> None:
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, VALUES), 600)
    batch = next(iter(loader))
    assert_same(leaky.observe(model(1), tuple(batch), loss=nn.MSELoss()), spelled(1, VALUES, F.mse_loss))


def test_targets_by_name_and_outputs_by_name() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model()

        def forward(self, inputs: Tensor) -> dict[str, Tensor]:
            return {"features": inputs, "logits": self.inner(inputs)}

    data = [{"inputs": X[i : i + 256], "labels": CLASSES[i : i + 256]} for i in range(0, 600, 256)]
    found = leaky.observe(Named(), data, loss=nn.CrossEntropyLoss())
    assert_same(found, spelled(2, CLASSES, F.cross_entropy))


def test_a_model_of_two_inputs_has_its_target_behind_them() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model()

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return self.inner(torch.cat([left, right], 1))  # type: ignore[no-any-return]

    data = (X[:, :3].contiguous(), X[:, 3:].contiguous(), CLASSES)
    assert_same(leaky.observe(Two(), data, loss=F.cross_entropy), spelled(2, CLASSES, F.cross_entropy))


@pytest.mark.parametrize(
    ("data", "one"),
    [
        ((X, CLASSES), True),
        ((X, X), True),
        ([X, X], False),  # batches
        ([X, CLASSES], True),
        ([X[:300], X[300:]], False),
        ((X, CLASSES[:-1]), False),
        ((X,), False),
        ([X, CLASSES, VALUES], True),
        ([(X, CLASSES)], False),
        ((torch.zeros(()), torch.zeros(())), False),
    ],
)
def test_what_is_one_set_of_samples(data: Any, one: bool) -> None:
    assert is_inputs_and_targets(data, 0) is one


def test_samples_along_the_second_axis() -> None:
    sequences = torch.randn(5, 40, 6)
    rnn = nn.RNN(6, 8, nonlinearity="relu")
    record = leaky.observe(rnn, (sequences, torch.zeros(40)), sample_dim=1)
    assert record.samples == 40


def test_a_loss_that_is_called_otherwise_says_how() -> None:
    def mine(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target)

    with pytest.raises(leaky.LeakyError, match=r"the batch \(a tuple of 2\), as in loss=lambda output, batch"):
        leaky.observe(model(), (X, CLASSES), loss=mine)
    with pytest.raises(leaky.LeakyError, match=r"must hold a target .* and it is a tensor"):
        leaky.observe(model(), X, loss=F.cross_entropy)
    with pytest.raises(leaky.LeakyError, match=r"the target of the batch, and it raised RuntimeError"):
        leaky.observe(model(), (X, CLASSES.float()), loss=F.cross_entropy)


@pytest.mark.parametrize(("weighing", "left_out"), [("its own", True), ("all", False)])
def test_the_loss_of_a_remainder_that_is_a_mean_over_nothing_is_left_out(weighing: str, left_out: bool) -> None:
    """A batch of 4 behind one of 40, in which no class has a weight: 0 ÷ 0, whatever the network does."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    x, y = torch.randn(44, 6), torch.arange(44) % 2
    y[40:] = 2
    weight = torch.tensor([1.0, 1.0, 0.0 if weighing == "its own" else 1.0])
    loss = nn.CrossEntropyLoss(weight=weight)
    record = leaky.observe(model, (x, y), loss=loss, batch_size=40)
    (site,) = record.sites
    gradient = site.statistics.gradient
    assert gradient is not None
    assert (site.samples, gradient.samples, gradient.nonfinite) == (44, 40 if left_out else 44, 0)
    assert any("mean over nothing" in note for note in record.notes) is left_out
    long = leaky.observe(model, (x[36:], y[36:]), loss=loss, batch_size=4)  # as long as the one before: it is told
    gradient = long.sites[0].statistics.gradient
    assert gradient is not None
    assert (gradient.nonfinite > 0) is left_out
