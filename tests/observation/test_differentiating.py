"""Derivatives that a user's loss takes of the network: their order, and whether they are 0 everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import leaky
from leaky.observation.differentiating import Differentiating
from leaky.record import Derivatives, Record


def network(activation: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 16), activation(), nn.Linear(16, 16), activation(), nn.Linear(16, 1))


def derivative(value: Tensor, x: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    return found


def residual(model: nn.Module, order: int) -> Callable[[Any, Any], Tensor]:
    """The mean square of the derivative of this order, and of the value."""

    def loss(output: Any, batch: Any) -> Tensor:
        x = batch.clone().requires_grad_()
        value = model(x)
        for _ in range(order):
            value = derivative(value, x)
        return value.square().mean() + output.square().mean()

    return loss


def seen(activation: Callable[[], nn.Module], order: int) -> Derivatives | None:
    model = network(activation)
    record = leaky.observe(model, torch.randn(40, 2), loss=residual(model, order), batch_size=20)
    assert isinstance(record, Record)
    return record.derivatives


@pytest.mark.parametrize(
    ("activation", "order", "zero"),
    [(nn.ReLU, 1, False), (nn.ReLU, 2, True), (nn.Tanh, 1, False), (nn.Tanh, 2, False), (nn.SiLU, 3, False)],
)
def test_the_order_is_counted_and_zero_is_exactly_zero(
    activation: Callable[[], nn.Module], order: int, zero: bool
) -> None:
    assert seen(activation, order) == Derivatives(order, zero)


def test_a_loss_that_takes_none_is_recorded_with_none() -> None:
    assert seen(nn.ReLU, 0) is None


def test_what_depends_on_nothing_any_more_is_zero_and_the_users_error_is_the_users() -> None:
    x = torch.randn(5, requires_grad=True)
    with Differentiating() as differentiating, pytest.raises(RuntimeError):
        derivative(2 * torch.autograd.grad((3 * x).sum(), x)[0], x)
    assert differentiating.found == Derivatives(2, True)


def test_derivatives_by_torch_func_are_the_users_own() -> None:
    model, x = network(nn.ReLU), torch.randn(40, 2)

    def forces(output: Tensor, batch: Tensor) -> Tensor:
        weights = dict(model.named_parameters())
        energy = lambda one: torch.func.functional_call(model, weights, (one[None],)).squeeze()  # noqa: E731
        found = torch.func.vmap(torch.func.grad(energy))(batch)
        return found.square().mean() + output.square().mean()  # type: ignore[no-any-return]

    record = leaky.observe(model, x, loss=forces)
    assert record.derivatives in (None, Derivatives(1, False))
    assert not [f for f in leaky.diagnose(record).findings if f.rule == "no-curvature"]


SECOND: dict[str, Callable[[Any], Callable[[Tensor], Tensor]]] = {
    "hessian": lambda f: torch.func.vmap(torch.func.hessian(f)),
    "reverse twice": lambda f: torch.func.vmap(torch.func.jacrev(torch.func.jacrev(f))),
    "forward twice": lambda f: torch.func.vmap(torch.func.jacfwd(torch.func.jacfwd(f))),
    "gradient of a gradient": lambda f: torch.func.vmap(torch.func.grad(lambda p: torch.func.grad(f)(p).sum())),
    "product with a vector": lambda f: (
        lambda x: torch.func.jvp(
            torch.func.grad(lambda all_of_it: torch.func.vmap(f)(all_of_it).sum()), (x,), (torch.ones_like(x),)
        )[1]
    ),
}


@pytest.mark.parametrize("how", SECOND)
@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU, nn.Tanh])
def test_second_derivatives_by_torch_func_are_counted(how: str, activation: Callable[[], nn.Module]) -> None:
    model, x = network(activation), torch.randn(20, 2)
    second = SECOND[how](lambda point: model(point)[0])
    truth = second(x)
    found = leaky.observe(model, x, loss=lambda out, batch: second(batch).square().mean() + out.mean()).derivatives
    assert found == Derivatives(2, not bool(truth.any()))
    assert bool(truth.any()) == (activation is nn.Tanh)


def test_layers_that_only_the_loss_runs_again_are_not_shared() -> None:
    model = network(nn.Tanh)
    assert leaky.observe(model, torch.randn(40, 2), loss=residual(model, 2)).shared_layers == ()


def test_it_is_the_first_thing_said_and_a_leak_is_not_advised(tmp_path: object) -> None:
    model = network(lambda: nn.LeakyReLU(0.2))
    checkup = leaky.check(model, torch.randn(40, 2), loss=residual(model, 2))
    first = checkup.findings[0]
    assert (first.rule, first.level, first.site) == ("no-curvature", "error", None)
    assert "smooth activation" in first.advice
    assert "begin with what no-curvature says" in checkup.diagnosis.conclusion
    checkup.save(f"{tmp_path}/checkup.json")
    back = leaky.load(f"{tmp_path}/checkup.json")
    assert isinstance(back, leaky.Checkup)
    assert back.record.derivatives == Derivatives(2, True)


@pytest.mark.parametrize(
    ("a", "b", "both"),
    [
        (Derivatives(2, True), Derivatives(2, False), Derivatives(2, False)),
        (Derivatives(2, True), Derivatives(1, False), Derivatives(2, True)),
        (Derivatives(2, True), Derivatives(2, True), Derivatives(2, True)),
    ],
)
def test_two_records_hold_what_holds_in_both(a: Derivatives, b: Derivatives, both: Derivatives) -> None:
    assert a.merge(b) == b.merge(a) == both
