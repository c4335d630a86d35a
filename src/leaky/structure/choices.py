"""How values of a pass choose among others: gates that scale another value, and attention's scores.

A gate that is shut on everything lets nothing pass, and one softmax that is 1 at one place and 0 elsewhere passes no
gradient to its scores. Neither is a site; both are counted here, on the first pass: later ones may go untraced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from leaky.record import Choice
from leaky.structure.graph import Call, Node
from leaky.structure.modules import user_line
from leaky.structure.saturation import PRACTICALLY_ZERO

MOST_SAMPLES = 16
"""Samples of a pass whose scores are computed again, where one operator hides them."""
MASKED = -9000.0
"""Scores below are those of positions that a mask hides."""
_GATES = ("sigmoid", "hardsigmoid")
_COUNTED = ("mul", "glu", "_softmax", "_safe_softmax")
_FUSED = "_scaled_dot_product_"


class Choices:
    """The gates and softmaxes over positions of an observation."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], Choice] = {}
        self._passes = 0

    def start_pass(self) -> None:
        """Another pass begins."""
        self._passes += 1

    def made(self, call: Call, values: Sequence[Any], result: Any, module: str) -> None:
        """Take in an operation; below the tracer, so that nothing is seen of what is counted.

        Args:
            call: it.
            values: its positional arguments with their tensors.
            result: of it.
            module: path of the module that ran it.
        """
        tensors = [value for value in (*values, result) if isinstance(value, Tensor)]
        counted = call.name in _COUNTED or call.name.startswith(_FUSED)
        if self._passes > 1 or not counted or not all(map(_plain, tensors)):
            return
        with torch._C._DisableTorchDispatch():
            self._counted(call, values, result, module)

    def _counted(self, call: Call, values: Sequence[Any], result: Any, module: str) -> None:
        if call.name == "mul":
            self._multiplied(call, values, module)
        elif call.name == "glu":
            gate = values[0].chunk(2, int(call.get("dim", -1)))[1].sigmoid()
            self._count("gate", _weight(call.args[0]) or self._place(module, "glu"), *_flat(gate))
        elif call.name in ("_softmax", "_safe_softmax"):
            self._over_positions(call, values[0], result, module)
        elif (scores := _scores(call, values)) is not None:
            self._count("attention", self._place(module, "attention"), *_one_hot(scores, scores.softmax(-1), -1))

    def _multiplied(self, call: Call, values: Sequence[Any], module: str) -> None:
        nodes = call.args[:2]
        if len(nodes) < 2 or not all(isinstance(n, Node) and n.from_data for n in nodes):
            return
        for gate, value, tensor in ((nodes[0], nodes[1], values[0]), (nodes[1], nodes[0], values[1])):
            known = gate.gate
            if known is not None and known.kind in _GATES and gate.shaped and value.origin != known.root:
                self._count("gate", _weight(gate) or self._place(module, known.kind), *_flat(tensor / known.scale))
                return

    def _over_positions(self, call: Call, scores: Any, result: Tensor, module: str) -> None:
        node = call.args[0]
        if not isinstance(node, Node) or not node.from_data or not node.shaped or result.ndim == 0:
            return
        dim = int(call.get("dim", -1)) % result.ndim
        if node.axes and any(f.role in ("unit", "sample") and f.size > 1 for f in node.axes[dim]):
            return
        self._count("attention", self._place(module, "softmax"), *_one_hot(scores, result, dim))

    def _place(self, module: str, word: str) -> str:
        line, _ = user_line()
        return f"{module + '.' if module else ''}{word}{f' ({line})' if line else ''}"

    def _count(self, kind: str, name: str, entries: int, low: int, high: int) -> None:
        seen = Choice(name, kind, entries, low, high)
        key = seen.key
        self.found[key] = self.found[key].merge(seen) if key in self.found else seen


def _plain(value: Tensor) -> bool:
    """Whether its numbers can be read as they lie."""
    return type(value) in (Tensor, torch.nn.Parameter) and value.layout == torch.strided and value.device.type != "meta"


def _weight(node: Any) -> str | None:
    """The layer that sets a gate."""
    made = node.productions if isinstance(node, Node) else ()
    return made[0].weight.removesuffix(".weight") if made else None


def _flat(gate: Tensor) -> tuple[int, int, int]:
    """Entries, those that let practically nothing pass, and those that let practically all pass."""
    low, high = gate <= PRACTICALLY_ZERO, gate >= 1 - PRACTICALLY_ZERO
    return gate.numel(), int(low.sum()), int(high.sum())


def _one_hot(scores: Tensor, result: Tensor, dim: int) -> tuple[int, int, int]:
    """Rows with two places or more that no mask hides, 0, and those of them that are 1 at one place."""
    rows = (scores > MASKED).sum(dim) > 1
    return int(rows.sum()), 0, int((rows & (result.amax(dim) >= 1 - PRACTICALLY_ZERO)).sum())


def _scores(call: Call, values: Sequence[Any]) -> Tensor | None:
    """The scores that a fused attention computes, of a few samples; None where they lie otherwise."""
    query, key = values[0], values[1]
    if not (isinstance(query, Tensor) and isinstance(key, Tensor)) or query.ndim != 4 or query.is_nested:
        return None
    q, k = query[:MOST_SAMPLES].float(), key[:MOST_SAMPLES].float()
    if q.shape[1] != k.shape[1]:
        k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    scale = call.get("scale")
    scores: Tensor = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
    mask = _mask(call, values)
    if isinstance(mask, Tensor):
        mask = mask[:MOST_SAMPLES] if mask.ndim == 4 else mask
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    if call.get("is_causal", False):
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -torch.inf)
    return scores


def _mask(call: Call, values: Sequence[Any]) -> Any:
    for name in ("attn_mask", "attn_bias"):
        place = call.place(name)
        if place < len(values):
            return values[place]
    return None
