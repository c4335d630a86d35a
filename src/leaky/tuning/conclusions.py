"""The conclusions from the trainings of a study.

Everything that is concluded must follow from the trainings alone, so that a study that was loaded says what it said
when it was saved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from leaky.tuning.arms import Arm, Slope
from leaky.tuning.scheduling import Budget
from leaky.tuning.statistics.answering import UNDECIDED, Answer, answer, worth_of
from leaky.tuning.statistics.judging import FAILED, Difference, FloatArray, Judgement, difference, judge
from leaky.tuning.trial import FINISHED, Trial


@dataclass(frozen=True)
class Searched:
    """What a search in a range tried before the comparison, on seeds of its own.

    Attributes:
        low, high: the range.
        per_layer: whether each rectifier had its own slope.
        sampler: of Optuna's, by its class.
        seeds: a candidate.
        trainings: in all.
        tried: (label, mean score) of the candidates that finished, the best first.
    """

    low: float
    high: float
    per_layer: bool
    sampler: str
    seeds: int
    trainings: int
    tried: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Reported:
    """A mean score that nothing was chosen by, and where it comes from: "test data" or "fresh seeds"."""

    score: float
    deviation: float
    trainings: int
    source: str


@dataclass(frozen=True, eq=False)
class Conclusions:
    """The trainings of a study, and what follows from them.

    Attributes:
        arms: what is compared.
        seeds: of the comparison, in the order in which they are run.
        higher_is_better: whether more of the score is better.
        budget: what may be spent.
        trials: every training that ended, in any order.
        ended: why the study is over; "" if it was stopped before its end.
        engine: how the trainings ran, and why so.
        searched: what was tried to find some of the arms; None where all were given.
        worth: the smallest difference of the score that matters, as it was given; None leaves it to `worth_of`.
    """

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    higher_is_better: bool
    budget: Budget
    trials: tuple[Trial, ...]
    ended: str = ""
    engine: str = ""
    searched: Searched | None = None
    worth: float | None = None

    @cached_property
    def scores(self) -> FloatArray:
        """The higher the better, shape (arms, seeds); NaN where nothing ended yet, −inf where a training failed."""
        place = {arm.label: row for row, arm in enumerate(self.arms)}
        column = {seed: at for at, seed in enumerate(self.seeds)}
        scores = np.full((len(self.arms), len(self.seeds)), np.nan)
        sign = 1.0 if self.higher_is_better else -1.0
        for trial in self.trials:
            if not trial.confirms and trial.seed in column:  # not of a smaller budget's resumption
                score = FAILED if trial.score is None else sign * trial.score
                scores[place[trial.arm], column[trial.seed]] = score
        return scores

    @cached_property
    def judgement(self) -> Judgement:
        """The eliminations and the ranking; arms are indices into `arms`."""
        return judge(self.scores, self.budget.fixed_seeds)

    @property
    def best_set(self) -> tuple[Arm, ...]:
        """The slopes that are not detectably worse than any other, the best-ranked first."""
        members = set(self.judgement.best_set)
        return tuple(self.arms[place] for place in self.judgement.ranking if place in members)

    @property
    def ranking(self) -> tuple[Arm, ...]:
        """All slopes, the best first."""
        return tuple(self.arms[place] for place in self.judgement.ranking)

    @cached_property
    def answer(self) -> Answer:
        """Whether leaving the simplest slope pays: better, equal within what matters, or undecided; arms by place."""
        reference = self.arms.index(self.reference)
        return answer(self.scores, self.judgement, reference, self.matters[0], self.budget.fixed_seeds)

    @cached_property
    def matters(self) -> tuple[float, str]:
        """The smallest difference that matters, and where it comes from: "as given", or a choice in words."""
        if self.worth is not None:
            return self.worth, "as given"
        return worth_of(self.scores, self.higher_is_better)

    @property
    def best_slope(self) -> Slope | None:
        """The best-ranked slope where it is detectably better than the simplest one; else None."""
        return None if self.answer.arm is None else self.arms[self.answer.arm].value

    @property
    def reference(self) -> Arm:
        """The simplest arm, which the others are compared with.

        ReLU is the simplest, then torch's default of 0.01, other fixed slopes, "tailored", "prelu", other activations,
        a slope for each layer.
        """
        return min(self.arms, key=lambda arm: arm.complexity)

    @property
    def recommended(self) -> Slope | None:
        """The slope to take: the best where one is better than the simplest, the simplest where none is by more than
        matters, and None while that is undecided.
        """
        if self.answer.kind == UNDECIDED:
            return None
        return self.reference.value if self.best_slope is None else self.best_slope

    def trials_of(self, arm: Arm, confirms: bool = False) -> list[Trial]:
        """The trainings of an arm, by seed: those of the comparison, or those that came after the choice."""
        found = [trial for trial in self.trials if trial.arm == arm.label and trial.confirms == confirms]
        return sorted(found, key=lambda trial: trial.seed)

    def failures(self, arm: Arm) -> int:
        """Trainings of an arm that diverged, raised or ran out of memory."""
        return sum(trial.outcome != FINISHED for trial in self.trials_of(arm))

    def mean(self, arm: Arm) -> float:
        """Mean score of the finished trainings that the choice rests on; NaN where there are none."""
        scores = [trial.score for trial in self.trials_of(arm) if trial.score is not None]
        return math.fsum(scores) / len(scores) if scores else math.nan

    def measurement(self, arm: Arm, name: str) -> float:
        """Mean of a measurement over an arm's trainings that have it; NaN where none has."""
        found = [trial.measurements[name] for trial in self.trials_of(arm) if name in trial.measurements]
        return math.fsum(found) / len(found) if found else math.nan

    def difference(self, arm: Arm, reference: Arm) -> Difference:
        """score(arm) − score(reference), paired by seed, in the score's own direction, with its interval."""
        at = {each: place for place, each in enumerate(self.arms)}
        found = difference(self.scores, at[arm], at[reference], self.budget.fixed_seeds)
        if self.higher_is_better:
            return found
        return Difference(found.arm, found.reference, found.seeds, -found.estimate, -found.high, -found.low)

    @property
    def reported(self) -> Reported | None:
        """The score of the recommended slope, from data or seeds that had no part in choosing it."""
        if self.recommended is None:
            return None
        arm = Arm(self.recommended)
        test = [trial.test for trial in self.trials_of(arm) if trial.test is not None]
        if test:
            return _reported(test, "test data")
        fresh = [trial.score for trial in self.trials_of(arm, confirms=True) if trial.score is not None]
        return _reported(fresh, "fresh seeds") if fresh else None

    @property
    def more_seconds(self) -> float | None:
        """About how long the trainings would take that are missing for an answer; None where that is not known."""
        more = self.answer.more_trainings
        return None if more is None or not self.trials else more * self.seconds / len(self.trials)

    @property
    def seconds(self) -> float:
        """Time that all trainings took together."""
        return math.fsum(trial.seconds for trial in self.trials)


def _reported(scores: list[float], source: str) -> Reported:
    deviation = float(np.std(scores, ddof=1)) if len(scores) > 1 else math.nan
    return Reported(math.fsum(scores) / len(scores), deviation, len(scores), source)
