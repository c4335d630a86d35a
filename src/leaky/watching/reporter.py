"""What a watch says at each report, and to whom: the history, the log, and the alarms' action."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from leaky.diagnosis import Thresholds
from leaky.watching.alarm import Alarm, AlarmWarning, TrainingStoppedError, in_words
from leaky.watching.alarm_rules.now import Loop, Now, SiteNow
from leaky.watching.alarms import StandingAlarms
from leaky.watching.arguments import Reaction
from leaky.watching.codes import ChosenCodes
from leaky.watching.control_record import ControlRecord
from leaky.watching.controlling.controller import Controller
from leaky.watching.history import FigureHistory, SiteFigures
from leaky.watching.log import Log
from leaky.watching.observer import Observer
from leaky.watching.reporting import (
    Measured,
    first_nonfinite,
    origin_of,
    report_row,
    samples_needed,
    seen_together,
    sites_now,
    slopes_of,
    unit_levels,
)
from leaky.watching.telling import tell
from leaky.watching.unit_rates import KeptMoments

UNSEEN_STEPS = 3
"""Observed steps in a row without a pass of the model after which that is said."""
NOT_SEEN = (
    "steps go by and no pass of the model in training mode is seen. Code that torch has compiled may run without "
    "leaky's operators: call torch.compiler.reset() once the watch has begun, so that it is compiled with them. "
    "Otherwise watch the module that the training calls, in mode train; passes inside a transform of torch.func (vmap, "
    "grad) are never seen"
)
NOT_MET = (
    "compiled code runs without leaky's operators at {}: call torch.compiler.reset() once the watch has begun; if that "
    "does not mend it, as behind a graph break that leaves code to Python or in the middle of a loop, watch some steps "
    'under torch.compiler.set_stance("force_eager")'
)


class Reporter:
    """Draws reports together and passes them on.

    Args:
        thresholds: that decide.
        raised: the alarms that may be raised, and those that were.
        on_alarm: what to do at one.
        log: where every line is written; None for nowhere.
        scaled: whether a GradScaler is at work.

    Attributes:
        observer: of the model; whoever makes the reporter sets it.
        history: every report so far.
        alarms: that were raised, in order.
        notes: remarks on how the watching goes.
        moments: how often each unit fired, at some of the reports.
        controller: does something about alarms, where that is asked for; set as the observer is.
        samples: of the observer that the last report had seen.
    """

    observer: Observer
    controller: Controller

    def __init__(
        self, thresholds: Thresholds, raised: StandingAlarms, on_alarm: Reaction, log: Log | None, scaled: bool
    ) -> None:
        self.history, self.moments = FigureHistory(), KeptMoments()
        self.alarms: list[Alarm] = []
        self.notes: dict[str, None] = {}
        self._pending: list[Alarm] | None = None
        self.samples = 0
        self._thresholds, self._raised, self._on_alarm, self._log = thresholds, raised, on_alarm, log
        self._scaled = scaled
        self._unseen = self._passes = 0
        self._codes: ChosenCodes | None = None
        self._told_unmet = False

    def note(self, note: str) -> None:
        """Say something, once."""
        if note not in self.notes and self._log is not None:
            self._log.note(note)
        self.notes.setdefault(note)

    def warn(self, note: str) -> None:
        """Say something, once, and warn of it."""
        self.note(note)
        tell(f"leaky.watch: {note}", RuntimeWarning)

    @property
    def _reached(self) -> int:
        """The step that the last pass was of: the one that runs, or the one that is over."""
        step = self.observer.clock.step
        return step if self.observer.last is not None else max(step - 1, 0)

    def report(self, measured: Measured, loop: Loop) -> SiteFigures:
        """Draw together what was seen since the last report; its figures.

        Args:
            measured: of each weight, what the optimizer's step did to it.
            loop: what is known of the loop around the model.
        """
        observer, step = self.observer, self._reached
        observer.clock.nonfinite = False
        self._look_for_sites(observer.compiled.unmet())
        if observer.unmeasured():
            self.note(observer.unmeasured())
        seen = seen_together(observer)
        slopes = np.zeros(0) if seen is None else slopes_of(observer, seen)
        nonfinite, late = first_nonfinite(observer, seen)
        rates = ({} if seen is None else unit_levels(seen)) if self.moments.due() else None
        row = report_row(observer, seen, slopes, self._thresholds, measured)
        samples, self.samples = observer.samples - self.samples, observer.samples
        kinds = observer.kinds
        self.history.units.update({name: units for name, (units, _) in kinds.items()})
        self.history.add(step, samples, row)
        if rates is not None:
            self.moments.add(step, rates)
        if self._log is not None:
            self._log.report(step, samples, row, kinds, rates)
        sites = sites_now(observer, seen, slopes, nonfinite, self._thresholds)
        raised = self._raised.look(self._now(row, loop, sites, late))
        self.alarms.extend(raised)
        for alarm in raised:
            if self._log is not None:
                self._log.alarm(alarm)
        self._pending = raised
        return row

    def _now(self, row: SiteFigures, loop: Loop, sites: tuple[SiteNow, ...], late: int) -> Now:
        """What the alarms' rules are given.

        Args:
            row: the figures of this report.
            loop: what is known of the loop around the model.
            sites: what is known of each.
            late: passes since the first of them.
        """
        observer, thresholds = self.observer, self._thresholds
        needed = samples_needed(observer, thresholds)
        known = not late and any(site.nonfinite.any() for site in sites)
        origin = origin_of(observer) if known else ""
        inputs, batches = observer.inputs, observer.batches
        jump = inputs.reported(observer.last, batches, observer.clock.samples, observer.rider.sample_dim)
        codes = self._codes = self._codes or ChosenCodes(observer.model)
        observer.reported()
        observer.outcomes.reported()
        return Now(
            self._reached,
            batches - late,
            row,
            self.history,
            sites,
            needed,
            thresholds,
            origin=origin,
            scaled=self._scaled,
            inputs=inputs.seen,
            inputs_of=inputs.of_batch,
            input_jump=jump,
            order=inputs.draws.ratio if loop.course.lost else math.nan,
            experts=observer.experts(),
            codes=codes.look(inputs.seen, observer.clock.samples, thresholds.delta),
            loop=loop,
            looks=observer.outcomes.looks,
        )

    def control(self, place: int, control: ControlRecord) -> None:
        """Write a control that is new or has changed, by its place among them."""
        if self._log is not None:
            self._log.control(place, control)

    def look_for_passes(self) -> None:
        """Say so, once, where steps go by and no pass of the model is seen."""
        passes = self.observer.clock.passes
        self._unseen = 0 if passes != self._passes else self._unseen + 1
        self._passes = passes
        if self._unseen == UNSEEN_STEPS:
            self.warn(NOT_SEEN)

    def _look_for_sites(self, unmet: list[str]) -> None:
        """Say so, once, where compiled passes go by and sites in them are not met."""
        if unmet and not self._told_unmet:
            self._told_unmet = True
            self.warn(NOT_MET.format(", ".join(unmet)))

    def ends_training(self, alarms: Iterable[Alarm]) -> bool:
        """Whether one of them stops the training."""
        return self._on_alarm == "stop" and any(alarm.finding.level == "error" for alarm in alarms)

    def close(self, ended: str) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close(ended)

    def act(self) -> None:
        """Do what the last report's alarms lead to, once; on several ranks together, also where there are none."""
        raised, self._pending = self._pending, None
        if raised is None:
            return
        made = self.controller.look(raised)
        for alarm, control in made:
            if control.holds:
                self._raised.again(alarm)
            tell(f"{alarm}. leaky.watch, {control.record}", AlarmWarning)
        controlled = {id(alarm) for alarm, _ in made}
        left = [alarm for alarm in raised if id(alarm) not in controlled]
        if callable(self._on_alarm):
            for alarm in left:
                self._on_alarm(alarm)
            return
        ends = [alarm for alarm in left if self.ends_training([alarm])]
        for text in in_words(alarm for alarm in left if alarm not in ends[:1]):
            tell(text, AlarmWarning)
        if ends:
            raise TrainingStoppedError(ends[0])
