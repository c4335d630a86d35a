"""A whole network: what its depth and branches make of a correlation, and the slope that theory gives it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from leaky.errors import InputError
from leaky.theory import signals
from leaky.theory.layer import bend, checked_correlation, gain
from leaky.theory.signals import Graph, Prediction

if TYPE_CHECKING:
    from torch import nn


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
    structure, bent, before = _structure(network), bend(negative_slope), float(checked_correlation(c))
    if isinstance(structure, Graph):
        return signals.highest_correlation(structure, bent, before, branches=False)
    return _through(structure, bent, before)


def worst_correlation(network: Network, negative_slope: float) -> float:
    """The highest correlation that two orthogonal inputs reach, over the network and each branch in it alone.

    A long branch whose sum gives it a small share can bend more than the whole network does.
    """
    structure, bent = _structure(network), bend(negative_slope)
    if isinstance(structure, Graph):
        return signals.highest_correlation(structure, bent)
    return max(_through(part, bent, 0.0) for part in _subnetworks(structure))


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
    sites = signals.predictions(graph, second_moment, float(checked_correlation(correlation)))
    return SignalPropagation(sites, graph.assumptions, graph.not_derived)


def _through(structure: Structure, bent: float, c: float) -> float:
    if isinstance(structure, Rectifiers):
        for _ in range(structure.depth):
            c = min(1.0, c + bent * (math.sqrt(1.0 - c * c) - c * math.acos(c)))
        return c
    if isinstance(structure, Chain):
        for part in structure.parts:
            c = _through(part, bent, c)
        return c
    branches = zip(structure.shares, structure.parts, strict=True)
    return max(-1.0, min(1.0, math.fsum(share * _through(part, bent, c) for share, part in branches)))


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
