"""A race of treatments: each is a trial of its own, trained for a while, and what learns best is kept.

All start from the same model, optimizer, surroundings and random numbers. Losers are stopped early, close ones go on,
the number of trainings is bounded. A gentler treatment wins over a harsher one that is hardly better, and the model as
it was over all of them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from leaky.errors import InputError
from leaky.repairing.outcome import Trial
from leaky.repairing.plan import Action, Treatment
from leaky.repairing.recipe import Recipe

AS_IT_WAS = Treatment("as it was", (), True)

CLOSE = 0.3
"""What is expected to end within this part of what the training gains is close to the leader, and goes on."""

WEAK, WEAK_TWICE = 0.1, 0.03
"""By what part of what the training gains a harsher treatment must be better: after one training, and after more."""

HARSH = frozenset({"begun anew", "layers anew"})
"""Treatments that throw away what was learned: they must be better by twice as much."""


@dataclass(eq=False)
class Runner:
    """One treatment on its way.

    Attributes:
        before, after: the user's metric after the change, and now.
        score: the metric with more being better; −inf for what is no number.
        put_back: brings the model to where this runner stands.
    """

    treatment: Treatment
    recipe: Recipe
    before: float
    after: float
    score: float
    first: float
    trainings: int
    put_back: Callable[[], None]
    out: bool = False

    @property
    def expected(self) -> float:
        """Where it would be after half as much again."""
        gain = max(0.0, self.score - self.first) if math.isfinite(self.first) else 0.0
        return self.score + 0.5 * gain / max(1, self.trainings)

    @property
    def trial(self) -> Trial:
        """For the record."""
        return Trial(self.treatment.name, self.before, self.after, self.trainings)


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
    """

    do: Callable[[tuple[Action, ...]], Recipe]
    train: Callable[[], object]
    measure: Callable[[], float]
    kept: Callable[[], Callable[[], None]]
    sign: float
    tolerance: float
    most: int
    trainings: int = 0
    withdrawn: list[str] = field(default_factory=list)

    def run(self, treatments: Sequence[Treatment]) -> tuple[Runner, list[Runner]]:
        """The winner and everyone, gentlest first."""
        start = self.kept()
        runners: list[Runner] = []
        for treatment in [AS_IT_WAS, *treatments][: max(2, self.most)]:
            start()
            runner = self._begun(treatment)
            if runner is not None:
                runners.append(runner)
                self._free_losers(runners)
        while len(going := self._going_on(runners)) > 1 and self.trainings + len(going) <= self.most:
            for runner in runners:
                runner.out = runner not in going
            for runner in going:
                runner.put_back()
                self._trained(runner)
        return self._winner(runners), runners

    def _begun(self, treatment: Treatment) -> Runner | None:
        with same_random_numbers(0):
            try:
                recipe = self.do(treatment.actions) if treatment.actions else Recipe()
            except InputError as error:
                self.withdrawn.append(f"{treatment.name} could not be tried: {error}")
                return None
            before = self.measure()
        first = self._score(before)
        runner = Runner(treatment, recipe, before, before, first, first, 0, lambda: None)
        self._trained(runner)
        return runner

    def _trained(self, runner: Runner) -> None:
        with same_random_numbers(runner.trainings):
            self.train()
            runner.after = self.measure()
        self.trainings += 1
        runner.trainings += 1
        runner.score = self._score(runner.after)
        runner.put_back = self.kept()

    def _score(self, metric: float) -> float:
        return self.sign * metric if math.isfinite(metric) else -math.inf

    def _scale(self, runners: Sequence[Runner]) -> float:
        """What there is to gain: by the leader's training, or over the model as it was."""
        leader = max(runners, key=lambda runner: runner.score)
        gains = [
            leader.score - leader.first,
            *(leader.score - r.score for r in runners if r.trainings == leader.trainings),
        ]
        return max((gain for gain in gains if math.isfinite(gain)), default=0.0)

    def _going_on(self, runners: Sequence[Runner]) -> list[Runner]:
        """The leader and what is close to it, at most three; nobody where that is decided."""
        able = [runner for runner in runners if not runner.out and math.isfinite(runner.score)]
        if len(able) < 2:
            return []
        best = max(runner.expected for runner in able)
        near = max(self.tolerance, CLOSE * self._scale(able))
        close = sorted((r for r in able if r.expected >= best - near), key=lambda r: -r.expected)
        return [runner for runner in runners if runner in close[:3]]

    def _free_losers(self, runners: list[Runner]) -> None:
        """Forget the states of runners that are far behind: each is a copy of the model."""
        best = max(runner.expected for runner in runners)
        for runner in runners:
            far = runner.expected < best - 2 * max(self.tolerance, self._scale(runners))
            if far and runner.treatment is not AS_IT_WAS:
                runner.out, runner.put_back = True, lambda: None

    def _winner(self, runners: Sequence[Runner]) -> Runner:
        """The gentlest that is hardly worse than the best of those that ran longest."""
        longest = max(runner.trainings for runner in runners)
        able = [runner for runner in runners if runner.trainings == longest]
        best = max(able, key=lambda runner: runner.score)
        if not math.isfinite(best.score):
            return runners[0]
        weak = max(self.tolerance, (WEAK if longest == 1 else WEAK_TWICE) * self._scale(able))
        for runner in able:
            margin = 2 * weak if best.treatment.name in HARSH and runner.treatment.name not in HARSH else weak
            if runner.score >= best.score - margin:
                return runner
        return best


@contextmanager
def same_random_numbers(seed: int) -> Iterator[None]:
    """All generators seeded alike; afterwards they go on from where they were."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
