"""Which positions a model itself takes for padding: a mask that it makes of its inputs and hides positions with.

`ids == 0`, `steps < lengths` or an input of zeros and ones is a candidate. What it is made into (its negation, a float,
−∞ where it holds) is followed as two numbers: the value where the candidate is true and where it is not. It is a mask
of padding once the smaller of them removes positions from something that is behind learned weights: as −∞ added to
scores, as a fill, as a factor 0. One pass tells which candidate that is; from the next on it is known where it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from leaky.structure.axes import Axis, factor, find, has
from leaky.structure.composites import Spot
from leaky.structure.graph import Call, Node
from leaky.structure.operators import operator_named

_COMPARES = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "isnan"})
_LOGICAL = frozenset({"logical_not", "logical_and", "logical_or", "bitwise_not", "bitwise_and", "bitwise_or"})
_EITHER = frozenset({"logical_or", "bitwise_or"})
HIDDEN = -50.0
"""What, added to a score or put in its place, leaves nothing of it."""


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A tensor of truth values, one a sample and position.

    Attributes:
        spot: where it is made, or which input it is.
        true: of shape (samples, positions).
        key: of the axis of positions; None where that is no axis by itself.
    """

    spot: Spot
    true: Tensor
    key: int | None


@dataclass(frozen=True)
class MaskRule:
    """How a candidate masks.

    Attributes:
        real: whether its positions are real where it is true.
        inputs: numbers of the inputs' axes, in the order of the pass, whose positions it was seen to hide.
    """

    real: bool
    inputs: frozenset[int]


@dataclass(frozen=True, eq=False)
class _Derived:
    """A value made of a candidate: what it is where the candidate is true and where it is false."""

    candidate: _Candidate
    pair: Tensor

    @property
    def picks_true(self) -> bool | None:
        """Whether it is 0 just where the candidate is false; None where it is 0 nowhere or everywhere."""
        yes, no = (bool(value != 0) for value in self.pair)
        return None if yes == no else yes

    def spares_true(self, sign: int = 1) -> bool | None:
        """Whether, added, it hides just what is false; None where it hides nothing or everything."""
        yes, no = (float(value) * sign <= HIDDEN for value in self.pair)
        return None if yes == no else no


