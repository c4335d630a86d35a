"""Records elementwise arithmetic on one value, so that it can be evaluated on a grid of inputs.

A chain of elementwise operations on one value and constants is a function of one number, however it is spelled. It is
kept as the very operators that ran, and evaluated by running them on a float64 grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from leaky.structure.axes import has
from leaky.structure.graph import Call, Node
from leaky.structure.modules import in_autograd_function

SAME = {"clone", "contiguous", "detach", "alias", "_to_copy", "lift_fresh", "dropout"}
_TURNING = "view _unsafe_view reshape flatten permute transpose t squeeze unsqueeze expand"
_AFFINE = "add sub rsub mul div neg zeros_like ones_like new_zeros positive"
_ACTIVATING = """
    relu leaky_relu clamp clamp_min clamp_max hardtanh hardsigmoid hardswish gelu silu mish elu celu softplus maximum
    minimum fmax fmin where masked_fill index_put masked_scatter hardshrink softshrink logaddexp tanh sigmoid erf abs gt
    ge lt le sign heaviside round floor ceil trunc atan log_sigmoid_forward threshold _prelu_kernel prelu
"""
_OTHERS = """
    pow square sqrt rsqrt reciprocal exp expm1 log log1p sgn sin cos eq ne logical_not logical_and logical_or
    bitwise_not bitwise_and index masked_select addcmul addcdiv lerp cosh sinh
"""
TURNING = set(_TURNING.split())
AFFINE = SAME | TURNING | set(_AFFINE.split())
ACTIVATING = set(_ACTIVATING.split())
"""Operators of which an activation has at least one."""
_ARITHMETIC = """
    clamp clamp_min clamp_max maximum minimum fmax fmin where masked_fill index_put masked_scatter abs gt ge lt le sign
    heaviside round floor ceil trunc
"""
ARITHMETIC = set(_ARITHMETIC.split())
"""Those that also limit, mask and measure."""
_STEPPING = {"gt", "ge", "lt", "le", "sign", "heaviside", "round", "floor", "ceil", "trunc"}
ELEMENTWISE = AFFINE | ACTIVATING | set(_OTHERS.split())

_LONGEST = 40
"""Operations after which a chain is no activation of anybody's."""


@dataclass(frozen=True, slots=True, eq=False)
class Formula:
    """A function of one value.

    Attributes:
        root: index of the node that it is a function of.
        key: the same for the same operations on the same constants.
        function: the last operator; None for the value itself.
        args, kwargs: of it: formulas, numbers and constant tensors.
        bent: whether it is more than an affine function.
        acts: whether an operator of an activation is in it.
        means: whether one of them is there for nothing else, as tanh is and a clamp or a mask is not.
        replaced: whether it may get another gradient than its own, past a `detach` or in a function of autograd's.
        turned: whether its shape was changed, so that it meets its root no more element by element.
        sites: indices of the nodes among its parts that are outputs of sites.
        node: index of the node that it is.
        length: operations in it.
    """

    root: int
    key: int
    function: Any = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None
    bent: bool = False
    acts: bool = False
    means: bool = False
    replaced: bool = False
    turned: bool = False
    sites: frozenset[int] = frozenset()
    node: int = -1
    length: int = 0

    @property
    def parts(self) -> list[Formula]:
        """The formulas among its arguments."""
        values = [*self.args, *(self.kwargs or {}).values()]
        flat = [item for value in values for item in (value if isinstance(value, (list, tuple)) else [value])]
        return [item for item in flat if isinstance(item, Formula)]

    @property
    def foreign(self) -> bool:
        """Whether a row of numbers that the model does not hold has a part in it: another batch may bring others."""
        values = [*self.args, *(self.kwargs or {}).values()]
        own = any(isinstance(value, _Constant) and value.foreign for value in values)
        return own or any(part.foreign for part in self.parts)

    def within(self, node: int) -> bool:
        """Whether it depends on its root by way of this node alone."""
        return self.node == node or (bool(self.parts) and all(part.within(node) for part in self.parts))


def varies(node: Node, call: Call) -> bool:
    """Whether a value is data, or may be, and no constant number.

    A row of lost origin is the same for every sample where it meets them all in one operation.
    """
    if node.from_data or not node.lost or max(node.shape, default=1) <= 1:
        return node.from_data
    row = max(node.shape) == math.prod(node.shape) and not any(has(axis, "sample") for axis in node.axes)
    return not (row and any(other.from_data and has(axis, "sample") for other in call.nodes for axis in other.axes))


