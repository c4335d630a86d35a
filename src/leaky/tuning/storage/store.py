"""The trainings of a study in an Optuna storage.

Every training that ended must be there before the next begins. Two processes, on one machine or on many, must never
both train the same cell, and a cell whose process was killed must come free again. An Optuna trial is an attempt at
one cell: slope × seed; only attempts that ended with a result count.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from leaky.documents import Json, Reader, loads
from leaky.errors import InputError, MissingExtraError
from leaky.tuning.saving import trial_from, trial_to_dict
from leaky.tuning.storage.ownership import SIGN_OF_LIFE_EVERY, OrphanWatch, this_process
from leaky.tuning.trial import FINISHED, Cell, Trial

try:
    import optuna
    from optuna.distributions import CategoricalDistribution, IntDistribution
    from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial, TrialState
except ImportError as error:
    raise MissingExtraError("leaky.tune needs optuna: pip install 'leaky[tune]'") from error

DESIGN, OWNER, SIGN, RESULT, CONFIRMS, DIED = (
    f"leaky:{word}" for word in ("design", "owner", "sign_of_life", "result", "confirms", "died")
)
_LARGEST_SEED = 2**63 - 1

_at_work: set[tuple[int | str, int]] = set()
"""(storage, attempt) of what this process trains; a copy of a storage names this process too, which isn't at it."""
_claiming = threading.Lock()
"""Held from an attempt's making until it is in there."""


class Store:
    """One study in a storage.

    Args:
        storage: a path of a journal file, a URL of Optuna's, or None for memory.
        name: of the study in the storage.
        design: what must be the same whenever the study is resumed.
        higher_is_better: whether more of the score is better; the storage keeps it as Optuna's direction.
        labels: of all arms.

    Raises:
        InputError: if the storage can't be opened or holds a study of this name with another design.
    """

    def __init__(
        self, storage: str | None, name: str, design: Json, higher_is_better: bool, labels: Sequence[str]
    ) -> None:
        self._storage = _opened(storage)
        self._place = "the storage" if storage is None else f"the storage {storage!r}"
        self._labels = list(labels)
        self._watch = OrphanWatch()
        self._owner = this_process()
        direction = StudyDirection.MAXIMIZE if higher_is_better else StudyDirection.MINIMIZE
        self._where = id(self) if storage is None else storage if "://" in storage else os.path.realpath(storage)
        try:
            self._study = self._storage.create_new_study([direction], name)
            self._storage.set_study_user_attr(self._study, DESIGN, design)
        except DuplicatedStudyError:
            self._study = self._storage.get_study_id_from_name(name)
        found = self._storage.get_study_user_attrs(self._study).get(DESIGN, design)
        rises = self._storage.get_study_directions(self._study) == [StudyDirection.MAXIMIZE]
        whole = {**design, "higher_is_better": higher_is_better}
        _must_be_the_same({**found, "higher_is_better": rises}, whole, name)

    def trials(self) -> list[Trial]:
        """Every training that ended, each cell once."""
        found: dict[Cell, Trial] = {}
        for attempt in self._attempts():
            if attempt.state.is_finished() and RESULT in attempt.user_attrs:
                found.setdefault(self._cell(attempt), self._result(attempt))
        return list(found.values())

    def running(self) -> set[Cell]:
        """The cells that running processes have claimed; claims of dead processes are released, their results kept."""
        with _claiming:
            running = [attempt for attempt in self._attempts() if attempt.state == TrialState.RUNNING]
            mine = {attempt for where, attempt in _at_work if where == self._where}
        signs = [(a._trial_id, a.user_attrs.get(OWNER, ""), a.user_attrs.get(SIGN)) for a in running]
        orphans = set(self._watch.orphans(signs))
        orphans |= {attempt for attempt, owner, _ in signs if owner == self._owner and attempt not in mine}
        for attempt in running:
            if attempt._trial_id in orphans:
                self._end(attempt._trial_id, self._result(attempt) if RESULT in attempt.user_attrs else None)
        return {self._cell(attempt) for attempt in running if attempt._trial_id not in orphans}

    def bury(self, owner: str) -> None:
        """Record that the process `owner` died while training; only its parent, which saw it die, may do so."""
        for attempt in self._attempts():
            mine = attempt.state == TrialState.RUNNING and attempt.user_attrs.get(OWNER) == owner
            if mine and RESULT not in attempt.user_attrs:
                with suppress(UpdateFinishedTrialError):
                    self._storage.set_trial_user_attr(attempt._trial_id, DIED, True)
                self._end(attempt._trial_id, None)

    def deaths(self) -> Counter[Cell]:
        """How often a process died while training each cell."""
        return Counter(self._cell(attempt) for attempt in self._attempts() if attempt.user_attrs.get(DIED) is True)

    def claim(self, cell: Cell) -> int | None:
        """The id of a new attempt at the cell; None where another process has it or it is done.

        Storages number attempts one after another, and the lowest live attempt has the cell: of two processes that
        claim at the same instant, each sees both attempts, and one of them steps back.
        """
        distributions = {
            "negative_slope": CategoricalDistribution(self._labels),
            "seed": IntDistribution(0, _LARGEST_SEED),
        }
        template = FrozenTrial(
            number=-1,
            trial_id=-1,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=None,
            datetime_complete=None,
            params={"negative_slope": cell.arm, "seed": cell.seed},
            distributions=distributions,
            user_attrs={OWNER: self._owner, CONFIRMS: cell.confirms},
            system_attrs={},
            intermediate_values={},
        )
        with _claiming:
            mine = self._storage.create_new_trial(self._study, template_trial=template)
            _at_work.add((self._where, int(mine)))
        for attempt in sorted(self._attempts(), key=lambda a: a.number):
            if attempt._trial_id == mine:
                return int(mine)
            if self._cell(attempt) == cell and (attempt.state == TrialState.RUNNING or RESULT in attempt.user_attrs):
                self._end(mine, None)
                return None
        raise AssertionError(f"the storage lost attempt {mine}")

    def finish(self, attempt: int, trial: Trial) -> None:
        """Put a result into the storage; it is there when this returns."""
        with suppress(UpdateFinishedTrialError):  # taken over while this process seemed dead
            self._storage.set_trial_user_attr(attempt, RESULT, json.dumps(trial_to_dict(trial), allow_nan=False))
            self._end(attempt, trial)

    def release(self, attempt: int) -> None:
        """Release the claim on a cell whose training was interrupted."""
        self._end(attempt, None)

    @contextmanager
    def signs_of_life(self, attempts: Sequence[int]) -> Iterator[None]:
        """Send heartbeats for these attempts while the body runs."""
        over = threading.Event()

        def say() -> None:
            count = 0
            while not over.wait(SIGN_OF_LIFE_EVERY):
                count += 1
                for attempt in attempts:
                    with suppress(UpdateFinishedTrialError):
                        self._storage.set_trial_user_attr(attempt, SIGN, count)

        thread = threading.Thread(target=say, daemon=True, name="leaky signs of life")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _cell(self, attempt: FrozenTrial) -> Cell:
        arm, seed = attempt.params.get("negative_slope"), attempt.params.get("seed")
        if not isinstance(arm, str) or not isinstance(seed, int) or isinstance(seed, bool):
            raise InputError(f"{self._place}: attempt {attempt.number} must have a slope and a seed, and has none")
        return Cell(arm, seed, attempt.user_attrs.get(CONFIRMS) is True)

    def _result(self, attempt: FrozenTrial) -> Trial:
        place, cell = f"{self._place}: attempt {attempt.number}", self._cell(attempt)
        text = attempt.user_attrs[RESULT]
        if not isinstance(text, str):
            raise InputError(f"{place} must have its result as text, not as {type(text).__name__}")
        trial = trial_from(Reader(loads(text, place), place))
        if Cell(trial.arm, trial.seed, trial.confirms) != cell:
            raise InputError(
                f"{place} must have a result of slope {cell.arm} and seed {cell.seed}, not of slope {trial.arm} and "
                f"seed {trial.seed}"
            )
        return trial

    def _attempts(self) -> list[FrozenTrial]:
        return list(self._storage.get_all_trials(self._study, deepcopy=False))

    def _end(self, attempt: int, trial: Trial | None) -> None:
        finished = trial is not None and trial.outcome == FINISHED
        _at_work.discard((self._where, attempt))
        with suppress(UpdateFinishedTrialError):  # another process was faster
            self._storage.set_trial_state_values(
                attempt,
                TrialState.COMPLETE if finished else TrialState.FAIL,
                [trial.score] if finished and trial is not None and trial.score is not None else None,
            )


