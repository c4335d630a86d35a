"""The Leaky ReLU as a layer of Keras 3, on every backend that Keras runs on.

Must be the one function: on torch, JAX and NumPy it is `leaky.leaky_relu` itself, elsewhere the same choices in
operations of Keras.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from leaky.activation import arguments, composed, leaky_relu
from leaky.errors import InputError, MissingExtraError

try:
    import keras
except ImportError:
    raise MissingExtraError("leaky.activation.keras needs Keras 3: pip install keras") from None


@keras.saving.register_keras_serializable(package="leaky")
class LeakyReLU(keras.layers.Layer):  # type: ignore[misc]
    """gain·f(x), held at ±clamp, with f(x) = x for x > 0 and αx otherwise, as a Keras layer.

    Args:
        negative_slope: α, a number, or a sequence with one slope a channel.
        gain: factor on the output, > 0.
        clamp: bound on the output's magnitude, > 0; None for no bound.
        channel_dim: the dimension of the input along which several slopes run; the last, as Keras has it.
        learnable: train the slope or slopes with the layer.
        options: of `keras.layers.Layer`: name, dtype, …

    Returns:
        Called on a tensor of any shape: one of the same shape, in the layer's compute type.

    Raises:
        InputError: for a slope, gain or clamp that `leaky.leaky_relu` refuses.
    """

    def __init__(
        self,
        negative_slope: float | Sequence[float] = 0.01,
        *,
        gain: float = 1.0,
        clamp: float | None = None,
        channel_dim: int = -1,
        learnable: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.negative_slope = _numbers(negative_slope)
        self.gain = arguments.positive_gain(gain)
        self.clamp = arguments.positive_clamp(clamp)
        self.channel_dim = channel_dim
        self.learnable = learnable
        self.supports_masking = True
        self.slopes: Any = None
        if learnable or isinstance(self.negative_slope, list):
            first = np.atleast_1d(np.asarray(self.negative_slope, np.float32))
            self.slopes = self.add_weight(
                shape=first.shape,
                initializer=lambda shape, dtype=None: keras.ops.convert_to_tensor(first, dtype=dtype),
                trainable=learnable,
                autocast=False,
                name="negative_slope",
            )

    def call(self, inputs: Any) -> Any:
        """The activation of a tensor."""
        slope: Any = self.negative_slope if self.slopes is None else keras.ops.convert_to_tensor(self.slopes)
        if keras.backend.backend() in ("torch", "jax", "numpy"):
            return leaky_relu(inputs, slope, gain=self.gain, clamp=self.clamp, channel_dim=self.channel_dim)
        return by_operations(inputs, slope, self.gain, self.clamp, self.channel_dim)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes the same layer of; slopes as they began, since weights are saved by themselves."""
        mine = {
            "negative_slope": self.negative_slope,
            "gain": self.gain,
            "clamp": self.clamp,
            "channel_dim": self.channel_dim,
            "learnable": self.learnable,
        }
        return {**super().get_config(), **mine}


def by_operations(x: Any, slope: Any, gain: float, clamp: float | None, channel_dim: int) -> Any:
    """The function in operations of Keras: float16 and bfloat16 are computed in float32 and rounded once.

    Args:
        x: a floating-point tensor of any shape.
        slope: a number, or a tensor with one slope or one a channel.
        gain: > 0.
        clamp: > 0 or None.
        channel_dim: the dimension of x along which several slopes run.
    """
    kind = keras.backend.standardize_dtype(x.dtype)
    wide = keras.ops.cast(x, "float32") if kind in ("float16", "bfloat16") else x
    if isinstance(slope, float):
        zero_slope: Any = slope == 0.0
    else:
        shape = [1] * len(x.shape)
        if slope.shape[0] > 1:
            shape[arguments.channel_axis(tuple(x.shape), tuple(slope.shape), channel_dim)] = -1
        slope = keras.ops.cast(keras.ops.reshape(slope, shape), keras.backend.standardize_dtype(wide.dtype))
        zero_slope = slope == 0
    return keras.ops.cast(composed.rectify(keras.ops, wide, slope, zero_slope, gain, clamp), kind)


def _numbers(negative_slope: Any) -> float | list[float]:
    if not isinstance(negative_slope, Sequence | np.ndarray) or isinstance(negative_slope, str):
        return arguments.slope_number(negative_slope)
    slopes = [arguments.slope_number(each) for each in negative_slope]
    if not slopes:
        raise InputError("negative_slope must hold at least one slope, not none")
    return slopes
