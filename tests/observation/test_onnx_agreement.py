"""The ONNX route and the torch route see the same in an exported network, unit by unit."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.observation import architectures as zoo
from tests.observation import networks
from torch import Tensor, nn

import leaky
from leaky.record import Site

N = 40


def exported(model: nn.Module, data: Tensor) -> bytes:
    """The model as torch's exporter writes it, for any number of samples."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, of torch's parts
        program = torch.onnx.export(
            model, (data,), dynamo=True, verbose=False, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
        )
    file = io.BytesIO()
    program.save(file)  # type: ignore[union-attr]
    return file.getvalue()


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 16), nn.PReLU(16), nn.Linear(16, 16), nn.LeakyReLU(0.2), nn.Linear(16, 8), nn.ReLU6(),
        nn.Linear(8, 4), nn.Threshold(0.1, 0.5), nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 4), nn.SiLU(),
        nn.Linear(4, 4), nn.Hardswish(), nn.Linear(4, 4), nn.Mish(), nn.Linear(4, 4), nn.Softplus(2.0),
        nn.Linear(4, 4), nn.ELU(0.5), nn.Linear(4, 4), nn.SELU(), nn.Linear(4, 4), nn.CELU(2.0), nn.Linear(4, 3),
        nn.ReLU(),
    )  # fmt: skip


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, groups=4), nn.BatchNorm2d(16), nn.LeakyReLU(0.01), nn.Flatten(),
        nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3),
    )  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (mlp, (N, 6)),
    "cnn with batch norm": (cnn, (N, 3, 8, 8)),
    "resnet": (networks.ResNet, (N, 3, 6, 6)),
    "resnet without batch norm": (lambda: networks.ResNet(norm=False), (N, 3, 6, 6)),
    "transformer block": (lambda: networks.FeedForward(True), (N, 4, 8)),
    "every spelling": (networks.Functional, (N, 6)),
    "shifted windows": (zoo.Windows, (N, 3, 8, 8)),
    "lstm": (lambda: zoo.Recurrent(nn.LSTM), (N, 4, 6)),
    "einsum": (zoo.Einsum, (N, 6)),
    "pixel shuffle": (zoo.PixelShuffle, (N, 3, 8, 8)),
}


def trained(model: nn.Module, data: Tensor) -> nn.Module:
    """In eval mode, with batch norm statistics and slopes of their own and some units that never fire."""
    torch.manual_seed(3)
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(data + torch.randn_like(data))
        for module in model.modules():
            if isinstance(module, nn.PReLU):
                module.weight.uniform_(-0.5, 1.0)
            if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
                module.bias[::5] = -20.0
    return model.eval()


def assert_agree(torchs: Site, onnxs: Site) -> None:
    mine, theirs = torchs.statistics, onnxs.statistics
    # The exporter folds batch norms into weights, renames some and joins those of both directions.
    described = [replace(site.producers[0], name="", weight_rms=0.0) for site in (torchs, onnxs)]
    assert described[0] == described[1]
    assert (torchs.activation, torchs.is_output, torchs.smooth) == (onnxs.activation, onnxs.is_output, onnxs.smooth)
    np.testing.assert_allclose(torchs.negative_slope, onnxs.negative_slope, 1e-6)
    assert (torchs.threshold, torchs.value) == pytest.approx((onnxs.threshold, onnxs.value), rel=1e-6)
    for name in ("samples", "fired", "counts", "nonfinite", "last_fired"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name), err_msg=name)
    scale = np.sqrt(mine.squares.sum(axis=0).max())
    for name in ("sums", "squares", "minimum", "maximum", "output_sums", "output_absolute_sums", "output_squares"):
        if getattr(mine, name) is not None:
            np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), 1e-6, 1e-6 * scale, err_msg=name)


@pytest.mark.parametrize("name", NETWORKS)
def test_both_routes_agree(name: str) -> None:
    build, shape = NETWORKS[name]
    torch.manual_seed(0)
    data = 2 * torch.randn(shape)
    model = trained(build(), data)
    one = leaky.observe(model, data, batch_size=16)
    other = leaky.observe(exported(model, data), data, batch_size=16)
    assert [item for item in one.not_examined if "gates" not in item.reason] == list(other.not_examined) == []
    assert len(one.sites) == len(other.sites) > 0
    for torchs, onnxs in zip(one.sites, other.sites, strict=True):
        assert_agree(torchs, onnxs)


def test_experts_whose_weights_are_picked_by_the_data_are_listed_and_what_follows_is_a_site() -> None:
    """One expert a sample: its units are not the slots that every sample has."""

    class Routed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.randn(3, 6, 5)), nn.Parameter(torch.randn(3, 5))
            self.last = nn.Linear(5, 4)

        def forward(self, x: Tensor) -> Tensor:
            chosen = (x[:, 0] > 0).long() + (x[:, 0] > 1).long()
            z = torch.bmm(x[:, None], self.weight[chosen])[:, 0] + self.bias[chosen]
            return torch.relu(self.last(torch.relu(z)))

    torch.manual_seed(0)
    data = torch.randn(N, 6)
    model = Routed().eval()
    record = leaky.observe(exported(model, data), data)
    assert ["picked for each sample" in item.reason for item in record.not_examined] == [True]
    assert [(site.units, site.samples) for site in record.sites] == [(4, N)]
    assert [site.units for site in leaky.observe(model, data).sites] == [3 * 5, 4]
