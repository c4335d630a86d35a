"""A race of treatments: each is trained for a while, and what learns best is kept.

All start from the same model, optimizer, surroundings and random numbers. Who is trained at all is decided by what can
be seen without training (`leaky.repairing.entering`); a race goes on only while that could change who wins, and the
number of trainings is bounded. A gentler treatment wins over a harsher one that is hardly better, and the model as it
was over all of them. What was best right after its change, and worse for its training, is kept without the training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from leaky.errors import InputError
from leaky.observation.random_state import same_random_numbers
from leaky.repairing.entering import (
    AS_IT_WAS,
    LUCKY,
    THROWS_AWAY,
    Runner,
    at_least_chance,
    at_most_chance,
    entrants,
)
from leaky.repairing.plan import Action, Treatment
from leaky.repairing.recipe import Recipe

CLOSE = 0.3
"""A gentler treatment goes on where it is expected to end within this part of what there is to gain of the winner."""

WEAK, WEAK_TWICE = 0.1, 0.03
"""By what part of what there is to gain a harsher treatment must be better: after one training, and after more."""

HARSH = frozenset({THROWS_AWAY, "layers anew"})
"""Treatments that throw away what was learned: they must be better by twice as much."""

TWICE = 2.0
"""How many times what new weights gain by their training those of no usual size must gain that give no more than new
ones. What these point at lets them start faster and holds them up later: scaled back and trained for 400 steps, they
ended below new ones in 16 of 19 pairs of ten patients, also in three of the four in which they led after 15 steps."""


@dataclass(eq=False)
class Race:
    """The treatments of one model, run against each other.

    Args:
        do: carries out actions on the model; what weights cannot hold of it.
        train: the user's piece of training, of the model as it is.
        measure: the user's metric of the model as it is.
        kept: remembers model, optimizer and surroundings; what is returned puts them back.
        sign: 1 where more of the metric is better, −1 where less is.
        tolerance: differences of the metric that do not matter.
        most: trainings at most.
        chance: the scores of networks with new weights.
        look: whether what a treatment leaves is sound and of a usual size: see `Runner`.
        odd: whether the weights are of no usual size, as a treatment for that tells.
    """

    do: Callable[[tuple[Action, ...]], Recipe]
    train: Callable[[], object]
    measure: Callable[[], float]
    kept: Callable[[], Callable[[], None]]
    sign: float
    tolerance: float
    most: int
    chance: Sequence[float] = ()
    look: Callable[[], tuple[bool, bool]] = lambda: (True, True)
    trainings: int = 0
    odd: bool = False
    withdrawn: list[str] = field(default_factory=list)

    def run(self, treatments: Sequence[Treatment]) -> tuple[Runner, list[Runner]]:
        """The winner and everyone who was begun, gentlest first."""
        start = self.kept()
        self.odd = any(treatment.name == "rescaled" for treatment in treatments)
        runners: list[Runner] = []
        for treatment in [AS_IT_WAS, *treatments]:
            start()
            runner = self._begun(treatment)
            if runner is not None:
                runners.append(runner)
        entered = entrants(runners, self.chance, self.tolerance, self.most)
        for runner in runners:
            if runner not in entered:
                runner.put_back = lambda: None  # each is a copy of the model
        begun = {id(runner): runner.put_back for runner in entered}
        for runner in entered:
            runner.put_back()
            self._trained(runner)
        while len(going := self._going_on(entered)) > 1 and self.trainings + len(going) <= self.most:
            ahead = None if self._at_chance(entered) else self._proven(entered, self._winner(entered))
            if ahead is not None and ahead.first >= max(runner.expected for runner in going):
                break  # more training could only come up to what is there without any
            for runner in going:
                runner.put_back()
                self._trained(runner)
        winner = self._winner(entered)
        worth = self._worth_more_than_new(entered)
        for runner in entered:
            runner.held_up = runner not in worth
        proven = self._proven(entered, winner)
        if proven is not None:
            proven.untrained, proven.put_back = True, begun[id(proven)]
        return proven or winner, runners

    def _proven(self, runners: Sequence[Runner], winner: Runner) -> Runner | None:
        """The one whose change alone was better than all that was trained: its training has undone some of it."""
        best = max(runners, key=lambda runner: runner.first)
        if not math.isfinite(winner.score) or best.first <= at_most_chance(self.chance, LUCKY):
            return None
        trained = max(runner.score for runner in runners)
        margin = self.tolerance if best is winner else self._weak(runners)
        if best is runners[0] or not best.first > max(trained, runners[0].first) + margin:
            return None
        return best

    def shows_nothing(self, runners: Sequence[Runner]) -> bool:
        """Whether all that were trained are no better than a new network, and the model as it was no worse than one.

        Then the trainings judge nothing. A model that stays worse than every new network is judged by that, where
        something else is better.
        """
        if not self._at_chance(runners):
            return False
        return self._winner(runners) is runners[0] or runners[0].score >= at_least_chance(self.chance)

    def _at_chance(self, runners: Sequence[Runner]) -> bool:
        best = max(runner.score for runner in runners if runner.trainings)
        return -math.inf < best <= at_most_chance(self.chance)

    def _begun(self, treatment: Treatment) -> Runner | None:
        with same_random_numbers(0):
            try:
                recipe = self.do(treatment.actions) if treatment.actions else Recipe()
            except InputError as error:
                self.withdrawn.append(f"{treatment.name} could not be tried: {error}")
                return None
            before = self.measure()
        first = self._score(before)
        sound, usual = self.look() if treatment.actions else (True, True)
        return Runner(treatment, recipe, before, before, first, first, first, 0, self.kept(), sound, usual)

    def _trained(self, runner: Runner) -> None:
        with same_random_numbers(runner.trainings):
            self.train()
            runner.after = self.measure()
        self.trainings += 1
        runner.trainings += 1
        runner.last = runner.score
        runner.score = self._score(runner.after)
        runner.put_back = self.kept()

    def _score(self, metric: float) -> float:
        return self.sign * metric if math.isfinite(metric) else -math.inf

    def _scale(self, runners: Sequence[Runner]) -> float:
        """What there is to gain over the model as it was, or a new one; where those have no number, over its rivals."""
        leader = max(runners, key=lambda runner: runner.score)
        control = runners[0]
        new = min((score for score in self.chance if math.isfinite(score)), default=-math.inf)
        gains = [leader.score - max(control.first, new), leader.score - max(control.score, new)]
        finite = [gain for gain in gains if math.isfinite(gain)]
        finite = finite or [leader.score - r.score for r in runners if math.isfinite(leader.score - r.score)]
        return max([0.0, *finite])

    def _weak(self, runners: Sequence[Runner]) -> float:
        longest = max(runner.trainings for runner in runners)
        return max(self.tolerance, (WEAK if longest == 1 else WEAK_TWICE) * self._scale(runners))

    def _going_on(self, runners: Sequence[Runner]) -> list[Runner]:
        """The winner as it stands and those that more training may put in its place, at most three in all.

        As long as none is better than a new network, all that are no worse than one: a short training may show nothing.
        """
        winner = self._winner(runners)
        longest = max(runner.trainings for runner in runners)
        if self._at_chance(runners):
            going = [runner for runner in runners if runner.score >= at_least_chance(self.chance)]
            still = runners[0].score == runners[0].last and any(runner.score != runner.last for runner in going)
            return [runner for runner in going if runner.trainings == longest and not (still and runner is runners[0])]
        if not math.isfinite(winner.score) or winner.trainings < longest:
            return []
        near, weak = max(self.tolerance, CLOSE * self._scale(runners)), self._weak(runners)
        luck = at_most_chance(self.chance, LUCKY)
        clear = winner is runners[0] or runners[0].first > luck  # a harsher one must be seen to be better
        lead, there = weak if clear else -weak, winner.first if winner.first > luck else -math.inf
        rivals, harsher = [], False
        for runner in self._worth_more_than_new(runners):
            if runner is winner:
                harsher = True
            elif runner.trainings == longest and math.isfinite(runner.score):
                needed = winner.expected + lead if harsher else max(winner.expected - near, winner.first)
                if runner.expected > needed and runner.score > there:
                    rivals.append(runner)
        rivals = sorted(rivals, key=lambda runner: (runner is not runners[0], -runner.expected))[:2]
        return [runner for runner in runners if runner is winner or runner in rivals]

    def _worth_more_than_new(self, runners: Sequence[Runner]) -> list[Runner]:
        """Without those that keep weights of no usual size which gave no more than new ones and learn hardly faster."""
        new = next((runner for runner in runners if runner.treatment.name == THROWS_AWAY), None)
        if not self.odd or new is None or not math.isfinite(new.score) or self._at_chance(runners):
            return list(runners)
        most, needed = at_most_chance(self.chance, LUCKY), new.first + TWICE * max(0.0, new.score - new.first)
        return [r for r in runners if r is new or r.first > most or r.score >= needed]

    def _winner(self, runners: Sequence[Runner]) -> Runner:
        """The gentlest that is hardly worse than the best of those that ran longest."""
        longest = max(runner.trainings for runner in runners)
        able = [runner for runner in runners if runner.trainings == longest or runner.score == runner.last]
        able = self._worth_more_than_new(able)
        best = max(able, key=lambda runner: runner.score)
        if not math.isfinite(best.score):
            return runners[0]
        weak = self._weak(runners)
        if self._at_chance(runners):  # what learned nothing with the layers is nothing to keep
            able.sort(key=lambda runner: runner.treatment.name == "layers anew")
        for runner in able:
            margin = 2 * weak if best.treatment.name in HARSH and runner.treatment.name not in HARSH else weak
            if runner.score >= best.score - margin:
                return runner
        return best
