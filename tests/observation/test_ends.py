"""What goes in and out of a network, and what the loss compares: held against the whole data in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import leaky
from leaky.documents import dumps, loads
from leaky.record import WEIGHTED, Record, TensorStatistics
from leaky.record.reading import record_from_dict
from leaky.record.writing import record_to_dict


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))


def batches(*tensors: Tensor, size: int = 16) -> list[tuple[Tensor, ...]]:
    return list(zip(*(tensor.split(size) for tensor in tensors), strict=True))


def assert_is(found: TensorStatistics, whole: Tensor) -> None:
    x = whole.double().numpy().reshape(len(whole), -1)
    assert (found.samples, found.entries, found.nonfinite) == (len(x), x.size, 0)
    assert (found.minimum, found.maximum) == (x.min(), x.max())
    assert found.features is not None
    np.testing.assert_allclose(found.features.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.features.variance, x.var(0), rtol=1e-9, atol=1e-14)
    np.testing.assert_array_equal(found.features.maximum, x.max(0))
    assert found.root_mean_square == pytest.approx(np.sqrt((x**2).mean()), rel=1e-12)


def test_inputs_and_outputs_are_those_of_the_whole_data_however_they_are_cut() -> None:
    x = torch.randn(50, 5) * 3 + 100
    model = linear()
    for size in (7, 50):
        record = leaky.observe(model, x, batch_size=size)
        assert_is(record.inputs[0], x)
        with torch.no_grad():
            out = torch.cat([model(part) for part in x.split(size)])
        assert_is(record.outputs[0], out)
        assert not record.outputs[0].alike


def test_alike_is_exact_across_batches_and_records() -> None:
    x = torch.randn(1, 5).repeat(40, 1)
    record = leaky.observe(linear(), x, batch_size=16)
    assert record.inputs[0].alike
    other = leaky.observe(linear(), x + 1, batch_size=16)
    assert other.inputs[0].alike
    assert not record.merge(other).inputs[0].alike
    x[33, 2] = torch.nextafter(x[33, 2], torch.tensor(torch.inf))
    assert not leaky.observe(linear(), x, batch_size=16).inputs[0].alike


def test_nonfinite_and_integer_inputs() -> None:
    x = torch.randn(20, 5)
    x[3, 1], x[4, 1] = torch.nan, torch.inf
    seen = leaky.observe(linear(), x).inputs[0]
    assert (seen.nonfinite, seen.entries) == (2, 98)
    assert seen.features is not None
    assert seen.features.entries.tolist() == [20, 18, 20, 20, 20]
    tokens = torch.randint(0, 9, (30, 4))
    model = nn.Sequential(nn.Embedding(9, 3), nn.ReLU())
    seen = leaky.observe(model, tokens).inputs[0]
    assert (seen.dtype, seen.whole, seen.is_floating) == ("int64", True, False)


def observed(loss: Any, *tensors: Tensor, model: nn.Module | None = None) -> Record:
    return leaky.observe(model or linear(), batches(*tensors), loss=loss)


def test_class_targets_are_counted_as_accuracy() -> None:
    torch.manual_seed(1)
    x, y = torch.randn(60, 5), torch.randint(0, 2, (60,))
    model = linear()
    (term,) = observed(lambda out, batch: nn.functional.cross_entropy(out, batch[1]), x, y, model=model).terms
    with torch.no_grad():
        hits = int((model(x).argmax(1) == y).sum())
    assert (term.operation, term.hits, term.compared, term.path) == ("cross_entropy", hits, 60, ())
    assert term.classes == (int((y == 0).sum()), int((y == 1).sum()))
    assert term.right == (hits / 60, max(term.classes) / 60)


@pytest.mark.parametrize(
    "loss",
    [
        lambda out, batch: nn.functional.mse_loss(out, batch[1]),
        lambda out, batch: ((out - batch[1]) ** 2).mean(),
        lambda out, batch: (batch[1] - out).square().mean(),
        lambda out, batch: nn.SmoothL1Loss()(out, batch[1]),
    ],
    ids=["mse_loss", "minus", "turned", "module"],
)
def test_a_regression_is_told_as_r_squared(loss: Any) -> None:
    torch.manual_seed(1)
    x, y = torch.randn(60, 5), torch.randn(60, 2) * 3 + 1
    model = linear()
    (term,) = observed(loss, x, y, model=model).terms
    with torch.no_grad():
        wanted = 1 - (model(x) - y).square().sum() / (y - y.mean(0)).square().sum()
    assert term.explained == pytest.approx(float(wanted), rel=1e-5)


def test_the_way_of_an_output_to_the_comparison_is_kept() -> None:
    torch.manual_seed(1)
    x, y = torch.randn(60, 5), torch.randint(0, 2, (60,))
    (term,) = observed(lambda out, batch: nn.functional.cross_entropy(out.softmax(1), batch[1]), x, y).terms
    assert term.path == ("softmax",)
    (term,) = observed(lambda out, batch: -out.log_softmax(1).gather(1, batch[1][:, None]).mean(), x, y).terms
    assert (term.operation, term.path) == ("gather", ("log_softmax",))
    assert term.hits is not None
    (term,) = observed(lambda out, batch: (out[:, :1] - batch[1].float()).square().mean(), x, y).terms
    assert (term.given.shape, term.target.shape) == ((16, 1), (16,))


def test_what_made_an_output_is_told_behind_views() -> None:
    x = torch.randn(20, 5)
    ends = {"sigmoid": nn.Sigmoid(), "softmax": nn.Softmax(1), "relu": nn.ReLU(), "tanh": nn.Tanh()}
    for name, end in ends.items():
        model = nn.Sequential(linear(), end, nn.Unflatten(1, (2, 1)))
        record = leaky.observe(model, [(x, x)], loss=lambda out, batch: out.sum())
        assert record.outputs[0].made_by == name
        assert record.outputs[0].made_over == (2 if name == "softmax" else None)
    assert leaky.observe(linear(), [(x, x)], loss=lambda out, batch: out.sum()).outputs[0].made_by is None


@pytest.mark.parametrize(("dim", "shape"), [(0, (2,)), (1, (2,)), (0, (2, 3)), (-1, (2, 3))])
def test_a_softmax_over_the_samples_is_told_in_the_model_and_in_the_loss(dim: int, shape: tuple[int, ...]) -> None:
    x = torch.randn(20, 5)
    end = nn.Sequential(nn.Linear(5, int(np.prod(shape))), nn.Unflatten(1, shape))
    wanted = "softmax over samples" if dim == 0 else "softmax"
    inside = leaky.observe(nn.Sequential(end, nn.Softmax(dim)), [(x, x)], loss=lambda out, batch: out.sum())
    assert inside.outputs[0].made_by == wanted
    y = torch.rand(20, *shape)
    (term,) = observed(lambda out, batch: ((out.softmax(dim) - batch[1]) ** 2).sum(), x, y, model=end).terms
    assert term.path == (wanted,)


def test_samples_that_are_held_against_each_other_may_be_normalised_either_way() -> None:
    x = torch.randn(20, 5)

    def loss(out: Any, batch: Any) -> Tensor:
        close = (batch[1][:, None] == batch[1]).float()
        return -((out @ out.T).log_softmax(0) * close).mean()

    (term, *_) = observed(loss, x, torch.randint(0, 2, (20,))).terms
    assert term.path[-1] == "log_softmax"


MASKED = {
    "mask": lambda out, target, known: (out[known], target[known]),
    "numbers": lambda out, target, known: (out[known.nonzero()[:, 0]], target[known.nonzero()[:, 0]]),
    "index_select": lambda out, target, known: tuple(t.index_select(0, known.nonzero()[:, 0]) for t in (out, target)),
}


@pytest.mark.parametrize("picked", MASKED.values(), ids=MASKED)
def test_a_loss_that_leaves_targets_out_compares_the_others(picked: Any) -> None:
    torch.manual_seed(2)
    x, classes, values = torch.randn(60, 5), torch.randint(0, 2, (60,)), torch.randn(60, 2)
    classes[::3], values[::3] = -1, torch.nan
    model, kept = linear(), torch.arange(60) % 3 != 0
    with torch.no_grad():
        out = model(x)[kept]

    def of_classes(output: Any, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(*picked(output, batch[1], batch[1] >= 0))

    (term,) = observed(of_classes, x, classes, model=model).terms
    assert (term.operation, term.compared, term.path) == ("cross_entropy", 40, ())
    assert term.hits == int((out.argmax(1) == classes[kept]).sum())

    def of_values(output: Any, batch: Any) -> Tensor:
        return nn.functional.mse_loss(*picked(output, batch[1], ~batch[1].isnan().any(1)))

    (term,) = observed(of_values, x, values, model=model).terms
    y = values[kept]
    assert term.target.nonfinite == 0
    assert term.explained == pytest.approx(
        float(1 - (out - y).square().sum() / (y - y.mean(0)).square().sum()), rel=1e-5
    )


def test_missing_targets_that_are_left_out_behind_the_difference_enter_no_figure() -> None:
    torch.manual_seed(2)
    x, y = torch.randn(60, 5), torch.randn(60, 2)
    y[::3] = torch.nan
    model, kept = linear(), torch.arange(60) % 3 != 0

    def loss(output: Any, batch: Any) -> Tensor:
        return torch.where(batch[1].isnan(), torch.zeros(()), output - batch[1]).square().mean()

    record = observed(loss, x, y, model=model)
    (term,) = record.terms
    with torch.no_grad():
        left = (model(x)[kept] - y[kept]).square().sum() / (y[kept] - y[kept].mean(0)).square().sum()
    assert term.explained == pytest.approx(1 - float(left), rel=1e-5)
    gradient = record.sites[0].statistics.gradient
    assert gradient is not None
    assert gradient.nonfinite == 0


class Parted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.unused = nn.Linear(5, 4), nn.Linear(4, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)).detach())  # type: ignore[no-any-return]


def test_parameters_that_no_gradient_reaches_are_named() -> None:
    x = torch.randn(40, 5)
    gradients = observed(lambda out, batch: out.square().mean(), x, model=Parted()).gradients
    assert gradients is not None
    assert (gradients.parameters, gradients.zero) == (6, ())
    assert set(gradients.unreached) == {"first.weight", "first.bias", "unused.weight", "unused.bias"}
    half = observed(lambda out, batch: (out * (batch[0][0, 0] > 9)).sum(), x, model=linear()).gradients
    assert half is not None
    assert half.all_zero


def test_batchnorm_is_compared_with_what_comes_in() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 5) * 2 + 3
    model = nn.Sequential(nn.BatchNorm1d(5), nn.ReLU())
    (fresh,) = leaky.observe(model, x).normalisations
    assert (fresh.batches, fresh.untouched) == (0, True)
    z = x.double()
    assert fresh.distance == pytest.approx(float(z.mean(0).square().mean().sqrt() / np.sqrt(1 + 1e-5)), rel=1e-5)
    assert fresh.spread == pytest.approx(float((z.var(0, correction=0) / (1 + 1e-5)).quantile(0.5)), rel=0.3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    (trained,) = leaky.observe(model, x, mode="train").normalisations
    assert trained.untouched
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_layer_that_runs_twice_is_told() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.other = nn.Linear(5, 5), nn.Linear(5, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.other(torch.relu(self.layer(torch.relu(self.layer(x)))))  # type: ignore[no-any-return]

    (shared,) = leaky.observe(Twice(), torch.randn(20, 5)).shared_layers
    assert (shared.name, shared.calls) == ("layer", 2)


def test_a_site_that_a_path_leads_around_is_bypassed() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.last = nn.Linear(5, 5), nn.Linear(5, 2)
            self.branch, self.main = nn.ReLU(), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.main(x + self.inner(self.branch(x))))  # type: ignore[no-any-return]

    sites = {site.name: site.bypassed for site in leaky.observe(Residual(), torch.randn(20, 5)).sites}
    assert sites == {"branch": True, "main": False}


def test_the_ends_survive_a_file_and_files_without_them_still_load() -> None:
    torch.manual_seed(1)
    x, y = torch.randn(40, 5), torch.randn(40, 2)
    x[0, 0] = torch.nan
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    record = observed(lambda out, batch: nn.functional.mse_loss(out, batch[1]), x, y, model=model)
    data = record_to_dict(record)
    back = record_from_dict(loads(dumps(data), "the file"))
    assert record_to_dict(back) == data
    assert back.terms[0].target.features is not None
    for name in ("inputs", "outputs", "terms", "gradients", "normalisations"):
        assert data.pop(name)
    old = record_from_dict(loads(dumps(data), "an old file"))
    assert (old.inputs, old.terms, old.gradients) == ((), (), None)
    assert len(old.merge(record).inputs) == 1


class Squashed(nn.Module):
    """A rectifier before the last operation of a network."""

    def __init__(self, last: Any) -> None:
        super().__init__()
        self.hidden, self.out, self.last = nn.Linear(5, 8), nn.Linear(8, 3), last

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.out(torch.relu(self.hidden(x)))))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("last", "is_output"),
    [
        (lambda y: y, True),
        (torch.sigmoid, True),
        (lambda y: y.log_softmax(1), True),
        (lambda y: y.softmax(-1).unsqueeze(1), True),
        (lambda y: 2 * y - 1, False),
        (lambda y: y @ torch.ones(3, 2), False),
    ],
)
def test_a_rectifier_before_a_last_squashing_is_the_networks_own_output(last: Any, is_output: bool) -> None:
    record = leaky.observe(Squashed(last), torch.randn(20, 5))
    first, final = [site for site in record.sites if site.units in (8, 3)][:2]
    assert (first.is_output, final.is_output) == (False, is_output)


def test_a_frozen_network_is_observed_with_its_loss() -> None:
    x, y = torch.randn(20, 5), torch.randn(20, 2)
    loss = lambda out, batch: nn.functional.mse_loss(out, batch[1])  # noqa: E731
    record = leaky.observe(linear().requires_grad_(False), batches(x, y), loss=loss)
    assert record.gradients is not None
    assert (record.gradients.parameters, len(record.terms)) == (0, 1)
    assert any("no parameter of the model requires a gradient" in note for note in record.notes)


@pytest.mark.parametrize("shape", [(20,), (20, 1), (20, 2)])
def test_losses_of_samples_that_broadcast_against_their_weights_are_noted(shape: tuple[int, ...]) -> None:
    x, y, weight = torch.randn(20, 5), torch.randn(20, 1), torch.rand(*shape)
    model = nn.Sequential(linear(), nn.Linear(2, 1))
    loss = lambda out, batch: ((out - batch[1]).square() * batch[2]).mean()  # noqa: E731
    record = leaky.observe(model, batches(x, y, weight, size=20), loss=loss)
    found = [(term.given.shape, term.target.shape) for term in record.terms if term.operation == WEIGHTED]
    assert found == ([((20, 1), (20,))] if shape == (20,) else [])
