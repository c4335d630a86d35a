"""`leaky.watch`: what every unit does while a model trains, at every step, with the training left as it is.

The structure comes from one traced pass; afterwards hooks and a table of calls meet the sites, the user's own operators
compute, and sums stay where the model is. Every so many steps they are drawn together into a report.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import nn

import leaky
from leaky import theory
from leaky.checkup import Checkup
from leaky.diagnosis import Thresholds, diagnose
from leaky.errors import InputError
from leaky.observation.batches import Batch
from leaky.observation.riding.rider import Rider
from leaky.observation.riding.structure import KnownCall, Structure, Taker
from leaky.record import NotExamined, Record
from leaky.structure.listening import SiteCall
from leaky.structure.trace import Tracer
from leaky.watching.figures import Stretch, figures
from leaky.watching.history import History, Row
from leaky.watching.site import Clock, WatchedSite

Every = int | Callable[[int], bool]


class Watch:
    """A model that is being watched; see `leaky.watch`.

    Attributes:
        history: every report so far, plain arrays by site.
        step_number: optimizer steps since the start.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        every: Every,
        report_every: int,
        thresholds: Thresholds,
        batch_dim: int | None,
        unit_dim: int | None,
    ) -> None:
        self.history = History()
        self._model, self._optimizer = model, optimizer
        self._every, self._report_every = every, report_every
        self._thresholds, self._unit_dim = thresholds, unit_dim
        self._clock = Clock(self.failed)
        self._sites: dict[str, WatchedSite] = {}
        self._stretches: dict[str, Stretch] = {}
        self._not_examined: dict[NotExamined, None] = {}
        self._notes: dict[str, None] = {}
        self._tracer: Tracer | None = None
        self._rider = Rider(model, self, self._tracer_of, self._taker_of, batch_dim)
        self._handles: list[Any] = []
        self._running = False
        self._trains = False
        self._observed = 0
        self._samples = self._batches = self._samples_reported = 0

    # the user's side

    @property
    def step_number(self) -> int:
        """Optimizer steps since the start."""
        return self._clock.step

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Watch:
        """Begin to watch.

        Raises:
            InputError: if it has begun already.
        """
        if self._running:
            raise InputError("this watch has started already; stop it before it is started again")
        self._running = True
        if self._optimizer is not None:
            self._handles.append(self._optimizer.register_step_post_hook(lambda *_: self.step()))
        self._attach_or_detach()
        return self

    def stop(self) -> None:
        """End it: report what is left and take every hook off. Again does nothing."""
        if not self._running:
            return
        self._running = False
        self._rider.detach()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        if self._observed or any(site.rows.samples for site in self._sites.values()):
            self.report()

    def step(self) -> None:
        """A step of the training is over; the optimizer says so itself where it was given."""
        if not self._running:
            return
        self._rider.settle()
        if self._rider.attached:
            self._observed += 1
            bad = any(site.rows.seen[14].any() for site in self._sites.values())
            if bad or self._observed >= self._report_every:
                self.report()
        self._clock.step += 1
        self._attach_or_detach()

    def report(self) -> Row:
        """Draw together what was seen since the last report, as the next row of `history`."""
        needed = self._needed()
        row: Row = {}
        for name, site in self._sites.items():
            rows, stretch = site.rows, self._stretches[name]
            slope = site.slopes(self._model)
            stretch.add(rows)
            if stretch.part.samples >= needed:
                stretch.judge(site.described(stretch.part, self._model), self._thresholds, needed)
            row[name] = figures(rows, stretch, slope, site.activation.gain, needed)
            rows.clear()
        self.history.add(self._clock.step, self._samples - self._samples_reported, row)
        self._samples_reported, self._observed = self._samples, 0
        return row

    def reset(self) -> None:
        """Forget what was seen, for the checkup; the history stays."""
        for name, site in self._sites.items():
            site.rows.clear()
            self._stretches[name] = Stretch.of(site.units, site.activation.smooth)
        self._samples = self._batches = self._samples_reported = 0

    def record(self) -> Record:
        """What was seen since the last reset, as `leaky.observe` gives it, of the training's own passes."""
        sites = []
        for name, site in self._sites.items():
            rows = self._stretches[name].total.copy()
            rows.merge(site.rows)
            described = site.described(rows, self._model)
            if rows.samples:
                sites.append(described)
        return Record(
            model=type(self._model).__name__,
            data=f"{self._samples:,} samples of the training",
            mode="train",
            samples=self._samples,
            batches=self._batches,
            sites=tuple(sites),
            not_examined=tuple(self._not_examined),
            notes=tuple(self._notes),
            versions={"leaky": leaky.__version__, "torch": torch.__version__, "numpy": np.__version__},
        )

    def checkup(self, thresholds: Mapping[str, float] | None = None) -> Checkup:
        """What `leaky.check` would say of what was seen since the last reset.

        Args:
            thresholds: by name, in place of the watch's own.
        """
        return Checkup(diagnose(self.record(), thresholds={**self._thresholds.as_dict(), **(thresholds or {})}))

    # what the rider tells

    def wants(self, module: nn.Module) -> bool:
        """Passes in training mode are observed; those of an evaluation in between are not."""
        if module.training:
            self._trains = True
            return True
        return not self._trains and torch.is_grad_enabled()

    def begin(self, samples: int, batch: Batch, structure: Structure | None) -> None:
        """An observed pass begins."""
        self._clock.samples = samples
        self._clock.passes += 1
        repeated = None if structure is None else structure.repeated
        for site in self._sites.values():
            site.repeated = repeated is None or site.name in repeated
        self._samples += samples
        self._batches += 1

    def end(self, structure: Structure | None, completed: bool) -> None:
        """It has ended."""
        for site in self._sites.values():
            site.end_pass(completed)
        for name in structure.outputs if structure is not None else ():
            if name in self._sites:
                self._sites[name].is_output = True

    def discard(self) -> None:
        """The first pass took the samples from the wrong axis."""
        self.end(None, completed=False)
        for site in self._sites.values():
            site.rows.clear()
        self._sites.clear()
        self._stretches.clear()
        self._samples = self._batches = 0

    def failed(self, error: Exception) -> None:
        """Leaky itself went wrong: the training goes on unwatched."""
        self._rider.detach()
        note = f"watching ended at step {self._clock.step}: {type(error).__name__}: {error}"
        self._notes.setdefault(note)
        warnings.warn(f"leaky.watch: {note}; the training goes on without it", RuntimeWarning, stacklevel=2)

    def _tracer_of(self, listener: Any) -> Tracer:
        if self._tracer is None:
            self._tracer = Tracer(self._model, _Ears(), self._unit_dim)
        ears = self._tracer._listener
        assert isinstance(ears, _Ears)
        ears.listener = listener
        self._not_examined.update({NotExamined(*each): None for each in ears.heard})
        return self._tracer

    def _taker_of(self, known: KnownCall, call: SiteCall | None) -> Taker:
        site = self._sites.get(known.site)
        if site is None:
            assert call is not None
            site = self._sites[known.site] = WatchedSite(call, known.shape, self._clock)
            self._stretches[known.site] = Stretch.of(site.units, call.activation.smooth)
            self.history.units[known.site] = site.units
        elif call is not None:
            site.also(call)
        return site

    def _needed(self) -> int:
        units = max(1, sum(site.units for site in self._sites.values()))
        t = self._thresholds
        return theory.samples_needed(round(t.units_examined) or units, t.rate, t.delta)

    def _attach_or_detach(self) -> None:
        every, step = self._every, self._clock.step
        wanted = bool(every(step)) if callable(every) else step % every == 0
        if wanted:
            self._rider.attach()
        else:
            self._rider.detach()


