"""What one traced pass taught: which calls of which modules and functions are sites, in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

from torch import Tensor, nn

from leaky.structure.activations import Activation
from leaky.structure.axes import Layout


@dataclass(frozen=True, eq=False)
class KnownCall:
    """One call of a site, the same in every pass of one structure.

    Attributes:
        site: its name.
        activation: what it computes.
        layout: how to see its pre-activation on the traced pass.
        shape: of that pre-activation.
        in_place: whether the operator overwrites its input.
        position: which argument of the call is the pre-activation.
    """

    site: str
    activation: Activation
    layout: Layout
    shape: tuple[int, ...]
    in_place: bool
    position: int = 0


class Taker(Protocol):
    """Takes in what one site shows.

    Attributes:
        quick: by call, what takes in its pre-activation and its output at once, after a call that is not in place; it
            gives False, and has done nothing, where `take` must.
    """

    @property
    def quick(self) -> Mapping[KnownCall, Callable[[Tensor, Tensor], bool]]: ...

    def take(self, z: Tensor, call: KnownCall) -> bool:
        """Take in a pre-activation before it can be overwritten; False where it is not what the structure says."""

    def follow(self, z: Tensor | None, output: Tensor, call: KnownCall) -> None:
        """Take in the output, and wait for its gradient; z None where the output has overwritten it."""

    def follow_again(self, z: Tensor | None, output: Tensor, call: KnownCall) -> None:
        """Wait for the gradient of a call that a checkpoint computes once more, whose sums were taken before."""


@dataclass(eq=False)
class Structure:
    """The sites of one pass.

    Attributes:
        by_module: the calls of each module that is a site.
        by_function: every call of a function that is a site at some call, in order; None where that call is none.
        unridden: sites that neither meets; they need the tracer.
        outputs: sites whose output is the model's.
        ran: the modules that ran; another one, in a branch that is taken later, may be a site.
        sample_dim: the axis of the inputs that holds the samples.
    """

    by_module: dict[nn.Module, list[KnownCall]] = field(default_factory=dict)
    by_function: dict[Any, list[KnownCall | None]] = field(default_factory=dict)
    unridden: list[str] = field(default_factory=list)
    outputs: set[str] = field(default_factory=set)
    ran: frozenset[nn.Module] = frozenset()
    sample_dim: int | None = 0

    @property
    def calls(self) -> list[KnownCall]:
        """Every call of a site that hooks and the table meet."""
        by_function = (call for calls in self.by_function.values() for call in calls if call is not None)
        return [call for calls in self.by_module.values() for call in calls] + list(by_function)

    @cached_property
    def repeated(self) -> set[str]:
        """Sites that run more than once a pass: a sample counts once, whichever of the calls fires on it."""
        return {site for site, count in Counter(call.site for call in self.calls).items() if count > 1}

    def with_branches_of(self, earlier: Structure) -> Structure:
        """With what an earlier pass taught of modules that did not run in this one, for later ones may run them."""
        others = {module: calls for module, calls in earlier.by_module.items() if module not in self.ran}
        return replace(self, by_module={**self.by_module, **others}, ran=self.ran | earlier.ran)
