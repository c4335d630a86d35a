"""An activation is recognised by the function that it computes, however it is spelled."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 — the field's name for it
from torch import Tensor, nn

import leaky
from leaky.structure.fitting import fitted, grid

A, N = 0.2, 50


def assigned(z: Tensor) -> Tensor:
    z = z.clone()
    z[z < 0] = 0
    return z


def scaled_in_place(z: Tensor) -> Tensor:
    z = z + 0.0
    z[z < 0] *= A
    return z


RECTIFIERS: dict[str, tuple[Callable[[Tensor], Tensor], str, float]] = {
    "relu(x) - a relu(-x)": (lambda z: F.relu(z) - A * F.relu(-z), "LeakyReLU", A),
    "a x + (1 - a) relu(x)": (lambda z: A * z + (1 - A) * z.relu(), "LeakyReLU", A),
    "halves with |x|": (lambda z: 0.5 * (1 + A) * z + 0.5 * (1 - A) * z.abs(), "LeakyReLU", A),
    "two clamps": (lambda z: z.clamp(min=0) + A * z.clamp(max=0), "LeakyReLU", A),
    "two masks": (lambda z: z * (z > 0) + A * z * (z <= 0), "LeakyReLU", A),
    "where with a scaled copy": (lambda z: torch.where(z >= 0, z, z.mul(A)), "LeakyReLU", A),
    "max": (lambda z: torch.max(z, A * z), "LeakyReLU", A),
    "scaled in place by mask": (scaled_in_place, "LeakyReLU", A),
    "assigned by mask": (assigned, "ReLU", 0.0),
    "(x + |x|) / 2": (lambda z: (z + z.abs()) / 2, "ReLU", 0.0),
    "the root of a square": (lambda z: (z + (z * z).sqrt()) / 2, "ReLU", 0.0),
    "sqrt of a square": (lambda z: 0.5 * (z + torch.relu(z) + torch.relu(-z)), "ReLU", 0.0),
}


def gelu_new(z: Tensor) -> Tensor:
    return 0.5 * z * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (z + 0.044715 * torch.pow(z, 3.0))))


SMOOTH: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "gelu by tanh": (gelu_new, "GELU"),
    "gelu by erf": (lambda z: z * 0.5 * (1.0 + torch.erf(z / math.sqrt(2.0))), "GELU"),
    "quick gelu": (lambda z: z * torch.sigmoid(1.702 * z), "QuickGELU"),
    "silu by exp": (lambda z: z * torch.sigmoid(z), "SiLU"),
    "mish": (lambda z: z * torch.tanh(F.softplus(z)), "Mish"),
    "hard swish": (lambda z: z * F.relu6(z + 3) / 6, "Hardswish"),
    "softplus": (lambda z: torch.log1p(torch.exp(-z.abs())) + torch.relu(z), "Softplus"),
    "sigmoid": (torch.sigmoid, "Sigmoid"),
    "tanh": (torch.tanh, "Tanh"),
    "hardsigmoid": (F.hardsigmoid, "Hardsigmoid"),
    "softsign": (F.softsign, "Softsign"),
    "logsigmoid": (F.logsigmoid, "LogSigmoid"),
    "softplus by logarithm": (lambda z: torch.log1p(torch.exp(z)), "Softplus"),
    "a bell": (lambda z: torch.exp(-z * z), "Elementwise"),
    "a root": (lambda z: z / torch.sqrt(1 + z * z), "Elementwise"),
    "a snake": (lambda z: z + torch.sin(z) ** 2, "Elementwise"),
    "acon": (lambda z: 1.1 * z * torch.sigmoid(1.43 * z) + 0.1 * z, "Elementwise"),
    "unknown": (lambda z: torch.tanh(z) + 0.5 * torch.tanh(z - 1), "Elementwise"),
}


class Net(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.relu, self.second, self.last = nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 5), nn.Linear(5, 2)
        self.function = function
        with torch.no_grad():
            self.second.bias[0], self.second.bias[2] = -60.0, 60.0

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.second(self.relu(self.first(x)))))  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", RECTIFIERS)
def test_a_rectifier_is_one_site_with_its_slope(name: str) -> None:
    torch.manual_seed(0)
    function, kind, slope = RECTIFIERS[name]
    model, data = Net(function), torch.randn(N, 6)
    z = model.second(F.relu(model.first(data))).detach()
    record = leaky.observe(model, data, batch_size=20)
    assert [site.units for site in record.sites] == [7, 5]
    site = record.sites[1]
    assert site.activation == kind
    assert site.negative_slope == pytest.approx([slope] * 5)
    assert (site.samples, site.calls) == (N, 1)
    assert site.statistics.fired.tolist() == (z > 0).sum(0).tolist()
    assert site.statistics.sums.sum(0) == pytest.approx(z.double().sum(0).tolist(), rel=1e-5)
    assert record.not_examined == ()


@pytest.mark.parametrize("name", SMOOTH)
def test_beside_a_relu_every_smooth_activation_is_a_site_with_its_own_derivative(name: str) -> None:
    torch.manual_seed(0)
    function, kind = SMOOTH[name]
    model, data = Net(function), torch.randn(N, 6)
    z = model.second(F.relu(model.first(data))).detach().double().requires_grad_()
    h = function(z)
    (slope,) = torch.autograd.grad(h.sum(), z)
    record = leaky.observe(model, [data])
    site = record.sites[1]
    assert (site.activation, site.units, site.smooth) == (kind, 5, True)
    still = (slope.abs() <= 1e-3).all(0).tolist()
    verdicts = leaky.diagnose(record, population=True).verdicts[site.name]
    assert [unit in (*verdicts.dead, *getattr(verdicts, "unproven", ())) for unit in range(5)] == still
    sums = site.statistics.output_sums
    assert sums is not None
    assert sums == pytest.approx(h.detach().sum(0).tolist(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", SMOOTH)
def test_outputs_are_counted_once_with_a_loss_and_without(name: str) -> None:
    """The oracle is the network itself, run layer by layer."""
    torch.manual_seed(0)
    model, x = Net(SMOOTH[name][0]), torch.randn(N, 6)
    h = model.function(model.second(model.relu(model.first(x)))).detach().double()
    for loss in (None, lambda out, _: out.square().mean()):
        site = leaky.observe(model, [x[: N // 2], x[N // 2 :]], loss=loss).sites[-1]
        moments = site.output_moments()
        assert moments.mean == pytest.approx(h.mean(0).numpy(), rel=1e-4, abs=1e-6)
        assert moments.second_moment == pytest.approx(h.square().mean(0).numpy(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", SMOOTH)
def test_a_loss_makes_no_other_sites_at_the_end_of_a_network(name: str) -> None:
    class Ends(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.function(self.second(self.relu(self.first(x))))

    torch.manual_seed(0)
    model, x = Ends(SMOOTH[name][0]), torch.randn(N, 6)
    without, given = (leaky.observe(model, x, loss=loss) for loss in (None, lambda out, _: out.square().mean()))
    assert [(s.name, s.activation) for s in given.sites] == [(s.name, s.activation) for s in without.sites]
    assert given.not_examined == without.not_examined


def test_a_slope_a_unit_is_read_off() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.slope, self.last = (
                nn.Linear(6, 5),
                nn.Parameter(torch.linspace(0, 0.8, 5)),
                nn.Linear(5, 2),
            )

        def forward(self, x: Tensor) -> Tensor:
            z = self.layer(x)
            return self.last(F.relu(z) - self.slope * F.relu(-z))  # type: ignore[no-any-return]

    (site,) = leaky.observe(Own(), torch.randn(N, 6)).sites
    assert (site.activation, site.units) == ("PReLU", 5)
    assert site.negative_slope == pytest.approx(np.linspace(0, 0.8, 5), abs=1e-6)


def test_the_gradient_is_that_at_the_whole_activation_s_output() -> None:
    torch.manual_seed(0)
    model, data = Net(RECTIFIERS["relu(x) - a relu(-x)"][0]), torch.randn(N, 6)
    record = leaky.observe(model, [(data,)], loss=lambda output, batch: output.sum())
    gradient = record.sites[1].statistics.gradient
    assert gradient is not None
    expected = model.last.weight.detach().sum(0).abs().double() * N
    assert torch.allclose(torch.as_tensor(gradient.absolute_sums.sum(0)), expected, rtol=1e-5)


NO_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "a distance": lambda z: z.abs() + 1e-6,
    "a norm": lambda z: z / z.pow(2).mean(-1, keepdim=True).add(1e-6).sqrt(),
    "a norm that is at least a little": lambda z: F.normalize(z, dim=-1),
    "a sum that is at least a little": lambda z: z / z.square().sum(-1, keepdim=True).clamp(min=1e-10),
    "a limit": lambda z: z.clamp(-20, 2),
    "an affine function in disguise": lambda z: F.relu(z + 0.0) - F.relu(-(z + 0.0)),
    "a scale": lambda z: 3 * z + 1,
}


@pytest.mark.parametrize("name", NO_ACTIVATIONS)
def test_arithmetic_that_is_no_activation_is_no_smooth_site(name: str) -> None:
    torch.manual_seed(0)
    record = leaky.observe(Net(NO_ACTIVATIONS[name]), torch.randn(N, 6))
    assert not any(site.smooth or site.units == 1 for site in record.sites)


def test_a_gate_is_listed() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.last = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.a(x) * torch.sigmoid(self.b(x)))  # type: ignore[no-any-return]

    record = leaky.observe(Gated(), torch.randn(N, 6))
    assert record.sites == ()
    assert [("sigmoid#1" in item.name, "gate" in item.reason) for item in record.not_examined] == [(True, True)]


def test_a_spelled_out_activation_has_the_same_name_in_an_analysis() -> None:
    model, data = Net(gelu_new), torch.randn(N, 6)
    names = [site.name for site in leaky.observe(model, data).sites]
    assert list(leaky.analyse(model, data).structure.sites) == names


@pytest.mark.parametrize("function", [F.softshrink, F.hardshrink])
def test_what_no_figure_tells_is_listed(function: Callable[[Tensor], Tensor]) -> None:
    """A derivative of 0 in the middle."""
    torch.manual_seed(0)
    record = leaky.observe(Net(function), torch.randn(N, 6))
    assert [site.name for site in record.sites] == ["relu"]
    assert ["no figure here tells" in item.reason for item in record.not_examined] == [True]


THRESHOLDS = torch.tensor([0.3, 0.1, 2.0, 0.5, 0.01])
JUMPS: dict[str, Callable[[Tensor], Tensor]] = {
    "a mask": lambda z: z * (z > THRESHOLDS),
    "a mask of numbers": lambda z: z * (z > THRESHOLDS).float(),
    "where": lambda z: torch.where(z > THRESHOLDS, z, 0.0),
    "a step": lambda z: z * torch.heaviside(z - THRESHOLDS, torch.zeros(())),
    "one for all": lambda z: torch.where(z > 0.3, z, 0.0),
}


@pytest.mark.parametrize("name", JUMPS)
def test_a_threshold_a_unit_is_its_own(name: str) -> None:
    torch.manual_seed(0)
    model, data = Net(JUMPS[name]), torch.randn(N, 6)
    model.register_buffer("thresholds", THRESHOLDS)
    z = model.second(F.relu(model.first(data))).detach()
    site = leaky.observe(model, data, batch_size=20).sites[1]
    fired = z > (0.3 if name == "one for all" else THRESHOLDS)
    assert 0 < int(fired.sum()) < fired.numel()
    assert site.statistics.fired.tolist() == fired.sum(0).tolist()
    if site.statistics.output_sums is not None:
        assert site.statistics.output_sums == pytest.approx((z * fired).double().sum(0).tolist(), rel=1e-5)


@pytest.mark.parametrize("name", [name for name in JUMPS if name != "one for all"])
def test_thresholds_that_the_model_does_not_hold_are_listed(name: str) -> None:
    record = leaky.observe(Net(JUMPS[name]), torch.randn(N, 6))
    assert [site.name for site in record.sites] == ["relu"]
    assert ["does not hold" in item.reason for item in record.not_examined] == [True]


@pytest.mark.parametrize("cap", [1.0, 6.0])
def test_clips_are_fitted(cap: float) -> None:
    activation = fitted(F.relu(grid()) - F.relu(grid() - cap), "?")
    assert activation is not None
    assert (activation.cap, activation.threshold, activation.smooth) == (cap, 0.0, False)


@pytest.mark.parametrize(
    "activation",
    [torch.tanh, torch.sigmoid, lambda z: torch.relu(z) - 0.2 * torch.relu(-z), lambda z: 0.6 * z + 0.4 * z.abs()],
)
def test_a_spelled_out_site_on_the_only_way_is_not_bypassed(activation: Callable[[Tensor], Tensor]) -> None:
    class Net(nn.Module):
        def __init__(self, around: bool) -> None:
            super().__init__()
            self.first, self.last, self.around = nn.Linear(4, 8), nn.Linear(8, 8), around

        def forward(self, x: Tensor) -> Tensor:
            z = self.first(x)
            h = self.last(activation(z))
            return h + z if self.around else h

    for around in (False, True):
        (site,) = leaky.observe(Net(around), torch.randn(20, 4)).sites
        assert site.bypassed is around
