"""What is known of a watched site beside its sums: its place in the model, as the record holds it."""

from __future__ import annotations

import numpy as np
from torch import nn

from leaky.observation.collector import describe
from leaky.record import FloatArray, Producer, Site
from leaky.structure.listening import SiteCall
from leaky.structure.modules import without_wrappers
from leaky.watching.slopes import slope_now
from leaky.watching.sums import Rows


class DescribedSite:
    """A site as the tracer saw it.

    Args:
        call: its first call.
        shape: of the pre-activation then.

    Attributes:
        call: its first call.
        is_output: whether its output is the model's.
    """

    def __init__(self, call: SiteCall, shape: tuple[int, ...]) -> None:
        self.name, self.units = call.name, call.layout.units
        self.activation, self.layout = call.activation, call.layout
        self.call, self.is_output = call, False
        self._shape = shape
        self._productions = {production.weight: production for production in call.node.productions}

    def described(self, rows: Rows, model: nn.Module, producers: bool = True) -> Site:
        """The site with these sums, as the record holds it; verdicts need no producers, whose weights are large."""
        view = self.layout
        return Site(
            name=self.name,
            **self.activation.of_units(self.units),
            negative_slope=self.slopes(model),
            statistics=rows.statistics(),
            is_output=self.is_output,
            unit_dim=view.unit_dim,
            sample_dim=view.sample_dim,
            shape=self._shape,
            source=self.call.source,
            producers=self.producers(model) if producers else (),
        )

    def slopes(self, model: nn.Module) -> FloatArray:
        """The slopes as they are now, shape (units,): a learned one moves."""
        return np.full(self.units, self.slope(model), np.float64)

    def slope(self, model: nn.Module) -> float | FloatArray:
        """The slope as it is now, of all units where they have one, or of each."""
        return slope_now(self.name, self.activation, model)

    def producers(self, model: nn.Module) -> tuple[Producer, ...]:
        """The weights behind the site."""
        weights = {without_wrappers(name): value for name, value in model.named_parameters()}
        found = (describe(each, weights.get(name)) for name, each in self._productions.items())
        return tuple(producer for producer in found if producer is not None)

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the weights behind the site."""
        return tuple(self._productions)
