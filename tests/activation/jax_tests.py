"""The function of JAX arrays against the one oracle, bit by bit, and under JAX's transforms; test_jax.py runs this."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from tests.activation.comparison import (
    BOUNDS,
    CHANNELS,
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

from leaky import leaky_relu
from leaky.activation import formula
from leaky.errors import InputError

jax = pytest.importorskip("jax")
jnp = jax.numpy


@pytest.fixture(autouse=True)
def float64_too() -> Iterator[None]:
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def _normal(x: Any) -> Any:
    """Without numbers so small that a product of them is subnormal: XLA puts 0 in place of those."""
    array = np.array(as_numpy(x) if isinstance(x, torch.Tensor) else x)
    tiny = torch.finfo(computed_in(DTYPES[array.dtype.name])).tiny * 64
    return np.where(np.abs(array.astype(np.float64)) < tiny, np.copysign(array.dtype.type(0), array), array)


def _given(kind: str, layout: str, slope: str) -> tuple[torch.Tensor, Any, Any]:
    x = as_torch(_normal(LAYOUTS[layout](special_values(DTYPES[kind]))))
    alpha: Any = SLOPES[slope]
    return x, jnp.asarray(as_numpy(x)), jnp.asarray(alpha) if isinstance(alpha, list) else alpha


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("kind", DTYPES)
def test_values_are_the_oracles_and_numpys_bit_by_bit(kind: str, slope: str) -> None:
    for layout in ("images", "one dimension"):
        x, array, alpha = _given(kind, layout, slope)
        if not fits(x, SLOPES[slope]):
            continue
        for gain, clamp in BOUNDS.values():
            y = leaky_relu(array, alpha, gain=gain, clamp=clamp)
            same = leaky_relu(
                as_numpy(x), np.asarray(alpha) if isinstance(SLOPES[slope], list) else alpha, gain=gain, clamp=clamp
            )
            assert_same_bits(_normal(y), _normal(same))
            assert ulps_apart(_normal(y), _normal(oracle(formula.value, x, SLOPES[slope], (gain, clamp)))) <= 1


@pytest.mark.parametrize("shape", [(), (0, 3), (1, 3), (2, 3, 1, 4)])
def test_any_shape_stays_as_it_is(shape: tuple[int, ...]) -> None:
    y = leaky_relu(jnp.full(shape, -2.0), jnp.full(3, 0.25) if len(shape) > 1 else 0.25)
    assert y.shape == shape
    assert (y == -0.5).all()


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_derivatives_are_the_oracles_in_both_modes(kind: str, slope: str) -> None:
    x, array, alpha = _given(kind, "images", slope)
    for gain, clamp in BOUNDS.values():
        function = partial(leaky_relu, negative_slope=alpha, gain=gain, clamp=clamp)
        exact = oracle(formula.derivative, x, SLOPES[slope], (gain, clamp))
        backward = jax.vjp(function, array)[1](jnp.ones_like(array))[0]
        forward = jax.jvp(function, (array,), (jnp.ones_like(array),))[1]
        assert ulps_apart(np.asarray(backward), exact) <= 1
        assert ulps_apart(np.asarray(forward), exact) <= 1


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("slope", ["channels", "channels with zeros", "tensor", "tensor zero"])
def test_learnable_slopes_get_their_gradient(slope: str, bounds: str) -> None:
    x = np.random.default_rng(0).normal(0, 3, (40, CHANNELS, 2)).astype(np.float64)
    gain, clamp = BOUNDS[bounds]
    alpha = np.array(SLOPES[slope])
    got = jax.grad(lambda a: leaky_relu(jnp.asarray(x), a, gain=gain, clamp=clamp).sum())(jnp.asarray(alpha))
    each = slope_derivative(x, alpha, gain, clamp)
    np.testing.assert_allclose(got, each.sum((0, 2)) if alpha.size > 1 else [each.sum()], rtol=1e-12)


TRANSFORMS: dict[str, Callable[[Callable[[Any], Any]], Callable[[Any], Any]]] = {
    "jit": lambda function: jax.jit(function),
    "vmap": lambda function: jax.vmap(function, in_axes=2, out_axes=2),
    "remat": lambda function: jax.checkpoint(function),
    "scan": lambda function: lambda x: jax.lax.scan(lambda carry, row: (carry, function(row)), 0, x[:, None])[1][:, 0],
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("slope", ["zero", "common", "channels with zeros"])
def test_transforms_change_nothing(slope: str, transform: str) -> None:
    _, array, alpha = _given("float32", "two dimensions" if transform == "scan" else "images", slope)

    def function(z: Any) -> Any:
        return leaky_relu(z, alpha, clamp=6.0)

    assert_same_bits(_normal(TRANSFORMS[transform](function)(array)), _normal(function(array)))


def test_a_slope_may_be_an_argument_of_compiled_code() -> None:
    function = jax.jit(leaky_relu)
    for slope in (0.0, 0.3):
        assert function(jnp.float32(-2.0), jnp.float32(slope)) == np.float32(-2.0) * np.float32(slope)
    assert not np.signbit(function(jnp.float32(-2.0), jnp.float32(0.0)))


def test_torch_and_jax_agree_on_random_numbers() -> None:
    x = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    assert_same_bits(np.asarray(leaky_relu(jnp.asarray(x.numpy()), 0.2)), leaky_relu(x, 0.2))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"negative_slope": float("nan")}, "negative_slope must be a number, not NaN"),
    ({"negative_slope": "0.1"}, "negative_slope must be a real number.*not '0.1'"),
    ({"negative_slope": np.array([1, 2, 3])}, "negative_slope must hold floating-point numbers, not int64"),
    ({"negative_slope": np.array([0.1, 0.2])}, "each of the 3 channels along dimension 1"),
    ({"gain": 0.0}, "gain must be a positive finite number"),
    ({"clamp": -1.0}, "clamp must be a positive number"),
    ({"inplace": True}, "inplace=True must be left away: a JAX array is never written to"),
    ({"out": np.zeros((1, 3))}, "out= must be left away"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        leaky_relu(jnp.zeros((1, 3)), **arguments)


@pytest.mark.parametrize("kind", ["int32", "bool", "complex64"])
def test_integers_and_complex_numbers_are_refused(kind: str) -> None:
    with pytest.raises(InputError, match=f"float64, not {kind}"):
        leaky_relu(jnp.zeros(3, kind))
