"""What leaky_relu refuses, on each framework, and that the message names what came."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from leaky import LeakyReLU, leaky_relu
from leaky.errors import InputError

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"negative_slope": float("nan")}, "negative_slope must be a number, not NaN"),
    ({"negative_slope": 1j}, "negative_slope must be a real number.*not 1j"),
    ({"negative_slope": "0.1"}, "negative_slope must be a real number.*not '0.1'"),
    ({"negative_slope": None}, "negative_slope must be a real number.*not None"),
    ({"negative_slope": [0.1, 0.2, 0.3]}, "negative_slope must be a real number.*not a builtins.list"),
    ({"gain": 0.0}, "gain must be a positive finite number, not 0.0"),
    ({"gain": -1}, "gain must be a positive finite number, not -1"),
    ({"gain": float("nan")}, "gain must be a positive finite number, not nan"),
    ({"gain": float("inf")}, "gain must be a positive finite number, not inf"),
    ({"gain": None}, "gain must be a positive finite number, not None"),
    ({"clamp": 0.0}, "clamp must be a positive number, or None for no bound, not 0.0"),
    ({"clamp": float("nan")}, "clamp must be a positive number.*not nan"),
    ({"clamp": (1, 2)}, "clamp must be a positive number.*not a builtins.tuple"),
]
FRAMEWORKS: dict[str, Callable[[Any], Any]] = {"numpy": np.asarray, "torch": torch.tensor}
TYPE_NAMES = {"numpy": "", "torch": "torch."}


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_wrong_arguments_are_named(framework: str, arguments: dict[str, Any], message: str) -> None:
    x = FRAMEWORKS[framework]([[1.0, -1.0, 2.0]])
    with pytest.raises(InputError, match=message):
        leaky_relu(x, **arguments)


@pytest.mark.parametrize("kind", ["int64", "uint8", "bool", "complex64"])
def test_integers_and_complex_numbers_are_refused(framework: str, kind: str) -> None:
    x = FRAMEWORKS[framework]([1, 0])
    x = x.astype(kind) if framework == "numpy" else x.to(getattr(torch, kind))
    with pytest.raises(InputError, match=f"float64, not {TYPE_NAMES[framework]}{kind}"):
        leaky_relu(x)


@pytest.mark.parametrize(
    ("slopes", "arguments", "message"),
    [
        ([0.1, 0.2], {}, r"each of the 3 channels along dimension 1 of the input, whose shape is \(2, 3\), not 2"),
        ([0.1, 0.2, 0.3], {"channel_dim": 0}, "each of the 2 channels along dimension 0.*not 3"),
        (
            [0.1, 0.2, 0.3],
            {"channel_dim": 2},
            r"channel_dim must be a dimension of the input.*\(2, 3\), not 2; 3 slopes",
        ),
        ([0.1, 0.2, 0.3], {"channel_dim": -3}, "channel_dim must be a dimension.*not -3"),
        ([[0.1, 0.2, 0.3]], {}, r"no more than one dimension, not the shape \(1, 3\)"),
        ([[0.1]], {}, r"no more than one dimension, not the shape \(1, 1\)"),
        ([0.1, float("nan"), 0.3], {}, "must hold numbers; it holds NaN"),
        ([1, 2, 3], {}, "must hold floating-point numbers, not (torch.)?int64"),
    ],
)
def test_slopes_that_do_not_fit_are_named(
    framework: str, slopes: list[Any], arguments: dict[str, Any], message: str
) -> None:
    x = FRAMEWORKS[framework]([[1.0, -1.0, 2.0]] * 2)
    with pytest.raises(InputError, match=message):
        leaky_relu(x, FRAMEWORKS[framework](slopes), **arguments)


def test_slopes_of_another_framework_are_refused() -> None:
    x, slopes = torch.zeros(2, 3), np.zeros(3)
    with pytest.raises(InputError, match=r"of the input's framework, not a numpy\.ndarray"):
        leaky_relu(x, slopes)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"of the input's framework, not a torch\.Tensor"):
        leaky_relu(x.numpy(), torch.zeros(3))


@pytest.mark.parametrize("x", [[1.0, 2.0], 1.0, None, "x", (1.0,)])
def test_what_is_no_array_is_refused(x: object) -> None:
    with pytest.raises(InputError, match="the input must be a NumPy array, a torch tensor or a JAX array, not "):
        leaky_relu(x)  # type: ignore[type-var]


def test_out_that_does_not_fit_is_named(framework: str) -> None:
    make = FRAMEWORKS[framework]
    x = make([1.0, -1.0])
    for out, message in (
        (make([1.0]), r"shape \(2,\).*not \(1,\)"),
        (make([1, 1]), "not .*int64"),
        ([0.0, 0.0], "not a builtins.list"),
    ):
        with pytest.raises(InputError, match=message):
            leaky_relu(x, out=out)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="inplace=True and out= exclude each other"):
        leaky_relu(x, inplace=True, out=make([0.0, 0.0]))


def test_a_read_only_array_is_refused() -> None:
    x = np.broadcast_to(np.array([-1.0]), (4,))
    with pytest.raises(InputError, match="the input must be writable"):
        leaky_relu(x, inplace=True)
    frozen = np.zeros(4)
    frozen.flags.writeable = False
    with pytest.raises(InputError, match="out must be writable"):
        leaky_relu(x, out=frozen)
    with pytest.raises(InputError, match="the input must be a NumPy array to be written to"):
        leaky_relu(np.float64(-1.0), inplace=True)


def test_out_where_a_gradient_is_required_is_refused_and_allowed_without() -> None:
    plain, tracked = torch.tensor([1.0, -1.0]), torch.tensor([1.0, -1.0], requires_grad=True)
    slope = torch.tensor(0.1, requires_grad=True)
    for arguments, name in (
        ({"input": tracked, "out": plain.clone()}, "the input requires one"),
        ({"input": plain, "negative_slope": slope, "out": plain.clone()}, "negative_slope requires one"),
        ({"input": plain, "out": tracked}, "out requires one"),
        ({"input": tracked, "negative_slope": slope, "out": plain}, "the input and negative_slope requires? one"),
    ):
        with pytest.raises(InputError, match=f"out= must not be given where a gradient is required, and {name}"):
            leaky_relu(**arguments)
        with torch.no_grad():
            assert leaky_relu(**arguments) is arguments["out"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"negative_slope": float("nan")}, "not NaN"),
        ({"negative_slope": [0.1, float("nan")]}, "it holds NaN"),
        ({"negative_slope": []}, r"one slope a channel, not \(0,\)"),
        ({"negative_slope": [[0.1], [0.2]]}, r"one slope a channel, not \(2, 1\)"),
        ({"negative_slope": "0.1"}, "not '0.1'"),
        ({"negative_slope": torch.tensor([1, 2])}, "not torch.int64"),
        ({"gain": 0}, "gain must be a positive finite number, not 0"),
        ({"clamp": -2}, "clamp must be a positive number.*not -2"),
    ],
)
def test_the_module_refuses_when_it_is_made(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LeakyReLU(**arguments)


def test_numbers_of_every_kind_are_slopes(framework: str) -> None:
    x = FRAMEWORKS[framework]([-4.0])
    for slope in (0.25, np.float32(0.25), np.float64(0.25)):
        assert leaky_relu(x, slope).tolist() == [-1.0]
    assert leaky_relu(x, 1, gain=2, clamp=6).tolist() == [-6.0]


def test_numpy_scalars_stay_scalars() -> None:
    y = leaky_relu(np.float32(-1.0), 0.5)
    assert isinstance(y, np.float32)
    assert y == np.float32(-0.5)


def test_arrays_are_rectified_without_torch() -> None:
    code = (
        "import sys, numpy, leaky; assert leaky.leaky_relu(numpy.array([-1.0]), 0.5)[0] == -0.5;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
