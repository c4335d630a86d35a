"""Activations that are spelled out: found in one pass by the function that they compute, sites in the next.

What a chain of elementwise operations makes of a value is known only when something else takes the result; then the
value may be gone. So the first pass tells where such chains begin and what they compute, and a second pass over the
same batch has a site there from the first operation to the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from leaky.structure.activations import Activation
from leaky.structure.fitting import NAMES, bends, fitted, grid, jump, steps
from leaky.structure.formulas import Formula, Formulas, evaluate, varies
from leaky.structure.graph import Call, Node
from leaky.structure.listening import SiteCall
from leaky.structure.operators import operator_named

Spot: TypeAlias = tuple[str, str, str | None, int]
"""Where an operation is called: the module's path, the operator, the line and its instruction."""

GATE = "it scales another value, as a gate does; where gates saturate is not judged"
UNKNOWN = "what it computes could not be told from its values"
FOREIGN = "a tensor that the model does not hold has a part in it; make that a buffer or a parameter"
STEP = "it steps, and the gradient that is put in the place of its own, which is 0, is not judged"
SHAPE = "its derivative is 0 elsewhere than at its ends, or differs by unit, which no figure here tells"


@dataclass(frozen=True, eq=False)
class Composite:
    """An activation of several operations, or of one that no table knows.

    Attributes:
        activation: what it computes; None where it is listed only.
        ends: keys of the formulas that are the whole of it.
        name: what to call it.
        reason: why it is listed only.
    """

    activation: Activation | None
    ends: set[int]
    name: str
    reason: str = ""


@dataclass(eq=False)
class _Final:
    formula: Formula
    gates: bool = False
    used: bool = False
    feeds: bool = False


@dataclass(eq=False)
class _Root:
    node: Node
    spot: Spot
    finals: dict[int, _Final] = field(default_factory=dict)


