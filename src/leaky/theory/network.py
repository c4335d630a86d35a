"""A whole network: what its depth and branches make of a correlation, and the slope that theory gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from leaky.errors import InputError
from leaky.text import counted
from leaky.theory import signals
from leaky.theory.layer import bend, checked_correlation, gain
from leaky.theory.signals import Graph, Prediction, plain


class HasGraph(Protocol):
    """A model's analysis, `leaky.analyse(model, batch)`, with the graph that was derived of it."""

    @property
    def graph(self) -> Graph:
        """The network as theory sees it."""


Network: TypeAlias = int | Graph | HasGraph
"""The depth of a plain network, a graph, or the analysis of a model."""


def global_correlation(network: Network, negative_slope: float, c: float = 0.0) -> float:
    """The correlation of two inputs behind the whole network, if it was `c` in front of it.

    Args:
        network: the depth L of a plain network, a graph, or the analysis of a model.
        negative_slope: α of all its rectifiers.
        c: correlation in front of the network, in [−1, 1].
    """
    return signals.highest_correlation(
        _graph(network), bend(negative_slope), float(checked_correlation(c)), branches=False
    )


def worst_correlation(network: Network, negative_slope: float) -> float:
    """The highest correlation that two orthogonal inputs reach, over the network and each branch in it alone.

    A long branch whose sum gives it a small share can bend more than the whole network does.
    """
    return signals.highest_correlation(_graph(network), bend(negative_slope))


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


def tailored_slope(network: Network, target: float = 0.9) -> TailoredSlope:
    """The α ∈ [0, 1] at which the network takes orthogonal inputs to the correlation `target`, by bisection.

    Too high a correlation and a deep network's inputs look all the same to it; too low and it is nearly linear.

    Args:
        network: the depth L of a plain network, a graph, or the analysis of a model (plain chains, residual additions
            with their scalar factors, concatenations; every layer He-scaled, as `leaky.initialize` makes it); its
            worst subnetwork counts.
        target: η, in (0, 1); .9 for plain networks in the source.

    Raises:
        InputError: if the target is outside (0, 1), the network has no rectifier or a depth below 1, or the model has
            something of which the correlation map is not known; the message names it.

    Source:
        Tailored activation transformation, Zhang et al., ICLR 2022.
    """
    if not 0.0 < target < 1.0:
        raise InputError(f"the target correlation must lie in (0, 1), not {target}")
    graph = _graph(network)
    highest = worst_correlation(graph, 0.0)
    if highest == 0.0:
        raise InputError("the network must have at least one rectifier; a linear one has no slope to choose")
    if highest < target:
        return TailoredSlope(0.0, gain(0.0), highest, target, False, graph.assumptions)
    low, high = 0.0, 1.0
    while high - low > 1e-15:
        middle = (low + high) / 2.0
        low, high = (middle, high) if worst_correlation(graph, middle) >= target else (low, middle)
    return TailoredSlope(low, gain(low), worst_correlation(graph, low), target, True, graph.assumptions)


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

    def __repr__(self) -> str:
        return f"<SignalPropagation at {counted(len(self.sites), 'site')}>"


def signal_propagation(
    network: Graph | HasGraph, *, second_moment: float = 1.0, correlation: float = 0.0
) -> SignalPropagation:
    """Second moment, correlation and gradient by depth, to lay beside what `leaky.check` observed.

    E[z²] is multiplied by fan_in·E[w²] in a layer and (1+α²)/2 in a rectifier, the gradient's second moment by
    fan_out·E[w²] and (1+α²)/2 on its way back; branches of a sum add theirs. Holds on average over weights of mean
    zero, in the limit of wide layers.

    Args:
        network: a graph, or the analysis of a model with the weights that count.
        second_moment: E[x²] of the inputs.
        correlation: of two inputs, in [−1, 1].
    """
    graph = _graph_of(network)
    sites = signals.predictions(graph, second_moment, float(checked_correlation(correlation)))
    return SignalPropagation(sites, graph.assumptions, graph.not_derived)


def _graph(network: Network) -> Graph:
    """The network's graph, of which every correlation map is known."""
    if isinstance(network, int):
        if network < 1:
            raise InputError(f"the network must be a depth of at least 1, a graph or an analysis, not {network!r}")
        return plain(network)
    graph = _graph_of(network)
    if graph.not_derived:
        raise InputError(
            f"the model's correlation map must be known and is not: {'; '.join(graph.not_derived[:3])}; "
            "give the depth of the network instead"
        )
    return graph


def _graph_of(network: Graph | HasGraph) -> Graph:
    graph = network if isinstance(network, Graph) else getattr(network, "graph", None)
    if isinstance(graph, Graph):
        return graph
    came = f"a {type(network).__name__}; give leaky.analyse(model, batch)" if callable(network) else repr(network)
    raise InputError(f"the network must be a depth of at least 1, a graph or the analysis of a model, not {came}")
