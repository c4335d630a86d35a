"""A watched model: what every unit does while it trains, at every step, with the training left as it is.

The structure comes from one traced pass; afterwards hooks and a table of calls meet the sites, the user's own operators
compute, and sums stay where the model is. Every so many steps they are drawn together into a report, which may raise
alarms.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from leaky.checkup import Checkup
from leaky.diagnosis import diagnose
from leaky.errors import InputError
from leaky.interruptions import Kind, Leaving, surely_twice, undone_unless_done
from leaky.record import IntArray, Record
from leaky.watching.afar import unscale
from leaky.watching.alarm_rules.now import Loop
from leaky.watching.alarms import StandingAlarms
from leaky.watching.arguments import WatchArguments
from leaky.watching.clock import quietly
from leaky.watching.closures import StepBegins, in_python
from leaky.watching.controlling.controller import Controller
from leaky.watching.course import CLOSE
from leaky.watching.history import SiteFigures
from leaky.watching.leftovers import Leftovers
from leaky.watching.losses import Losses
from leaky.watching.observer import Observer
from leaky.watching.optimizers import Changes, Updates, add_to, measured_by, ratio_of, untouched_units
from leaky.watching.ranks import Ranks
from leaky.watching.reporter import Reporter
from leaky.watching.reporting import record_of
from leaky.watching.run import Run
from leaky.watching.uncounted import Uncounted
from leaky.watching.urgency import Urgency
from leaky.watching.weights import Weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Watch:
    """A model that is being watched; see `leaky.watch`.

    Attributes:
        history: every report so far, plain arrays by site.
        alarms: that were raised, in order.
        notes: remarks on how the watching goes.
        latents: what the codes have shown that were asked for, by module: their density, latent by latent.
        controls: what was done to the training at alarms, in order, refusals included.
        observer: what each site has shown since the last report.
        state: "new", "running" or "stopped".
    """

    def __init__(self, given: WatchArguments) -> None:
        model, optimizer, group, thresholds = given.network, given.stepping, given.group, given.limits
        self._model, self._optimizer, self._scaler = model, optimizer, given.scaler
        self._every, self._report_every = given.every, given.report_every
        self._thresholds, self._raised = thresholds, StandingAlarms(given.chosen_alarms)
        self._reporter = Reporter(
            thresholds, self._raised, given.reaction, given.opened_log(), given.scaler is not None
        )
        self.observer = self._reporter.observer = Observer(given, self._reporter.note)
        self.history, self.alarms, self.notes = self._reporter.history, self._reporter.alarms, self._reporter.notes
        self.latents = self.observer.latents
        self._ranks = Ranks(group, self._reporter.note)
        self.observer.inputs.alone = group is None
        self.observer.outcomes.listen(group is None)
        self._updates = Updates(model)
        rest = self.history, thresholds, given.table, self._ranks.agree, self._reporter.control
        self._controller = Controller(self.observer, optimizer, *rest)
        self._reporter.controller, self.controls = self._controller, self._controller.controls
        self._handles: list[Any] = []
        self._begins: StepBegins | None = None
        self.state: Literal["new", "running", "stopped"] = "new"
        self._observed = 0
        self._urgency, self._leftovers = Urgency(optimizer, given.report_every), Leftovers(optimizer)
        self._uncounted = Uncounted(model, optimizer, self._reporter.warn)
        alone = group is None and given.scaler is None  # whose first steps overflow by design
        self._losses = Losses(optimizer if alone else None, self.observer.clock)
        self._changes: Changes = {}
        self._weights = Weights(self._updates.fans, self._updates.entries)
        self._too_long = thresholds.update_warning if given.table else thresholds.update_error

    def undo_controls(self) -> None:
        """Undo every control that holds, the last one first."""
        self._controller.undo()

    @property
    def step_number(self) -> int:
        """Steps of the training since the start."""
        return self.observer.clock.step

    def __enter__(self) -> Watch:
        return self.start()

    @Leaving
    def __exit__(self) -> Generator[int, Kind, None]:
        try:
            try:
                yield Leaving.ALERT
                kind = yield Leaving.WOKEN
                self.stop("stopped" if kind is None else kind.__name__)
            except GeneratorExit:  # looked up, and never called
                return
            except BaseException:
                self.let_go()
                raise
        except BaseException:
            self.let_go()
            raise
        while True:
            yield Leaving.DONE

    def start(self) -> Watch:
        """Begin to watch.

        Raises:
            InputError: if it has begun before.
        """
        if self.state != "new":
            raise InputError(f"a watch begins once, and this one has {self.state}; make another with leaky.watch(…)")
        return undone_unless_done(self._started, self.let_go)

    def _started(self) -> Watch:
        self.state = "running"
        self._ranks.meet()
        if self._optimizer is not None:
            self._begins = StepBegins(self._optimizer, self.begin_step)
            self._handles += [self._begins, self._optimizer.register_step_post_hook(in_python(lambda *_: self.step()))]
        self._attach_or_detach()
        self._uncounted.start()
        if self._optimizer is None:
            self.begin_step()
        return self

    def let_go(self) -> None:
        """Take every hook off, and report nothing."""
        self.state = "stopped"
        rest = self._leftovers.stop, self._losses.stop, self._controller.stop, self._uncounted.stop
        surely_twice(lambda: (self.observer.stop, *(each.remove for each in self._handles), *rest))
        self._handles.clear()

    def stop(self, ended: str = "stopped") -> None:
        """End it: report what is left, take every hook off, close the log. Again does nothing.

        Args:
            ended: why, for the log.
        """
        if self.state != "running":
            return
        undone_unless_done(self.let_go, self.let_go)
        try:
            self._ranks.merging &= ended == "stopped"  # the others know nothing of an error here
            if self._ranks.merging:
                self.observer.clock.safely(self._report_with_the_rest)
            elif any(site.rows.samples for site in self.observer.sites.values()):
                self.observer.clock.safely(self._report)
        finally:
            self._reporter.close(ended)

    def step(self) -> None:
        """A step of the training is over; the optimizer says so itself where it was given."""
        if self.state != "running":
            return
        if not self.observer.clock.safely(self._step_made):
            self.let_go()
            self._reporter.close("an error of leaky's own")
            return
        self._reporter.act()
        self.observer.clock.step += 1
        self.observer.last = None
        self._attach_or_detach()
        if self._optimizer is None:
            self.begin_step()

    def _step_made(self) -> None:
        observer = self.observer
        if not observer.rider.settled:
            self._uncounted.stop()
            observer.rider.settle()
        self._controller.end_step()
        self._leftovers.step_made()
        self._losses.step_made()
        odd = False
        if self._updates.measuring:
            steps, behind = self._updates.after(), observer.weights
            odd = any(name in behind and ratio_of(step) >= self._too_long for name, step in steps.items())
            add_to(self._changes, steps)
        if observer.observing:
            odd |= max(observer.inputs.jump, observer.gradient_jump()) >= self._thresholds.spike_warning
            if odd and not self._ranks.merging:  # what is odd in the batch may be long as a step
                add_to(self._changes, self._controller.measured())
            self._reporter.look_for_passes()
            self._observed += 1
            if self._scaler is not None:  # it changes its scale after this step
                unscale(observer.sites.values(), self._scaler)
            urgent = observer.clock.nonfinite or (odd and self._urgency.tells(observer.clock.step))
            if self._observed >= self._report_every or (urgent and not self._ranks.merging):
                self._report()

    def report(self) -> SiteFigures:
        """Draw together what was seen since the last report, now; the next row of `history`."""
        row = self._report()
        self._reporter.act()
        return row

    def reset(self) -> None:
        """Forget what was seen, for the checkup; history and alarms stay."""
        self.observer.reset()
        self._ranks.reset()
        self._raised.forget()
        self._reporter.samples = 0

    def record(self) -> Record:
        """What was seen since the last reset, as `leaky.observe` gives it, of the training's own passes."""
        return record_of(self.observer, self.notes)

    def checkup(self, thresholds: Mapping[str, float] | None = None) -> Checkup:
        """What `leaky.check` would say of what was seen since the last reset, and the alarms that stand at its end.

        Args:
            thresholds: by name, in place of the watch's own.
        """
        decides = {**self._thresholds.as_dict(), **(thresholds or {})}
        return Checkup(self._raised.joined(diagnose(self.record(), thresholds=decides)))

    def run(self) -> Run:
        """Everything so far as a document of its own."""
        sites = self.observer.kinds
        rates = self._reporter.moments.document({name: units for name, (units, _) in sites.items()})
        rest: dict[str, Any] = {"alarms": tuple(self.alarms), "notes": tuple(self.notes), "unit_rates": rates}
        rest |= {"thresholds": self._thresholds.as_dict(), "controls": tuple(each.record for each in self.controls)}
        return Run.of_rows(type(self._model).__name__, sites, self.history.reports(), **rest)

    def plot(self) -> Figure:
        """A matplotlib figure of everything so far, as `Run.plot` draws it."""
        return self.run().plot()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the run to `path`, whole or not at all; `leaky.load` opens it again.

        Raises:
            InputError: if the file cannot be written.
        """
        self.run().save(path)

    def untouched_units(self) -> dict[str, IntArray]:
        """Units that never had a gradient since the optimizer began, by its own moments: indices by weight.

        Raises:
            InputError: if no optimizer was given.
        """
        behind = self.observer.weights
        return untouched_units(self._optimizer, {n: p for n, p in self._model.named_parameters() if n in behind})

    def begin_step(self) -> None:
        """The gradients of a step are there, and no weight has moved; an optimizer that was given says so itself."""
        if self.state == "running":
            self.observer.clock.safely(self._before_step)

    def _before_step(self) -> None:
        self._controller.begin_step(self.observer.observing)
        if self._updates.looks_back:
            self._updates.begin()
        if self._urgency.measures(self.observer.clock.step, self._observed) and self.observer.observing:
            self._updates.before()

    @quietly
    def _report(self, ended: bool = False) -> SiteFigures:
        changes, self._changes, self._observed = self._updates.brought(self._changes), {}, 0
        self.observer.bring()
        if not self._ranks.merge(self.observer, changes, self._leftovers.steps, ended) and ended:
            return {}
        self._weights.add(changes, self._urgency.measured)
        return self._reporter.report(measured_by(changes), self._loop)

    @property
    def _loop(self) -> Loop:
        ill, self._losses.ill = self._losses.ill, False
        nothing = self._leftovers.nothing_comes and not self._ranks.merging
        known = self._urgency.rise, self._ranks.unzeroed, nothing, self._weights, ill, self._losses.course
        return Loop(*known, searches=self._begins is not None and self._begins.searches)

    def _report_with_the_rest(self) -> None:
        """Answer the other ranks' reports until all have ended, for some may have more steps."""
        ranks, alarms, going = self._ranks, len(self.alarms), True
        while going and ranks.merging:
            self._report(ended=True)
            if ranks.others_go_on:
                self._controller.abstain()
            going = ranks.others_go_on and not self._reporter.ends_training(self.alarms[alarms:])

    def _attach_or_detach(self) -> None:
        every, step = self._every, self.observer.clock.step
        self.observer.observe(bool(every(step)) if callable(every) else step % every == 0)
        due = step < CLOSE or self._observed + 1 >= self._report_every
        self._losses.listen(self.observer.observing and due)