class Composites:
    """What the passes of one observation tell of spelled-out activations."""

    def __init__(self) -> None:
        self.formulas = Formulas()
        self.plan: dict[Spot, Composite] = {}
        self._roots: dict[int, _Root] = {}
        self._open: dict[int, tuple[SiteCall, Composite]] = {}
        self._ended: set[int] = set()
        self._loose: dict[int, Formula] = {}
        self._aside: dict[int, int] = {}
        self._planned_names: set[str] = set()
        self._seen: set[tuple[Spot, int]] = set()

    def clear(self) -> None:
        """Forget the pass; the plan stays."""
        self.formulas.clear()
        self._roots.clear()
        self._open.clear()
        self._ended.clear()
        self._loose.clear()
        self._aside.clear()

    def beginning(self, call: Call, spot: Callable[[], Spot]) -> tuple[int, Composite] | None:
        """The composite that begins with an operation and which of its arguments is the value, if one does."""
        if call.name not in self._planned_names:
            return None
        for position, node in enumerate(call.args):
            if isinstance(node, Node) and self.formulas.known(node) is None and node.index not in self._open:
                composite = self.plan.get(spot())
                if composite is not None and varies(node, call):
                    return position, composite
        return None

    def begin(self, site: SiteCall, composite: Composite) -> None:
        """A site begins that ends with one of the composite's formulas."""
        self._open[site.node.index] = (site, composite)

    def inside(self, node: Node) -> bool:
        """Whether a value belongs to a site that has begun."""
        return self.formulas.get(node).root in self._open

    def made(
        self,
        func: Any,
        call: Call,
        values: Sequence[Any],
        kwargs: dict[str, Any],
        result: Node,
        spot: Callable[[], Spot],
    ) -> SiteCall | None:
        """Take in an operation; the site that ends with it, if one does."""
        formula = self.formulas.extend(func, call, values, kwargs, result)
        for taken in call.nodes:
            self._loose.pop(taken.index, None)
            if call.name != "detach":
                self._loose.pop(self._aside.pop(taken.index, -1), None)
        if formula is None:
            self._consumed(call)
            return None
        if formula.bent and formula.means:
            self._loose[result.index] = formula
            if call.name == "detach":  # autograd's own copy, or the user's on the way out of torch
                self._aside[call.nodes[0].index] = result.index
        if result.site is not None and not any(self.formulas.get(n).node == result.index for n in call.nodes):
            self._note_site(formula, call, result)
        if formula.root not in self._roots:
            node = next(n for n in call.nodes if n.index == formula.root) if formula.length == 1 else None
            if node is not None:
                self._roots[formula.root] = _Root(node, spot())
        site, composite = self._open.get(formula.root, (None, None))
        if composite is None or formula.key not in composite.ends or formula.root in self._ended:
            return None
        self._ended.add(formula.root)  # its output is seen once, though autograd keeps another copy of it
        return site

    def _note_site(self, formula: Formula, call: Call, result: Node) -> None:
        before = {node.site for node in call.nodes}
        if result.site not in before:
            self.formulas.mark(formula)

    def _consumed(self, call: Call) -> None:
        data = [node for node in call.nodes if varies(node, call)]
        for node in data:
            formula = self.formulas.known(node)
            if formula is None or not formula.bent or formula.root not in self._roots:
                continue
            feeds = bool(call.produced) or operator_named(call.name).numbers == "normalises"
            if not (formula.acts or feeds):
                continue
            final = self._roots[formula.root].finals.setdefault(formula.key, _Final(formula))
            final.feeds |= feeds  # what stands between two learned maps is an activation, whatever it is made of
            gates = call.name == "mul" and len(call.nodes) > 1  # of another value, or of a state that begins as zeros
            final.gates |= gates
            final.used |= not gates

    def learned(self, outputs: Iterable[Node]) -> bool:
        """Whether the pass that ended told of activations that the plan did not have."""
        ends = {node.index for node in outputs}
        ends |= {copy for value, copy in self._aside.items() if value in ends}
        for formula in self._loose.values():  # what left torch unconsumed: through numpy, a list, a file
            if formula.node not in ends and formula.root in self._roots:
                self._roots[formula.root].finals.setdefault(formula.key, _Final(formula, used=True))
        found = False
        for root in self._roots.values():
            if not (root.node.shaped or root.node.lost) or len(root.finals) > 8:
                continue
            for final in root.finals.values():
                if final.formula.node not in ends and (root.spot, final.formula.key) not in self._seen:
                    self._seen.add((root.spot, final.formula.key))
                    found |= self._plan(root, final)
        return found

    def _plan(self, root: _Root, final: _Final) -> bool:
        formula = final.formula
        known = [part for part in formula.sites if formula.within(part)]
        if known or any(f.formula.node in formula.sites for f in root.finals.values() if f is not final):
            return False
        try:
            values = evaluate(formula, grid())
            activation = None if values.dtype == torch.bool else self._told(final, values)
        except (RuntimeError, TypeError, ValueError, IndexError):
            activation, values = None, None
            if not formula.sites:
                return self._enter(root, Composite(None, {formula.key}, _spoken(formula), UNKNOWN))
        if values is not None and formula.replaced and steps(values):
            return self._enter(root, Composite(None, {formula.key}, "Step", STEP))
        if formula.foreign:
            acts = values is not None and values.dtype != torch.bool and bends(values)
            return acts and self._enter(root, Composite(None, {formula.key}, _spoken(formula), FOREIGN))
        if activation is None:
            unknown = values is not None and final.feeds and values.dtype != torch.bool and bends(values)
            return unknown and self._enter(root, Composite(None, {formula.key}, _spoken(formula), SHAPE))
        if not (formula.means or final.feeds or activation.name in NAMES or _is_rectifier(activation)):
            return False
        if final.gates and not final.used and not formula.sites and activation.cap is not None:
            return self._enter(root, Composite(None, {formula.key}, activation.name, GATE))
        return self._enter(root, Composite(activation, {formula.key}, activation.name))

    def _told(self, final: _Final, values: Tensor) -> Activation | None:
        formula = final.formula
        if final.feeds or formula.means:
            jumped = jump(lambda points: evaluate(formula, points))
            if jumped is not None:
                return jumped
        return fitted(values, _spoken(formula), forever=final.feeds and bends(values))

    def _enter(self, root: _Root, composite: Composite) -> bool:
        before = self.plan.get(root.spot)
        if before is not None:
            before.ends.update(composite.ends)
            return False
        self.plan[root.spot] = composite
        self._planned_names.add(root.spot[1])
        return True


def _is_rectifier(activation: Activation) -> bool:
    return not activation.smooth and activation.threshold == 0


_NAMES = {"log_sigmoid_forward": "LogSigmoid", "erf": "Erf", "sigmoid": "Sigmoid", "tanh": "Tanh"}


def _spoken(formula: Formula) -> str:
    """What to call an activation of its own: after its one operator, or that it is spelled out."""
    name = formula.function._schema.name.partition("::")[2].rstrip("_")
    alone = formula.length == 1 and all(part.function is None for part in formula.parts)
    return _NAMES.get(name, name.capitalize()) if alone else "Elementwise"
