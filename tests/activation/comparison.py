"""What the activation tests compare with: special values, layouts, and a distance that sees every bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import torch
from numpy.typing import NDArray

from leaky.activation import formula

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}
_INTEGERS = {2: np.int16, 4: np.int32, 8: np.int64}

CHANNELS = 3
SLOPES: dict[str, float | list[float]] = {
    "zero": 0.0,
    "common": 0.01,
    "thirds": 1 / 3,
    "negative": -0.7,
    "above one": 1.3,
    "one": 1.0,
    "channels": [0.01, 0.25, -0.5],
    "channels with zeros": [0.0, 0.2, 0.0],
    "tensor": [0.25],
    "tensor zero": [0.0],
}
BOUNDS: dict[str, tuple[float, float | None]] = {
    "plain": (1.0, None),
    "gain": (1.7, None),
    "gain and clamp": (2.0, 6.0),
    "clamp": (1.0, 0.75),
}


def special_values(dtype: torch.dtype) -> torch.Tensor:
    """Zeros, infinities, NaN, the ends of the range, and both sides of every bound of `BOUNDS`; 1-D."""
    info = torch.finfo(dtype)
    corners = [0.0, 1.0, 0.75, 3.0, 6.0, 12.0, 0.1, 1 / 3, 5.0, info.eps, info.tiny, info.tiny * info.eps, info.max]
    exact = torch.tensor(corners, dtype=dtype)
    around = torch.cat([exact, exact * (1 + 2 * info.eps), exact * (1 - info.eps)])
    around = torch.cat([around, -around])
    return torch.cat([around, torch.tensor([np.inf, -np.inf, np.nan, -0.0], dtype=dtype)])


def _channelled(x: torch.Tensor) -> torch.Tensor:
    """Every value in every channel, shape (N, C, 2, 2)."""
    x = x[: len(x) // 4 * 4].reshape(-1, 1, 2, 2)
    return x.expand(-1, CHANNELS, -1, -1).contiguous()


LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "two dimensions": lambda x: x[:, None].repeat(1, CHANNELS),
    "images": _channelled,
    "channels last": lambda x: _channelled(x).to(memory_format=torch.channels_last),
    "transposed": lambda x: x[None].repeat(CHANNELS, 1).t(),
    "every other": lambda x: x[:, None].repeat(1, 2 * CHANNELS)[:, ::2],
    "offset": lambda x: x[:, None].repeat(1, CHANNELS + 1)[1:, 1:],
    "expanded": lambda x: x[:, None].expand(-1, CHANNELS),
    "no element": lambda x: x[:0, None].repeat(1, CHANNELS),
    "no dimension": lambda x: x[1],
    "one dimension": lambda x: x,
}


def fits(x: torch.Tensor, slope: float | list[float]) -> bool:
    """Whether x has the channels that the slopes need."""
    return not isinstance(slope, list) or len(slope) == 1 or (x.dim() > 1 and x.shape[1] == len(slope))


def computed_in(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def rounded(numbers: float | list[float], dtype: torch.dtype) -> NDArray[np.float64]:
    """Numbers as the type that computes holds them."""
    return torch.tensor(numbers, dtype=torch.float64).to(computed_in(dtype)).double().numpy()


def oracle(
    which: Callable[..., NDArray[np.float64]], x: torch.Tensor, slope: float | list[float], bounds: tuple[float, Any]
) -> NDArray[Any]:
    """What `formula` says of x, rounded once to x's type; overflow to infinity is an answer."""
    gain, clamp = (None if bound is None else float(rounded(bound, x.dtype)) for bound in bounds)
    with np.errstate(all="ignore"):
        exact = which(x.double().numpy(), rounded(slope, x.dtype), gain=gain, clamp=clamp)
        return exact.astype(numpy_dtype(x.dtype))


def numpy_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    return np.dtype(ml_dtypes.bfloat16) if dtype == torch.bfloat16 else torch.empty(0, dtype=dtype).numpy().dtype


def as_numpy(x: torch.Tensor | NDArray[Any]) -> NDArray[Any]:
    """The same bits as a NumPy array, bfloat16 included."""
    if isinstance(x, np.ndarray):
        return x
    x = x.detach()
    return x.view(torch.int16).numpy().view(ml_dtypes.bfloat16) if x.dtype == torch.bfloat16 else x.numpy()


def as_torch(x: NDArray[Any]) -> torch.Tensor:
    if x.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(x)


def ulps_apart(left: torch.Tensor | NDArray[Any], right: torch.Tensor | NDArray[Any]) -> int:
    """The largest number of representable steps between two arrays of one type; NaN is 0 from NaN, −0 is 1 from +0.

    Raises:
        AssertionError: if shapes or types differ, or one is NaN where the other is not.
    """
    left, right = as_numpy(left), as_numpy(right)
    assert left.dtype == right.dtype, f"{left.dtype} against {right.dtype}"
    assert left.shape == right.shape, f"{left.shape} against {right.shape}"
    unordered = np.isnan(left)
    assert np.array_equal(unordered, np.isnan(right)), "NaN on one side alone"
    left, right = left[~unordered], right[~unordered]
    if left.tobytes() == right.tobytes():
        return 0
    steps = [abs(a - b) for a, b in zip(_ordered(left), _ordered(right), strict=True)]
    return max(steps, default=0)


def assert_same_bits(left: torch.Tensor | NDArray[Any], right: torch.Tensor | NDArray[Any]) -> None:
    apart = ulps_apart(left, right)
    assert apart == 0, f"{apart} steps apart: {left} against {right}"


def _ordered(x: NDArray[Any]) -> list[int]:
    """Floats as integers of the same order: −0 is −1, +0 is 0."""
    bits = np.ascontiguousarray(x).view(_INTEGERS[x.dtype.itemsize]).astype(object)
    lowest = -(2 ** (8 * x.dtype.itemsize - 1))
    return [int(b) if b >= 0 else lowest - int(b) - 1 for b in bits.ravel()]


def slope_derivative(
    x: NDArray[np.float64], negative_slope: Any, gain: float, clamp: float | None
) -> NDArray[np.float64]:
    """dy/dα an element, slopes along axis 1: 0 for x > 0 and gain·x otherwise; 0 where gain·|f(x)| > clamp."""
    inner = np.asarray(gain * np.where(x > 0, 0.0, x))
    if clamp is None:
        return inner
    return np.where(np.abs(formula.value(x, negative_slope, gain=gain)) > clamp, 0.0, inner)
