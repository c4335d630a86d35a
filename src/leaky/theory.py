"""What mathematics says of a negative slope, before any data is seen.

Must run on plain numbers and plain structure data: torch is imported only where a model is given, to derive its
structure. α is the negative
slope, f the Leaky ReLU with f(z) = z for z > 0 and αz elsewhere; every formula is exact, none is fitted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from leaky import signals
from leaky.errors import InputError
from leaky.signals import Graph, Prediction

if TYPE_CHECKING:
    from torch import nn

FloatArray: TypeAlias = NDArray[np.float64]


def gain(negative_slope: float) -> float:
    """√(2/(1+α²)): the factor that keeps the second moment of a Gaussian pre-activation (He et al. 2015)."""
    return math.sqrt(2.0 / (1.0 + _slope(negative_slope) ** 2))


@dataclass(frozen=True)
class Moments:
    """E f(z), E f(z)² and Var f(z) for z ~ N(0, 1)."""

    mean: float
    second_moment: float
    variance: float


def moments(negative_slope: float) -> Moments:
    """E f = (1−α)/√(2π), E f² = (1+α²)/2 and Var f = E f² − (E f)² for z ~ N(0, 1)."""
    alpha = _slope(negative_slope)
    mean = (1.0 - alpha) / math.sqrt(2.0 * math.pi)
    second_moment = (1.0 + alpha**2) / 2.0
    return Moments(mean, second_moment, second_moment - mean**2)


# --- how the correlation of two inputs travels through the network --------------------------------------------------


@overload
def correlation_map(c: float, negative_slope: float) -> float: ...
@overload
def correlation_map(c: FloatArray, negative_slope: float) -> FloatArray: ...
def correlation_map(c: float | FloatArray, negative_slope: float) -> float | FloatArray:
    """C(c) = c + (1−α)²/(π(1+α²))·(√(1−c²) − c·arccos c): the correlation after one He-scaled layer.

    Args:
        c: correlation of two inputs' pre-activations, in [−1, 1]; a number or an array.
        negative_slope: α.

    Source:
        Cho & Saul 2009; Zhang et al., "Deep learning without shortcuts", ICLR 2022.
    """
    cosine = _correlation(c)
    mapped = cosine + _bend(negative_slope) * (np.sqrt(1.0 - cosine**2) - cosine * np.arccos(cosine))
    return _like(c, np.clip(mapped, -1.0, 1.0))


@overload
def correlation_map_derivative(c: float, negative_slope: float) -> float: ...
@overload
def correlation_map_derivative(c: FloatArray, negative_slope: float) -> FloatArray: ...
def correlation_map_derivative(c: float | FloatArray, negative_slope: float) -> float | FloatArray:
    """C′(c) = 1 − (1−α)²/(π(1+α²))·arccos c; 1 at c = 1 for every α. Arguments as in `correlation_map`."""
    return _like(c, 1.0 - _bend(negative_slope) * np.arccos(_correlation(c)))


@dataclass(frozen=True)
class Rectifiers:
    """`depth` He-scaled layers in a row, each behind a Leaky ReLU of the slope in question; 0 is the identity."""

    depth: int = 1

    def __post_init__(self) -> None:
        if self.depth < 0:
            raise InputError(f"the number of rectifiers in a row must be at least 0, not {self.depth}")


@dataclass(frozen=True)
class Chain:
    """Parts that run one after another."""

    parts: tuple[Structure, ...]


@dataclass(frozen=True)
class Mixture:
    """Parts that run side by side on the same input and are added or concatenated: c ↦ Σ shareₖ·Cₖ(c).

    Attributes:
        parts: the branches.
        shares: each branch's part of the sum's variance, positive, together 1.
    """

    parts: tuple[Structure, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.parts) != len(self.shares) or not self.parts:
            raise InputError(
                f"a mixture must have one share a part, not {len(self.shares)} shares for {len(self.parts)} parts"
            )
        if min(self.shares) < 0 or not math.isclose(sum(self.shares), 1.0, abs_tol=1e-9):
            raise InputError(f"the shares of a mixture must be non-negative and sum to 1, not {self.shares}")


Structure: TypeAlias = Rectifiers | Chain | Mixture
"""A network as the correlation map sees it. A plain network of depth L is `Rectifiers(L)`."""

if TYPE_CHECKING:
    Network: TypeAlias = int | Structure | Graph | nn.Module

IDENTITY = Rectifiers(0)


def residual(branch: Structure, shortcut_share: float, shortcut: Structure = IDENTITY) -> Mixture:
    """A residual block: c ↦ w·C_shortcut(c) + (1−w)·C_branch(c), w the shortcut's share of the variance.

    A shortcut that is multiplied by s, beside a branch that is multiplied by √(1−s²), has the share s².
    """
    return Mixture((shortcut, branch), (shortcut_share, 1.0 - shortcut_share))


def global_correlation(network: Network, negative_slope: float, c: float = 0.0) -> float:
    """The correlation of two inputs behind the whole network, if it was `c` in front of it.

    Args:
        network: the depth L of a plain network, a structure, or a model from which it is derived.
        negative_slope: α of all its rectifiers.
        c: correlation in front of the network, in [−1, 1].
    """
    structure, bend, before = _structure(network), _bend(negative_slope), float(_correlation(c))
    if isinstance(structure, Graph):
        return signals.highest_correlation(structure, bend, before, branches=False)
    return _through(structure, bend, before)


def worst_correlation(network: Network, negative_slope: float) -> float:
    """The highest correlation that two orthogonal inputs reach, over the network and each branch in it alone.

    A long branch whose sum gives it a small share can bend more than the whole network does.
    """
    structure, bend = _structure(network), _bend(negative_slope)
    if isinstance(structure, Graph):
        return signals.highest_correlation(structure, bend)
    return max(_through(part, bend, 0.0) for part in _subnetworks(structure))


@dataclass(frozen=True)
class TailoredSlope:
    """A slope from theory.

    Attributes:
        negative_slope: α.
        output_scale: √(2/(1+α²)), the factor on the output that keeps the second moment.
        correlation: what two orthogonal inputs reach at α.
        target: what they were to reach.
        reachable: whether they do; if not, α is 0, where the correlation is highest.
        assumptions: what was taken for granted in deriving the network from a model.
    """

    negative_slope: float
    output_scale: float
    correlation: float
    target: float
    reachable: bool
    assumptions: tuple[str, ...] = ()


def tailored_slope(network: Network, target: float = 0.9, *, example: Any = None) -> TailoredSlope:
    """The α ∈ [0, 1] at which the network takes orthogonal inputs to the correlation `target`, by bisection.

    Too high a correlation and a deep network's inputs look all the same to it; too low and it is nearly linear.

    Args:
        network: the depth L of a plain network, a structure, or a model, of which the structure is derived by running
            it once (plain chains, residual additions with their scalar factors, concatenations; every layer He-scaled,
            as `leaky.initialize` makes it); its worst subnetwork counts.
        target: η, in (0, 1); .9 for plain networks in the source.
        example: a batch for a model whose input cannot be guessed from its first layer.

    Raises:
        InputError: if the target is outside (0, 1), the network has no rectifier or a depth below 1, or the model has
            something of which the correlation map is not known; the message names it.

    Source:
        Tailored activation transformation, Zhang et al., ICLR 2022.
    """
    if not 0.0 < target < 1.0:
        raise InputError(f"the target correlation must lie in (0, 1), not {target}")
    structure = _structure(network, example)
    assumptions = structure.assumptions if isinstance(structure, Graph) else ()
    highest = worst_correlation(structure, 0.0)
    if highest == 0.0:
        raise InputError("the network must have at least one rectifier; a linear one has no slope to choose")
    if highest < target:
        return TailoredSlope(0.0, gain(0.0), highest, target, False, assumptions)
    low, high = 0.0, 1.0
    while high - low > 1e-15:
        middle = (low + high) / 2.0
        low, high = (middle, high) if worst_correlation(structure, middle) >= target else (low, middle)
    return TailoredSlope(low, gain(low), worst_correlation(structure, low), target, True, assumptions)


@dataclass(frozen=True)
class SignalPropagation:
    """What theory expects at each rectifier of a model with the weights that it has.

    Attributes:
        sites: second moment, correlation and gradient, in the order in which they run.
        assumptions: what was taken for granted.
        not_derived: what the closed forms do not cover; figures behind it are no predictions.
    """

    sites: tuple[Prediction, ...]
    assumptions: tuple[str, ...] = ()
    not_derived: tuple[str, ...] = ()


def signal_propagation(
    model: nn.Module | Graph, example: Any = None, *, second_moment: float = 1.0, correlation: float = 0.0
) -> SignalPropagation:
    """Second moment, correlation and gradient by depth, to lay beside what `leaky.check` observed.

    E[z²] is multiplied by fan_in·E[w²] in a layer and (1+α²)/2 in a rectifier, the gradient's second moment by
    fan_out·E[w²] and (1+α²)/2 on its way back; branches of a sum add theirs. Holds on average over weights of mean
    zero, in the limit of wide layers.

    Args:
        model: with the weights that count.
        example: a batch for a model whose input cannot be guessed from its first layer.
        second_moment: E[x²] of the inputs.
        correlation: of two inputs, in [−1, 1].
    """
    graph = model if isinstance(model, Graph) else _derived(model, example)
    sites = signals.predictions(graph, second_moment, float(_correlation(correlation)))
    return SignalPropagation(sites, graph.assumptions, graph.not_derived)


# --- units that are dead before training, and the evidence that one is ----------------------------------------------


@dataclass(frozen=True)
class Bounds:
    """A probability known to lie between two numbers."""

    lower: float
    upper: float


def born_dead_probability(widths: Sequence[int], negative_slope: float = 0.0) -> Bounds:
    """Bounds on the probability that a network is constant from its initialisation on.

    Holds for one input, zero biases and weights symmetric about 0. Under any slope but 0 no unit is ever dead and both
    bounds are 0. The lower bound is known for equal widths; it is 0 for others.

    Args:
        widths: of the hidden layers, in order.
        negative_slope: α.

    Source:
        Lu et al., "Dying ReLU and initialization", 2019.
    """
    if len(widths) == 0 or min(widths) < 1:
        raise InputError(f"the widths must be those of one hidden layer or more, each at least 1, not {list(widths)}")
    if _slope(negative_slope) != 0.0:
        return Bounds(0.0, 0.0)
    upper = 1.0 - math.prod(1.0 - 2.0 ** -float(width) for width in widths)
    if len(set(widths)) > 1:
        return Bounds(0.0, upper)
    width, later_layers = float(widths[0]), len(widths) - 1
    one_ray = 1.0 - 2.0**-width
    two_rays = 1.0 - 2.0 ** (1.0 - width) - (width - 1.0) * 4.0**-width
    share = (1.0 - 2.0 ** (1.0 - width)) * one_ray / (1.0 + (width - 1.0) * 2.0**-width)
    lower = 1.0 - one_ray**later_layers + share * (two_rays**later_layers - one_ray**later_layers)
    return Bounds(max(0.0, lower), upper)


def inactive_probability(inputs: int, width: int) -> float:
    """The probability that a second-layer ReLU unit is inactive for every input, biases included.

    Args:
        inputs: n₀, the number of inputs.
        width: n₁ ≤ n₀ + 1, the width of the first hidden layer.

    Raises:
        InputError: for a wider first layer, of which no closed form is known.

    Source:
        arXiv 2412.06829: 2^−(n₁+1) for n₁ ≤ n₀, (2^n₀+1)/4^(n₀+1) for n₁ = n₀+1.
    """
    if not 1 <= width <= inputs + 1:
        raise InputError(f"the first layer's width must lie in 1 … inputs + 1 = {inputs + 1}, not {width}")
    return float(2.0 ** -(width + 1) if width <= inputs else (2.0**inputs + 1.0) / 4.0 ** (inputs + 1))


def samples_needed(units: int, rate: float = 0.01, delta: float = 0.05) -> int:
    """How many independent samples make silence mean something: n = ⌈ln(U/δ)/−ln(1−p₀)⌉.

    After n silent samples, "each silent unit fires on less than `rate` of such samples" holds for all units at once
    with confidence 1 − `delta`.

    Args:
        units: U, the number of units examined.
        rate: p₀, in (0, 1).
        delta: δ, in (0, 1).
    """
    if units < 1:
        raise InputError(f"the number of units must be at least 1, not {units}")
    _open_unit_interval("rate", rate)
    _open_unit_interval("delta", delta)
    return math.ceil(math.log(units / delta) / -math.log1p(-rate))


def rate_bound(samples: int, delta: float = 0.05, units: int = 1) -> float:
    """The firing rate that units silent on n samples stay below with confidence 1 − δ: 1 − (δ/U)^(1/n) ≈ ln(U/δ)/n.

    Args:
        samples: n, independent samples seen; 0 bounds nothing and gives 1.
        delta: δ, in (0, 1).
        units: U, the number of units for which the bound is to hold at once.
    """
    if samples < 0 or units < 1:
        raise InputError(f"there must be at least 0 samples and 1 unit, not {samples} and {units}")
    _open_unit_interval("delta", delta)
    return -math.expm1(math.log(delta / units) / samples) if samples else 1.0


# --- details ---------------------------------------------------------------------------------------------------------


def _bend(negative_slope: float) -> float:
    """(1−α)²/(π(1+α²)): how far the correlation map departs from the identity."""
    alpha = _slope(negative_slope)
    return (1.0 - alpha) ** 2 / (math.pi * (1.0 + alpha**2))


def _through(structure: Structure, bend: float, c: float) -> float:
    if isinstance(structure, Rectifiers):
        for _ in range(structure.depth):
            c = min(1.0, c + bend * (math.sqrt(1.0 - c * c) - c * math.acos(c)))
        return c
    if isinstance(structure, Chain):
        for part in structure.parts:
            c = _through(part, bend, c)
        return c
    branches = zip(structure.shares, structure.parts, strict=True)
    return max(-1.0, min(1.0, math.fsum(share * _through(part, bend, c) for share, part in branches)))


def _subnetworks(structure: Structure) -> list[Structure]:
    """The structure and every branch inside it; a piece of a chain never reaches more than the chain."""
    inner = () if isinstance(structure, Rectifiers) else structure.parts
    found = [structure]
    for part in inner:
        found += _subnetworks(part)
    return list(dict.fromkeys(found))


def _structure(network: Network, example: Any = None) -> Structure | Graph:
    if isinstance(network, Rectifiers | Chain | Mixture):
        return network
    if hasattr(network, "named_parameters") or isinstance(network, Graph):
        graph = network if isinstance(network, Graph) else _derived(network, example)
        if graph.not_derived:
            raise InputError(
                f"the model's correlation map must be known and is not: {'; '.join(graph.not_derived[:3])}; "
                "give the depth of the network instead"
            )
        return graph
    if not isinstance(network, int) or network < 1:
        raise InputError(f"the network must be a depth of at least 1, a structure or a model, not {network!r}")
    return Rectifiers(network)


def _derived(model: Any, example: Any) -> Graph:
    from leaky.repairing.propagation import graph_of

    return graph_of(model, example)


def _slope(negative_slope: float) -> float:
    if not math.isfinite(negative_slope):
        raise InputError(f"the negative slope must be a finite number, not {negative_slope}")
    return float(negative_slope)


def _correlation(c: float | FloatArray) -> FloatArray:
    values = np.asarray(c, np.float64)
    if not bool(np.all(np.abs(values) <= 1.0)):
        raise InputError(f"a correlation must lie in [−1, 1], not {c}")
    return values


def _like(c: float | FloatArray, result: FloatArray) -> float | FloatArray:
    return result if isinstance(c, np.ndarray) else float(result)


def _open_unit_interval(name: str, value: float) -> None:
    if not 0.0 < value < 1.0:
        raise InputError(f"{name} must lie in (0, 1), not {value}")
