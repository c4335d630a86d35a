"""The loop that every process of a study runs: see what is known, claim what is next, train it, store it.

Nothing is kept in the process between two rounds, so that it may be killed at any instant.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leaky.tuning.arms import Arm
from leaky.tuning.engines.engine import Engine
from leaky.tuning.engines.objective import trial_of
from leaky.tuning.scheduling import Budget, NextTrainings, next_trainings
from leaky.tuning.statistics.boundaries import FIRST_LOOK
from leaky.tuning.study import Study
from leaky.tuning.trial import RAISED, Cell, Trial

if TYPE_CHECKING:
    from leaky.tuning.storage.store import Store

DEATHS = 2
"""Times that a training's process may die over it; then that is its result."""
POLL = 0.1
"""Seconds between two looks at a storage in which other processes have all that is to be done."""
CONFIRM_FROM = 1_000_000
"""The first seed that confirms a choice: far from those of the comparison, also after a study was extended."""

Progress = Callable[[Study, int], None]
"""Called with the study so far and the trainings that are left at most."""


@dataclass(frozen=True)
class Design:
    """The definition of a study: all but its results.

    Attributes:
        arms, seeds, higher_is_better, budget, worth: as in `Study`.
        confirm: trainings of the recommended slope with fresh seeds, after the choice.
    """

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    higher_is_better: bool
    budget: Budget
    confirm: int = 0
    worth: float | None = None

    def study(self, trials: Sequence[Trial], ended: str = "", engine: str = "") -> Study:
        """The study with these results."""
        settled = (self.arms, self.seeds, self.higher_is_better, self.budget)
        return Study(*settled, tuple(trials), ended, engine, worth=self.worth)

    def next(self, study: Study) -> tuple[list[Cell], NextTrainings]:
        """What to run next, in order; nothing when the study is over."""
        compared = sum(trial.seconds for trial in study.trials if not trial.confirms)
        following = next_trainings(study.scores, study.judgement, self.budget, study.answer, compared)
        if following.cells:
            return [Cell(self.arms[arm].label, self.seeds[seed]) for arm, seed in following.cells], following
        if study.recommended is None:
            return [], following
        chosen = Arm(study.recommended)
        done = {trial.seed for trial in study.trials_of(chosen, confirms=True)}
        first = max(CONFIRM_FROM, max(self.seeds) + 1)
        fresh = range(first, first + self.confirm)
        return [Cell(chosen.label, seed, confirms=True) for seed in fresh if seed not in done], following


def work(
    design: Design, store: Store, engine: Engine, stop: Callable[[], bool], progress: Progress | None = None
) -> None:
    """Train until the study is over or `stop` says so.

    Raises:
        KeyboardInterrupt: as it came; what was running has been given back.
    """
    while not stop():
        study = design.study(store.trials(), engine=engine.description)
        cells, following = design.next(study)
        if progress is not None:
            progress(study, max(following.left, len(cells)))
        if not cells:
            return
        busy, deaths = store.running(), store.deaths()
        free = [cell for cell in _near(cells, design, engine.at_once) if cell not in busy]
        claimed: dict[int, Cell] = {}
        try:
            for cell in free:
                attempt = store.claim(cell)
                if attempt is not None and deaths[cell] >= DEATHS:
                    reason = f"its process ended {deaths[cell]} times"
                    store.finish(attempt, trial_of(cell, RAISED, reason, None, 0.0))
                elif attempt is not None:
                    claimed[attempt] = cell
                if len(claimed) == engine.at_once:
                    break
            if claimed:
                _run(store, engine, claimed, stop)
            elif not deaths.keys() & set(free):
                time.sleep(POLL)
        finally:
            for attempt in claimed:
                with suppress(Exception):  # the first reason counts
                    store.release(attempt)


def _run(store: Store, engine: Engine, claimed: dict[int, Cell], stop: Callable[[], bool]) -> None:
    """Train what was claimed; each result is stored, and its claim given up, before the next training begins."""
    attempts = {cell: attempt for attempt, cell in claimed.items()}
    with store.signs_of_life(list(claimed)), closing(engine.run(list(attempts), stop)) as results:
        for trial in results:
            attempt = attempts[Cell(trial.arm, trial.seed, trial.confirms)]
            store.finish(attempt, trial)
            del claimed[attempt]


def _near(cells: list[Cell], design: Design, at_once: int) -> list[Cell]:
    """The cells to start now: an adaptive study must not train many seeds of an arm that it may soon eliminate."""
    if design.budget.fixed_seeds is not None or cells[0].confirms:
        return cells
    begun = design.seeds.index(cells[0].seed)
    racing = len({cell.arm for cell in cells})
    near = set(design.seeds[: max(FIRST_LOOK, begun + 1 + at_once // racing)])
    return [cell for cell in cells if cell.seed in near]
