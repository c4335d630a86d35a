"""One function: every path, type, slope, bound and memory layout against the one oracle, bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.activation.comparison import (
    BOUNDS,
    DTYPES,
    LAYOUTS,
    SLOPES,
    as_numpy,
    as_torch,
    assert_same_bits,
    computed_in,
    fits,
    oracle,
    slope_derivative,
    special_values,
    ulps_apart,
)
from torch.utils._python_dispatch import TorchDispatchMode

from leaky import leaky_relu
from leaky.activation import formula
from leaky.activation.torch import LeakyReLU

# torch scripts its own decompositions when it differentiates forward
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.:DeprecationWarning")

Slope = float | torch.Tensor
Path = Callable[[torch.Tensor, Slope, dict[str, Any]], torch.Tensor]


class _Watching(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def _writable(x: torch.Tensor) -> torch.Tensor:
    """A copy with the same strides, to be written over."""
    if x.numel() and 0 in x.stride():
        return x.clone()
    room = max((sum((n - 1) * s for n, s in zip(x.shape, x.stride(), strict=True)) + 1), 1) if x.numel() else 1
    return torch.zeros(room, dtype=x.dtype).as_strided(x.shape, x.stride()).copy_(x)


def _numpy(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    return as_torch(leaky_relu(as_numpy(x), _numpy_slope(slope), **rest))


def _numpy_slope(slope: Slope) -> Any:
    return slope if isinstance(slope, float) else as_numpy(slope)


def _numpy_in_place(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    array = as_numpy(_writable(x))
    assert leaky_relu(array, _numpy_slope(slope), inplace=True, **rest) is array
    return as_torch(array)


def _numpy_out(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    out = np.full_like(as_numpy(x), 7)
    assert leaky_relu(as_numpy(x), _numpy_slope(slope), out=out, **rest) is out
    return as_torch(out)


def _torch(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    return leaky_relu(x, slope, **rest)


def _torch_in_place(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    written = _writable(x)
    assert leaky_relu(written, slope, inplace=True, **rest) is written
    return written


def _torch_in_place_quietly(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    with torch.no_grad():
        return _torch_in_place(x, slope, rest)


def _torch_out(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    out = torch.full_like(x, 7)
    assert leaky_relu(x, slope, out=out, **rest) is out
    return out


def _watched(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    with _Watching():
        return leaky_relu(x, slope, **rest)


def _autocast(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return leaky_relu(x, slope, **rest)


def _mapped(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    """Each of two copies under vmap, which hides the dimension that it maps."""
    both = torch.func.vmap(lambda one: leaky_relu(one, slope, **rest))(torch.stack([x, x]))
    assert_same_bits(both[0], both[1])
    return both[0]


def _mapped_slopes(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    slopes = torch.as_tensor(slope, dtype=computed_in(x.dtype))
    both = torch.func.vmap(lambda one: leaky_relu(x, one, **rest))(torch.stack([slopes, slopes]))
    assert_same_bits(both[0], both[1])
    return both[0]


def _gradient_tracking(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    return leaky_relu(x.clone().requires_grad_(), slope, **rest)


EAGER: dict[str, Path] = {
    "numpy": _numpy,
    "numpy in place": _numpy_in_place,
    "numpy out": _numpy_out,
    "torch": _torch,
    "torch in place": _torch_in_place,
    "torch in place without gradients": _torch_in_place_quietly,
    "torch out": _torch_out,
    "torch with gradients": _gradient_tracking,
    "dispatch mode": _watched,
    "autocast": _autocast,
    "vmap": _mapped,
    "vmap over slopes": _mapped_slopes,
}


def _module(slope: Slope, rest: dict[str, Any]) -> LeakyReLU:
    return LeakyReLU(slope, **rest)


def _scripted(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    return torch.jit.script(_module(slope, rest))(x)


def _traced(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    return torch.jit.trace(_module(slope, rest), torch.zeros_like(x))(x)


def _symbolic(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    return torch.fx.symbolic_trace(_module(slope, rest))(x)


def _exported(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    return torch.export.export(_module(slope, rest), (torch.zeros_like(x),)).module()(x)


def _compiled(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    torch.compiler.reset()
    return torch.compile(lambda x: leaky_relu(x, slope, **rest), backend="aot_eager", fullgraph=True)(x)


TRACED: dict[str, Path] = {
    "module": lambda x, slope, rest: _module(slope, rest)(x),
    "script": _scripted,
    "trace": _traced,
    "fx": _symbolic,
    "export": _exported,
    "compile": _compiled,
}


def _slope(slope: float | list[float], dtype: torch.dtype) -> Slope:
    return slope if isinstance(slope, float) else torch.tensor(slope, dtype=computed_in(dtype))


def _matches(got: torch.Tensor, expected: np.ndarray[Any, Any], gain: float) -> None:
    """A half type is rounded twice on its way; so is gain·αx, which the oracle rounds once."""
    twice = got.dtype in (torch.float16, torch.bfloat16) or gain != 1.0
    assert ulps_apart(got, expected) <= (1 if twice else 0)
    special = ~np.isfinite(expected.astype(np.float64)) | (expected == 0)
    assert_same_bits(as_numpy(got)[special], expected[special])


def _cases(dtype: torch.dtype, slope: float | list[float]) -> list[tuple[torch.Tensor, tuple[float, float | None]]]:
    """Every layout that has the channels for the slopes, under every gain and clamp."""
    inputs = [layout(special_values(dtype)) for layout in LAYOUTS.values()]
    return [(x, bounds) for x in inputs if fits(x, slope) for bounds in BOUNDS.values()]


@pytest.mark.parametrize("slope", SLOPES.values(), ids=SLOPES)
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("path", EAGER.values(), ids=EAGER)
def test_every_eager_path_is_the_formula(path: Path, dtype: torch.dtype, slope: float | list[float]) -> None:
    for x, bounds in _cases(dtype, slope):
        before = x.clone()
        got = path(x, _slope(slope, dtype), {"gain": bounds[0], "clamp": bounds[1]})
        _matches(got, oracle(formula.value, x, slope, bounds), bounds[0])
        assert_same_bits(x, before)


@pytest.mark.parametrize("bounds", [BOUNDS["plain"], BOUNDS["gain and clamp"]], ids=["plain", "gain and clamp"])
@pytest.mark.parametrize("slope", ["common", "zero", "channels with zeros"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("path", TRACED.values(), ids=TRACED)
def test_every_traced_path_is_the_formula(
    path: Path, dtype: str, slope: str, bounds: tuple[float, float | None]
) -> None:
    x = LAYOUTS["two dimensions"](special_values(DTYPES[dtype]))
    rest = {"gain": bounds[0], "clamp": bounds[1]}
    got = path(x, _slope(SLOPES[slope], x.dtype), rest)
    _matches(got, oracle(formula.value, x, SLOPES[slope], bounds), bounds[0])


@pytest.mark.parametrize("slope", SLOPES.values(), ids=SLOPES)
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_paths_agree_with_each_other_to_the_last_bit(dtype: torch.dtype, slope: float | list[float]) -> None:
    scale = torch.logspace(-4, 4, 500).repeat_interleave(2)[:, None]
    x = (scale * torch.randn(1000, 3, generator=torch.Generator().manual_seed(3))).to(dtype)
    for gain, clamp in BOUNDS.values():
        rest = {"gain": gain, "clamp": clamp}
        expected = _torch(x, _slope(slope, dtype), rest)
        for path in EAGER.values():
            assert_same_bits(path(x, _slope(slope, dtype), rest), expected)


def _by_autograd(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(leaky_relu(x, slope, **rest), x, torch.ones_like(x))[0]


def _by_autograd_in_place(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    x = x.clone().requires_grad_()
    y = leaky_relu(x.clone(), slope, inplace=True, **rest)
    return torch.autograd.grad(y, x, torch.ones_like(x))[0]


def _by_forward_mode(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    tangent = torch.ones(x.shape, dtype=x.dtype)
    derivative = torch.func.jvp(lambda x: leaky_relu(x, slope, **rest), (x.clone(),), (tangent,))[1]
    return derivative.to(x.dtype)  # torch's own 0-d tangents become float64 when a number multiplies them


def _by_dual_numbers(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x.clone(), torch.ones(x.shape, dtype=x.dtype))
        return torch.autograd.forward_ad.unpack_dual(leaky_relu(dual, slope, **rest)).tangent


def _by_mapped_transform(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    def pull_back(x: torch.Tensor, cotangent: torch.Tensor) -> torch.Tensor:
        return torch.func.vjp(lambda x: leaky_relu(x, slope, **rest), x)[1](cotangent)[0]

    return torch.func.vmap(pull_back)(torch.stack([x, x]), torch.ones(2, *x.shape, dtype=x.dtype))[1]


def _by_watched_autograd(x: torch.Tensor, slope: Slope, rest: dict[str, Any]) -> torch.Tensor:
    with _Watching():
        return _by_autograd(x, slope, rest)


DERIVATIVES: dict[str, Path] = {
    "autograd": _by_autograd,
    "autograd in place": _by_autograd_in_place,
    "autograd in a dispatch mode": _by_watched_autograd,
    "jvp": _by_forward_mode,
    "dual numbers": _by_dual_numbers,
    "vmap of vjp": _by_mapped_transform,
}


@pytest.mark.parametrize("slope", SLOPES.values(), ids=SLOPES)
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("path", DERIVATIVES.values(), ids=DERIVATIVES)
def test_every_derivative_is_the_formulas(path: Path, dtype: torch.dtype, slope: float | list[float]) -> None:
    for x, bounds in _cases(dtype, slope):
        got = path(x, _slope(slope, dtype), {"gain": bounds[0], "clamp": bounds[1]})
        got = got if bounds[1] is None else got + 0.0  # beyond a clamp, 0 has the sign of the slope
        _matches(got, oracle(formula.derivative, x, slope, bounds), bounds[0])


@pytest.mark.parametrize("bounds", BOUNDS.values(), ids=BOUNDS)
@pytest.mark.parametrize("slope", [SLOPES["channels"], SLOPES["channels with zeros"]], ids=["channels", "zeros"])
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_a_learnable_slope_gets_its_gradient_also_at_zero(
    dtype: torch.dtype, slope: list[float], bounds: tuple[float, float | None]
) -> None:
    generator = torch.Generator().manual_seed(5)
    x = (4 * torch.randn(50, 3, 4, generator=generator)).to(dtype)
    expected = torch.from_numpy(
        slope_derivative(x.double().numpy(), np.array(slope), gain=bounds[0], clamp=bounds[1])
    ).sum(dim=(0, 2))
    rest = {"gain": bounds[0], "clamp": bounds[1]}
    for inplace in (False, True):
        slopes = torch.tensor(slope, dtype=computed_in(dtype), requires_grad=True)
        leaky_relu(x.clone(), slopes, inplace=inplace, **rest).double().sum().backward()
        assert slopes.grad is not None
        assert torch.allclose(slopes.grad.double(), expected, rtol=2e-5)

    def total(slopes: torch.Tensor) -> torch.Tensor:
        return leaky_relu(x, slopes, **rest).double().sum()

    fixed, ones = torch.tensor(slope, dtype=computed_in(dtype)), torch.eye(3, dtype=computed_in(dtype))
    assert torch.allclose(torch.func.grad(total)(fixed).double(), expected, rtol=2e-5)
    forward = [torch.func.jvp(total, (fixed,), (one,))[1] for one in ones]
    # half types round each element's tangent; the sum of 200 of them is as exact as they are
    assert torch.allclose(torch.stack(forward), expected, rtol=5 * torch.finfo(dtype).eps + 2e-5, atol=1e-6)