class _Ears:
    """Listens to the one tracer of a watch, whose names last, for whoever follows the pass."""

    def __init__(self) -> None:
        self.listener: Any = None
        self.heard: dict[tuple[str, str], None] = {}

    def before(self, call: SiteCall, pre_activation: torch.Tensor) -> torch.Tensor | None:
        """A site is about to run."""
        result: torch.Tensor | None = self.listener.before(call, pre_activation)
        return result

    def after(self, call: SiteCall, output: torch.Tensor) -> None:
        """It has run."""
        self.listener.after(call, output)

    def between(self) -> None:
        """Another operation starts."""
        self.listener.between()

    def not_examined(self, name: str, reason: str) -> None:
        """Something ran that cannot be examined."""
        self.heard.setdefault((name, reason))


def watch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    every: Every = 1,
    report_every: int = 10,
    thresholds: Mapping[str, float] | None = None,
    sample_dim: int | None = 0,
    unit_dim: int | None = None,
) -> Watch:
    """Watch every unit of a model while it trains, in the user's own loop, which stays as it is.

    `with leaky.watch(model, optimizer) as watch: …`, or `watch.start()` … `watch.stop()`. A step is over when the
    optimizer has stepped, or at `watch.step()` where no optimizer was given. Weights, gradients, random numbers and
    buffers are bit for bit those of the training without it.

    Args:
        model: a torch module.
        optimizer: that trains it.
        every: a number n, every nth step is observed; or a function of the step's number. On the others nothing is
            attached to the model.
        report_every: observed steps that a report draws together.
        thresholds: by name, in place of the defaults of `leaky.diagnosis.Thresholds`.
        sample_dim: axis of the model's inputs that holds the samples, where no layer says otherwise.
        unit_dim: axis of the units in every pre-activation that has it, where the structure does not tell.

    Raises:
        InputError: if an argument is not what it must be.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise InputError(f"optimizer must be a torch.optim.Optimizer, not {type(optimizer).__name__}")
    if not callable(every) and (not isinstance(every, int) or isinstance(every, bool) or every < 1):
        raise InputError(f"every must be a number of steps of at least 1 or a function of the step, not {every!r}")
    if not isinstance(report_every, int) or isinstance(report_every, bool) or report_every < 1:
        raise InputError(f"report_every must be a number of steps of at least 1, not {report_every!r}")
    return Watch(model, optimizer, every, report_every, Thresholds.of(thresholds), sample_dim, unit_dim)
