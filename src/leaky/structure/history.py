"""A forward pass as a list of events, one for each operation, with its inputs and results.

Plain data: nodes in the place of tensors. An event knows its operator, so that another pass can be made over the same
events with something else in the place of the values, such as the number of the unit that each element belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from leaky.structure.activations import Activation
from leaky.structure.axes import Layout
from leaky.structure.graph import Call, Node
from leaky.structure.operators import Operator, operator_named


@dataclass(frozen=True, eq=False)
class SiteUse:
    """The site that an event is a call of.

    Attributes:
        name: of the site.
        activation: what it computes.
        pre_activation: index of the node that it rectifies.
        layout: how to see that as (samples, units, positions).
        source: "file.py:31" of a functional call, None for a module.
    """

    name: str
    activation: Activation
    pre_activation: int
    layout: Layout
    source: str | None


@dataclass(frozen=True, eq=False)
class Event:
    """One operation of the pass.

    Attributes:
        number: in the order of the pass.
        function: the operator, to be run on other values.
        call: its arguments, with nodes.
        results: the nodes that it made.
        module: qualified path of the module that ran it.
        site: the site that it is a call of, if any.
    """

    number: int
    function: Any
    call: Call
    results: tuple[Node, ...]
    module: str
    site: SiteUse | None = None

    @property
    def operator(self) -> Operator:
        """The row of its operator."""
        return operator_named(self.call.name)

    @property
    def views(self) -> bool:
        """Whether the first result shares its memory with the first argument, unchanged."""
        alias = _alias(self.function)
        return alias is not None and not alias.is_write

    @property
    def writes(self) -> bool:
        """Whether the operation writes over its first argument."""
        alias = _alias(self.function)
        return alias is not None and bool(alias.is_write)

    def __str__(self) -> str:
        return f"{self.call.name} in {self.module or 'the model itself'}"


def _alias(function: Any) -> Any:
    returns = function._schema.returns
    return returns[0].alias_info if returns else None


@dataclass(eq=False)
class History:
    """The events of one pass.

    Attributes:
        events: in order.
        inputs: the nodes of the network's inputs.
        outputs: indices of the nodes that the model returned.
        not_examined: what the tracer could not look into, name and reason.
        sample_dim: axis of the inputs that holds the samples; None where each batch is one sample.
    """

    events: list[Event] = field(default_factory=list)
    inputs: list[Node] = field(default_factory=list)
    outputs: set[int] = field(default_factory=set)
    not_examined: list[tuple[str, str]] = field(default_factory=list)
    sample_dim: int | None = 0

    def clear(self) -> None:
        """Forget the pass."""
        self.events.clear()
        self.inputs.clear()
        self.outputs.clear()
        self.not_examined.clear()

    def add(self, function: Any, call: Call, results: tuple[Node, ...], module: str, site: SiteUse | None) -> None:
        """Keep an event."""
        self.events.append(Event(len(self.events), function, call, results, module, site))
