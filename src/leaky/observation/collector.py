"""Listens to a tracer and gathers what each site shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from leaky.observation.accumulator import Part, SiteAccumulator
from leaky.observation.members import MemberAccumulator
from leaky.observation.padding import RealPositions, chosen_rows
from leaky.observation.riding.recording import Recording
from leaky.observation.tensors import part_here, plain_tensor
from leaky.record import NotExamined, Producer, Site
from leaky.structure.graph import Production
from leaky.structure.listening import SiteCall
from leaky.structure.modules import without_wrappers
from leaky.structure.site_calls import OF_CONSTANTS
from leaky.structure.values import shape_of

_IN_PLACE = {torch.ops.aten.relu_.default, torch.ops.aten.leaky_relu_.default}
_FUSED = {torch.ops.aten.relu.default, torch.ops.aten.leaky_relu.default, *_IN_PLACE}
"""Operators whose values the compiled core gives bit for bit; below autograd, so that the derivative is torch's."""


_BLOCK = 1 << 16
"""Entries of a weight that are held in float64 at a time."""

Catcher: TypeAlias = Callable[[Tensor], None]


class Collector:
    """The sites of one observation, in the order in which they first ran.

    Args:
        model: whose weights are described.
        gradients: whether the gradient at each site's output will be asked for.
    """

    def __init__(self, model: nn.Module, gradients: bool) -> None:
        owned = [*model.named_parameters(), *model.named_buffers()]
        self._weights = {without_wrappers(name): tensor for name, tensor in owned}
        self._gradients = gradients
        self._sites: dict[str, SiteAccumulator | MemberAccumulator] = {}
        self._not_examined: dict[NotExamined, None] = {}
        self._open: dict[SiteCall, tuple[Tensor | list[Tensor | None] | None, Catcher | None]] = {}
        self._waiting: list[tuple[Tensor, Catcher]] = []
        self._handles: list[Any] = []
        self.batch = self._samples = 0
        self._paths_known = True
        self._real: RealPositions | None = None
        self._listening = False
        self.recording: Recording | None = None

    def before(self, call: SiteCall, pre_activation: Tensor) -> Tensor | None:
        """Take the sums of a pre-activation; rectify it in the same pass where that is the same bit for bit."""
        accumulator = self._accumulator(call)
        if accumulator is None:
            return None
        z, inside = plain_tensor(pre_activation)
        if self.recording is not None:
            self._teach(self.recording, call, accumulator, pre_activation, z)
        if isinstance(accumulator, MemberAccumulator):
            expects = self._gradients and z is pre_activation
            real = [None if self._real is None else self._real.at_member(call, part) for part in call.parts]
            self._open[call] = (real, accumulator.expect_gradient(call, z) if expects else None)
            accumulator.add(call, z, self.batch, self._samples, real)
            return None
        chosen = inside if inside is not None else self._real.at(call) if self._real is not None else None
        catcher = None
        if self._gradients and z is pre_activation:
            catcher = accumulator.expect_gradient(z, call.layout, call.activation)
        self._open[call] = (chosen, catcher)
        part = None if call.ids is None else Part(call.ids, max(self._samples, int(call.ids.max(initial=0)) + 1))
        if chosen is not None:
            self._add_chosen(accumulator, call, z, chosen, part)
            return None
        if call.operator in _FUSED and z is pre_activation:
            output = z if call.operator in _IN_PLACE else torch.empty_like(z)
            done = accumulator.add_and_rectify(z, call.layout, self.batch, output, part)
            if done is not None:
                return done
        accumulator.add(z, call.layout, self.batch, part)
        return None

    def _teach(
        self,
        recording: Recording,
        call: SiteCall,
        accumulator: SiteAccumulator | MemberAccumulator,
        pre_activation: Tensor,
        plain: Tensor,
    ) -> None:
        """Tell a recording how further batches of this form are taken in at this call, if they can be."""
        masked = self._real is not None and (self._real.by_key or self._real.own)
        shifted = call.activation.shift is not None
        if plain is not pre_activation or masked or shifted or isinstance(accumulator, MemberAccumulator):
            recording.refuse()
        else:
            recording.site(call, plain, lambda: RepeatedCall(self, accumulator, call, plain))

    def _add_chosen(
        self, accumulator: SiteAccumulator, call: SiteCall, z: Tensor, real: Tensor, part: Part | None
    ) -> None:
        """Take the sums of the real positions alone; each counts for its sample."""
        if real.shape != (call.layout.samples, call.layout.positions):
            real = real.reshape(call.layout.samples, call.layout.positions)
        rows, view = chosen_rows(z, call.layout, real)
        ids = real.cpu().nonzero()[:, 0].numpy()
        samples = call.layout.samples if part is None else part.samples
        accumulator.add(rows, view, self.batch, Part(ids if part is None else part.ids[ids], samples))

    def after(self, call: SiteCall, output: Tensor) -> None:
        """Take the sums of a smooth activation's output, and keep the output until its gradient can be asked for."""
        accumulator = self._sites.get(call.name)
        chosen, catcher = self._open.pop(call, (None, None))
        if accumulator is not None and call.activation.smooth and shape_of(output) == call.node.shape:
            h, view = plain_tensor(output)[0], call.layout
            if isinstance(chosen, Tensor):
                h, view = chosen_rows(h, view, chosen)
            scale = call.activation.overscale
            scaled = h if scale == 1 else h / scale
            if isinstance(accumulator, MemberAccumulator):
                accumulator.add_output(call, scaled, chosen if isinstance(chosen, list) else [None] * len(call.parts))
            elif h.numel():
                accumulator.add_output(scaled, view)
            if self.recording is not None:
                self.recording.output(call, output)
        if catcher is not None:
            self._waiting.append((output, catcher))

    def between(self) -> None:
        """Hook the outputs that by now have their place in autograd's graph, before anything writes over them."""
        for output, catcher in self._waiting:
            if output.requires_grad:
                self._handles.append(output.register_hook(self._heard(catcher)))  # type: ignore[no-untyped-call]
        self._waiting.clear()

    def _heard(self, catcher: Catcher) -> Callable[[Tensor], None]:
        def hear(gradient: Tensor) -> None:
            if self._listening:
                catcher(gradient)

        return hear

    def not_examined(self, name: str, reason: str) -> None:
        """Note what ran and could not be examined, once."""
        self._not_examined.setdefault(NotExamined(name, reason))

    def expect(self, samples: int, real: RealPositions | None) -> None:
        """Say how many samples the next batch has, and which of their positions are no padding."""
        self._samples, self._real = samples, real
        self._listening = False

    def listen(self) -> None:
        """From now on gradients are those of the loss; before, those that the model took of itself."""
        self._listening = True

    def mark_output(self, name: str) -> None:
        """Note that the site's output is the model's."""
        if name in self._sites:
            self._sites[name].is_output = True

    def mark_paths(self, unavoidable: frozenset[str] | None) -> None:
        """Note the sites on every path to one output; None where that output's origin is not known."""
        if unavoidable is None:
            self._paths_known = False
            return
        for name in unavoidable:
            if name in self._sites:
                self._sites[name].is_avoidable = False

    def end_batch(self, index: int, gradient_scale: float, samples: int) -> None:
        """Count a batch whose forward, and backward where asked for, is done."""
        self.release()
        self.batch = index + 1
        for accumulator in self._sites.values():
            accumulator.end_batch(index, gradient_scale, samples)

    def forget(self) -> None:
        """Forget what was read since the last batch ended."""
        for accumulator in self._sites.values():
            if isinstance(accumulator, SiteAccumulator):
                accumulator.forget()

    def release(self) -> None:
        """Take every hook off the tensors of the pass."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._waiting.clear()
        self._open.clear()

    def sites(self) -> tuple[Site, ...]:
        """Every site so far."""
        return tuple(
            replace(site, bypassed=site.bypassed if self._paths_known or site.bypassed is False else None)
            for site in (accumulator.site() for accumulator in self._sites.values())
        )

    def left_out(self) -> tuple[NotExamined, ...]:
        """What ran and could not be examined; a site that saw constants at first (a state of zeros) was examined."""
        return tuple(item for item in self._not_examined if item.reason != OF_CONSTANTS or item.name not in self._sites)

    def _accumulator(self, call: SiteCall) -> SiteAccumulator | MemberAccumulator | None:
        known = self._sites.get(call.name)
        if known is None:
            known = (
                MemberAccumulator(call)
                if call.parts
                else SiteAccumulator(call.name, call.activation, call.layout, call.node.shape, call.source)
            )
            self._sites[call.name] = known
        if known.units == call.layout.units and isinstance(known, MemberAccumulator) == bool(call.parts):
            self._describe_producers(known, call)
            return known
        reason = f"it had {known.units} units on its first call and {call.layout.units} on a later one"
        self.not_examined(call.name, f"some of its calls were left out: {reason}")
        return None

    def _describe_producers(self, known: SiteAccumulator | MemberAccumulator, call: SiteCall) -> None:
        for production in call.node.productions:
            if production.weight not in known.producers:
                described = describe(production, self._weights.get(production.weight))
                if described is not None:
                    known.producers[production.weight] = described


class RepeatedCall:
    """One call of a site that is met again without the tracer, on batches of one form.

    Args:
        collector: of the observation.
        accumulator: the site's.
        call: as the tracer saw it.
        pre_activation: of that call.

    Attributes:
        alone: whether it is the site's only call in a pass.
    """

    def __init__(
        self, collector: Collector, accumulator: SiteAccumulator, call: SiteCall, pre_activation: Tensor
    ) -> None:
        self.accumulator = accumulator
        self.alone = False
        self._collector = collector
        self._view, self._shape = call.layout, pre_activation.shape
        self._scale = call.activation.overscale
        self._reader = accumulator.reader(pre_activation, call.layout)

    def take(self, pre_activation: Tensor) -> None:
        """Take in a pre-activation, before it can be overwritten.

        Raises:
            ValueError: where it is of another form.
        """
        self._expect(pre_activation)
        self.accumulator.read(pre_activation, self._view, self._reader, self._collector.batch, self.alone)

    def follow(self, output: Tensor) -> None:
        """Take in the output of a smooth activation.

        Raises:
            ValueError: where it is of another form.
        """
        self._expect(output)
        self.accumulator.add_output(output if self._scale == 1 else output / self._scale, self._view)

    def _expect(self, value: Tensor) -> None:
        if type(value) is not Tensor or value.shape != self._shape:
            raise ValueError(f"must be a tensor of shape {tuple(self._shape)}, and is {type(value).__name__}")


def describe(production: Production, weight: Tensor | None) -> Producer | None:
    """What the record says of a weight; None for one that the model does not name.

    Args:
        production: how the weight was used.
        weight: it; of one that is sharded, the part that this process holds is looked at.
    """
    if weight is None or weight.ndim < 2 or not weight.is_floating_point():
        return None
    weight = part_here(weight)
    flat = weight.detach().reshape(-1)
    parts = (flat[start : start + _BLOCK] for start in range(0, weight.numel(), _BLOCK))
    rms = (sum(float(part.double().square().sum()) for part in parts) / max(1, weight.numel())) ** 0.5
    return Producer(production.weight, production.kind, production.fan_in, production.fan_out, rms, production.groups)
