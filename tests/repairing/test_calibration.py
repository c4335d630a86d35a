"""Calibration: after it, every unit of every layer has zero mean and unit variance over the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 — the field's name for it
from tests.observation import architectures, networks
from torch import Tensor, nn

import leaky
from leaky.errors import InputError
from leaky.repairing.calibration import calibrate

MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)),
        (64, 6),
    ),
    "resnet": (lambda: networks.ResNet(norm=False), (32, 3, 8, 8)),
    "u-net": (architectures.UNet, (32, 3, 8, 8)),
    "x @ w": (architectures.Einsum, (64, 6)),
    "grouped transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2, groups=2), nn.ReLU()), (32, 4, 5, 5)),
    "sequence": (lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)), (16, 5, 6)),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_has_unit_variance_and_zero_mean_where_it_has_a_bias(name: str) -> None:
    torch.manual_seed(0)
    build, shape = MODELS[name]
    model, data = build(), 3 * torch.randn(shape) + 2
    before = calibrate(model, data, centre=True)
    after = calibrate(model, data, centre=True)
    assert [layer.weight for layer in after.layers] == [layer.weight for layer in before.layers]
    assert len(before.layers) >= 1
    assert max(layer.mean for layer in before.layers) > 0.1
    for layer in after.layers:
        assert layer.standard_deviation == pytest.approx(1.0, abs=1e-3)
        assert layer.mean < 1e-3 or not layer.centred


def test_the_ranges_told_are_those_of_the_first_layer() -> None:
    torch.manual_seed(0)
    model, data = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(64, 6)
    z = model[0](data).detach().double()
    first = calibrate(model, data).layers[0]
    assert first.mean == pytest.approx(float(z.mean(0).abs().max()))
    assert first.standard_deviation == pytest.approx(float(z.var(0, correction=0).mean().sqrt()))


def test_a_unit_without_variance_keeps_its_weights() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU())
    with torch.no_grad():
        model[0].weight[3] = 0
        model[0].bias[3] = 5.0
    done = calibrate(model, torch.randn(32, 6))
    assert done.layers[0].constant_units == 1
    assert not model[0].weight[3].any()
    assert model[0].bias[3] == 0


def test_a_shared_weight_is_left_alone_and_listed() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
    both = nn.Sequential(model, model, nn.Linear(6, 3))
    weight = model[0].weight.clone()
    done = calibrate(both, torch.randn(32, 6))
    assert [layer.weight for layer in done.layers] == ["2.weight"]
    assert done.left_alone == (("0.0.weight", "it is used 2 times in one pass"),)
    assert torch.equal(model[0].weight, weight)


def test_an_exception_in_the_middle_puts_everything_back() -> None:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.passes = nn.Linear(6, 8), nn.Linear(8, 8), 0

        def forward(self, x: Tensor) -> Tensor:
            self.passes += 1
            y = self.b(F.relu(self.a(x)))
            if self.passes > 1:
                raise RuntimeError("the user's own")
            return y

    model = Fails()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RuntimeError, match="the user's own"):
        calibrate(model, torch.randn(32, 6))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("form", [lambda x: [x], lambda x: [(x, torch.zeros(len(x)))], lambda x: x.numpy()])
def test_a_batch_may_come_in_any_form_that_observe_takes(form: Callable[[Tensor], Any]) -> None:
    torch.manual_seed(0)
    first, second, data = nn.Linear(6, 4), nn.Linear(6, 4), torch.randn(400, 6)
    second.load_state_dict(first.state_dict())
    calibrate(first, data)
    calibrate(second, form(data))
    torch.testing.assert_close(first.weight, second.weight)


def test_a_model_without_layers_is_named() -> None:
    with pytest.raises(InputError, match="Sequential runs none"):
        calibrate(nn.Sequential(nn.ReLU()), torch.randn(4, 3))


def deep(layers: int = 10) -> nn.Sequential:
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for _ in range(layers):
        parts += [nn.Linear(32, 32), nn.ReLU()]
    model = nn.Sequential(*parts, nn.Linear(32, 4))
    leaky.initialize(model, seed=0)
    return model


def growth(model: nn.Sequential, data: Tensor) -> float:
    """The gradient at the first layer's outputs over that at the last one's."""
    norms = []
    values = data
    kept = []
    for part in model:
        values = part(values)
        if isinstance(part, nn.Linear):
            values.retain_grad()
            kept.append(values)
    values[:, 0].sum().backward()
    norms = [float(value.grad.norm()) for value in (kept[0], kept[-2])]  # type: ignore[union-attr]
    return norms[0] / norms[1]


def test_a_deep_network_is_centred_at_its_inputs_only_so_that_its_gradients_do_not_grow() -> None:
    data = torch.randn(512, 32) + 1.0
    plain, whole, default = deep(), deep(), deep()
    calibrate(whole, data, centre=True)
    done = calibrate(default, data)
    assert [layer.centred for layer in done.layers] == [True] + [False] * 10
    values = data
    for part in default:
        values = part(values)
        if isinstance(part, nn.Linear):
            assert float(values.detach().square().mean()) == pytest.approx(1.0, abs=1e-3)
    # √1.47 a layer, over nine layers, is 5.6; what is not centred stays where it was
    assert growth(whole, data) > 3 * growth(default, data)
    assert growth(default, data) < 2 * growth(plain, data)


def test_what_each_layer_put_out_before_is_a_table() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3, bias=False)), torch.randn(50, 6)
    first = model[0](x).double().detach()
    lines = str(leaky.calibrate(model, x)).splitlines()
    assert lines[0] == "2 layers brought to size 1; before:"
    assert lines[1].split() == ["weight", "largest", "mean", "deviation", "constant", "units", "centred"]
    mean, size = first.mean(0).abs().max(), first.var(0, correction=0).mean().sqrt()
    assert lines[2].split() == ["0.weight", f"{mean:.4g}", f"{size:.4g}", "0", "yes"]
    assert lines[3].split()[-2:] == ["0", "no"]
