"""Records made from arrays of pre-activations, in float64 by brute force: an oracle apart from every observer.

A test writes down what each unit saw and gets the `Site` that an exact observation of it must give. Nothing here is
streamed, merged or shared with the code under test, and every figure follows the words of `leaky.record`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leaky.record import (
    FeatureStatistics,
    GradientStatistics,
    LossTerm,
    Producer,
    Record,
    Site,
    TensorStatistics,
    UnitStatistics,
)

FloatArray = NDArray[np.float64]


def site_from(
    z: ArrayLike,
    negative_slope: ArrayLike = 0.01,
    *,
    name: str = "site",
    activation: str | None = None,
    threshold: float = 0.0,
    value: float = 0.0,
    gain: float = 1.0,
    floor: ArrayLike | None = None,
    cap: ArrayLike | None = None,
    smooth: Callable[[FloatArray], FloatArray] | None = None,
    gradient: ArrayLike | None = None,
    batch_size: int | None = None,
    **others: Any,
) -> Site:
    """The site whose units saw exactly the pre-activations `z`.

    Args:
        z: pre-activations, shape (samples, units) or (samples, units, positions…); may hold NaN and ±inf.
        negative_slope: α, one or one a unit.
        name: of the site.
        activation: by default "ReLU" where every slope is 0, "LeakyReLU" where all are the same, else "PReLU".
        threshold: as in `Site`.
        value: as in `Site`.
        gain: as in `Site`.
        floor: the lower bound on z, one or one a unit; None for none.
        cap: the upper bound on z, one or one a unit; None for none.
        smooth: the function of a smooth activation; its site has slope 0 and its outputs' sums.
        gradient: ∂L/∂h in the shape of `z`, of one sample's loss each; None for none.
        batch_size: how the samples came, for `last_fired`; None for one batch.
        others: the remaining fields of `Site`.
    """
    z = np.asarray(z, np.float64)
    axes: dict[str, Any] = {"unit_dim": 1, "sample_dim": 0, "shape": z.shape}
    z = _by_unit(z)
    samples, units, _ = z.shape
    slope = np.broadcast_to(np.asarray(0.0 if smooth else negative_slope, np.float64), (units,)).copy()
    low, high = (
        None if b is None else np.broadcast_to(np.asarray(b, np.float64), (units,)).copy() for b in (floor, cap)
    )
    finite = np.isfinite(z)
    regions = _regions(z, threshold, low, high) & finite
    fired = ((z > threshold) & finite).any(axis=2)
    outputs = None if smooth is None else np.where(finite, smooth(np.where(finite, z, 0.0)), 0.0)
    statistics = UnitStatistics(
        samples=samples,
        fired=fired.sum(axis=0),
        counts=regions.sum(axis=(1, 3)),
        sums=np.where(regions, z, 0.0).sum(axis=(1, 3)),
        squares=(np.where(regions, z, 0.0) ** 2).sum(axis=(1, 3)),
        minimum=np.where(finite, z, np.inf).min(axis=(0, 2), initial=np.inf),
        maximum=np.where(finite, z, -np.inf).max(axis=(0, 2), initial=-np.inf),
        nonfinite=(~finite).sum(axis=(0, 2)),
        last_fired=_last_batch(fired, batch_size or max(samples, 1)),
        output_sums=None if outputs is None else outputs.sum(axis=(0, 2)),
        output_absolute_sums=None if outputs is None else np.abs(outputs).sum(axis=(0, 2)),
        output_squares=None if outputs is None else (outputs**2).sum(axis=(0, 2)),
        gradient=None if gradient is None else _gradient(_by_unit(np.asarray(gradient, np.float64)), regions),
    )
    return Site(
        name=name,
        activation=activation or _name(slope, smooth is not None),
        negative_slope=slope,
        statistics=statistics,
        threshold=threshold,
        value=value,
        gain=gain,
        floor=low,
        cap=high,
        smooth=smooth is not None,
        **(axes | others),
    )


def tensor(x: ArrayLike, name: str = "input", dtype: str = "float32", **others: Any) -> TensorStatistics:
    """The statistics of a tensor of shape (samples, features…) that was seen as a whole."""
    x = np.asarray(x, np.float64)
    rows = x.reshape(len(x), -1)
    finite = np.isfinite(rows)
    seen = rows[finite]
    kept = np.where(finite, rows, 0.0)
    features = FeatureStatistics(
        entries=finite.sum(axis=0).astype(np.float64),
        sums=kept.sum(axis=0),
        squares=(kept**2).sum(axis=0),
        minimum=np.where(finite, rows, np.inf).min(axis=0),
        maximum=np.where(finite, rows, -np.inf).max(axis=0),
    )
    fields: dict[str, Any] = {
        "name": name,
        "dtype": dtype,
        "shape": x.shape,
        "samples": len(x),
        "entries": len(seen),
        "nonfinite": rows.size - len(seen),
        "whole": bool((seen == np.round(seen)).all()),
        "total": float(seen.sum()),
        "squares": float((seen**2).sum()),
        "minimum": float(seen.min(initial=np.inf)),
        "maximum": float(seen.max(initial=-np.inf)),
        "alike": bool((rows == rows[:1]).all()),
        "first": str(rows[0].tolist()),
        "features": features,
    }
    return TensorStatistics(**(fields | others))


def regression(target: ArrayLike, output: ArrayLike, operation: str = "mse_loss", **others: Any) -> LossTerm:
    """A comparison of real numbers, output with target, both of one shape."""
    target, output = np.asarray(target, np.float64), np.asarray(output, np.float64)
    fields: dict[str, Any] = {
        "operation": operation,
        "output": "output",
        "path": (),
        "given": tensor(output, "output"),
        "target": tensor(target, "batch[1]"),
        "residual_squares": float(((output - target) ** 2).sum()) if output.shape == target.shape else None,
    }
    return LossTerm(**(fields | others))


def record_from(*sites: Site, **others: Any) -> Record:
    """The record of these sites; `samples` is by default the most that one of them saw."""
    fields: dict[str, Any] = {
        "model": "Sequential",
        "data": "an array",
        "mode": "eval",
        "samples": max((site.samples for site in sites), default=0),
        "batches": 1,
    }
    return Record(sites=sites, **(fields | others))


def producer(
    fan_in: int, fan_out: int, weight_rms: float, name: str = "layer.weight", kind: str = "linear"
) -> Producer:
    """A weight behind a site."""
    return Producer(name, kind, float(fan_in), float(fan_out), weight_rms)


def normal(samples: int, units: int, *positions: int, seed: int = 0) -> FloatArray:
    """Standard normal pre-activations, shape (samples, units, *positions)."""
    return np.random.default_rng(seed).standard_normal((samples, units, *positions))


def planted(z: FloatArray, units: Sequence[int], values: ArrayLike) -> FloatArray:
    """A copy of `z` in which `units` saw `values`, which broadcast against z[:, units]."""
    changed = z.copy()
    changed[:, list(units)] = values
    return changed


def _by_unit(z: FloatArray) -> FloatArray:
    """In shape (samples, units, positions)."""
    return z.reshape(*z.shape[:2], int(np.prod(z.shape[2:])))


def _regions(z: FloatArray, threshold: float, floor: FloatArray | None, cap: FloatArray | None) -> NDArray[np.bool_]:
    """Which of the four regions each element is in, shape (4, samples, units, positions)."""
    beyond_low = np.zeros(z.shape, bool) if floor is None else z < floor[:, None]
    beyond_high = np.zeros(z.shape, bool) if cap is None else z > cap[:, None]
    below = ~beyond_low & ~beyond_high & (z <= threshold)
    linear = ~beyond_low & ~beyond_high & (z > threshold)
    return np.stack([beyond_low, below, linear, beyond_high])


def _last_batch(fired: NDArray[np.bool_], batch_size: int) -> NDArray[np.int64]:
    last = np.full(fired.shape[1], -1, np.int64)
    for sample, row in enumerate(fired):
        last[row] = sample // batch_size
    return last


def _gradient(g: FloatArray, regions: NDArray[np.bool_]) -> GradientStatistics:
    finite = np.isfinite(g)
    parts = np.where(regions & finite, g, 0.0)
    sums = np.abs(parts).sum(axis=(1, 3)), (parts**2).sum(axis=(1, 3))
    return GradientStatistics(len(g), *sums, nonfinite=int((~finite).sum()))


def _name(slope: FloatArray, smooth: bool) -> str:
    if smooth:
        return "GELU"
    if not slope.any():
        return "ReLU"
    return "LeakyReLU" if (slope == slope[0]).all() else "PReLU"
