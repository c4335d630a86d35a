"""What is measured of a site beyond its sums where it was asked for, because it costs: by name, in one table.

Memory is O(units²) at most, never O(samples), and stays on the model's device until a report asks.
"""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leaky.diagnosis import Thresholds
from leaky.observation.reduction import as_units
from leaky.record import FloatArray
from leaky.structure.axes import Layout
from leaky.watching.arrival import wait_for_gradient
from leaky.watching.sums import waits

MEASURES = {
    "srank": "the effective rank of a site's output: a matrix product a pass, the eigenvalues of one a report",
    "gates": "of gated sites, the share of each unit in the product and in the gradients: three sums a pass",
}
"""What may be asked for, and what it costs."""

MOST_UNITS = 2048
"""Units of a site up to which its effective rank is taken."""

PRODUCT, TO_GATE, TO_OTHER = range(3)


_PRODUCTS: tuple[Any, ...] = (
    torch.mul, torch.multiply, Tensor.mul, Tensor.mul_, Tensor.multiply, Tensor.__mul__, Tensor.__rmul__,
    Tensor.__imul__,
)  # fmt: skip


class Products:
    """Finds where the output of a site is multiplied, element by element, with another value of its shape.

    Torch's own products are known; on the host another function is known for one by what it computes, and elsewhere
    nobody asks, for that would wait for the device.
    """

    def __init__(self) -> None:
        self._made: dict[int, tuple[weakref.ref[Tensor], Measures, Layout]] = {}
        self._multiplies: dict[Any, bool] = dict.fromkeys(_PRODUCTS, True)

    def made(self, output: Tensor, measures: Measures, layout: Layout) -> None:
        """A site has made an output."""
        self._made[id(output)] = weakref.ref(output), measures, layout

    def clear(self) -> None:
        """A pass is over."""
        self._made.clear()

    def see(self, function: Any, args: Any, result: Any) -> None:
        """A function has been called."""
        if type(result) is not Tensor or len(args) != 2 or not self._multiplies.get(function, True):
            return
        for gate, other in (args, args[::-1]):
            output, measures, layout = self._made.get(id(gate), (None, None, None))
            if output is None or output() is not gate or measures is None or layout is None:
                continue
            if _may_be_gated(gate, other, result) and self._is_product(function, args, result):
                measures.product(result, other, layout)
                return

    def _is_product(self, function: Any, args: Any, result: Tensor) -> bool:
        if function not in self._multiplies and waits(result.device):
            return False
        if function not in self._multiplies:
            with torch.no_grad():
                if not bool(result.any()):
                    return False  # a sum of zeros would be one too
                left, right = (each.detach() for each in args)
                self._multiplies[function] = torch.equal(result, left * right)
        return self._multiplies[function]


def _may_be_gated(gate: Any, other: Any, result: Tensor) -> bool:
    """Whether `other` is a value of its own: not the gate itself, as in a squared ReLU, nor a mask."""
    return isinstance(other, Tensor) and other is not gate and other.is_floating_point() and other.shape == result.shape


