"""Which elements of which weight belong to which unit: numbers of units sent along the events of a recorded pass.

Every element of a value carries the number of the unit that it belongs to, or NONE. Operators that only move elements
about are run on the numbers themselves, so that flattening, shuffling and concatenation are right in any layout by
construction; operators that work on each element keep the numbers; a weight that sums over them takes them in. Where
an operator mixes units, the numbers end with a reason. What has no rule mixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from leaky.structure.graph import Node
from leaky.structure.history import Event, SiteUse
from leaky.structure.label_rules import (
    NONE,
    MixedError,
    contracted_labels,
    element_count,
    labels_along,
    labels_in,
    listed,
    moved_labels,
    operands_of,
    owners_of,
    picked_labels,
    pooled_labels,
    spread_over,
)
from leaky.structure.pass_index import PassIndex


@dataclass(frozen=True, eq=False)
class Taken:
    """A weight that was contracted with labelled elements.

    Attributes:
        event: the operation.
        weight: name of the parameter.
        owner: the label of each element of the parameter, of its shape.
        kind: "linear", "convolution" or "transposed_convolution".
        bias: name of the parameter that is added to the result; None where there is none.
        running_mean: name of the buffer that a BatchNorm right behind takes off the result; None where there is none.
        padded: whether the sum also runs over zeros that stand for positions outside.
    """

    event: Event
    weight: str
    owner: Tensor
    kind: str
    bias: str | None
    running_mean: str | None
    padded: bool


@dataclass(frozen=True, eq=False)
class Channelled:
    """Parameters or buffers with one element a unit that were applied to labelled elements.

    Attributes:
        event: the operation.
        owners: the label of each element, by name, in the order of the arguments.
        norm: whether it is a BatchNorm: weight, bias, running mean and running variance.
    """

    event: Event
    owners: dict[str, Tensor]
    norm: bool


@dataclass(frozen=True, eq=False)
class Reached:
    """A site whose pre-activation is labelled: the label of each of its units, shape (units,)."""

    event: Event
    site: SiteUse
    labels: Tensor


@dataclass(frozen=True, eq=False)
class Ended:
    """A place where labels cannot be propagated further, or where units are mixed with others.

    Attributes:
        labels: which, ascending.
        reason: for the reader.
    """

    labels: tuple[int, ...]
    reason: str


@dataclass(eq=False)
class Propagation:
    """The result of propagating labels, in the order of the events.

    Attributes:
        taken: by which weights.
        channelled: through which parameters a unit.
        reached: in front of which sites.
        joined: where other data were added; the labels go on.
        ended: where they could not be followed, or came out of the model.
        names: of the operators that they went through.
    """

    taken: list[Taken] = field(default_factory=list)
    channelled: list[Channelled] = field(default_factory=list)
    reached: list[Reached] = field(default_factory=list)
    joined: list[Ended] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    @property
    def passed(self) -> frozenset[str]:
        """Names of the operators that the labels went through."""
        return frozenset(self.names)


def propagate(
    recorded: PassIndex, starts: dict[int, Tensor], *, through_sites: bool, labels: dict[int, Tensor] | None = None
) -> Propagation:
    """Propagate labels from nodes through all later events.

    Args:
        recorded: of the recorded pass.
        starts: the labels of nodes, by index, of their shapes.
        through_sites: whether they go on behind a site.
        labels: where to note those of every value that they reach, by its index.
    """
    propagator = _Propagator(recorded, {} if labels is None else labels)
    for index, label in starts.items():
        propagator.reaches(index, label)
    for event in recorded.history.events:
        if through_sites or not _within_a_site(event):
            propagator.meets(event, through_sites)
    return propagator.propagation


class _Propagator:
    """Propagates labels event by event and records where they arrive."""

    def __init__(self, recorded: PassIndex, labels: dict[int, Tensor]) -> None:
        self._pass = recorded
        self.labels = labels
        self.propagation = Propagation()

    def reaches(self, index: int, label: Tensor) -> None:
        """Set the labels of a value."""
        self.labels[index] = label
        if index in self._pass.history.outputs:
            self.propagation.ended.append(Ended(labels_in(label), "it is part of the model's output"))

    def meets(self, event: Event, through_sites: bool) -> None:
        """Propagate the labels of an event's arguments to its results, or record that they end there."""
        found = [node for node in event.call.nodes if node.index in self.labels]
        if not found:
            return
        if event.number in self._pass.overwritten:
            self.propagation.ended.append(_end(found, self.labels, f"{event} writes over a part of a tensor"))
        elif event.site is not None and not through_sites:
            self._arrive(event)
        else:
            results = self._results(event)
            if results:
                self.propagation.names.add(event.call.name)
            for index, label in results.items():
                if bool((label != NONE).any()):
                    self.reaches(index, label)

    def _arrive(self, event: Event) -> None:
        site = event.site
        assert site is not None
        label = self.labels.get(site.pre_activation)
        found = [node for node in event.call.nodes if node.index in self.labels]
        view = site.layout
        if label is None:
            self.propagation.ended.append(_end(found, self.labels, f"{event} takes it beside the pre-activation"))
            return
        units = label.reshape(view.shape).permute(view.order).reshape(view.samples, view.units, view.positions)
        if not units.numel():
            self.propagation.ended.append(Ended((), f"site {site.name} saw no sample"))
            return
        if bool((units != units[:1, :, :1]).any()):
            self.propagation.ended.append(Ended(labels_in(label), f"site {site.name} has other units"))
            return
        self.propagation.reached.append(Reached(event, site, units[0, :, 0].clone()))

    def _results(self, event: Event) -> dict[int, Tensor]:
        """The labels of an event's results; what ends here is noted."""
        numbers = event.operator.numbers
        try:
            if numbers in ("moves", "pads"):
                moved = moved_labels(event, self.labels)
                return {node.index: label for node, label in zip(event.results, moved, strict=False)}
            if numbers == "normalises":
                return self._normalised(event)
            if numbers == "creates":
                return {}
            if numbers in ("pools", "reduces"):
                return pooled_labels(event, self.labels)
            if numbers in ("picks", "places"):
                return picked_labels(event, self.labels)
            if event.call.produced or numbers == "takes":
                self._take(event)
                return {}
            if numbers in ("joins", "scales", "compares") or event.site is not None:
                return self._joined(event)
            raise MixedError(f"{event} mixes units")
        except MixedError as mixed:
            found = [node for node in event.call.nodes if node.index in self.labels]
            self.propagation.ended.append(_end(found, self.labels, str(mixed)))
            return {}

    def _joined(self, event: Event) -> dict[int, Tensor]:
        result = event.results[0]
        operands = [node for node in event.call.nodes if node.index in self.labels]
        spread = [spread_over(self.labels[node.index], result.shape, event) for node in operands]
        label = spread[0]
        for other in spread[1:]:
            if bool(((label != other) & (label != NONE) & (other != NONE)).any()):
                raise MixedError(f"{event} joins units with other units")
            label = torch.maximum(label, other)
        strangers = [node for node in event.call.nodes if node.from_data and node.index not in self.labels]
        if _within_a_site(event):  # another part of the same rectifier
            strangers = [node for node in strangers if node.site != result.site]
        partly = any(bool(((one == NONE) & (label != NONE)).any()) for one in spread)
        if (strangers or partly) and event.operator.numbers == "joins":
            self.propagation.joined.append(Ended(labels_in(label), f"{event} adds other data to it"))
        self._channels(event, label)
        return {node.index: label for node in event.results if node.shape == result.shape}

    def _channels(self, event: Event, label: Tensor) -> None:
        owners = {}
        for node in event.call.nodes:
            source = None if node.from_data or not node.learned else self._pass.elements(node)
            if source is not None:
                owners[source[0]] = owners_of(source[1], label, self._pass.shape(source[0]))
        if owners:
            self.propagation.channelled.append(Channelled(event, owners, norm=False))

    def _normalised(self, event: Event) -> dict[int, Tensor]:
        value = event.call.args[0]
        label = self.labels.get(value.index)
        if label is None:
            raise MixedError(f"{event} takes it for its statistics")
        channel = labels_along(label, 1, event)
        owners = {}
        for node in map(event.call.get, ("weight", "bias", "running_mean", "running_var")):
            if isinstance(node, Node):
                source = self._pass.elements(node)
                if source is None:
                    raise MixedError(f"{event} has statistics that are computed from others")
                owners[source[0]] = owners_of(source[1], channel, self._pass.shape(source[0]))
        self.propagation.channelled.append(Channelled(event, owners, norm=True))
        return {event.results[0].index: label}

    def _take(self, event: Event) -> None:
        call = event.call
        value, weight, bias = operands_of(event)
        others = [node for node in call.nodes if node.index in self.labels and node is not value]
        if others or value.index not in self.labels:
            raise MixedError(f"{event} takes it for a weight or adds a product to it")
        source = self._pass.elements(weight)
        if source is None:
            what = "data" if weight.from_data else "a weight that is computed from others"
            raise MixedError(f"{event} multiplies it by {what}")
        name, elements = source
        kind, node_owner = contracted_labels(event, weight, self.labels[value.index])
        owner = torch.full((element_count(self._pass.shape(name)),), NONE)
        owner[elements.reshape(-1)] = node_owner.reshape(-1)
        added, mean = self._pass.behind(event, bias)
        padded = kind == "convolution" and any(int(p) for p in listed(call.get("padding", [0])))
        padded = padded or kind == "transposed_convolution" or self._pass.is_padded(value)
        self.propagation.taken.append(
            Taken(event, name, owner.reshape(self._pass.shape(name)), kind, added, mean, padded)
        )


def _within_a_site(event: Event) -> bool:
    """Whether an event is one of the operations that leaky's own function consists of, after the one that counts."""
    return event.site is None and bool(event.results) and event.results[0].site is not None


def _end(nodes: Sequence[Node], labels: dict[int, Tensor], reason: str) -> Ended:
    present = {label for node in nodes for label in labels_in(labels[node.index])}
    return Ended(tuple(sorted(present)), reason)
