"""The interface between a tracer and whoever wants to know of the sites that it meets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from leaky.structure.activations import Activation
from leaky.structure.axes import Layout
from leaky.structure.graph import Node
from leaky.structure.history import SiteUse
from leaky.structure.members import MemberCall
from leaky.structure.samples import Ids, Positions


@dataclass(frozen=True, eq=False)
class SiteCall:
    """One call of a site.

    Attributes:
        name: of the site.
        activation: what it computes.
        node: the pre-activation.
        layout: how to see it as (samples, units, positions).
        source: "file.py:31" of a functional call, None for a module.
        operator: torch's.
        ids: which of the batch's samples each of the layout's samples is; None where they are all of them in order.
        places: at which position each of the layout's samples stands, where positions were folded in or picked.
        parts: its rows by the slice of a stacked parameter that made them (experts); empty where there are none.
    """

    name: str
    activation: Activation
    node: Node
    layout: Layout
    source: str | None
    operator: Any
    ids: Ids | None = None
    places: Positions | None = None
    parts: tuple[MemberCall, ...] = ()

    @property
    def use(self) -> SiteUse:
        """The call as plain data of a history."""
        return SiteUse(self.name, self.activation, self.node.index, self.layout, self.source)


class Listener(Protocol):
    """Receives the events of a tracer."""

    def before(self, call: SiteCall, pre_activation: Tensor) -> Tensor | None:
        """A site is about to run; its output, bit for bit, where the listener has computed it, else None.

        An in-place site overwrites its pre-activation after this.
        """

    def after(self, call: SiteCall, output: Tensor) -> None:
        """The site has run."""

    def between(self) -> None:
        """Another operation starts; the outputs handed over before now have their gradient history."""

    def not_examined(self, name: str, reason: str) -> None:
        """An operation that cannot be examined has run; called with its name and the reason."""
