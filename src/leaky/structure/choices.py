"""How values of a pass choose among others: gates that scale another value, attention's scores, and maxout's pieces.

A gate that is shut on everything lets nothing pass, and one softmax that is 1 at one place and 0 elsewhere passes no
gradient to its scores. Neither is a site; both are counted here, on the batches numbered 1, 4, 16 and so on: those
are always traced. What a mask hides is no place that could be chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from leaky.record import OVER_BATCH, PIECES, Choice, merged
from leaky.structure.graph import Call, Gate, Node
from leaky.structure.hidden_places import HiddenPlaces
from leaky.structure.masking import HIDDEN
from leaky.structure.modules import user_line
from leaky.structure.pieces import OF_TWO, OVER_AN_AXIS, chosen_pieces
from leaky.structure.saturation import PRACTICALLY_ZERO

MOST_SAMPLES = 16
"""Samples of a pass whose scores are computed again, where one operator hides them."""
_GATES = ("sigmoid", "hardsigmoid")
_COUNTED = ("mul", "glu", "_softmax", "_safe_softmax")
_PICKING = (*OVER_AN_AXIS, *OF_TWO)
_LSTM = "mkldnn_rnn_layer"
_LSTM_GATES = {"input gate": 0, "forget gate": 1, "output gate": 3}
"""Which of the four blocks of an LSTM's rows makes each of its gates."""
_FUSED = "_scaled_dot_product_"


def is_counted(batch: int) -> bool:
    """Whether the choices of a batch are counted, by its number from 0: of those numbered by the powers of 4."""
    number = batch + 1
    return number & batch == 0 and number.bit_length() % 2 == 1