def _opened(storage: str | None) -> Any:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if storage is None:
        return optuna.storages.InMemoryStorage()
    if "://" not in storage:
        from leaky.tuning.storage.journal import journal_storage

        return journal_storage(storage)
    try:
        return optuna.storages.get_storage(storage)
    except Exception as error:  # each kind of database raises its own
        raise InputError(f"the storage {storage!r} must be a URL that Optuna can open: {error}") from error


def bury_in(storage: str, owner: str) -> tuple[int, int]:
    """Note in every study of a journal that a process died over what it was training.

    Returns:
        How many trainings it was at, and how many have ended in all.
    """
    place = _opened(storage)
    buried = ended = 0
    for study in place.get_all_studies():
        for attempt in place.get_all_trials(study._study_id, deepcopy=False):
            ended += attempt.state.is_finished() and RESULT in attempt.user_attrs
            if attempt.state == TrialState.RUNNING and attempt.user_attrs.get(OWNER) == owner:
                with suppress(UpdateFinishedTrialError):
                    place.set_trial_user_attr(attempt._trial_id, DIED, True)
                    place.set_trial_state_values(attempt._trial_id, TrialState.FAIL, None)
                buried += 1
    return buried, ended


def _must_be_the_same(found: Json, design: Json, name: str) -> None:
    for key, value in design.items():
        if found.get(key) != value:
            raise InputError(
                f"the storage holds a study {name!r} with {key} {found.get(key)!r}, not {value!r}: resume it with the "
                "same, or give another storage or study_name"
            )
