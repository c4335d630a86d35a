"""Which elements of which weight belong to which unit: numbers of units sent along the steps of a recorded pass.

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
from leaky.structure.history import History, SiteUse, Step
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
    overwriting_steps,
    owners_of,
    picked_labels,
    pooled_labels,
    spread_over,
)


@dataclass(frozen=True, eq=False)
class Taken:
    """That a weight summed over labelled elements.

    Attributes:
        step: the operation.
        weight: name of the parameter.
        owner: the label of each element of the parameter, of its shape.
        kind: "linear", "convolution" or "transposed_convolution".
        bias: name of the parameter that is added to the result; None where there is none.
        running_mean: name of the buffer that a BatchNorm right behind takes off the result; None where there is none.
        padded: whether the sum also runs over zeros that stand for positions outside.
    """

    step: Step
    weight: str
    owner: Tensor
    kind: str
    bias: str | None
    running_mean: str | None
    padded: bool


@dataclass(frozen=True, eq=False)
class Channelled:
    """That parameters or buffers with elements of their own for each unit worked on labelled elements.

    Attributes:
        step: the operation.
        owners: the label of each element, by name, in the order of the arguments.
        norm: whether it is a BatchNorm: weight, bias, running mean and running variance.
    """

    step: Step
    owners: dict[str, Tensor]
    norm: bool


@dataclass(frozen=True, eq=False)
class Reached:
    """That labelled elements are the pre-activation of a site: the label of each of its units, shape (units,)."""

    step: Step
    site: SiteUse
    labels: Tensor


@dataclass(frozen=True, eq=False)
class Ended:
    """That labels cannot be followed on, or that their units are not alone any more.

    Attributes:
        labels: which, ascending.
        reason: for the reader.
    """

    labels: tuple[int, ...]
    reason: str


@dataclass(eq=False)
class Journey:
    """Where labels went, in the order of the steps.

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


