"""Activations are told by the function that they compute, whatever its spelling."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 — the field's name for it

from leaky.record import FloatArray
from leaky.structure.activations import Activation
from leaky.structure.onnx.functions import Function, classify


def torchs(function: object) -> Function:
    return lambda z: np.asarray(function(torch.from_numpy(np.array(z))).numpy(), np.float64)  # type: ignore[operator]


FOUND: dict[str, tuple[Function, Activation]] = {
    "relu": (torchs(F.relu), Activation("ReLU")),
    "leaky": (torchs(lambda z: F.leaky_relu(z, 0.2)), Activation("LeakyReLU", 0.2)),
    "negative slope": (torchs(lambda z: F.leaky_relu(z, -0.3)), Activation("LeakyReLU", -0.3)),
    "steep slope": (torchs(lambda z: F.leaky_relu(z, 2.0)), Activation("LeakyReLU", 2.0)),
    "relu6": (torchs(F.relu6), Activation("ReLU6", cap=6.0)),
    "capped": (torchs(lambda z: z.clamp(0, 2)), Activation("Hardtanh", cap=2.0)),
    "threshold": (torchs(lambda z: F.threshold(z, 0.3, 0.1)), Activation("Threshold", threshold=0.3, value=0.1)),
    "threshold below 0": (torchs(lambda z: F.threshold(z, -1.0, 0.0)), Activation("Threshold", threshold=-1.0)),
    "gelu": (torchs(F.gelu), Activation("GELU", threshold=-3.8103714, smooth=True)),
    "gelu by tanh": (
        torchs(lambda z: F.gelu(z, approximate="tanh")),
        Activation("GELU", threshold=-3.8103714, smooth=True),
    ),
    "silu": (torchs(F.silu), Activation("SiLU", threshold=-8.9850615, smooth=True)),
    "swish": (
        torchs(lambda z: z * torch.sigmoid(1.702 * z)),
        Activation("Swish", threshold=-8.9850615 / 1.702, smooth=True),
    ),
    "mish": (torchs(F.mish), Activation("Mish", threshold=-8.9852137, smooth=True)),
    "hard-swish": (torchs(F.hardswish), Activation("Hardswish", threshold=-3.0, smooth=True)),
    "softplus": (torchs(F.softplus), Activation("Softplus", threshold=math.log(1e-3 / (1 - 1e-3)), smooth=True)),
    "steep softplus": (
        torchs(lambda z: F.softplus(z, 3)),
        Activation("Softplus", threshold=math.log(1e-3 / (1 - 1e-3)) / 3, smooth=True),
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_is_an_activation(name: str) -> None:
    function, expected = FOUND[name]
    found = classify(function)
    assert found is not None
    assert (found.name, found.cap, found.smooth) == (expected.name, expected.cap, expected.smooth)
    numbers = [(found.negative_slope, expected.negative_slope), (found.value, expected.value)]
    for mine, theirs in [*numbers, (found.threshold, expected.threshold)]:
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-12)


NONE: dict[str, Function] = {
    "identity": lambda z: z,
    "affine": lambda z: 2 * z + 1,
    "absolute value": np.abs,
    "square": np.square,
    "squared relu": lambda z: np.maximum(z, 0) ** 2,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "hard sigmoid": lambda z: np.clip(z / 6 + 0.5, 0, 1),
    "clip on both sides": lambda z: np.clip(z, -1, 1),
    "a floor that is not 0": lambda z: np.maximum(z, -1.0),
    "a floor against log(0)": lambda z: np.maximum(z, 1e-12),
    "scaled relu": lambda z: 2 * np.maximum(z, 0),
    "shifted relu": lambda z: np.maximum(z - 1, 0),
    "minimum with 0": lambda z: np.minimum(z, 0),
    "constant": np.zeros_like,
    "infinite": lambda z: np.where(z > 0, np.inf, z),
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_none(name: str) -> None:
    def quiet(z: FloatArray) -> FloatArray:
        with np.errstate(all="ignore"):
            return np.asarray(NONE[name](z), np.float64)

    assert classify(quiet) is None
