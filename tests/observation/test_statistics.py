"""Every figure of a record against float64 by brute force on pre-activations that plain hooks caught."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.observation import networks
from tests.records import site_from
from torch import Tensor, nn

import leaky
from leaky.record import BELOW, LINEAR, Record, Site, UnitStatistics

SHORT_CHAINS = 1e-6
"""What sums of float32 agree to, since they are summed in short float32 chains; the order of merging adds nothing."""


def caught(model: nn.Module, module: nn.Module, data: Tensor) -> Tensor:
    """What enters a module on all the data at once."""
    inputs: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, args: inputs.append(args[0].detach().clone()))
    with torch.no_grad():
        model(data)
    handle.remove()
    return inputs[0]


def assert_same(site: Site, oracle: Site, relative: float = 1e-9) -> None:
    """Counts equal, sums within a relative error; `last_fired` depends on the batches and is held elsewhere."""
    mine, exact = site.statistics, oracle.statistics
    assert mine.samples == exact.samples
    for name in ("fired", "counts", "nonfinite", "minimum", "maximum"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(exact, name), err_msg=name)
    for name in ("sums", "squares", "output_sums", "output_absolute_sums", "output_squares"):
        if getattr(exact, name) is not None:
            np.testing.assert_allclose(getattr(mine, name), getattr(exact, name), relative, 1e-12, err_msg=name)


def convolutional(activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3), activation, nn.Flatten(), nn.Linear(8 * 36, 3)).eval()


ACTIVATIONS: dict[str, tuple[nn.Module, dict[str, Any]]] = {
    "relu": (nn.ReLU(), {"negative_slope": 0.0}),
    "leaky": (nn.LeakyReLU(0.2), {"negative_slope": 0.2}),
    "prelu": (nn.PReLU(8, init=-0.7), {"negative_slope": np.float64(np.float32(-0.7))}),
    "relu6": (nn.ReLU6(), {"negative_slope": 0.0, "cap": 6.0}),
    "threshold": (nn.Threshold(0.3, 0.1), {"negative_slope": 0.0, "threshold": 0.3, "value": 0.1}),
    "clamped": (leaky.LeakyReLU(0.5, gain=2.0, clamp=1.0), {"negative_slope": 0.5, "gain": 2.0, "cap": 0.5,
                                                            "floor": -1.0}),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_every_figure(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    activation, expected = ACTIVATIONS[name]
    model = convolutional(activation).to(dtype)
    if name == "prelu":
        expected = {"negative_slope": activation.weight.detach().double().numpy()}
    data = (torch.randn(50, 3, 8, 8) * 8).to(dtype)
    z = caught(model, activation, data)
    relative = SHORT_CHAINS if dtype == torch.float32 else 1e-9
    assert_same(leaky.observe(model, data).sites[0], site_from(z.double().numpy(), **expected), relative)


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format], ids=str)
def test_memory_formats(memory_format: torch.memory_format) -> None:
    torch.manual_seed(2)
    activation = nn.ReLU()
    model = convolutional(activation).to(memory_format=memory_format)  # type: ignore[call-overload]
    data = torch.randn(20, 3, 8, 8).to(memory_format=memory_format)
    z = caught(model, activation, data)
    assert_same(leaky.observe(model, data).sites[0], site_from(z.double().numpy(), 0.0), SHORT_CHAINS)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_record_is_the_same_for_any_batch_size_and_threads(batch_size: int, threads: int) -> None:
    torch.manual_seed(3)
    activation = nn.ReLU()
    model = convolutional(activation).double()
    data = torch.randn(64, 3, 8, 8, dtype=torch.float64)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        site = leaky.observe(model, data, batch_size=batch_size).sites[0]
    finally:
        torch.set_num_threads(before)
    assert_same(site, site_from(caught(model, activation, data).numpy(), 0.0))


def test_shards_merge_in_any_order_to_the_whole() -> None:
    torch.manual_seed(4)
    model = networks.ResNet().eval()
    data = torch.randn(40, 3, 6, 6)
    whole = leaky.observe(model, data)
    shards = [leaky.observe(model, data[part::4]) for part in range(4)]
    forwards, backwards = (functools.reduce(Record.merge, order) for order in (shards, shards[::-1]))
    assert forwards.samples == whole.samples
    for one, other, exact in zip(forwards.sites, backwards.sites, whole.sites, strict=True):
        assert_same(one, other, 1e-12)
        assert_same(one, exact, SHORT_CHAINS)


def test_merging_needs_the_same_units() -> None:
    with pytest.raises(leaky.LeakyError, match="not 2 and 3"):
        UnitStatistics.empty(2).merge(UnitStatistics.empty(3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_variance_far_from_zero(dtype: torch.dtype) -> None:
    """Right to 1e-3 at mean/std = 1e4, against the two-pass variance in float64."""
    torch.manual_seed(5)
    z = (1e4 + torch.randn(5_000, 4, dtype=torch.float64)).to(dtype)
    site = leaky.observe(nn.ReLU(), z).sites[0]
    np.testing.assert_allclose(site.variance, z.double().var(dim=0, correction=0).numpy(), 1e-3)


@pytest.mark.parametrize(
    ("activation", "function"),
    [(nn.GELU(), torch.nn.functional.gelu), (nn.SiLU(), torch.nn.functional.silu), (nn.ELU(), torch.nn.functional.elu)],
    ids=["gelu", "silu", "elu"],
)
def test_smooth_outputs(activation: nn.Module, function: Any) -> None:
    torch.manual_seed(6)
    model = convolutional(activation).double()
    data = 5 * torch.randn(20, 3, 8, 8, dtype=torch.float64)
    site = leaky.observe(model, data).sites[0]
    z = caught(model, activation, data).numpy()
    oracle = site_from(z, smooth=lambda x: function(torch.from_numpy(x)).numpy(), threshold=site.threshold)
    assert_same(site, oracle)


SMOOTH = [nn.GELU(), nn.SiLU(), nn.ELU(), nn.SELU(), nn.CELU(2.0), nn.Mish(), nn.Softplus(), nn.Hardswish()]


@pytest.mark.parametrize("activation", SMOOTH, ids=str)
def test_below_its_threshold_a_smooth_activation_passes_practically_nothing(activation: nn.Module) -> None:
    model = nn.Sequential(activation)
    threshold = leaky.observe(model, torch.randn(4, 3)).sites[0].threshold
    z = torch.linspace(threshold - 40, threshold, 10_001, dtype=torch.float64, requires_grad=True)
    (derivative,) = torch.autograd.grad(activation(z).sum(), z)
    assert derivative.abs().max() <= 1.001e-3
    beyond = torch.tensor([threshold + 0.05], dtype=torch.float64, requires_grad=True)
    (derivative,) = torch.autograd.grad(activation(beyond).sum(), beyond)
    assert derivative.abs() > 1e-3


def test_non_finite_elements_enter_no_other_figure() -> None:
    z = torch.tensor([[1.0, float("nan")], [float("inf"), -2.0], [-3.0, float("-inf")], [4.0, -5.0]])
    site = leaky.observe(nn.ReLU(), z).sites[0]
    assert_same(site, site_from(z.numpy(), 0.0))
    assert site.statistics.nonfinite.tolist() == [1, 2]
    assert site.statistics.fired.tolist() == [2, 0]


def test_last_batch_on_which_a_unit_fired() -> None:
    z = torch.tensor([[1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, -1.0]])
    assert leaky.observe(nn.ReLU(), z, batch_size=1).sites[0].statistics.last_fired.tolist() == [0, 1, -1]


def test_a_sample_counts_once_over_the_calls_of_a_batch() -> None:
    """Of a siamese pair either tower may fire; the pair is one sample."""
    torch.manual_seed(7)
    model = networks.Siamese()
    a, b = torch.randn(30, 6), torch.randn(30, 6)
    site = leaky.observe(model, [{"a": a, "b": b}]).sites[0]
    inner = model.tower[0]
    fires = (inner(a) > 0) | (inner(b) > 0)
    assert site.statistics.fired.tolist() == fires.sum(0).tolist()
    assert site.statistics.elements.tolist() == [60] * 7


def test_max_samples_stops_in_the_middle_of_a_batch() -> None:
    torch.manual_seed(8)
    data = torch.randn(100, 6)
    record = leaky.observe(nn.Sequential(nn.Linear(6, 7), nn.ReLU()), data.split(30), max_samples=50)
    assert (record.samples, record.sites[0].samples) == (50, 50)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("batch_size", [5, 20, 40])
def test_gradients_are_those_of_one_sample_whatever_the_reduction(reduction: str, batch_size: int) -> None:
    """Against ∂L/∂h of the summed loss, computed with plain autograd on all samples at once."""
    torch.manual_seed(9)
    inner, outer, act = nn.Linear(6, 7).double(), nn.Linear(7, 3).double(), nn.LeakyReLU(0.1)
    model = nn.Sequential(inner, act, outer)
    data, targets = torch.randn(40, 6, dtype=torch.float64), torch.randint(3, (40,))
    z = inner(data).detach()
    h = act(z).requires_grad_()
    (exact,) = torch.autograd.grad(nn.functional.cross_entropy(outer(h), targets, reduction="sum"), h)
    loss = nn.CrossEntropyLoss(reduction=reduction)
    batches = list(zip(data.split(batch_size), targets.split(batch_size), strict=True))
    gradient = leaky.observe(model, batches, loss=lambda y, batch: loss(y, batch[1])).sites[0].statistics.gradient
    assert gradient is not None
    assert gradient.samples == 40
    for region, mask in ((BELOW, z <= 0), (LINEAR, z > 0)):
        part = torch.where(mask, exact, 0.0)
        np.testing.assert_allclose(gradient.absolute_sums[region], part.abs().sum(0), 1e-9)
        np.testing.assert_allclose(gradient.squares[region], part.square().sum(0), 1e-9)


def test_elements_of_the_gradient_that_are_not_finite_are_counted_and_enter_no_sum() -> None:
    torch.manual_seed(3)
    model, x, y = nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 2)), torch.randn(40, 4), torch.randn(40, 2)
    y[[5, 33]] = torch.nan
    loss = lambda out, batch: (out - batch[1]).square().mean()  # noqa: E731
    gradient, whole = (
        leaky.observe(model, [(a, b) for a, b in zip(x[k].split(16), y[k].split(16), strict=True)], loss=loss)
        .sites[0]
        .statistics.gradient
        for k in (slice(None), ~y.isnan().any(1))
    )
    assert gradient is not None
    assert whole is not None
    assert (gradient.nonfinite, whole.nonfinite) == (2 * 7, 0)
    np.testing.assert_allclose(gradient.squares, whole.squares, rtol=1e-5)


def test_the_gradient_is_the_output_s_where_an_addition_is_written_over_it() -> None:
    torch.manual_seed(10)

    class Net(nn.Module):
        def __init__(self, inplace: bool) -> None:
            super().__init__()
            self.a, self.b, self.inplace = nn.Linear(6, 6), nn.Linear(6, 6), inplace

        def forward(self, x: Tensor) -> Tensor:
            h = nn.functional.leaky_relu(self.a(x), 0.1)
            if self.inplace:
                h += x
            else:
                h = h + x
            return self.b(h)

    nets = [Net(False), Net(True)]
    nets[1].load_state_dict(nets[0].state_dict())
    data = torch.randn(20, 6)
    plain, inplace = (
        leaky.observe(net, data, loss=lambda y, _: y.square().mean()).sites[0].statistics.gradient for net in nets
    )
    assert plain is not None
    assert inplace is not None
    np.testing.assert_allclose(plain.absolute_sums, inplace.absolute_sums, 1e-6)
    assert plain.absolute_sums.sum() > 0


@pytest.mark.parametrize(
    "data",
    [torch.linspace(-2, 2, 300), torch.linspace(300, 301, 300), torch.full((300,), torch.nan)],
    ids=["spread", "far", "nan"],
)
@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_in_place_is_observed_as_out_of_place_is(data: Tensor, slope: float) -> None:
    torch.manual_seed(11)
    layer = nn.Linear(6, 40)
    outputs, sites = [], []
    for inplace in (False, True):
        model = nn.Sequential(layer, nn.LeakyReLU(slope, inplace) if slope else nn.ReLU(inplace), nn.Identity())
        seen: list[Tensor] = []
        model[2].register_forward_hook(lambda _, args, output, seen=seen: seen.append(output.clone()))  # type: ignore[misc]
        sites.append(leaky.observe(model, data.reshape(50, 6)).sites[0])
        outputs.append(seen[-1])
    assert torch.equal(outputs[0].nan_to_num(7.0), outputs[1].nan_to_num(7.0))
    assert_same(sites[1], sites[0])


def test_the_comparison_can_fail() -> None:
    site = site_from(np.random.default_rng(0).normal(size=(20, 3)), 0.0)
    for name, other in (("sums", site.statistics.sums * 1.000001), ("fired", site.statistics.fired + 1)):
        with pytest.raises(AssertionError, match=name):
            assert_same(replace(site, statistics=replace(site.statistics, **{name: other})), site)