class Atlas:
    """The recorded pass, ready for labels to be sent through.

    Args:
        history: of the pass.
        shapes: of the model's parameters and buffers, by name.
    """

    def __init__(self, history: History, shapes: dict[str, tuple[int, ...]]) -> None:
        self.history = history
        self._shapes = shapes
        self.nodes: dict[int, Node] = {node.index: node for node in history.inputs}
        self._makers: dict[int, Step] = {}
        self._users: dict[int, list[Step]] = {}
        for step in history.steps:
            for node in step.call.nodes:
                self.nodes.setdefault(node.index, node)
                self._users.setdefault(node.index, []).append(step)
            for node in step.results:
                self.nodes[node.index] = node
                self._makers[node.index] = step
        self._overwritten = overwriting_steps(history)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a parameter or buffer."""
        return self._shapes[name]

    def elements_of(self, name: str) -> int:
        """Elements of a parameter or buffer."""
        return element_count(self._shapes[name])

    def maker(self, node: Node) -> Step | None:
        """The step that made a value."""
        return self._makers.get(node.index)

    def users(self, node: Node) -> list[Step]:
        """The steps that take a value."""
        return self._users.get(node.index, [])

    def elements(self, node: Node) -> tuple[str, Tensor] | None:
        """The parameter or buffer that a constant is, moved about at most, and which of its elements stands where."""
        if node.from_data:
            return None
        if node.operation == "weight":
            shape = self._shapes.get(node.weights[0])
            if shape is None or shape != node.shape:
                return None
            return node.weights[0], torch.arange(element_count(shape)).reshape(shape)
        step = self.maker(node)
        sources = step.call.nodes if step else []
        if step is None or len(sources) != 1 or not (step.operator.numbers == "moves" or step.operator.same_value):
            return None
        before = self.elements(sources[0])
        if before is None or step.operator.numbers != "moves":
            return before
        return before[0], moved_labels(step, {sources[0].index: before[1]})[step.results.index(node)]

    def travel(
        self, starts: dict[int, Tensor], *, through_sites: bool, labels: dict[int, Tensor] | None = None
    ) -> Journey:
        """Send labels from nodes onwards.

        Args:
            starts: the labels of nodes, by index, of their shapes.
            through_sites: whether they go on behind a site.
            labels: where to note those of every value that they reach, by its index.
        """
        journey = Journey()
        labels = {} if labels is None else labels
        labels |= starts
        for index, label in starts.items():
            self._note_output(journey, index, label)
        for step in self.history.steps:
            found = [node for node in step.call.nodes if node.index in labels]
            if not found:
                continue
            if _within_a_site(step) and not through_sites:
                continue
            if step.number in self._overwritten:
                journey.ended.append(_end(found, labels, f"{step} writes over a part of a tensor"))
            elif step.site is not None and not through_sites:
                self._arrive(journey, step, labels)
            else:
                results = self._results(journey, step, labels)
                if results:
                    journey.names.add(step.call.name)
                for node, label in results.items():
                    if bool((label != NONE).any()):
                        labels[node] = label
                        self._note_output(journey, node, label)
        return journey

    def _note_output(self, journey: Journey, index: int, label: Tensor) -> None:
        if index in self.history.outputs:
            journey.ended.append(Ended(labels_in(label), "it is part of the model's output"))

    def _arrive(self, journey: Journey, step: Step, labels: dict[int, Tensor]) -> None:
        site = step.site
        assert site is not None
        label = labels.get(site.pre_activation)
        found = [node for node in step.call.nodes if node.index in labels]
        view = site.layout
        if label is None:
            journey.ended.append(_end(found, labels, f"{step} takes it beside the pre-activation"))
            return
        units = label.reshape(view.shape).permute(view.order).reshape(view.samples, view.units, view.positions)
        if not units.numel():
            journey.ended.append(Ended((), f"site {site.name} saw no sample"))
            return
        if bool((units != units[:1, :, :1]).any()):
            journey.ended.append(Ended(labels_in(label), f"site {site.name} has other units"))
            return
        journey.reached.append(Reached(step, site, units[0, :, 0].clone()))

    def _results(self, journey: Journey, step: Step, labels: dict[int, Tensor]) -> dict[int, Tensor]:
        """The labels of a step's results; what ends here is noted."""
        numbers = step.operator.numbers
        try:
            if numbers in ("moves", "pads"):
                moved = moved_labels(step, labels)
                return {node.index: label for node, label in zip(step.results, moved, strict=False)}
            if numbers == "normalises":
                return self._normalised(journey, step, labels)
            if numbers in ("pools", "reduces"):
                return pooled_labels(step, labels)
            if numbers in ("picks", "places"):
                return picked_labels(step, labels)
            if step.call.produced or numbers == "takes":
                self._take(journey, step, labels)
                return {}
            if numbers in ("joins", "scales", "compares") or step.site is not None:
                return self._joined(journey, step, labels)
            raise MixedError(f"{step} mixes units")
        except MixedError as mixed:
            found = [node for node in step.call.nodes if node.index in labels]
            journey.ended.append(_end(found, labels, str(mixed)))
            return {}

    def _joined(self, journey: Journey, step: Step, labels: dict[int, Tensor]) -> dict[int, Tensor]:
        result = step.results[0]
        operands = [node for node in step.call.nodes if node.index in labels]
        spread = [spread_over(labels[node.index], result.shape, step) for node in operands]
        label = spread[0]
        for other in spread[1:]:
            if bool(((label != other) & (label != NONE) & (other != NONE)).any()):
                raise MixedError(f"{step} joins units with other units")
            label = torch.maximum(label, other)
        strangers = [node for node in step.call.nodes if node.from_data and node.index not in labels]
        if _within_a_site(step):  # another part of the same rectifier
            strangers = [node for node in strangers if node.site != result.site]
        partly = any(bool(((one == NONE) & (label != NONE)).any()) for one in spread)
        if (strangers or partly) and step.operator.numbers == "joins":
            journey.joined.append(Ended(labels_in(label), f"{step} adds other data to it"))
        self._channels(journey, step, label)
        return {node.index: label for node in step.results if node.shape == result.shape}

    def _channels(self, journey: Journey, step: Step, label: Tensor) -> None:
        owners = {}
        for node in step.call.nodes:
            source = None if node.from_data or not node.learned else self.elements(node)
            if source is not None:
                owners[source[0]] = owners_of(source[1], label, self._shapes[source[0]])
        if owners:
            journey.channelled.append(Channelled(step, owners, norm=False))

    def _normalised(self, journey: Journey, step: Step, labels: dict[int, Tensor]) -> dict[int, Tensor]:
        value = step.call.args[0]
        label = labels.get(value.index)
        if label is None:
            raise MixedError(f"{step} takes it for its statistics")
        channel = labels_along(label, 1, step)
        owners = {}
        for node in map(step.call.get, ("weight", "bias", "running_mean", "running_var")):
            if isinstance(node, Node):
                source = self.elements(node)
                if source is None:
                    raise MixedError(f"{step} has statistics that are computed from others")
                owners[source[0]] = owners_of(source[1], channel, self._shapes[source[0]])
        journey.channelled.append(Channelled(step, owners, norm=True))
        return {step.results[0].index: label}

    def _take(self, journey: Journey, step: Step, labels: dict[int, Tensor]) -> None:
        call = step.call
        value, weight, bias = operands_of(step)
        others = [node for node in call.nodes if node.index in labels and node is not value]
        if others or value.index not in labels:
            raise MixedError(f"{step} takes it for a weight or adds a product to it")
        source = self.elements(weight)
        if source is None:
            what = "data" if weight.from_data else "a weight that is computed from others"
            raise MixedError(f"{step} multiplies it by {what}")
        name, elements = source
        kind, node_owner = contracted_labels(step, weight, labels[value.index])
        owner = torch.full((element_count(self._shapes[name]),), NONE)
        owner[elements.reshape(-1)] = node_owner.reshape(-1)
        added, mean = self._behind(step, bias)
        padded = kind == "convolution" and any(int(p) for p in listed(call.get("padding", [0])))
        padded = padded or kind == "transposed_convolution" or self._padded(value)
        journey.taken.append(Taken(step, name, owner.reshape(self._shapes[name]), kind, added, mean, padded))

    def _padded(self, value: Node) -> bool:
        maker = self.maker(value)
        return maker is not None and maker.operator.numbers == "pads"

    def _behind(self, step: Step, bias: Node | None) -> tuple[str | None, str | None]:
        """The bias that is added to a result, there or in the next operation, and the running mean taken off it."""
        name = self._name(bias)
        node, before = step.results[0], step
        while True:
            users = self.users(node)
            if len(users) != 1 or node.index in self.history.outputs:
                return name, None
            before, user = users[0], users[0]
            if user.operator.numbers == "normalises" and user.call.args[0] is node:
                mean = user.call.get("running_mean")
                return name, self._name(mean) if isinstance(mean, Node) else None
            constants = [argument for argument in user.call.nodes if argument is not node]
            if user.call.name == "add" and name is None and len(constants) == 1 and constants[0].learned:
                return self._name(constants[0]), None
            if user.operator.numbers != "moves" or constants or not before.results:
                return name, None
            node = before.results[0]

    def _name(self, node: Node | None) -> str | None:
        source = None if node is None else self.elements(node)
        return None if source is None else source[0]


def _within_a_site(step: Step) -> bool:
    """Whether a step is one of the operations that leaky's own function consists of, after the one that counts."""
    return step.site is None and bool(step.results) and step.results[0].site is not None


def _end(nodes: Sequence[Node], labels: dict[int, Tensor], reason: str) -> Ended:
    present = {label for node in nodes for label in labels_in(labels[node.index])}
    return Ended(tuple(sorted(present)), reason)
