"""The candidates of a search in an Optuna storage: each is a trial that Optuna's sampler asked for.

A candidate's trainings are notes on its trial, written as they end. A candidate whose process was killed is taken over
with the trainings that it has.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from leaky.documents import Reader
from leaky.tuning.saving import trial_from, trial_to_dict
from leaky.tuning.storage.store import OWNER, SIGN, Store
from leaky.tuning.trial import Trial

ARM, SEED = "leaky:arm", "leaky:seed "


class CandidateStore(Store):
    """The storage of one search; arguments as in `Store`."""

    def sampled_by(self, sampler: Any) -> optuna.Study:
        """The study, for asking."""
        name = self._storage.get_study_name_from_id(self._study)
        return optuna.load_study(study_name=name, storage=self._storage, sampler=sampler)

    def candidates(self) -> list[FrozenTrial]:
        """All candidates, in the order in which they were asked for."""
        return sorted(self._attempts(), key=lambda attempt: attempt.number)

    def is_claimed(self, candidate: FrozenTrial) -> bool:
        """Whether the candidate has been assigned an arm."""
        return ARM in candidate.user_attrs

    def label(self, candidate: FrozenTrial) -> str:
        """Of the arm that a candidate is."""
        return str(candidate.user_attrs[ARM])

    def claim_orphans(self) -> list[FrozenTrial]:
        """The candidates that no other living process is at; they are this process's from now on."""
        running = [c for c in self.candidates() if c.state == TrialState.RUNNING and self.is_claimed(c)]
        signs = [(c._trial_id, c.user_attrs.get(OWNER, ""), c.user_attrs.get(SIGN)) for c in running]
        gone = set(self._watch.orphans(signs))
        mine = [c for c in running if c._trial_id in gone or c.user_attrs.get(OWNER) == self._owner]
        for candidate in mine:
            self._storage.set_trial_user_attr(candidate._trial_id, OWNER, self._owner)
        return mine

    def claim_asked(self, attempt: int, arm: str) -> None:
        """A candidate that this process has just asked for."""
        self._storage.set_trial_user_attr(attempt, OWNER, self._owner)
        self._storage.set_trial_user_attr(attempt, ARM, arm)

    def note(self, attempt: int, trial: Trial) -> None:
        """Store a training of a candidate."""
        with suppress(UpdateFinishedTrialError):  # taken over while this process seemed dead
            text = json.dumps(trial_to_dict(trial), allow_nan=False)
            self._storage.set_trial_user_attr(attempt, f"{SEED}{trial.seed}", text)

    def trainings(self, attempt: int) -> dict[int, Trial]:
        """The finished trainings of a candidate, by seed."""
        notes = self._storage.get_trial(attempt).user_attrs
        found = (trial_from(Reader(json.loads(text), key)) for key, text in notes.items() if key.startswith(SEED))
        return {trial.seed: trial for trial in found}

    def tell(self, attempt: int, value: float | None) -> None:
        """End a candidate with its value, None for a failed one."""
        with suppress(UpdateFinishedTrialError):
            state = TrialState.FAIL if value is None else TrialState.COMPLETE
            self._storage.set_trial_state_values(attempt, state, None if value is None else [value])
