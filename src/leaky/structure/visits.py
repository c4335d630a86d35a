"""Which place of a module is met again, when a module that holds weights is called several times in one pass.

A block that is called twice is one block: what it computes inside is the same in each call, whatever came before it.
Inside one call the same line may run behind other weights, in a loop over layers; those are different places.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from torch import nn

from leaky.structure.graph import Call, Node
from leaky.structure.modules import ModuleStack, without_wrappers


@dataclass(frozen=True)
class _Met:
    """A place that a call came to: its name, the maps of the call before it, its number of units."""

    name: str
    maps: frozenset[str]
    units: int


@dataclass(eq=False)
class _Visit:
    """One call of a module: which of the pass's maps was the next one when it began, and the places it came to."""

    start: int
    met: dict[Hashable, list[_Met]] = field(default_factory=dict)


class Visits:
    """The calls of modules in one pass.

    Args:
        model: whose matrices are named.
        modules: of it that are running.
    """

    def __init__(self, model: nn.Module, modules: ModuleStack) -> None:
        self._names = {id(p): without_wrappers(name) for name, p in model.named_parameters()}
        self._modules = modules
        self._matrices: dict[nn.Module, frozenset[str]] = {}
        self._maps: list[str] = []
        self._first: dict[nn.Module, _Visit] = {}
        self._now: dict[nn.Module, _Visit] = {}

    def clear(self) -> None:
        """Forget the pass."""
        self._maps.clear()
        self._first.clear()
        self._now.clear()

    def entered(self, module: nn.Module) -> None:
        """A module starts."""
        self._now[module] = _Visit(len(self._maps))
        self._first.setdefault(module, self._now[module])

    def made(self, call: Call) -> None:
        """Take in an operation."""
        self._maps += [production.weight for production in call.produced]

    def again(self, key: Hashable, node: Node) -> str | None:
        """The name of the place that the first call of the running module had here; None where it is another.

        Args:
            key: where the module is.
            node: the pre-activation.
        """
        owner = self._owner()
        if owner is None or self._first[owner] is self._now[owner]:
            return None
        first, now = self._first[owner], self._now[owner]
        before, place = first.met.get(key, []), len(now.met.get(key, []))
        if place >= len(before):
            return None
        met, maps = before[place], self._maps_before(now, node)
        same = met.maps == maps and met.units == _units(node)
        whole = bool(maps) or self._matrices[owner] <= set(self._maps[first.start : now.start])
        return met.name if same and whole else None

    def meet(self, key: Hashable, node: Node, name: str) -> None:
        """The running module came to a place, which has this name."""
        owner = self._owner()
        if owner is not None:
            now = self._now[owner]
            now.met.setdefault(key, []).append(_Met(name, self._maps_before(now, node), _units(node)))

    def _owner(self) -> nn.Module | None:
        """The innermost running module that holds matrices: slopes and norms alone may be shared by several places."""
        return next((m for m in self._modules.innermost_first() if m in self._now and self._matrices_of(m)), None)

    def _matrices_of(self, module: nn.Module) -> frozenset[str]:
        if module not in self._matrices:
            matrices = (p for p in module.parameters() if p.ndim > 1 and p.numel() > max(p.shape))
            self._matrices[module] = frozenset(self._names[id(p)] for p in matrices if id(p) in self._names)
        return self._matrices[module]

    def _maps_before(self, visit: _Visit, node: Node) -> frozenset[str]:
        return frozenset(self._maps[visit.start :]) & {production.weight for production in node.productions}


def _units(node: Node) -> int:
    return sum(f.size for axis in node.axes for f in axis if f.role == "unit")
