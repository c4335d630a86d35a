"""One forward pass, seen operation by operation: who produces, who consumes, which axis is a unit, which a sample.

The tracer sits below autograd in torch's dispatcher, so it sees functional calls, method calls, scripted modules and
torch's own recurrent layers alike. Every operation runs as the user wrote it; the tracer only looks at its arguments.
It holds no tensor: values are known by weak references.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from leaky.activation.running import running_bounds
from leaky.structure.activations import Activation, bounded, prepares_input, recognise
from leaky.structure.axes import Axes, Layout, find, layout, marked, of_input, plain
from leaky.structure.composites import Composites, Spot
from leaky.structure.flow import as_data, result_node, unchanged_root
from leaky.structure.graph import Call, Node, SampleEvidence
from leaky.structure.hiding import hides, opaque
from leaky.structure.history import History
from leaky.structure.listening import Listener, SiteCall
from leaky.structure.members import members_of, parts_of
from leaky.structure.modules import ModuleStack, batch_first_of, is_gated, is_scripted, user_line
from leaky.structure.naming import Place, SiteNames
from leaky.structure.operators import axes_of
from leaky.structure.paths import Paths
from leaky.structure.samples import Ids, SampleIds
from leaky.structure.schema import argument_names, name_of
from leaky.structure.values import Values, shape_of


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the forward passes of one model.

    Args:
        model: the model.
        listener: told of each site.
        unit_dim: axis of every pre-activation that holds the units, where the user knows better.
        history: where to keep the steps of the pass, if at all.
    """

    def __init__(
        self, model: nn.Module, listener: Listener, unit_dim: int | None = None, history: History | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.evidence: SampleEvidence | None = None
        self.modules = ModuleStack(model, self._entered, listener.not_examined)
        self.paths = Paths()
        self._listener = listener
        self._unit_dim = unit_dim
        self._history = history
        self._names = SiteNames()
        self._made = 0
        self._values = Values(model, self._number)
        self._ids = SampleIds()
        self.composites = Composites()
        self._input_dims: dict[int, int] = {}
        self._module_input = ("", 0)
        self._scripted_calls = 0
        self._own: tuple[tuple[float, float | None] | None, str] = (None, "")

    @contextmanager
    def following(
        self, inputs: Sequence[Tensor], batch_dim: int | None, samples: int | None = None
    ) -> Iterator[Tracer]:
        """Follow one forward pass.

        Args:
            inputs: every tensor that goes in.
            batch_dim: their axis that holds the samples; None where they are one sample without a batch axis.
            samples: how many those are, so that an input of another length is not taken for a batch of them.
        """
        self._values.clear()
        self._ids.clear()
        self.composites.clear()
        self._input_dims.clear()
        self.paths.clear()
        if self._history is not None:
            self._history.clear()
        self._made = 0
        self._names.start_pass()
        for tensor in inputs:
            self._register_input(tensor, batch_dim, samples)
        if not inputs:  # texts: all that is made of nothing may be the data
            self._values.expect_texts(samples or 1)
        torch.clear_autocast_cache()  # a weight that was cast before the pass would be one that nobody knows
        try:
            with self.modules, self:
                yield self
        finally:
            self._listener.between()
            self._values.clear()

    def node_of(self, value: Tensor) -> Node | None:
        """What is known of a tensor of the pass that is being followed."""
        return self._values.get(value)

    def _register_input(self, tensor: Tensor, batch_dim: int | None, samples: int | None) -> None:
        shape = shape_of(tensor)
        axes = of_input(shape, batch_dim)
        if samples is not None and any(f.role == "sample" and f.size != samples for axis in axes for f in axis):
            axes = plain(shape)
        if not self._input_dims:
            self._input_dims = {f.key: dim for dim, axis in enumerate(axes) for f in axis}
        node = Node(self._number(), "input", "", shape, axes)
        self._values.put(tensor, node)
        self._values.expect_samples(node)
        self.paths.made(node)
        if self._history is not None:
            self._history.inputs.append(node)

    def _number(self) -> int:
        self._made += 1
        return self._made

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self._listener.between()
        namespace = func._schema.name.partition("::")[0]
        call = Call(
            name_of(func),
            [self._known(a) for a in args],
            {k: self._known(v) for k, v in kwargs.items()},
            [],
            argument_names(func),
        )
        if hides(namespace, call.name):
            self._listener.not_examined(*opaque(func._schema.name, self.modules.path))
        as_data(call)
        begun = self._composite(call, args)
        site = None if begun else self._site(func, call, args)
        output = None if site is None else self._listener.before(site, args[site.activation.operand])
        if output is None:
            output = func(*args, **kwargs)
        results = self._remember(func, call, output, site, args)
        followed = results and running_bounds() is None and not is_gated(self.modules.module)
        ended = self.composites.made(func, call, args, kwargs, results[0], self._spot(call)) if followed else None
        if ended is not None:
            site = ended
            output_of_it = output if isinstance(output, Tensor) else output[0]
            self._values.put(output_of_it, replace(results[0], site=site.name))
            self._listener.after(site, output_of_it)
        if self._history is not None:
            self._history.add(func, call, results, self.modules.path, None if site is None else site.use)
        if site is not None and site is not ended:
            self._listener.after(site, output)
        return output

    def learned(self, outputs: Sequence[Tensor]) -> bool:
        """Whether the pass told of spelled-out activations that a second pass would have as sites; call it inside."""
        found = [self.node_of(tensor) for tensor in outputs]
        with _disable_current_modes():
            return self.composites.learned(node for node in found if node is not None)

    def _spot(self, call: Call) -> Callable[[], Spot]:
        return lambda: (self.modules.path, call.name, *user_line())

    def _composite(self, call: Call, args: Sequence[Any]) -> bool:
        """Begin the site of a spelled-out activation, if one begins here."""
        beginning = self.composites.beginning(call, self._spot(call))
        if beginning is None:
            return False
        position, composite = beginning
        node, value = call.args[position], args[position]
        activation = composite.activation or Activation(composite.name)
        place = self._place(replace(call, name=_SPOKEN.get(activation.name, activation.name.lower())), activation, node)
        if composite.activation is None:
            self._listener.not_examined(self._names.name(place, activation.name, node), composite.reason)
            return False
        site = self._seen(activation, node, value, place, None)
        if site is None:
            return False
        self.composites.begin(site, composite)
        self._listener.before(site, value)
        return True

    def _known(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._values.node(value)
        if isinstance(value, (list, tuple)) and any(isinstance(item, Tensor) for item in value):
            return [self._known(item) for item in value]
        return value

    def _remember(
        self, func: Any, call: Call, output: Any, site: SiteCall | None, args: Sequence[Any]
    ) -> tuple[Node, ...]:
        tensors = [t for t in (output if isinstance(output, (list, tuple)) else [output]) if isinstance(t, Tensor)]
        call.shapes = [shape_of(t) for t in tensors]
        if not tensors:
            self._values.leaked |= any(node.from_data for node in call.nodes)  # a number went out to Python
            return ()
        name = site.name if site else self._inside_own_function(call)
        nodes = []
        followed = self._ids.follow(call, args, axes_of(call))
        for number, (tensor, shape, sampled) in enumerate(zip(tensors, call.shapes, followed, strict=True)):
            node = result_node(self._number(), call, sampled.axes, shape, self.modules.path, name)
            node = self._values.told(node, sampled.sample, made_of_nothing=not call.nodes)
            node = replace(node, members=members_of(call, args, node.axes, node.shape, number))
            self._values.put(tensor, node)
            self.paths.made(node)
            nodes.append(node)
        for node in self._values.share(func, args, tensors, nodes):
            self.paths.made(node)
        for left, reason in call.evidence:
            self._contradicted(left, reason)
        return tuple(nodes)

    def _inside_own_function(self, call: Call) -> str | None:
        """The site that leaky's own function is busy with: its gain, clamp and second branch belong to it."""
        bounds = running_bounds()
        if bounds is None:
            return None
        if bounds is self._own[0]:
            return self._own[1]
        return next((node.site for node in call.nodes if node.site is not None), None)

    def _site(self, func: Any, call: Call, args: Sequence[Any]) -> SiteCall | None:
        activation = recognise(call, args)
        bounds = running_bounds()
        if activation is None or (bounds is not None and bounds is self._own[0]):
            return None
        if prepares_input(call, activation):
            return None
        node, value = call.args[activation.operand], args[activation.operand]
        if self.composites.inside(node):
            return None
        if not (node.from_data or node.lost) or not (value.is_floating_point() or value.is_quantized):
            return None
        site = self._seen(activation, node, value, self._place(call, activation, node), func)
        if site is not None and bounds is not None:
            self._own = (bounds, site.name)
            return replace(site, activation=bounded(activation, *bounds))
        return site

    def _seen(self, activation: Activation, node: Node, value: Tensor, place: Place, func: Any) -> SiteCall | None:
        """The call of a site on this value; None, and the reason told, where its units cannot be."""
        view = layout(marked(node.axes, node.shape, self._unit_dim), node.shape)
        name = self._names.name(place, activation.name, node)
        if view is None:
            self._listener.not_examined(
                name, f"its unit axis could not be told from a {len(node.shape)}-D tensor; pass unit_dim to name it"
            )
            return None
        slopes = activation.negative_slope
        if not isinstance(slopes, float) and slopes.size not in (1, view.units):
            self._listener.not_examined(name, f"it has {slopes.size} slopes for {view.units} units")
            return None
        ids = self._samples_of(node, view)
        parts = parts_of(node, view, ids, self._ids)
        return SiteCall(name, activation, node, view, place.source, func, ids, parts)

    def _samples_of(self, node: Node, view: Layout) -> Ids | None:
        if view.sample_dim is None:
            return None if node.sample is None else np.asarray([node.sample])
        dim = find(node.axes, "sample")
        return None if dim is None else self._ids.of(node.axes[dim])

    def _place(self, call: Call, activation: Activation, node: Node) -> Place:
        module = self.modules.module
        if module is not None and self._is_the_module(module, node):
            return Place(self.modules.path, None)
        name = "relu6" if activation.name == "ReLU6" else _SPOKEN.get(call.name, call.name)
        if is_scripted(module):
            self._scripted_calls += 1
            return Place(self.modules.path, name, None, self._scripted_calls)
        return Place(self.modules.path, name, *user_line())

    def _is_the_module(self, module: nn.Module, node: Node) -> bool:
        """Whether the running module is the activation itself, so that its path names the site.

        A class of torch's is; one of the user's is where it has no parts and takes the pre-activation as its input.
        """
        kind = type(module)
        if kind.__module__ == "torch.nn.modules.activation":
            return kind.__name__ != "MultiheadAttention"
        leaf = not is_scripted(module) and not any(True for _ in module.children())
        return leaf and self.modules.path != "" and self._module_input == (self.modules.path, unchanged_root(node))

    def _entered(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        batch_first = batch_first_of(module)
        node = self.node_of(args[0]) if args and isinstance(args[0], Tensor) else None
        self._module_input = (self.modules.path, unchanged_root(node)) if node else ("", 0)
        self._scripted_calls = 0
        if is_gated(module):
            self._listener.not_examined(self.modules.path or "(model)", "its gates: where they saturate is not judged")
        if batch_first is None or node is None or len(node.axes) not in (2, 3):
            return
        kind = type(module).__name__
        if len(node.axes) == 2:
            self._expect((), node, f"nn.{kind} was given one unbatched sequence")
        else:
            dim = 0 if batch_first else 1
            self._expect(node.axes[dim : dim + 1], node, f"nn.{kind} has batch_first={batch_first}")

    def _expect(self, batch: Axes, node: Node, reason: str) -> None:
        everywhere = [f for axis in node.axes for f in axis if f.role == "sample"]
        expected = [f for axis in batch for f in axis]
        elsewhere = bool(everywhere) and not any(f.role == "sample" for f in expected)
        missing = not everywhere and any(f.key in self._input_dims for f in expected)
        if elsewhere or missing:
            self._contradicted(batch, reason)

    def _contradicted(self, left: Axes, reason: str) -> None:
        if self.evidence is not None:
            return
        candidates = [self._input_dims[f.key] for axis in left for f in axis if f.key in self._input_dims]
        self.evidence = SampleEvidence(candidates[0] if candidates else None, reason)


_SPOKEN = {"_prelu_kernel": "prelu", "rrelu_with_noise": "rrelu", "LeakyReLU": "leaky_relu"}