class Masks:
    """The masks of padding of the passes of one observation.

    Args:
        wanted: whether to look for them.

    Attributes:
        plan: how each candidate masks that was found to.
        by_key: of the pass, by the key of an axis of positions: of shape (samples, positions), True where real.
        learned: whether the pass found one that was not in the plan.
        hid: what hid a position so far, for the reader.
    """

    def __init__(self, wanted: bool) -> None:
        self.plan: dict[Spot, MaskRule] = {}
        self.by_key: dict[int, Tensor] = {}
        self.learned = False
        self.hid: dict[str, None] = {}
        self._wanted = wanted
        self._derived: dict[int, _Derived] = {}
        self._inputs: list[tuple[int, int]] = []
        self._places = 0

    def clear(self) -> None:
        """Forget the pass; the plan stays."""
        self.by_key.clear()
        self._derived.clear()
        self._inputs.clear()
        self._places = 0
        self.learned = False

    def given(self, tensor: Tensor, node: Node) -> None:
        """Take in an input, which may be a mask by itself."""
        if not self._wanted:
            return
        self._places += 1
        self._inputs += [(f.key, f.size) for axis in node.axes for f in axis if f.role == "other" and len(axis) == 1]
        values = _two_values(tensor)
        if values is not None:
            self._begin(node, tensor != 0, ("", "input", None, self._places), values)

    def made(
        self,
        func: Any,
        call: Call,
        values: Sequence[Any],
        results: Sequence[Node],
        output: Any,
        spot: Callable[[], Spot],
    ) -> None:
        """Take in an operation."""
        if not self._wanted or not results:
            return
        derived = [self._derived[node.index] for node in call.nodes if node.index in self._derived]
        if not derived:
            compares = call.name in _COMPARES and isinstance(output, Tensor)
            if compares and not any(node.shaped for node in call.nodes if node.from_data):
                self._begin(results[0], output, spot())
            return
        if any(node.from_data and node.shaped for node in call.nodes):
            self._used(call, values)
        elif len({id(each.candidate) for each in derived}) == 1:
            pair = self._pair(func, call, values)
            if pair is not None and isinstance(output, Tensor):
                pair = pair.to(output.dtype)
                self._derived[results[0].index] = _Derived(derived[0].candidate, pair)

    def _begin(self, node: Node, true: Tensor, spot: Spot, values: Tensor | None = None) -> None:
        sample_dim = find(node.axes, "sample")
        if not node.from_data or sample_dim is None or len(node.axes[sample_dim]) != 1 or len(self._inputs) < 1:
            return
        others = [d for d, size in enumerate(node.shape) if d != sample_dim and size > 1]
        if len(others) != 1 or 0 in node.shape:
            return
        axis = node.axes[others[0]]
        rows = true.detach().movedim((sample_dim, others[0]), (0, 1)).flatten(1).clone()
        key = axis[0].key if len(axis) == 1 and axis[0].role == "other" else None
        candidate = _Candidate(spot, rows, key)
        self._derived[node.index] = _Derived(candidate, torch.tensor([True, False]) if values is None else values)
        if spot in self.plan:
            self._apply(candidate)

    def _apply(self, candidate: _Candidate) -> None:
        rule = self.plan[candidate.spot]
        real = candidate.true if rule.real else ~candidate.true
        keys = [self._inputs[i][0] for i in rule.inputs if i < len(self._inputs)]
        keys += [candidate.key] if candidate.key is not None else []
        if not {key for key, _ in self._inputs} & {*keys}:  # made of lengths: of every input that is as long
            keys += [key for key, size in self._inputs if size == real.shape[1]]
        if not bool(real.all()):
            self.hid.setdefault(_spoken(candidate.spot))
        self.by_key.update({key: real for key in keys if key == candidate.key or key not in self.by_key})

    def packed(self, steps: Axis, real: Tensor, by: str = "a packed sequence") -> None:
        """A sequence was packed: what is behind its end was padding.

        Args:
            steps: the axis of time.
            real: of shape (samples, steps).
            by: whose lengths tell it, for the reader.
        """
        if not self._wanted:
            return
        self.hid.setdefault(f"the lengths of {by}")
        longest = max(1, int(real.sum(1).max()))
        keys = [steps[0].key if len(steps) == 1 else factor(1).key, factor(longest).key]
        self.by_key |= {keys[0]: real, keys[1]: real[:, :longest]}

    def _pair(self, func: Any, call: Call, values: Sequence[Any]) -> Tensor | None:
        """The two values of a result; None where it is not one value where the candidate is true and one elsewhere."""
        row = operator_named(call.name)
        first = next(self._derived[node.index] for node in call.nodes if node.index in self._derived)
        if row.numbers == "moves" or row.same_value:
            return first.pair
        if row.numbers not in ("joins", "scales", "compares") and call.name not in _LOGICAL:
            return None
        try:
            result = func(*(self._both(call, known, value) for known, value in zip(call.args, values, strict=False)))
        except (RuntimeError, TypeError, ValueError, IndexError):
            return None
        return result if isinstance(result, Tensor) and result.shape == (2,) else None

    def _both(self, call: Call, known: Any, value: Any) -> Any:
        """An argument as the two values; of a constant that varies what it is where it hides nothing."""
        if not isinstance(known, Node):
            return value
        if known.index in self._derived:
            return self._derived[known.index].pair.clone()
        if known.from_data or not value.numel():
            raise ValueError("not a constant")
        kept = value.min() if call.name in _EITHER else value.max()
        return kept.reshape(1).expand(2).clone()

    def _used(self, call: Call, values: Sequence[Any]) -> None:
        """Something behind learned weights meets what was made of a candidate."""
        given = dict(zip(call.names, call.args, strict=False)) | call.kwargs
        for name, node in given.items():
            derived = self._derived.get(node.index) if isinstance(node, Node) else None
            if derived is None or derived.candidate.spot in self.plan:
                continue
            real = _real_where_true(call, values, name, derived)
            if real is not None:
                self.plan[derived.candidate.spot] = MaskRule(real, self._hidden_in(call, node))
                self.learned = True
                self._apply(derived.candidate)

    def _hidden_in(self, call: Call, mask: Node) -> frozenset[int]:
        """The numbers of the inputs' axes that lie along a mask's positions in what it hides."""
        known = {key: number for number, (key, _) in enumerate(self._inputs)}
        places = [
            d - len(mask.shape) for d, size in enumerate(mask.shape) if size > 1 and not has(mask.axes[d], "sample")
        ]
        if "scaled_dot_product" in call.name:  # scores are queries × keys: a mask's last axis is that of the keys
            query, key = call.get("query"), call.get("key")
            sides = [(key if p == -1 else query) for p in places if p in (-1, -2)]
            met = [node.axes[-2] for node in sides if isinstance(node, Node) and len(node.shape) > 1]
        else:
            met = [node.axes[p] for node in call.nodes if node.shaped for p in places if len(node.shape) >= -p]
        return frozenset(known[f.key] for axis in met for f in axis if f.key in known)


