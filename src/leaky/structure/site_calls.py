"""Decides which operations of a pass are sites, and gives each its name, activation and layout.

An operation is a site by what it does to its values; where it stands among the modules and lines of the model gives the
name. What rectifies and cannot be a site is told to the listener, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from leaky.activation.running import running_bounds
from leaky.structure.activations import Activation, bounded, half_known, prepares_input, recognise
from leaky.structure.axes import Layout, has, layout, marked
from leaky.structure.composites import Composites, Spot
from leaky.structure.graph import Call, Node
from leaky.structure.listening import Listener, SiteCall
from leaky.structure.members import parts_of
from leaky.structure.modules import ModuleStack, is_gated, is_quantiser, is_scripted, user_line
from leaky.structure.naming import Place, SiteNames
from leaky.structure.samples import Ids, Positions, SampleIds
from leaky.structure.softmaxes import Softmaxes
from leaky.structure.visits import Visits

OF_CONSTANTS = "it rectifies what is made of constants alone, so it does the same for every sample"


HALF_KNOWN = "what it puts in the place of negative values could not be told"


SLOTS = "it rectifies the largest units of each sample, which are other units for each; rectify before they are chosen"
_UNTOLD = "its unit axis could not be told from a {}-D tensor; pass unit_dim to name it"


def _has_slots(node: Node) -> bool:
    return any(has(axis, "slot") for axis in node.axes)


class SiteCalls:
    """Finds the sites of the passes of one observation.

    Args:
        model: that is followed.
        modules: of it that are running.
        ids: which samples the values of the pass hold.
        listener: told of what cannot be a site.
        unit_dim: axis of every pre-activation that holds the units, where the user knows better.
    """

    def __init__(
        self, model: nn.Module, modules: ModuleStack, ids: SampleIds, listener: Listener, unit_dim: int | None
    ) -> None:
        self.composites = Composites()
        self._softmaxes = Softmaxes()
        self._modules = modules
        self._ids = ids
        self._listener = listener
        self._unit_dim = unit_dim
        self._visits = Visits(model, modules)
        self._names = SiteNames(self._visits)
        self._module_input = ("", 0)
        self._scripted_calls = 0
        self._own: tuple[tuple[float, float | None] | None, str] = (None, "")

    def start_pass(self) -> None:
        """Clear the state of the previous pass; names and plans stay."""
        self.composites.clear()
        self._softmaxes.clear()
        self._visits.clear()
        self._names.start_pass()

    def entered(self, module: nn.Module, node: Node | None) -> None:
        """A module starts with this value."""
        self._visits.entered(module)
        self._module_input = (self._modules.path, node.origin) if node else ("", 0)
        self._scripted_calls = 0
        if is_gated(module):
            self._listener.not_examined(self._modules.path or "(model)", "its gates: where they saturate is not judged")

    def ended(
        self, func: Any, call: Call, args: Sequence[Any], kwargs: dict[str, Any], results: Sequence[Node]
    ) -> SiteCall | None:
        """The site of a spelled-out activation that ends with this operation, if one does."""
        self._visits.made(call)
        self._softmaxes.made(call, results, lambda node: self._teller(call, node))
        module = self._modules.module
        if not results or running_bounds() is not None or is_gated(module) or is_quantiser(module):
            return None
        return self.composites.made(func, call, args, kwargs, results[0], self._spot(call))

    def spot(self, call: Call) -> Spot:
        """Where an operation is called."""
        return (self._modules.path, call.name, *user_line())

    def _spot(self, call: Call) -> Callable[[], Spot]:
        return lambda: self.spot(call)

    def begins(self, call: Call, args: Sequence[Any]) -> bool:
        """Begin the site of a spelled-out activation, if one begins here."""
        beginning = self.composites.beginning(call, self._spot(call))
        if beginning is None:
            return False
        position, composite = beginning
        node, value = call.args[position], args[position]
        activation = composite.activation or Activation(composite.name)
        place = self._place(replace(call, name=_SPOKEN.get(activation.name, activation.name.lower())), activation, node)
        if composite.activation is None:
            self._tell(place, activation, node, composite.reason)
            return False
        site = self._seen(activation, node, place, None)
        if site is None:
            return False
        self.composites.begin(site, composite)
        self._listener.before(site, _shifted(value, activation.shift, site.layout))
        return True

    def inside_own_function(self, call: Call) -> str | None:
        """The site that leaky's own function is busy with: its gain, clamp and second branch belong to it."""
        bounds = running_bounds()
        if bounds is None:
            return None
        if bounds is self._own[0]:
            return self._own[1]
        return next((node.site for node in call.nodes if node.site is not None), None)

    def call_of(self, func: Any, call: Call, args: Sequence[Any]) -> SiteCall | None:
        if is_quantiser(self._modules.module):
            return None
        activation = recognise(call, args)
        bounds = running_bounds()
        if activation is None:
            self._half_known(call)
            return None
        if bounds is not None and bounds is self._own[0]:
            return None
        if prepares_input(call, activation):
            return None
        node, value = call.args[activation.operand], args[activation.operand]
        if self.composites.inside(node):
            return None
        if not (value.is_floating_point() or value.is_quantized):
            return None
        if not (node.from_data or node.lost):
            if node.productions:
                self._tell(self._place(call, activation, node), activation, node, OF_CONSTANTS)
            return None
        site = self._seen(activation, node, self._place(call, activation, node), func)
        if site is not None and bounds is not None:
            self._own = (bounds, site.name)
            return replace(site, activation=bounded(activation, *bounds))
        return site

    def _half_known(self, call: Call) -> None:
        """Report a selection by a value's sign whose other branch is not a function of that value."""
        found = half_known(call)
        if found is None or not (found[0].shaped or found[0].lost):
            return
        value, other = found
        if self.composites.formulas.get(other).root != self.composites.formulas.get(value).root:
            chosen = Activation("Elementwise")
            self._tell(self._place(call, chosen, value), chosen, value, HALF_KNOWN)

    def _teller(self, call: Call, node: Node) -> Callable[[str], None]:
        softmax = Activation("Softmax")
        place = self._place(replace(call, name="softmax"), softmax, node)
        return lambda reason: self._tell(place, softmax, node, reason)

    def _tell(self, place: Place, activation: Activation, node: Node, reason: str) -> None:
        self._listener.not_examined(self._names.name(place, activation.name, node), reason)

    def _seen(self, activation: Activation, node: Node, place: Place, func: Any) -> SiteCall | None:
        """The call of a site on this value; None, and the reason told, where its units cannot be."""
        view = layout(marked(node.axes, node.shape, self._unit_dim), node.shape)
        name = self._names.name(place, activation.name, node)
        if view is None:
            self._listener.not_examined(name, SLOTS if _has_slots(node) else _UNTOLD.format(len(node.shape)))
            return None
        slopes = activation.negative_slope
        if not isinstance(slopes, float) and slopes.size not in (1, view.units):
            self._listener.not_examined(name, f"it has {slopes.size} slopes for {view.units} units")
            return None
        if activation.shift is not None and (
            view.unit_dim is None or len(activation.shift) != node.shape[view.unit_dim]
        ):
            self._listener.not_examined(name, f"it has {len(activation.shift)} thresholds for {view.units} units")
            return None
        ids, places = self._samples_of(node, view)
        parts = parts_of(node, view, self._ids, ids)
        return SiteCall(name, activation, node, view, place.source, func, ids, places, parts)

    def _samples_of(self, node: Node, view: Layout) -> tuple[Ids | None, Positions | None]:
        if view.sample_dim is None:
            return None if node.sample is None else np.asarray([node.sample]), None
        axis = node.axes[view.sample_dim]
        return self._ids.along(node.axes), self._ids.places_of(axis) if len(axis) == 1 else None

    def _place(self, call: Call, activation: Activation, node: Node) -> Place:
        module = self._modules.module
        if module is not None and self._is_the_module(module, node):
            return Place(self._modules.path, None)
        name = "relu6" if activation.name == "ReLU6" else _SPOKEN.get(call.name, call.name)
        if is_scripted(module):
            self._scripted_calls += 1
            return Place(self._modules.path, name, None, self._scripted_calls)
        return Place(self._modules.path, name, *user_line())

    def _is_the_module(self, module: nn.Module, node: Node) -> bool:
        """Whether the running module is the activation itself, so that its path names the site.

        A class of torch's is; one of the user's is where it has no parts and takes the pre-activation as its input.
        """
        kind = type(module)
        if kind.__module__ == "torch.nn.modules.activation":
            return kind.__name__ != "MultiheadAttention"
        leaf = not is_scripted(module) and not any(True for _ in module.children())
        return leaf and self._modules.path != "" and self._module_input == (self._modules.path, node.origin)


def _shifted(value: Tensor, shift: Tensor | None, view: Layout) -> Tensor:
    """A value with the threshold of each unit taken off it."""
    if shift is None or view.unit_dim is None:
        return value
    along = [1] * value.ndim
    along[view.unit_dim] = len(shift)
    return value - shift.to(value.device, value.dtype).reshape(along)


_SPOKEN = {"_prelu_kernel": "prelu", "rrelu_with_noise": "rrelu", "LeakyReLU": "leaky_relu"}
