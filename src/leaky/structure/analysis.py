"""What one traced pass tells of a model, derived once and passed on: layers, followers, shortcuts, sites, a graph.

Holds for the weights' names and shapes and the way the model runs, not for their values: an operation that changes
values only leaves it valid; one that exchanges modules or shapes needs another. Each part is derived when first asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from leaky.errors import InputError
from leaky.structure.history import History
from leaky.structure.layers import Layer, layers_of
from leaky.structure.modules import without_wrappers
from leaky.structure.residuals import Residual, residuals
from leaky.structure.signal_graph import graph_of
from leaky.structure.units import ModelSites, SiteStructure, structure_of
from leaky.text import counted, printable
from leaky.theory import Graph


@dataclass(frozen=True, eq=False)
class Analysis:
    """A model as one pass showed it.

    Attributes:
        model: the model itself; nothing here changes it.
        history: of the pass, step by step.
    """

    model: nn.Module
    history: History

    def __repr__(self) -> str:
        sites = {event.site.name for event in self.history.events if event.site is not None}
        return printable(f"<Analysis of a {type(self.model).__name__}: {counted(len(sites), 'site')}>")

    @cached_property
    def layers(self) -> Mapping[int, Layer]:
        """Every use of a parameter as a linear map or convolution, by the event's number, in order."""
        return {layer.event.number: layer for layer in layers_of(self.model, self.history)}

    @cached_property
    def structure(self) -> ModelSites:
        """What stands before and behind the units of each site."""
        return structure_of(self.model, self.history)

    @cached_property
    def residuals(self) -> tuple[Residual, ...]:
        """The additions that join a branch to a shortcut around it."""
        return tuple(residuals(self.history))

    @property
    def graph(self) -> Graph:
        """The network as theory sees it, with the weights as they are now."""
        return graph_of(self.model, self.history, self.layers)

    @cached_property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """By name; a shared one under each of its names."""
        return {without_wrappers(n): p for n, p in self.model.named_parameters(remove_duplicate=False)}

    @cached_property
    def buffers(self) -> Mapping[str, Tensor]:
        """By name."""
        return {without_wrappers(n): b for n, b in self.model.named_buffers(remove_duplicate=False)}

    def tensor(self, name: str) -> Tensor:
        """A parameter or buffer."""
        return self.parameters[name] if name in self.parameters else self.buffers[name]

    def site(self, name: str) -> SiteStructure:
        """The structure of a site.

        Raises:
            InputError: if there is none of this name.
        """
        if name not in self.structure.sites:
            known = ", ".join(map(repr, list(self.structure.sites)[:8])) or "none"
            raise InputError(f"no site is named {name!r}; the sites are {known}")
        return self.structure.sites[name]