def _real_where_true(call: Call, values: Sequence[Any], name: str, derived: _Derived) -> bool | None:
    """Whether what an operation leaves are the positions where the candidate is true; None where it hides none."""
    operator, operation = operator_named(call.name), call.name
    if operation == "masked_fill" and name == "mask" and _hides(values[2]):
        return None if derived.picks_true is None else not derived.picks_true
    if operation == "where" and name == "condition" and len(values) == 3:
        hidden = [_hides(value) and not _varies(node) for value, node in zip(values[1:], call.args[1:], strict=True)]
        if derived.picks_true is None or hidden[0] == hidden[1]:
            return None
        return derived.picks_true if hidden[1] else not derived.picks_true
    if operation in ("add", "sub", "rsub"):
        taken_off = (operation, name) in (("sub", "other"), ("rsub", "self"))
        return derived.spares_true(-1 if taken_off else 1)
    if operator.operands is not None and name == operator.operands[0]:
        return derived.spares_true()
    if "scaled_dot_product" in operation:
        return derived.picks_true if derived.pair.dtype == torch.bool else derived.spares_true()
    return derived.picks_true if operation == "mul" or operator.operands is not None else None


def _two_values(tensor: Tensor) -> Tensor | None:
    """What an input is where it is not 0 and where it is: of truth values, zeros and ones, or zeros and what hides."""
    if tensor.layout != torch.strided or tensor.is_nested or tensor.is_complex() or tensor.is_quantized:
        return None
    if tensor.device.type == "meta" or len([size for size in tensor.shape if size > 1]) > 2:
        return None
    if tensor.dtype == torch.bool or bool(((tensor == 0) | (tensor == 1)).all()):
        return torch.tensor([True, False])
    hides = tensor.is_floating_point() and bool(((tensor == 0) | (tensor <= HIDDEN)).all())
    return torch.tensor([float(tensor.min()), 0.0]) if hides else None


def _spoken(spot: Spot) -> str:
    """A candidate for the reader."""
    module, operation, source, number = spot
    if operation == "input":
        return f"its input {number}"
    return f"the mask at {source or module or operation}"


def _varies(node: Any) -> bool:
    return isinstance(node, Node) and node.from_data


def _hides(value: Any) -> bool:
    """Whether a value in the place of a score or of a feature leaves nothing of it."""
    if isinstance(value, Tensor):
        return bool(value.numel() == 1) and _hides(float(value))
    return isinstance(value, (int, float)) and (value == 0 or value <= HIDDEN)
