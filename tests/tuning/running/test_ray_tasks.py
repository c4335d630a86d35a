"""The same study in Ray tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.tuning import objectives

from leaky.errors import InputError
from leaky.tuning import Study, tune

pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("default")  # Ray's own

SETTINGS: dict[str, Any] = {"slopes": (0.0, 0.01, 0.1), "seeds": 3, "budget": "fixed", "confirm": 0}


def trained(study: Study) -> dict[tuple[str, int], float | None]:
    return {(trial.arm, trial.seed): trial.score for trial in study.trials}


def test_two_workers_give_the_same_scores_and_one_that_is_killed_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAKY_TEST_MARK", str(tmp_path / "mark"))
    study = tune(objectives.fatal, engine="ray", workers=2, **SETTINGS)
    assert (tmp_path / "mark").exists()
    assert trained(study) == trained(tune(objectives.noisy, **SETTINGS))


def test_a_cluster_needs_a_storage_that_it_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(InputError, match="must have a storage that all its machines can open"):
        tune(objectives.noisy, engine="ray", **SETTINGS)