class Measures:
    """What one site has shown of them since the last report.

    Args:
        wanted: names in `MEASURES`.
        units: of the site.
        smooth: whether its activation is.
        products: told of its outputs.

    Attributes:
        units: of the site.
        gated: whether its output was seen to be multiplied with another value.
    """

    def __init__(self, wanted: frozenset[str], units: int, smooth: bool, products: Products) -> None:
        self._products, self._smooth = products, smooth
        self._ranks, self._gates = "srank" in wanted and units <= MOST_UNITS, "gates" in wanted
        self.units = units
        self._gram: Tensor | None = None
        self._shares: Tensor | None = None
        self._met = [False, False, False]
        self.gated = False

    def output(self, z: Tensor | None, h: Tensor, layout: Layout) -> None:
        """Take in the output of a call, and wait for the gradient of what went in where the site is a gate."""
        if self._ranks:
            features = as_units(h, layout).to(_precise(h)).permute(0, 2, 1).reshape(-1, self.units)
            features = torch.where(torch.isfinite(features), features, 0.0)
            if self._gram is None:
                self._gram = torch.zeros(self.units, self.units, dtype=features.dtype, device=features.device)
            self._gram.addmm_(features.T, features)
        if self._gates:
            self._products.made(h, self, layout)
        if self._gates and self.gated and z is not None and z.requires_grad:
            self._wait(z, layout, TO_GATE)

    def product(self, product: Tensor, other: Tensor, layout: Layout) -> None:
        """Take in the product of the site's output with another value, and wait for the gradient of that one."""
        self.gated = True
        with torch.no_grad():
            self._add(product, layout, PRODUCT)
        if other.requires_grad:
            self._wait(other, layout, TO_OTHER)

    def figures(self, thresholds: Thresholds) -> dict[str, float]:
        """The figures "srank" and "idle_gates" since the last report, NaN where they were not seen; then begin anew.

        A smooth gate has no dead or silent units: how far it is shut says little where what it lets through is large.
        """
        found = {"srank": math.nan, "idle_gates": math.nan}
        if self._gram is not None:
            found["srank"] = float(effective_rank(self._gram.cpu().double().numpy(), thresholds.srank_delta))
        if self._shares is not None and all(self._met):
            shares = self._shares.cpu().double().numpy()
            found["idle_gates"] = float(idle_gates(shares, thresholds).mean())
        self._gram = self._shares = None
        self._met = [False, False, False]
        if self.gated and self._smooth:
            found |= dict.fromkeys(("dead", "nearly_dead", "silent"), math.nan)
        return found

    # what ranks merge

    def highest(self) -> FloatArray:
        """Of which all ranks are given the maximum."""
        return np.array([float(self.gated)])

    def sums(self, highest: FloatArray) -> FloatArray:
        """Of which all ranks are given the sum."""
        units, parts = self.units, [np.array([self._gram is not None, *self._met], np.float64)]
        for wanted, held, size in ((self._ranks, self._gram, units), (self._gates, self._shares, 3)):
            if wanted:
                parts.append(np.zeros(size * units) if held is None else held.cpu().double().numpy().ravel())
        return np.concatenate(parts)

    def put(self, sums: FloatArray, highest: FloatArray) -> None:
        """Take over the sums of all ranks for the next report."""
        seen, rest, square = sums[:4] > 0, torch.from_numpy(sums[4:].copy()), self.units**2 * self._ranks
        self._gram = rest[:square].reshape(self.units, self.units) if seen[0] else None
        self._shares = rest[square:].reshape(3, self.units) if seen[1:].any() else None
        self._met, self.gated = seen[1:].tolist(), bool(highest[0])

    def _wait(self, value: Tensor, layout: Layout, row: int) -> None:
        def arrived(gradient: Tensor) -> None:
            with torch.no_grad():
                self._add(gradient, layout, row)

        wait_for_gradient(value, arrived)

    def _add(self, value: Tensor, layout: Layout, row: int) -> None:
        seen = as_units(value, layout).to(_precise(value)).abs()
        sums = torch.where(torch.isfinite(seen), seen, 0.0).sum((0, 2))
        if self._shares is None:
            self._shares = torch.zeros(3, self.units, dtype=sums.dtype, device=sums.device)
        self._shares[row] += sums
        self._met[row] = True


def effective_rank(gram: FloatArray, delta: float) -> int:
    """srank_δ(Φ) = min{k: Σᵢ₌₁ᵏ σᵢ ≥ (1 − δ)·Σᵢ σᵢ}, the singular values of the features in falling order.

    Args:
        gram: ΦᵀΦ of features Φ, shape (units, units), whose eigenvalues are the σᵢ².
        delta: δ.

    Returns:
        At most the smaller of the numbers of units and of rows; 0 where all features are 0.

    Source:
        Kumar et al., "Implicit under-parameterization inhibits data-efficient deep reinforcement learning", 2021.
    """
    squares = np.linalg.eigvalsh(gram)[::-1]
    squares = np.where(squares > len(gram) * np.finfo(np.float64).eps * squares[0], squares, 0.0)  # rounding
    reached = np.sqrt(squares).cumsum()
    return int(np.searchsorted(reached, (1 - delta) * reached[-1]) + 1) if reached[-1] > 0 else 0


def idle_gates(shares: FloatArray, thresholds: Thresholds) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Which units of a gated site give next to nothing and learn next to nothing, shape (units,).

    With p = a(z)·u: E|p| is at most `dormant_score` of the mean over the units, and E|∂L/∂z| and E|∂L/∂u| at most
    `starved_score` of theirs. A gate that is shut is no dead unit: it may be open on other data, and its derivative is
    not 0.

    Args:
        shares: Σ|p|, Σ|∂L/∂z|, Σ|∂L/∂u|, shape (3, units).
        thresholds: that decide.
    """
    means = shares.mean(axis=1, keepdims=True)
    relative = shares / np.where(means > 0, means, 1.0)
    limits = np.array([thresholds.dormant_score, thresholds.starved_score, thresholds.starved_score])
    return np.asarray((relative <= limits[:, None]).all(axis=0))


def _precise(value: Tensor) -> torch.dtype:
    return torch.float32 if value.device.type == "mps" else torch.float64
