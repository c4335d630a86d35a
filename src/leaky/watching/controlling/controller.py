"""Decides at each report which alarm leads to which control, and keeps those that hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from leaky.diagnosis import Thresholds, level_rank
from leaky.failures import one_line
from leaky.interruptions import surely_twice
from leaky.record import FloatArray
from leaky.watching.alarm import Alarm
from leaky.watching.control_record import ControlKind, ControlRecord
from leaky.watching.controlling.clamp import Clamped
from leaky.watching.controlling.control import Control, Done, RefusedError, Wanted
from leaky.watching.controlling.rate import AIM, Shortened, Steps, layers_of, shortened
from leaky.watching.controlling.rescale import Rescaled
from leaky.watching.controlling.slope import Raised
from leaky.watching.controlling.table import Table
from leaky.watching.history import FigureHistory
from leaky.watching.observer import Observer
from leaky.watching.optimizers import least_square, unmeasured

_LONG = ("update-size", "gradient-spike")
"""Alarms of a step that is too long, which may be so for layers that no site follows, too."""

_LOST = (
    "the optimizer's own step is not finite, and nothing of it is kept where the rate is controlled: its moments may "
    "hold NaN, which only a new optimizer mends"
)
_APART = "the ranks decided differently, so that none of them does anything"


class Controller:
    """The controls of one watch.

    Args:
        observer: of the model.
        optimizer: that trains it; None where it was not given.
        history: of the reports.
        thresholds: that decide.
        table: the kind and amount of control for each alarm.
        agree: whether all ranks say the same.
        told: told of each control that is new or has changed, with its place among them.

    Attributes:
        controls: all so far, in order.
    """

    def __init__(
        self,
        observer: Observer,
        optimizer: torch.optim.Optimizer | None,
        history: FigureHistory,
        thresholds: Thresholds,
        table: Table,
        agree: Callable[[str], bool],
        told: Callable[[int, ControlRecord], None],
    ) -> None:
        self.controls: list[Control] = []
        self._observer, self._optimizer, self._history = observer, optimizer, history
        self._thresholds, self._table, self._agree, self._told = thresholds, table, agree, told
        self._steps = Steps(observer.model)
        self._shortens = any(kind == "rate" for asked in table.values() for kind, _ in asked)

    def begin_step(self, observed: bool) -> None:
        """The optimizer is about to step.

        Args:
            observed: whether the step is watched, so that it may be shortened afterwards.
        """
        if self._table:
            self._steps.begin(observed and self._shortens)

    def end_step(self) -> None:
        """It has stepped."""
        if self._table:
            self._steps.end()

    def measured(self) -> dict[str, FloatArray]:
        """What the step that was made last did to the weights behind sites, as `Updates.after` has it."""
        behind = {name for site in self._observer.sites.values() for name in site.weights if self._shortens}
        found = {}
        for layer in layers_of(self._observer.model).values():
            for name, p in layer.items():
                if name in behind and p.ndim >= 2:
                    change, size = map(float, self._steps.lengths([p]))
                    found[name] = unmeasured(change, size, p.numel(), least_square(p, p.numel()))
        return found

    def look(self, raised: list[Alarm]) -> list[tuple[Alarm, Control]]:
        """Do what the table says of each alarm at a report; the alarms that led to a control, or to a refusal."""
        if not self._table:
            return []
        modules = self._observer.rider.sites_by_module()
        if any(c.holds and isinstance(c.done, Shortened) and c.done.lost for c in self.controls):
            self._observer.note(_LOST)
        made = [
            (alarm, self._made(alarm, kind, amount, modules))
            for alarm in raised
            if self._concerns(alarm)
            for kind, amount in self._table[alarm.finding.rule]
        ]
        made = [(alarm, control) for alarm, control in made if control.holds or not self._is_known(control.record)]
        made += self._rest(made)
        if not self._agree(repr([str(control.record) for _, control in made])):
            for _, control in made[::-1]:
                if control.holds:
                    control.refuse(_APART)
        for _, control in made:
            self.controls.append(control)
            self._told(len(self.controls) - 1, control.record)
        return made

    def abstain(self) -> None:
        """This rank has no further step: the others ask it too, and do nothing from here on."""
        if self._table:
            self._agree("no further step")

    def undo(self) -> None:
        """Undo all that hold, the last one first."""
        for control in self.controls[::-1]:
            control.undo()

    def stop(self) -> None:
        """The watch ends: what does not stay in the model is taken off, unless the user keeps it."""
        going = [c for c in self.controls if c.holds and not c.done.stays and not c.kept]
        surely_twice(lambda: [partial(control.undo, "the watch ended") for control in going])

    def _is_known(self, refusal: ControlRecord) -> bool:
        same = ("kind", "site", "alarm", "refused")
        return any(all(getattr(c.record, s) == getattr(refusal, s) for s in same) for c in self.controls)

    def _concerns(self, alarm: Alarm) -> bool:
        return alarm.finding.rule in self._table and level_rank(alarm.finding.level) >= level_rank("warning")

    def _made(
        self, alarm: Alarm, kind: ControlKind, amount: float | None, modules: Mapping[nn.Module, set[str]]
    ) -> Control:
        finding = alarm.finding
        observer, thresholds = self._observer, self._thresholds
        wanted = Wanted(finding, amount, observer.model, self._optimizer, observer, self._history, thresholds, modules)
        says: dict[str, Any] = {"step": alarm.step, "kind": kind, "site": finding.site}
        says |= {"alarm": finding.rule, "evidence": finding.message}
        try:
            done = self._do(kind, wanted)
        except RefusedError as refused:
            return self._control(None, refused=str(refused), **says)
        except Exception as error:  # of leaky's own, which must not end the training
            return self._control(None, refused=f"it went wrong: {one_line(error, ours=True)}", **says)
        return self._control(done, **says)

    def _do(self, kind: ControlKind, wanted: Wanted) -> Done:
        if kind == "rate":
            return shortened(wanted, self._steps)
        if kind == "clamp":
            return Clamped(wanted)
        return Raised(wanted) if kind == "slope" else Rescaled(wanted)

    def _control(self, done: Done | None, **says: Any) -> Control:
        if done is not None:
            says |= {"places": done.places, "amount": done.amount}
        if isinstance(done, Shortened):
            says["at_most"] = done.at_most
        return Control(ControlRecord(**says), done, lambda: self._observer.clock.step, self._changed)

    def _changed(self, control: Control) -> None:
        if control in self.controls:
            self._told(self.controls.index(control), control.record)

    def _rest(self, made: list[tuple[Alarm, Control]]) -> list[tuple[Alarm, Control]]:
        """Where steps are too long at half of the sites or more, those of layers that no site follows are as well."""
        long = [(alarm, control) for alarm, control in made if control.holds and alarm.finding.rule in _LONG]
        long = [(alarm, control) for alarm, control in long if math.isfinite(control.record.at_most)]
        sites = {alarm.finding.site for alarm, _ in long}
        if not sites or 2 * len(sites) < len(self._observer.sites):
            return []
        alarm, found = long[0][0], []
        aim, limit = AIM * self._thresholds.update_warning, self._thresholds.update_warning
        for layer in layers_of(self._observer.model).values():
            ratio = self._steps.ratio(layer.values())
            if not limit <= ratio < float("inf") or any(map(self._steps.shortens, layer.values())):
                continue
            evidence = f"one step changes it by {ratio:.3g} of its norm, and the steps at sites are too long as well"
            says: dict[str, Any] = {"step": alarm.step, "kind": "rate", "site": None}
            done = Shortened(self._steps, layer, None, aim)
            says |= {"alarm": alarm.finding.rule, "evidence": evidence}
            found.append((alarm, self._control(done, **says)))
        return found
