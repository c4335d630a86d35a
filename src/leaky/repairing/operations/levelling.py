"""Biases of gates, norms and maxout that hold what they pass on one side, brought back: no site tells of them.

A gate whose sigmoid is shut, or open, on nearly all samples learns nothing and lets nothing be learned behind it; a
norm whose biases are far off gives what follows nearly the same for all inputs. The weights of both stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from leaky.repairing.ground import Ground
from leaky.repairing.operations.in_passing import at_once
from leaky.repairing.operations.operation import Operation
from leaky.repairing.operations.optimizer_state import reset_slices
from leaky.repairing.operations.picking import Picked, pickings
from leaky.repairing.plan import Action, Left
from leaky.repairing.subject import Subject
from leaky.repairing.trouble import MOST_LEFT, RARELY
from leaky.structure.history import Event
from leaky.text import listed

FLAT = 7.0
"""Size of a gate's pre-activation from which on the derivative of its sigmoid, σ(1 − σ), is below 1e-3."""

FAR = 5.0
"""Size of a norm's bias from which on it is far off what it shifts, whose deviation is 1 but for the gain."""

_GATES = frozenset({"sigmoid", "sigmoid_", "hardsigmoid", "hardsigmoid_"})

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)


@dataclass(frozen=True, eq=False)
class _Gate:
    """The layer that makes a gate's pre-activation.

    Attributes:
        event: its operation.
        bias: the name of the bias that it adds.
        dim: the axis of its units.
    """

    event: Event
    bias: str
    dim: int


def held_on_one_side(ground: Ground) -> str | None:
    """Which gates, norms and pieces of maxout are, in words; None where none are."""
    watchers = {gate.event.number: _Levelled(ground, gate, None) for gate in _gates(ground)}
    picked = {each.event.number: Picked(ground, each, shifts=False) for each in pickings(ground)}
    if watchers or picked:
        ground.replay({**watchers, **picked}, batch_size=at_once(ground))
    gates = [watcher.gate.bias for watcher in watchers.values() if watcher.stuck is not None]
    found = [f"the gates that {listed(gates)} shifts are shut or open on nearly all samples"] if gates else []
    norms = [f"{path}.bias" for path, _ in _far_off(ground)]
    if norms:
        found.append(f"{listed(norms)} is beyond {FAR:g} in more than {MOST_LEFT:.0%} of the units")
    idle = [each.picking.bias for each in picked.values() if each.stuck]
    if idle:
        found.append(f"pieces that {listed(idle)} shifts are never the largest of their unit")
    return "; ".join(found) or None


def _gates(ground: Ground) -> list[_Gate]:
    """Of gates that are no sites and not what the model returns, and whose bias is free."""
    history = ground.history
    made = {layer.event.results[0].index: layer for layer in ground.layers.values() if len(layer.event.results) == 1}
    sites = {event.site.pre_activation for event in history.events if event.site is not None}
    found: dict[int, _Gate] = {}
    for event in history.events:
        if event.call.name not in _GATES or not event.results or event.results[0].index in history.outputs:
            continue
        node = event.call.nodes[0]
        layer = made.get(node.index)
        if layer is None or node.index in sites:
            continue
        biases = [name for n in layer.event.call.nodes if len(n.shape) == 1 for name in n.weights]
        dims = [d for d, axis in enumerate(node.axes) if any(part.role == "unit" for part in axis)]
        if len(biases) != 1 or len(dims) != 1 or biases[0] not in ground.parameters or ground.unfree(biases):
            continue
        if ground.tensor(biases[0]).numel() == node.shape[dims[0]]:
            found[layer.event.number] = _Gate(layer.event, biases[0], dims[0])
    return list(found.values())


class _Levelled:
    """Runs the layer of a gate, tells the units that are stuck on the first batch, and shifts their bias."""

    def __init__(self, ground: Ground, gate: _Gate, subject: Subject | None) -> None:
        self.gate = gate
        self.stuck: Tensor | None = None
        self._bias, self._subject, self._done = ground.tensor(gate.bias), subject, False

    def __call__(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        output = function(*args, **kwargs)
        if self._done:
            return output
        self._done = True
        values = output.detach().movedim(self.gate.dim, -1).flatten(0, -2).double()
        stuck = (values.abs() > FLAT).double().mean(0) >= 1 - RARELY
        if not float(stuck.double().mean()) > MOST_LEFT:
            return output
        self.stuck = stuck
        if self._subject is None:
            return output
        _shift(self._subject, self._bias, stuck, -values.median(0).values)
        return function(*args, **kwargs)


def _far_off(ground: Ground) -> list[tuple[str, Tensor]]:
    """Norms of which many biases are far off, by their path, and which of them."""
    found = []
    for path, module in ground.model.named_modules():
        bias = getattr(module, "bias", None)
        if isinstance(module, _NORMS) and isinstance(bias, nn.Parameter) and not ground.unfree([f"{path}.bias"]):
            far = bias.detach().abs() > FAR
            if float(far.double().mean()) > MOST_LEFT:
                found.append((path, far))
    return found


def _shift(subject: Subject, bias: Tensor, mask: Tensor, by: Tensor) -> None:
    with torch.no_grad():
        bias += torch.where(mask, by, torch.zeros_like(by)).reshape(bias.shape).to(bias)
    if subject.optimizer is not None and isinstance(bias, nn.Parameter):
        reset_slices(subject.optimizer, bias, mask.reshape(bias.shape).to(bias.device))


def _forget(subject: Subject, picked: Picked) -> None:
    """Let an optimizer forget the moments of the biases that were shifted."""
    bias = subject.ground.tensor(picked.picking.bias)
    if picked.stuck and subject.optimizer is not None and isinstance(bias, nn.Parameter):
        reset_slices(subject.optimizer, bias, picked.mask.reshape(bias.shape).to(bias.device))


def _able(subject: Subject, wanted: Action) -> tuple[Action | None, tuple[Left, ...]]:
    if _gates(subject.ground) or _far_off(subject.ground) or pickings(subject.ground):
        return wanted, ()
    reason = "it has no gate, norm or maxout with a bias of its own that holds it on one side"
    return None, (Left("(model)", (), reason),)


def _carry_out(subject: Subject, actions: Sequence[Action]) -> None:
    ground = subject.ground
    with subject.undone_on_error():
        for path, far in _far_off(ground):
            bias = ground.tensor(f"{path}.bias")
            _shift(subject, bias, far, -bias.detach())
        handlers = {gate.event.number: _Levelled(ground, gate, subject) for gate in _gates(ground)}
        picked = {each.event.number: Picked(ground, each, shifts=True) for each in pickings(ground)}
        if handlers or picked:
            ground.replay({**handlers, **picked}, batch_size=at_once(ground))
        for each in picked.values():
            _forget(subject, each)
    subject.changed()


LEVEL = Operation(
    kind="level",
    needs="the layer of a gate or of maxout, or a norm, with a bias of its own",
    promises="all weights, and the biases of units that are on neither side and of pieces that are chosen",
    keeps_function=False,
    able=_able,
    carry_out=_carry_out,
)
