"""A copy of a study's storage, which names processes that are at work in the original."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from tests.tuning import objectives

from leaky.tuning import Study, tune
from leaky.tuning.engines.objective import Report


def trained(study: Study) -> dict[tuple[str, int], tuple[str, float | None]]:
    return {(t.arm, t.seed): (t.outcome, t.score) for t in study.trials}


def test_a_copy_of_a_running_study_is_resumed_in_the_process_that_runs_it(tmp_path: Path) -> None:
    first, copy = tmp_path / "tune.journal", tmp_path / "copy.journal"
    copies: list[Study] = []

    def both(storage: Path) -> Study:
        return tune(objective, slopes=(0.0, 0.1), seeds=3, confirm=0, storage=str(storage), time_limit=60)

    def objective(slope: float, seed: int, report: Report) -> float:
        if slope == 0.1 and not copy.exists():  # the copy says that this process is at this training
            shutil.copy(first, copy)
            copies.append(both(copy))
        return objectives.noisy(slope, seed, report)

    whole = both(first)
    assert "time" not in copies[0].ended
    assert trained(copies[0]) == trained(whole)
