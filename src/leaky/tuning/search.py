"""Slopes from a range, one for the model or one a layer, proposed by one of Optuna's samplers.

What a search likes best is liked partly for its luck. So it only nominates: the slopes that it ends with are compared
with all others in the study proper, on seeds that the search never saw. Every training is in the storage before the
next begins, as there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from leaky.documents import Json
from leaky.errors import InputError
from leaky.tuning.arms import Arm, arm_of
from leaky.tuning.conclusions import Searched
from leaky.tuning.engines.engine import Engine
from leaky.tuning.running.worker import POLL
from leaky.tuning.trial import Cell, Trial

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from leaky.tuning.storage.candidates import CandidateStore

SEARCH_FROM = 2_000_000
"""The first seed of a search: far from those of the comparison and of the confirmation."""
ROUNDS = 6
"""A search asks for its candidates in at least so many rounds, so that later ones can learn from earlier ones."""
DIGITS = 3
"""Significant digits of a proposed slope: what they leave out is far below what any study could tell apart."""


@dataclass(frozen=True)
class Range:
    """A search between two slopes.

    Attributes:
        low, high: finite, low < high.
        candidates: slopes, or sets of slopes, that are tried.
        seeds: of each candidate, the same for all.
        finalists: candidates with the best means, which go into the study.
        per_layer: one slope for each rectifier.
        layers: rectifiers of an objective's model; a torch task's are counted.
        sampler: of Optuna's; by default its tree-structured Parzen estimator.
    """

    low: float
    high: float
    candidates: int = 24
    seeds: int = 3
    finalists: int = 2
    per_layer: bool = False
    layers: int | None = None
    sampler: Any = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(f"a search must go from a slope to a higher one, not from {self.low} to {self.high}")
        for name in ("candidates", "seeds", "finalists"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} of a search must be at least 1, not {getattr(self, name)}")
        if self.finalists > self.candidates:
            raise InputError(f"finalists must be at most the {self.candidates} candidates, not {self.finalists}")

    @property
    def example(self) -> Arm:
        """Something that the search might propose."""
        return Arm((self.high,) * (self.layers or 0) if self.per_layer else self.high)

    @property
    def identity(self) -> Json:
        """What must be the same whenever the search is resumed."""
        names = ("low", "high", "candidates", "seeds", "per_layer", "layers")
        return {name: getattr(self, name) for name in names}


def range_of(given: Range | Sequence[float], layers: Callable[[], int] | None) -> Range:
    """The checked search; layers: counts the rectifiers of a torch task, None for an objective.

    Raises:
        InputError: if it is not a range, or an objective's layers are not given.
    """
    if not isinstance(given, Range):
        try:
            low, high = (float(end) for end in given)
        except (TypeError, ValueError) as error:
            raise InputError(f"search must be (low, high) or a leaky.tuning.Range, not {given!r}") from error
        given = Range(low, high)
    if not given.per_layer:
        return given
    if layers is not None:
        given = Range(**{**vars(given), "layers": layers()})
    if not given.layers:
        raise InputError("a search per layer of an objective must have the number of layers: Range(…, layers=3)")
    return given


class Search:
    """A search for the slopes of a range.

    Args:
        space: where to look.
        store: the candidates.
        higher_is_better: whether more of the score is better.
    """

    def __init__(self, space: Range, store: CandidateStore, higher_is_better: bool) -> None:
        import optuna

        sampler = space.sampler or optuna.samplers.TPESampler(
            n_startup_trials=max(4, space.candidates // 4), multivariate=space.per_layer, constant_liar=True, seed=0
        )
        self.name = type(sampler).__name__
        self._space, self._store, self._higher_is_better = space, store, higher_is_better
        self._study = store.sampled_by(sampler)

    def run(self, engine: Engine, stop: Callable[[], bool]) -> None:
        """Try the candidates that are left."""
        while not stop():
            mine = self._claimed(engine)
            if mine:
                self._train(mine, engine, stop)
            elif self.open:
                time.sleep(POLL)  # other processes have what is left
            else:
                return

    @property
    def open(self) -> bool:
        """Whether there are candidates left."""
        counted = self._counted()
        return len(counted) < self._space.candidates or not all(each.state.is_finished() for each in counted)

    def _counted(self) -> list[FrozenTrial]:
        """The candidates that count: two processes may have asked for a few too many."""
        return self._store.candidates()[: self._space.candidates]

    def _claimed(self, engine: Engine) -> list[tuple[int, Arm]]:
        """Candidates for this process: those that others left behind, then new ones."""
        space = self._space
        found = [(each._trial_id, arm_of(self._store.label(each))) for each in self._store.claim_orphans()]
        most = max(1, min(engine.at_once // space.seeds, space.candidates // ROUNDS)) - len(found)
        for _ in range(min(most, space.candidates - len(self._store.candidates()))):
            trial = self._study.ask()
            arm = self._suggested(trial)
            self._store.claim_asked(trial._trial_id, arm.label)
            found.append((trial._trial_id, arm))
        return found

    def _suggested(self, trial: optuna.Trial) -> Arm:
        space = self._space

        def slope(name: str) -> float:
            proposed = trial.suggest_float(name, space.low, space.high)
            return min(max(float(f"{proposed:.{DIGITS}g}"), space.low), space.high)

        if space.per_layer:
            return Arm(tuple(slope(f"slope {place}") for place in range(space.layers or 0)))
        return Arm(slope("slope"))

    def _train(self, mine: list[tuple[int, Arm]], engine: Engine, stop: Callable[[], bool]) -> None:
        attempts: dict[Cell, list[int]] = {}
        known = self._known()
        for attempt, arm in mine:
            for seed in range(SEARCH_FROM, SEARCH_FROM + self._space.seeds):
                cell = Cell(arm.label, seed)
                if cell in known:  # also where it was proposed before
                    self._store.note(attempt, known[cell])
                else:
                    attempts.setdefault(cell, []).append(attempt)
        claimed = [attempt for attempt, _ in mine]
        with self._store.signs_of_life(claimed), closing(engine.run(list(attempts), stop)) as results:
            for trial in results:
                for attempt in attempts[Cell(trial.arm, trial.seed)]:
                    self._store.note(attempt, trial)
        for attempt in claimed:
            done = self._store.trainings(attempt)
            if len(done) == self._space.seeds:
                self._store.tell(attempt, self._value(list(done.values())))

    def _known(self) -> dict[Cell, Trial]:
        """Every training that ended."""
        return {
            Cell(self._store.label(each), seed): trial
            for each in self._counted()
            if self._store.is_claimed(each)
            for seed, trial in self._store.trainings(each._trial_id).items()
        }

    def _value(self, trials: list[Trial]) -> float | None:
        """The mean score; where a training failed, the worst score so far, None where there is none."""
        scores = [trial.score for trial in trials if trial.score is not None]
        if len(scores) == len(trials):
            return math.fsum(scores) / len(scores)
        known = [*(each.value for each in self._counted() if each.value is not None), *scores]
        return (min if self._higher_is_better else max)(known, default=None)

    def result(self) -> tuple[tuple[Arm, ...], Searched]:
        """The finalists, the best first, and what was tried."""
        known = self._known()
        failed = {cell.arm for cell, trial in known.items() if trial.score is None}
        ended = [each for each in self._counted() if each.value is not None]
        labels = {self._store.label(each): float(each.value or 0.0) for each in ended}
        tried = {label: value for label, value in labels.items() if label not in failed}
        ranked = sorted(tried, key=lambda label: tried[label], reverse=self._higher_is_better)
        best = ranked[: self._space.finalists] if not self.open else []
        space = self._space
        tried_best_first = tuple((label, tried[label]) for label in ranked)
        found = Searched(space.low, space.high, space.per_layer, self.name, space.seeds, len(known), tried_best_first)
        return tuple(arm_of(label) for label in best), found