class Formulas:
    """The formulas of one pass, by the index of the node."""

    def __init__(self) -> None:
        self._formulas: dict[int, Formula] = {}
        self._keys: dict[Any, int] = {}

    def clear(self) -> None:
        """Forget the pass; keys stay."""
        self._formulas.clear()

    def get(self, node: Node) -> Formula:
        """The formula of a node; of one that is no function of another, itself."""
        found = self._formulas.get(node.index)
        return Formula(node.index, 0, node=node.index) if found is None else found

    def known(self, node: Node) -> Formula | None:
        """The formula of a node that is a function of another."""
        return self._formulas.get(node.index)

    def extend(
        self, func: Any, call: Call, values: Sequence[Any], kwargs: dict[str, Any], result: Node
    ) -> Formula | None:
        """The formula of a result, if the operation goes on with one chain; it is remembered."""
        if call.name not in ELEMENTWISE:
            return None
        if call.name in TURNING and not any(f.bent for f in (self.get(node) for node in call.nodes)):
            return None  # another shape of a value is a value of its own
        data = [self.get(node) for node in call.nodes if self._follows(node, call)]
        if not data or len({f.root for f in data}) != 1 or (len(data) > 1 and any(f.turned for f in data)):
            return None
        try:
            args = tuple(self._argument(call, known, value) for known, value in zip(call.args, values, strict=True))
            named = {key: self._argument(call, known, kwargs[key]) for key, known in call.kwargs.items()}
        except ValueError:
            return None
        bent = any(f.bent for f in data) or call.name not in AFFINE or (call.name in ("mul", "div") and len(data) > 1)
        made = Formula(
            data[0].root,
            self._key(call, args, named),
            func,
            args,
            named,
            bent,
            any(f.acts for f in data) or call.name in ACTIVATING,
            any(f.means for f in data) or call.name in ACTIVATING - ARITHMETIC,
            any(f.replaced for f in data) or _replaces_gradient(call),
            any(f.turned for f in data) or call.name in TURNING,
            frozenset().union(*(f.sites for f in data)),
            result.index,
            1 + sum(f.length for f in data),
        )
        if made.length > _LONGEST:
            return None
        self._formulas[result.index] = made
        return made

    def _follows(self, node: Node, call: Call) -> bool:
        """Whether a value is data, or a constant that was made in the shape of such (`zeros_like`)."""
        return varies(node, call) or node.index in self._formulas

    def mark(self, formula: Formula) -> None:
        """Note that a formula's node is the output of a site."""
        self._formulas[formula.node] = replace(formula, sites=formula.sites | {formula.node})

    def _argument(self, call: Call, known: Any, value: Any) -> Any:
        if isinstance(known, Node):
            if self._follows(known, call):
                return self.get(known)
            if not isinstance(value, Tensor) or max(value.shape, default=1) != value.numel() or value.numel() > 1 << 16:
                raise ValueError("no constant a unit")
            return _Constant(value, known)
        if isinstance(known, (list, tuple)):
            return [self._argument(call, k, v) for k, v in zip(known, value, strict=True)]
        return value

    def _key(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        parts = (call.name, *(_signature(a) for a in args), *((k, _signature(v)) for k, v in sorted(kwargs.items())))
        return self._keys.setdefault(parts, len(self._keys) + 1)


class _Constant:
    """A constant of one element, or one a unit."""

    def __init__(self, value: Tensor, node: Node) -> None:
        self.value = value
        self.foreign = node.lost and value.numel() > 1
        named = node.operation == "weight" and value.numel() > 1
        self.signature = node.weights if named else tuple(value.detach().reshape(-1)[:4].tolist())


def _signature(value: Any) -> Any:
    if isinstance(value, Formula):
        return ("f", value.key)
    if isinstance(value, _Constant):
        return ("c", value.signature)
    if isinstance(value, (list, tuple)):
        return tuple(_signature(item) for item in value)
    return value if isinstance(value, (int, float, bool, str, type(None))) else str(value)


def _replaces_gradient(call: Call) -> bool:
    return call.name == "detach" or (call.name in _STEPPING and in_autograd_function())


def evaluate(formula: Formula, grid: Tensor) -> Tensor:
    """The formula on a grid.

    Args:
        formula: of one value.
        grid: float64, shape (points, 1).

    Returns:
        float64, shape (points, 1), or (points, units) where constants have an element a unit.

    Raises:
        RuntimeError, TypeError, ValueError: where the operators cannot be run so.
    """
    with torch.no_grad():
        return _Evaluation(grid).of_formula(formula)


class _Evaluation:
    """The values of a formula and of its parts on one grid, each computed once."""

    def __init__(self, grid: Tensor) -> None:
        self._grid = grid
        self._known: dict[int, Tensor] = {}

    def of_formula(self, formula: Formula) -> Tensor:
        if formula.function is None:
            return self._grid
        if id(formula) not in self._known:
            self._known[id(formula)] = self._run(formula)
        return self._known[id(formula)]

    def _argument(self, value: Any) -> Any:
        if isinstance(value, Formula):
            return self.of_formula(value)
        if isinstance(value, _Constant):
            constant = value.value.detach().reshape(-1) if value.value.numel() > 1 else value.value.detach().reshape(())
            return constant.double() if constant.is_floating_point() else constant
        if isinstance(value, (list, tuple)):
            return [self._argument(item) for item in value]
        return value

    def _run(self, formula: Formula) -> Tensor:
        """Run the operator in float64; one that only moves or casts elements is the identity on a grid."""
        schema, keywords = formula.function._schema, formula.kwargs or {}
        name = schema.name.partition("::")[2].rstrip("_")
        args = [self._argument(argument) for argument in formula.args]
        if name in TURNING or name in SAME:
            first = args[0]
            truth = first.dtype == torch.bool and not getattr(keywords.get("dtype"), "is_floating_point", False)
            return first.double() if name == "_to_copy" and not truth else first.clone()  # type: ignore[no-any-return]
        if schema.name.endswith("_"):
            args[0] = args[0].clone()
        kwargs = {key: self._argument(value) for key, value in keywords.items() if key not in ("dtype", "out")}
        result = formula.function(*args, **kwargs)
        first = result[0] if isinstance(result, (tuple, list)) else result
        return first.double() if first.is_floating_point() else first  # type: ignore[no-any-return]
