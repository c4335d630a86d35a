"""The sites of one model in training: who is told of every pass, and holds what each site has shown."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from leaky.interruptions import surely_twice
from leaky.observation.batches import Batch
from leaky.observation.riding.rider import Rider
from leaky.observation.riding.structure import KnownCall, Structure
from leaky.observation.riding.sweeping import sweep
from leaky.record import FloatArray, NotExamined
from leaky.structure.listening import SiteCall
from leaky.structure.trace import Tracer
from leaky.watching.afar import bring, clear
from leaky.watching.arguments import WatchArguments
from leaky.watching.clock import Clock
from leaky.watching.compiled.passes import Passes
from leaky.watching.compiled.regions import beyond, compiled_parts, functions_in_parts, in_python, unseen
from leaky.watching.experts import alike_groups, shares
from leaky.watching.inputs import InputSizes
from leaky.watching.latents import Latents, module_of
from leaky.watching.measures import Measures, Products
from leaky.watching.outcomes import Outcomes
from leaky.watching.site import WatchedSite
from leaky.watching.stretches import Stretches
from leaky.watching.telling import tell
from leaky.watching.usual import Usual


class Observer:
    """Takes in what the sites of a model show.

    Args:
        given: what is watched, and how.
        noted: told of everything that the user should know.

    Attributes:
        sites: by name, in the order in which they first ran.
        stretches: what each has shown up to the last report.
        clock: shared by all sites.
        observing: whether passes are observed now.
        rider: meets the sites.
        compiled: meets those in compiled code.
        samples, batches: that went in since the last reset.
        last: the inputs of the last pass, until the next step.
        inputs: what went in, batch by batch.
        outcomes: what came out, at one pass a report.
        latents: what the codes that were asked for have shown, by the name of the module.
        waiting: names of sites that are left out of reports, with their sums: not every rank has met them yet.
    """

    def __init__(self, given: WatchArguments, noted: Callable[[str], None]) -> None:
        self.model = model = given.network
        self.sites: dict[str, WatchedSite] = {}
        self.stretches = Stretches()
        self.clock = Clock(self.failed)
        self.observing, self._over = True, False
        self.compiled = Passes(model, self, self._tracer_of)
        self.rider = Rider(model, self, self._tracer_of, self.taker_of, given.sample_dim, self.compiled.hooks_of)
        self._measures, self._products = frozenset(given.measures), Products()
        if "gates" in given.measures:
            self.rider.beyond = self._products.see
        self.latents = {name: Latents(self.rider) for name in given.latents}
        self._coders = {name: module_of(model, name) for name in self.latents}
        self._on_coders: list[Any] = []
        self.samples = self.batches = 0
        self.last: Batch | None = None
        self.inputs, self.outcomes = InputSizes(), Outcomes(self.rider, self.clock)
        self.waiting: frozenset[str] = frozenset()
        self._in_parts: set[str] = set()
        self._joined: Structure | None = None
        self._gradient, self._gradient_before = Usual(), 0.0
        self._groups = alike_groups(model)
        self._unit_dim, self.note, self._scaled = given.unit_dim, noted, given.scaler is not None
        self._tracer: Tracer | None = None
        self._ears = _Ears()
        self._trains = False
        self._structure: Structure | None = None
        self._to_end: list[WatchedSite] | None = None

    @property
    def not_examined(self) -> tuple[NotExamined, ...]:
        """What ran and could not be examined."""
        return tuple(NotExamined(*each) for each in self._ears.heard)

    @property
    def reported_sites(self) -> dict[str, WatchedSite]:
        """The sites that reports are of."""
        if not self.waiting:
            return self.sites
        return {name: site for name, site in self.sites.items() if name not in self.waiting}

    def observe(self, wanted: bool) -> None:
        """Observe the passes from here on, or not; a compiled model keeps its hooks, which its graph has anyway."""
        self.observing = wanted = wanted and not self._over
        if wanted:
            self.compiled.listen()
            self.rider.attach()
            if self._coders and not self._on_coders:
                coders = self._coders.items()
                self._on_coders = [each.register_forward_hook(self.latents[name]) for name, each in coders]
            return
        self._leave_coders()
        if not self.compiled.met:
            self.rider.detach()

    def stop(self) -> None:
        """Take every hook off, whatever arrives meanwhile."""
        self.observing, self._over = False, True
        sweeping = partial(sweep, self.model, self.rider, self._tracer)
        surely_twice(lambda: (self.rider.detach, self._leave_coders, sweeping, self.compiled.stop))

    def _leave_coders(self) -> None:
        for handle in self._on_coders:
            handle.remove()
        self._on_coders = []

    @property
    def kinds(self) -> dict[str, tuple[int, str]]:
        """The units and the activation of every site, and of every code that was asked for, by name."""
        sites = {name: (site.units, site.activation.name) for name, site in self.sites.items()}
        return sites | {f"{name} (latents)": (each.units, "code") for name, each in self.latents.items() if each.units}

    @property
    def weights(self) -> frozenset[str]:
        """Names of the weights behind the sites."""
        return frozenset(name for site in self.sites.values() for name in site.weights)

    def experts(self) -> dict[str, FloatArray]:
        """The share of the samples that each expert was given since the last reset, by the container of the experts."""
        if not self._groups:
            return {}
        return shares(self._groups, {name: stretch.total.samples for name, stretch in self.stretches.items()})

    def unmeasured(self) -> str:
        """What is to be said of measures that were asked for and that compiled passes show nothing of; "" for none."""
        gates, unseen = "gates" in self._measures, [name for name, code in self.latents.items() if not code.units]
        return beyond(gates, unseen) if self.compiled.met and (gates or unseen) else ""

    def gradient_jump(self) -> float:
        """How many times the usual one this step's gradient is, at the site nearest to the loss; 0 if not known.

        One that is not finite is noted as values are.
        """
        last = next(reversed(self.sites.values()), None)
        if last is None or last.afar is not None:  # asking would wait for the device
            return 0.0
        total, nonfinite = last.gradient_total()
        self.clock.nonfinite |= nonfinite and not self._scaled
        squares, self._gradient_before = total - self._gradient_before, total
        return self._gradient.see(math.sqrt(squares)) if squares > 0 else 0.0

    def changed(self, name: str) -> None:
        """A site was changed on purpose: what it showed before is no evidence on it now."""
        self.stretches[name].begin_anew()

    def relearn(self) -> None:
        """The structure was changed on purpose: the next pass is traced, and its sites have the names that they had."""
        self._tracer = None
        self.rider.relearn()

    def reported(self) -> None:
        """The sums begin anew."""
        self._gradient_before = 0.0

    def bring(self) -> None:
        """Have on the host what the sites have shown, wherever their tensors are."""
        bring(self.sites.values())

    def reset(self) -> None:
        """Forget what the sites have shown."""
        clear(self.sites.values())
        for name, site in self.sites.items():
            self.stretches.begin(name, site.units, site.activation.smooth)
        self.samples = self.batches = 0

    # what the rider tells

    def wants(self, module: nn.Module, with_gradient: bool | None = None) -> bool:
        """Passes in training mode are observed; those of an evaluation in between are not."""
        if not self.observing:
            return False
        if module.training:
            self._trains = True
            return True
        return not self._trains and (torch.is_grad_enabled() if with_gradient is None else with_gradient)

    def begin(self, samples: int, batch: Batch, structure: Structure | None) -> None:
        """An observed pass begins."""
        self.clock.samples = samples
        self.clock.passes += 1
        if structure is None or structure is not self._structure:
            repeated = None if structure is None else structure.repeated
            for site in self.sites.values():
                site.repeated = repeated is None or site.name in repeated
            self._structure = structure
            self._to_end = None if repeated is None else [self.sites[name] for name in sorted(repeated)]
        self.samples += samples
        self.batches += 1
        self.last = batch
        self.inputs.see(batch, samples, self.rider.sample_dim)

    def end(self, structure: Structure | None, completed: bool) -> None:
        """It has ended."""
        if self.rider.beyond is not None:
            self._products.clear()
        for site in self.sites.values() if self._to_end is None else self._to_end:
            site.end_pass(completed)
        if structure is not None and structure is not self._joined and not self.compiled.knows(structure):
            self._join_parts(structure)
        elif self._in_parts and completed:
            self._look_into_parts()
        for name in structure.outputs if structure is not None else ():
            if name in self.sites:
                self.sites[name].is_output = True

    def _join_parts(self, structure: Structure) -> None:
        """A structure is new: parts that are compiled by themselves get operators of leaky's."""
        self._joined, parts = structure, compiled_parts(self.model, structure)
        functions = functions_in_parts(self.model, structure)
        if functions:
            structure.unridden.extend(functions)
            self.note(in_python(functions))
            return
        self._in_parts = {call.site for calls in parts.by_module.values() for call in calls}
        self.compiled.join(parts, self.sites)

    def _look_into_parts(self) -> None:
        """Say so, once, where a part that is compiled by itself keeps its sites from the pass around it."""
        kept = (self.rider.unmet & self._in_parts) - self.compiled.met_sites
        if kept:
            self._in_parts = set()
            self.note(unseen(kept))
            tell(f"leaky.watch: {unseen(kept)}", RuntimeWarning)

    def discard(self) -> None:
        """The first pass took the samples from the wrong axis."""
        self.end(None, completed=False)
        self.sites.clear()
        self.stretches.clear()
        self.samples = self.batches = 0

    def failed(self, error: Exception) -> None:
        """What leaky itself does went wrong: the training goes on unwatched."""
        self.stop()
        note = f"watching ended at step {self.clock.step}: {type(error).__name__}: {error}"
        self.note(note)
        tell(f"leaky.watch: {note}; the training goes on without it", RuntimeWarning)

    def _tracer_of(self, listener: Any) -> Tracer:
        if self._tracer is None:
            self._tracer = Tracer(self.model, self._ears, self._unit_dim)
        self._ears.listener = listener
        return self._tracer

    def taker_of(self, known: KnownCall, call: SiteCall | None) -> WatchedSite:
        site = self.sites.get(known.site)
        if site is None:
            assert call is not None
            site = self.sites[known.site] = WatchedSite(call, known.shape, self.clock)
            if self._measures:
                site.measures = Measures(self._measures, site.units, call.activation.smooth, self._products)
            self.stretches.begin(known.site, site.units, call.activation.smooth)
        elif call is not None:
            site.also(call)
        return site


class _Ears:
    """Listens to the one tracer of a watch, whose names last, for whoever follows the pass."""

    def __init__(self) -> None:
        self.listener: Any = None
        self.heard: dict[tuple[str, str], None] = {}

    def before(self, call: SiteCall, pre_activation: Tensor) -> Tensor | None:
        """A site is about to run."""
        result: Tensor | None = self.listener.before(call, pre_activation)
        return result

    def after(self, call: SiteCall, output: Tensor) -> None:
        """It has run."""
        self.listener.after(call, output)

    def between(self) -> None:
        """Another operation starts."""
        self.listener.between()

    def not_examined(self, name: str, reason: str) -> None:
        """Something ran that cannot be examined."""
        self.heard.setdefault((name, reason))