class Choices:
    """The gates and softmaxes over positions of an observation.

    Attributes:
        counting: whether those of the pass are counted.
    """

    def __init__(self) -> None:
        self.counting = True
        self._seen: list[Choice] = []
        self._set_by: dict[str, list[int]] = {}
        self._pieces: dict[str, Tensor] = {}
        self._hidden = HiddenPlaces()

    @property
    def found(self) -> tuple[Choice, ...]:
        """Each with its counts over all that was counted."""
        pieces = [Choice(name, PIECES, len(seen), int((~seen).sum()), 0) for name, seen in self._pieces.items()]
        return merged(self._seen, pieces)

    def start_pass(self) -> None:
        """Another pass begins."""
        self._hidden.clear()
        self._set_by.clear()

    def made(
        self,
        call: Call,
        values: Sequence[Any],
        named: Mapping[str, Any],
        result: Any,
        results: Sequence[Node],
        module: str,
    ) -> None:
        """Take in an operation; below the tracer, so that nothing is seen of what is counted.

        Args:
            call: it.
            values: its positional arguments with their tensors.
            named: the others.
            result: of it.
            results: what is known of the tensors in it.
            module: path of the module that ran it.
        """
        if not self.counting:
            return
        for production in call.produced:
            self._set_by.pop(production.weight, None)
        counted = call.name in (*_COUNTED, *_PICKING, _LSTM) or call.name.startswith(_FUSED)
        hides = self._hidden.concerns(call)
        if not (counted or hides) or not _all_plain((*values, *named.values(), result)):
            return
        with torch._C._DisableTorchDispatch():
            if counted:
                self._counted(call, values, named, result, module)
            if hides:
                self._hidden.made(call, values, results)

    def _counted(self, call: Call, values: Sequence[Any], named: Mapping[str, Any], result: Any, module: str) -> None:
        if call.name == "mul":
            self._multiplied(call, values, module)
        elif call.name == "glu":
            gate = values[0].chunk(2, int(call.get("dim", -1)))[1].sigmoid()
            self._count("gate", _weight(call.args[0]) or self._place(module, "glu"), *_flat(gate))
        elif call.name in ("_softmax", "_safe_softmax"):
            self._over_positions(call, values[0], result, module)
        elif call.name == _LSTM:
            self._recurrent(call, values, result)
        elif call.name in _PICKING:
            self._picked(call, chosen_pieces(call, values, result))
        elif (scores := _scores(call, values, named)) is not None:
            self._count("attention", self._place(module, "attention"), *_one_hot(scores, scores.softmax(-1), -1))

    def _multiplied(self, call: Call, values: Sequence[Any], module: str) -> None:
        nodes = call.args[:2]
        if len(nodes) < 2 or not all(isinstance(n, Node) and n.from_data for n in nodes):
            return
        for gate, value, tensor in ((nodes[0], nodes[1], values[0]), (nodes[1], nodes[0], values[1])):
            known = gate.gate
            if known is not None and known.kind in _GATES and gate.shaped and value.origin != known.root:
                self._count("gate", self._gate(gate, known, module), *_flat(tensor / known.scale))
                return

    def _gate(self, gate: Node, known: Gate, module: str) -> str:
        """The layer that sets a gate, with its number where one layer sets several: those of a cell."""
        layer = _weight(gate)
        if layer is None:
            return self._place(module, known.kind)
        roots = self._set_by.setdefault(gate.productions[0].weight, [])
        if known.root not in roots:
            roots.append(known.root)
        number = roots.index(known.root) + 1
        return layer if number == 1 else f"{layer}, gate {number}"

    def _over_positions(self, call: Call, scores: Any, result: Tensor, module: str) -> None:
        node = call.args[0]
        if not isinstance(node, Node) or not node.from_data or not node.shaped or result.ndim == 0:
            return
        dim = int(call.get("dim", -1)) % result.ndim
        roles = {factor.role for factor in (node.axes[dim] if node.axes else ()) if factor.size > 1}
        if roles == {"sample"} and result.shape.count(result.shape[dim]) == 1:
            self._count(OVER_BATCH, self._place(module, "softmax"), result.numel() // result.shape[dim], 0, 0)
        if roles & {"unit", "sample"}:
            return
        hidden = self._hidden.of(node, result.shape)
        self._count("attention", self._place(module, "softmax"), *_one_hot(scores, result, dim, hidden))

    def _picked(self, call: Call, chosen: Tensor | None) -> None:
        name = _weight(call.args[0])
        if chosen is not None and name is not None:
            before = self._pieces.get(name)
            together = before is not None and before.shape == chosen.shape
            self._pieces[name] = before | chosen if together and before is not None else chosen

    def _recurrent(self, call: Call, values: Sequence[Any], result: Any) -> None:
        """The gates of a layer of torch's own LSTM, computed again from its states, of a few samples."""
        x, into, over, *shifts, first = (value.float() for value in values[:6])
        states, width = result[0].float(), first.shape[-1]
        biases = shifts if call.get("has_biases") else (None, None)
        known = call.args[1]
        if over.shape != (4 * width, width) or not isinstance(known, Node) or not known.weights:
            return
        x, states, first = x[:, :MOST_SAMPLES], states[:, :MOST_SAMPLES], first.reshape(1, -1, width)[:, :MOST_SAMPLES]
        backwards = bool(call.get("reverse"))
        before = torch.cat([states[1:], first] if backwards else [first, states[:-1]])
        rows = functional.linear(x, into, biases[0]) + functional.linear(before, over, biases[1])
        for name, block in _LSTM_GATES.items():
            gate = rows[..., block * width : (block + 1) * width].sigmoid()
            self._count("gate", known.weights[0].replace("weight_ih", name), *_flat(gate))

    def _place(self, module: str, word: str) -> str:
        line, _ = user_line()
        return f"{module + '.' if module else ''}{word}{f' ({line})' if line else ''}"

    def _count(self, kind: str, name: str, entries: int, low: int, high: int) -> None:
        self._seen.append(Choice(name, kind, entries, low, high))


def _all_plain(values: Iterable[Any]) -> bool:
    """Whether the numbers of all tensors among these can be read as they lie."""
    return all(
        type(value) in (Tensor, torch.nn.Parameter) and value.layout == torch.strided and value.device.type != "meta"
        for value in values
        if isinstance(value, Tensor)
    )


def _weight(node: Any) -> str | None:
    """The layer that sets a gate."""
    made = node.productions if isinstance(node, Node) else ()
    return made[0].weight.removesuffix(".weight") if made else None


def _flat(gate: Tensor) -> tuple[int, int, int]:
    """Entries, those that let practically nothing pass, and those that let practically all pass."""
    low, high = gate <= PRACTICALLY_ZERO, gate >= 1 - PRACTICALLY_ZERO
    return gate.numel(), int(low.sum()), int(high.sum())


FAR = -9000.0
"""Scores below are those of hidden positions, wherever that comes from."""


def _one_hot(scores: Tensor, result: Tensor, dim: int, hidden: Tensor | None = None) -> tuple[int, int, int]:
    """Rows with two places or more that no mask hides, 0, and those of them that are 1 at one place."""
    open_places = scores > FAR if hidden is None else (scores > FAR) & ~hidden
    rows = open_places.sum(dim) > 1
    return int(rows.sum()), 0, int((rows & (result.amax(dim) >= 1 - PRACTICALLY_ZERO)).sum())


def _scores(call: Call, values: Sequence[Any], named: Mapping[str, Any]) -> Tensor | None:
    """The scores that a fused attention computes, of a few samples; None where they lie otherwise."""
    query, key = values[0], values[1]
    if not (isinstance(query, Tensor) and isinstance(key, Tensor)) or query.ndim != 4 or query.is_nested:
        return None
    q, k = query[:MOST_SAMPLES].float(), key[:MOST_SAMPLES].float()
    if q.shape[1] != k.shape[1]:
        k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    scale = call.get("scale")
    scores: Tensor = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
    mask = _mask(call, values, named)
    if isinstance(mask, Tensor):
        mask = mask[:MOST_SAMPLES] if mask.ndim == 4 else mask
        hidden = ~mask if mask.dtype == torch.bool else mask <= HIDDEN
        scores = (scores if mask.dtype == torch.bool else scores + mask).masked_fill(hidden, -torch.inf)
    if call.get("is_causal", False):
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -torch.inf)
    return scores


def _mask(call: Call, values: Sequence[Any], named: Mapping[str, Any]) -> Any:
    for name in ("attn_mask", "attn_bias"):
        if name in named:
            return named[name]
        place = call.place(name)
        if place < len(values):
            return values[place]
    return None
