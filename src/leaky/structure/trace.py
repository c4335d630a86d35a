"""One forward pass, seen operation by operation: who produces, who consumes, which axis is a unit, which a sample.

The tracer sits below autograd in torch's dispatcher, so it sees functional calls, method calls, scripted modules and
torch's own recurrent layers alike. Every operation runs as the user wrote it; the tracer only looks at its arguments.
It holds no tensor: values are known by weak references.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from leaky.structure.axes import factor, has, of_input, plain, replaced
from leaky.structure.choices import Choices
from leaky.structure.dispatching import DispatchMode
from leaky.structure.endings import Ending, ending
from leaky.structure.flow import as_data, from_outside, result_node
from leaky.structure.graph import Call, Node, SampleEvidence
from leaky.structure.hiding import ROUNDS, hides, opaque, rounds
from leaky.structure.history import History
from leaky.structure.listening import Listener, SiteCall
from leaky.structure.masking import Masks
from leaky.structure.members import members_of
from leaky.structure.modules import ModuleStack
from leaky.structure.operators import axes_of
from leaky.structure.paths import Paths
from leaky.structure.sample_axis import SampleAxis
from leaky.structure.sample_rules import packed, samples_of
from leaky.structure.samples import Ids, SampleIds
from leaky.structure.schema import argument_names, name_of, only_compares
from leaky.structure.site_calls import SiteCalls
from leaky.structure.values import Values, shape_of

OUTSIDE = "its input comes from outside torch (NumPy, a list): what is computed there, a rectifier too, is not seen"


class Tracer(DispatchMode):
    """Follows the forward passes of one model.

    Args:
        model: the model.
        listener: told of each site.
        unit_dim: axis of every pre-activation that holds the units, where the user knows better.
        history: where to keep the events of the pass, if at all.
        padding: whether to look for positions that the model itself takes for padding.
        choices: counts how gates and attention choose, if that is asked for.
    """

    def __init__(
        self,
        model: nn.Module,
        listener: Listener,
        unit_dim: int | None = None,
        history: History | None = None,
        padding: bool = False,
        choices: Choices | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.modules = ModuleStack(model, self._entered, listener.not_examined)
        self.paths = Paths()
        self._listener = listener
        self._history = history
        self._choices = choices
        self._made = 0
        self._values = Values(model, self._number)
        self._ids = SampleIds()
        self.masks = Masks(padding)
        self._sample_axis = SampleAxis()
        self._sites = SiteCalls(model, self.modules, self._ids, listener, unit_dim)

    @property
    def evidence(self) -> SampleEvidence | None:
        """What said that the samples lie along another axis than was assumed."""
        return self._sample_axis.evidence

    def go_on_from(self, other: Tracer) -> None:
        """Take over what another tracer of the model learned: activations that are spelled out, masks of padding."""
        self._sites.composites = other._sites.composites
        self.masks.plan |= other.masks.plan

    @contextmanager
    def following(
        self,
        inputs: Sequence[Tensor],
        sample_dim: int | None,
        samples: int | None = None,
        groups: Ids | None = None,
        rows: Mapping[int, Ids | int] | None = None,
    ) -> Iterator[Tracer]:
        """Follow one forward pass.

        Args:
            inputs: every tensor that goes in.
            sample_dim: their axis that holds the samples; None where they are one sample without a batch axis.
            samples: how many those are, so that an input of another length is not taken for a batch of them.
            groups: which of the batch's samples each entry of that axis belongs to, where several are one.
            rows: by the `id` of inputs that lie otherwise, the sample of each row where sequences are packed by
                steps, or the one sample that it is.
        """
        self._start_pass()
        single = [tensor for tensor in inputs if isinstance((rows or {}).get(id(tensor)), int)]
        if single:
            self._values.expect_rows(len(single))
            lengths = torch.tensor([len(tensor) for tensor in single])
            steps = factor(int(lengths.max()))
            self.masks.packed((steps,), torch.arange(steps.size) < lengths[:, None], "its sequences")
        for tensor in inputs:
            own = (rows or {}).get(id(tensor))
            self._register_input(tensor, sample_dim, samples, groups, own)
        if not inputs:  # texts: all that is made of nothing may be the data
            self._values.expect_rows(samples or 1, leaked=True)
        torch.clear_autocast_cache()  # a weight that was cast before the pass would be one that nobody knows
        try:
            with self.modules, self:
                yield self
        finally:
            self._listener.between()
            self._values.clear()

    def _start_pass(self) -> None:
        """Forget the pass before."""
        self._values.clear()
        self._ids.clear()
        self._sample_axis.clear()
        self.masks.clear()
        self.paths.clear()
        if self._history is not None:
            self._history.clear()
        self._made = 0
        self._sites.start_pass()
        if self._choices is not None:
            self._choices.start_pass()

    def node_of(self, value: Tensor) -> Node | None:
        """What is known of a tensor of the pass that is being followed."""
        return self._values.get(value)

    def _register_input(
        self, tensor: Tensor, sample_dim: int | None, samples: int | None, groups: Ids | None, own: Ids | int | None
    ) -> None:
        shape = shape_of(tensor)
        axes = of_input(shape, sample_dim)
        if isinstance(own, int):
            axes = plain(shape)
        elif own is not None:
            packed_rows, steps = self._ids.by_steps(own)
            axes = replaced(plain(shape), 0, packed_rows)
            lengths = torch.from_numpy(np.bincount(own))
            self.masks.packed(steps, torch.arange(steps[0].size) < lengths[:, None])
        elif samples is not None and any(f.role == "sample" and f.size != samples for axis in axes for f in axis):
            axes = plain(shape)
        elif groups is not None:
            axes = tuple(self._ids.grouped(groups) if has(axis, "sample") else axis for axis in axes)
        self._sample_axis.register(axes)
        node = Node(self._number(), "input", "", shape, axes, sample=own if isinstance(own, int) else None)
        self._values.put(tensor, node)
        self._values.expect_samples(node)
        self.masks.given(tensor, node)
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
        call = self._call(func, args, kwargs)
        site = None if self._sites.begins(call, args) else self._sites.call_of(func, call, args)
        output = None if site is None else self._listener.before(site, args[site.activation.operand])
        if output is None:
            output = func(*args, **kwargs)
        results = self._remember(func, call, output, site, args)
        if self._choices is not None:
            self._choices.made(call, args, kwargs, output, results, self.modules.path)
        if call.name == "_pack_padded_sequence":
            self.masks.packed(*packed(self._ids, call, args))
        self.masks.made(func, call, args, results, output, lambda: self._sites.spot(call))
        ended = self._sites.ended(func, call, args, kwargs, results)
        if ended is not None:
            self._end(ended, results[0], output)
        if self._history is not None:
            called = ended or site
            self._history.add(func, call, results, self.modules.path, None if called is None else called.use)
        if site is not None and ended is None:
            self._listener.after(site, output)
        return output

    def _call(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Call:
        """The operation with nodes in the place of its tensors; what it hides from the tracer is listed."""
        known = self._met if only_compares(func) else self._known  # a compiler compares its constants in any order
        known_args, known_kwargs = [known(a) for a in args], {k: known(v) for k, v in kwargs.items()}
        seen = Call(name_of(func), known_args, known_kwargs, [], argument_names(func))
        schema, path = func._schema.name, self.modules.path
        if hides(schema.partition("::")[0], seen.name):
            self._listener.not_examined(*opaque(schema, path))
        if rounds(seen):
            self._listener.not_examined(path or "(model)", ROUNDS)
        call = as_data(seen)
        if call is not seen and from_outside(seen, call, args):
            self._listener.not_examined(path or "(model)", OUTSIDE)
        return call

    def _end(self, site: SiteCall, result: Node, output: Any) -> None:
        """A site that is spelled out in several operations ends with this one."""
        value = output if isinstance(output, Tensor) else output[0]
        node = replace(result, site=site.name)
        self._values.put(value, node)
        self.paths.made(node)
        self._listener.after(site, value)

    def learned(self, outputs: Sequence[Tensor]) -> bool:
        """Whether a second pass would see more: activations that are spelled out, masks of padding; call it inside."""
        found = [self.node_of(tensor) for tensor in outputs]
        with _disable_current_modes():
            activations = self._sites.composites.learned(node for node in found if node is not None)
        return activations or self.masks.learned

    def endings(self, outputs: Sequence[Tensor]) -> list[Ending | None]:
        """What each output ends in, where elementwise operations made it of another value; call it inside."""
        known = self._sites.composites.formulas
        found = [self.node_of(tensor) for tensor in outputs]
        with _disable_current_modes():
            return [None if node is None else ending(known.known(node)) for node in found]

    def _known(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._values.node(value)
        if isinstance(value, (list, tuple)) and any(isinstance(item, Tensor) for item in value):
            return [self._known(item) for item in value]
        return value

    def _met(self, value: Any) -> Any:
        """What is known of an argument whose constants get no number of their own."""
        return (self._values.get(value) or value) if isinstance(value, Tensor) else value

    def _remember(
        self, func: Any, call: Call, output: Any, site: SiteCall | None, args: Sequence[Any]
    ) -> tuple[Node, ...]:
        tensors = [t for t in (output if isinstance(output, (list, tuple)) else [output]) if isinstance(t, Tensor)]
        call.shapes = [shape_of(t) for t in tensors]
        if not tensors:
            self._values.leaked |= any(node.from_data for node in call.nodes)  # a number went out to Python
            return ()
        name = site.name if site else self._sites.inside_own_function(call)
        nodes = []
        followed = samples_of(self._ids, call, args, axes_of(call))
        for number, (tensor, shape, sampled) in enumerate(zip(tensors, call.shapes, followed, strict=True)):
            axes = self._ids.regrouped(sampled.axes)
            node = result_node(self._number(), call, axes, shape, self.modules.path, name)
            node = self._values.told(node, sampled.sample, call)
            node = replace(node, members=members_of(call, args, node.axes, node.shape, self._ids, number))
            self._values.put(tensor, node)
            self.paths.made(node)
            nodes.append(node)
        for node in self._values.share(func, args, tensors, nodes):
            self.paths.made(node)
        for left, reason in call.evidence:
            self._sample_axis.contradicted(left, reason)
        return tuple(nodes)

    def _entered(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        node = self.node_of(args[0]) if args and isinstance(args[0], Tensor) else None
        self._sites.entered(module, node)
        self._sample_axis.entered(module, node)
