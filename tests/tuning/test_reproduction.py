"""Studies of real data sets against exhaustive runs, both kept as data."""

from __future__ import annotations

import pytest
from benchmarks.tune_reproduction import TASKS, kept, reproduced

from leaky.tuning import load_study

MATTERS = {"deep_digits": True, "deep_wine": True, "high_rate_digits": True, "easy_cancer": False}


@pytest.mark.parametrize("name", TASKS)
def test_the_answer_of_a_study_is_that_of_five_times_as_many_trainings(name: str) -> None:
    study, exhaustive = load_study(kept(name, "study")), load_study(kept(name, "exhaustive"))
    assert len(exhaustive.trials) >= 5 * len(study.trials)
    assert (study.best_slope is not None) == (exhaustive.best_slope is not None) == MATTERS[name]
    found = reproduced(study, exhaustive)
    assert all(found.values()), found


def test_a_wrong_answer_would_be_noticed() -> None:
    study, exhaustive = load_study(kept("deep_digits", "study")), load_study(kept("easy_cancer", "exhaustive"))
    assert not all(reproduced(study, exhaustive).values())
