"""A plan carried out as a transaction: measured before and after, kept or put back to the last bit, whatever raises.

Where a metric and a piece of training are given, a race decides (`leaky.repairing.race`); else what the metric or the
outputs say (`leaky.repairing.judging`). Knows plans, never how they are made.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from leaky.diagnosis import diagnose
from leaky.interruptions import undone_unless_done
from leaky.observation.process_state import ProcessState
from leaky.repairing.drift import drift, site_outputs
from leaky.repairing.entering import AS_IT_WAS, THROWS_AWAY, Runner, at_most_chance, with_moments
from leaky.repairing.gauge import Gauge, Limits
from leaky.repairing.ground import relative_change
from leaky.repairing.judging import NEWBORN, Bench, judged, ranges_of
from leaky.repairing.operations import OPERATIONS
from leaky.repairing.outcome import RepairRecord, Verdict
from leaky.repairing.plan import Action, Plan
from leaky.repairing.race import Race
from leaky.repairing.recipe import Recipe, recipe_of
from leaky.repairing.snapshot import Snapshot
from leaky.repairing.subject import Subject
from leaky.repairing.surroundings import HeldState
from leaky.repairing.trouble import MOST_LEFT
from leaky.text import counted

SPARED = (
    "no piece of training was run: the network works and few of its units are in trouble, so that a short training "
    "would show its own noise"
)
TOO_SHORT = "after each training the metric was that of a network that has learned nothing, so that they judge nothing"


def _won(winner: Runner, runners: Sequence[Runner]) -> str:
    """Why a treatment has won its race, in words."""
    name = winner.treatment.name
    if winner.untrained:
        return f"{name}, by itself it is better than all after a short training: {winner.before:.6g}"
    after = f"{winner.after:.6g} after {counted(winner.trainings, 'short training')}"
    led = max((r for r in runners if r.held_up and r.score > winner.score), key=lambda r: r.score, default=None)
    if led is not None:
        return (
            f"{name}, {after}: {led.treatment.name} led with {led.after:.6g}, but with weights of no usual size that "
            "give no more than new ones, which hold a network up later; it would have to learn twice as fast"
        )
    other = max((runner.score for runner in runners if runner is not winner), default=-math.inf)
    words = "it learns best" if winner.score >= other else "it learns as well as the best"
    return f"{name}, {words}: {after}"


class Execution:
    """One plan on one model.

    Args:
        plan: what to try.
        subject: the model with its data.
        validate: the user's metric.
        train: the user's piece of training.
        limits: when to keep a change.
    """

    def __init__(
        self,
        plan: Plan,
        subject: Subject,
        validate: Callable[[nn.Module], float] | None,
        train: Callable[[nn.Module], object] | None,
        limits: Limits,
    ) -> None:
        self._subject, self._limits = subject, limits
        self._validate, self._train = validate, train
        self._around = HeldState([train, validate], subject.model)
        if subject.optimizer is None and len(self._around.optimizers) == 1 and train is not None:
            subject.optimizer = self._around.optimizers[0]
        self._plan = with_moments(plan, subject.optimizer)

    def run(self) -> RepairRecord:
        """Try, keep or put back."""
        plan, subject = self._plan, self._subject
        if not plan.treatments:
            return self._untouched("there was nothing to repair")
        modes = {name: module.training for name, module in subject.model.named_modules()}
        put_back = self._kept()

        def act() -> RepairRecord:
            before = list(subject.outputs)
            seen, gave = subject.record, site_outputs(subject.ground)
            self._gauge = Gauge(self._plan, subject, self._validate, self._limits, self.do)
            record = self._raced(before, put_back) if self._train is not None else self._judged(before)
            if record.verdict in ("left", "rolled back"):
                put_back()
            else:
                record = replace(record, drift=drift((seen, subject.record), (gave, site_outputs(subject.ground))))
            for name, module in subject.model.named_modules():  # `train` and `validate` may have left another one
                module.training = modes.get(name, subject.model.training)
            return record

        return undone_unless_done(act, put_back)  # nothing comes after it: an interruption there would leave the change

    def _kept(self) -> Callable[[], None]:
        """Remember model, optimizer, surroundings, and the process: interruptions can leave modes of torch open."""
        subject, process = self._subject, ProcessState()
        snapshot, around = Snapshot(subject.model, subject.optimizer), self._around.kept()

        def put_back() -> None:
            process.close_modes()
            snapshot.restore()
            around()
            process.restore_settings()
            subject.changed(modules=True)

        return put_back

    def do(self, actions: tuple[Action, ...]) -> Recipe:
        """Carry out actions in their order, those of one kind that follow each other together."""
        for kind, group in itertools.groupby(actions, key=lambda action: action.kind):
            OPERATIONS[kind].carry_out(self._subject, list(group))
        return recipe_of(self._subject.model, {})

    def _raced(self, before: list[Tensor], put_back: Callable[[], None]) -> RepairRecord:
        """Every treatment with a piece of the user's training behind it."""
        plan, limits, subject, gauge = self._plan, self._limits, self._subject, self._gauge
        start = gauge.metric()
        anew = any(treatment.name == THROWS_AWAY for treatment in plan.treatments)
        chance = [gauge.newborn(seed, put_back) for seed in range(NEWBORN)] if anew else []
        if self._is_spared(limits.score(start), chance):
            return replace(self._judged(before, start), notes=(SPARED,))
        race = self._race(chance)
        winner, runners = race.run(plan.treatments)
        results = tuple(runner.result for runner in runners)
        used = (race.trainings, limits.most_trainings)
        notes = (*self._around.told, *race.withdrawn)
        if winner.treatment is AS_IT_WAS and race.shows_nothing(runners):
            put_back()
            return replace(
                self._judged(before, start, raced=True), results=results, trainings=used, notes=(*notes, TOO_SHORT)
            )
        if winner.treatment is AS_IT_WAS:
            reason = "it learns as well as with any treatment"
            tried = tuple(action for treatment in plan.treatments for action in treatment.actions)
            return self._record("left", reason, tried, before, before, (start, start), Recipe(), results, used, notes)
        winner.put_back()
        subject.changed(modules=True)
        after = list(subject.outputs)
        metric = (start, winner.before if winner.untrained else winner.after)
        reason = _won(winner, runners)
        return self._record(
            "kept", reason, winner.treatment.actions, before, after, metric, winner.recipe, results, used, notes
        )

    def _race(self, chance: Sequence[float]) -> Race:
        """The race on this model; `chance` has the scores of new networks."""
        subject, limits, train, gauge = self._subject, self._limits, self._train, self._gauge
        assert train is not None

        def trained() -> None:
            train(subject.model)
            subject.changed()

        return Race(
            self.do,
            trained,
            gauge.metric,
            self._kept,
            1.0 if limits.higher_is_better else -1.0,
            limits.tolerance,
            limits.most_trainings,
            chance,
            lambda: (gauge.brought_back(), gauge.tells_apart() and gauge.usual()),
        )

    def _is_spared(self, score: float, chance: Sequence[float]) -> bool:
        """Whether the network works and has little trouble, so that a race would measure its own noise."""
        plan = self._plan
        if (
            plan.nothing_to_lose is not None
            or plan.doubt is not None
            or not score > at_most_chance(chance, ranges_of(plan))
        ):
            return False
        return bool(chance) and self._gauge.troubled <= MOST_LEFT * self._subject.record.units

    def _judged(self, before: list[Tensor], start: float | None = None, *, raced: bool = False) -> RepairRecord:
        """What the metric, or the outputs, say of each treatment.

        Where a race has shown of none that it learns, and there is nothing to lose, only a new network is left to try.
        """
        plan, limits, subject, gauge = self._plan, self._limits, self._subject, self._gauge
        anew = tuple(treatment for treatment in plan.treatments if treatment.name == THROWS_AWAY)
        if raced and anew and plan.nothing_to_lose is not None:
            plan = replace(plan, treatments=anew)
        put_back = self._kept()
        if start is None and self._validate is not None:
            start = gauge.metric()
        bench = Bench(
            do=self.do,
            put_back=put_back,
            measure=gauge.metric,
            score=limits.score,
            newborn=lambda seed: gauge.newborn(seed, put_back),
            alive=gauge.alive,
            sound=gauge.sound,
            usual=gauge.usual,
            moved=lambda: relative_change(before, subject.outputs),
            born_so=lambda: gauge.born_so(put_back),
        )
        found = judged(plan, bench, start, limits.tolerance, limits.max_change)
        if found.treatment is None:
            metric = None if start is None else (start, start)
            tried = () if found.verdict == "left" and not found.results else plan.actions
            return self._record(found.verdict, found.reason, tried, before, before, metric, Recipe(), found.results)
        after = list(subject.outputs)
        now = [result.after for result in found.results if result.name == found.treatment.name]
        metric = None if start is None else (start, now[0] if now else gauge.metric())
        recipe = recipe_of(subject.model, {})
        return self._record(
            found.verdict, found.reason, found.treatment.actions, before, after, metric, recipe, found.results
        )

    def _untouched(self, reason: str) -> RepairRecord:
        share = self._plan.lost_share
        return RepairRecord("nothing to do", reason, (), self._plan.left, 0.0, None, (share, share), Recipe())

    def _record(
        self,
        verdict: Verdict,
        reason: str,
        actions: tuple[Action, ...],
        before: list[Tensor],
        after: list[Tensor],
        metric: tuple[float, float] | None,
        recipe: Recipe,
        results: Any,
        trainings: tuple[int, int] | None = None,
        notes: tuple[str, ...] = (),
    ) -> RepairRecord:
        changed = verdict in ("kept", "not judged")
        share = self._plan.lost_share
        shares = (share, self._share_now() if changed else share)
        change = relative_change(before, after)
        return RepairRecord(
            verdict, reason, actions, self._plan.left, change, metric, shares, recipe, results, trainings, notes
        )

    def _share_now(self) -> float:
        """Dead or constant units over all units, as the model is now."""
        record = self._subject.record
        verdicts = diagnose(record, thresholds=self._plan.thresholds).verdicts
        lost = sum(len({*found.dead, *found.constant}) for found in verdicts.values())
        return lost / record.units if record.units else 0.0
