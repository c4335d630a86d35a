"""A search in a range: Optuna's sampler nominates, the comparison on other seeds decides."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from tests.tuning import objectives
from torch import nn

from leaky.errors import InputError
from leaky.theory import gain
from leaky.tuning import Range, load_study, tune
from leaky.tuning.arms import Arm, arm_of, arms_of
from leaky.tuning.engines.objective import Report
from leaky.tuning.search import SEARCH_FROM

BEST = 0.23


def peaked(negative_slope: Any, seed: int, report: Report) -> float:
    """A score whose maximum is at 0.23, for every layer."""
    layers = np.atleast_1d(np.asarray(negative_slope, float))
    noise = np.random.default_rng([seed, *np.round(1e6 * layers).astype(int)]).standard_normal()
    return float(-(((layers - BEST) / 0.1) ** 2).sum() + 0.05 * noise)


def test_what_a_search_finds_is_near_the_best_and_is_compared_on_other_seeds() -> None:
    study = tune(peaked, slopes=(0.0, 0.01), search=(0.0, 0.5), seeds=4, confirm=0)
    assert isinstance(study.best_slope, float)
    assert abs(study.best_slope - BEST) < 0.05
    assert {Arm(0.0), Arm(0.01)} < set(study.arms)
    assert study.searched is not None
    assert study.searched.trainings == 3 * len(study.searched.tried) > 50
    assert all(trial.seed < SEARCH_FROM for trial in study.trials)
    assert "TPESampler tried " in str(study)


def test_layers_have_slopes_of_their_own_and_another_sampler_may_propose_them() -> None:
    sampler = optuna.samplers.RandomSampler(seed=1)
    space = Range(0.0, 0.5, 40, seeds=1, per_layer=True, layers=2, sampler=sampler)
    study = tune(peaked, search=space, seeds=4, confirm=0)
    assert study.searched is not None
    assert (study.searched.sampler, len(study.searched.tried)) == ("RandomSampler", 40)
    assert isinstance(study.best_slope, tuple)
    assert np.abs(np.array(study.best_slope) - BEST).max() < 0.2


def test_a_search_per_layer_of_a_model_counts_its_rectifiers_and_matches_the_gain_of_each() -> None:
    task = objectives.task(epochs=1)
    study = tune(task, search=Range(0.0, 0.5, candidates=4, seeds=1, per_layer=True), seeds=3, confirm=0)
    finalists = [arm.value for arm in study.arms if isinstance(arm.value, tuple)]
    assert [len(value) for value in finalists] == [2, 2]
    model = task.model(Arm((0.0, 0.5)), 3)
    assert [m.negative_slope for m in model.modules() if isinstance(m, nn.LeakyReLU)] == [0.0, 0.5]
    plain = task.model(Arm(0.0), 3)
    ratio = model.get_parameter("2.weight") / plain.get_parameter("2.weight")
    assert ratio.mean().item() == pytest.approx(gain(0.5) / gain(0.0))


def test_other_activations_and_slopes_of_layers_stand_in_the_same_study() -> None:
    slopes = (0.0, 0.1, (0.1, 0.3), "prelu", "elu", "gelu", "silu")
    study = tune(objectives.task(epochs=1), slopes=slopes, seeds=3, budget="fixed", confirm=0)
    assert {arm.value for arm in study.arms} == set(slopes)
    assert len(study.trials) == 21
    assert all(trial.outcome == "finished" for trial in study.trials)


def test_a_search_resumes_where_it_was_killed_and_finds_the_same(tmp_path: Path) -> None:
    calls: list[Any] = []

    def objective(slope: Any, seed: int, report: Report) -> float:
        calls.append((slope, seed))
        if len(calls) in (5, 30):
            raise KeyboardInterrupt
        return peaked(slope, seed, report)

    settings: dict[str, Any] = {"search": (0.0, 0.5), "seeds": 3, "confirm": 0, "storage": tmp_path / "tune.journal"}
    first = tune(objective, **settings)
    assert first.searched is not None
    assert (first.searched.trainings, len(first.trials)) == (4, 0)
    assert "stopped before its end" in str(first)
    second = tune(objective, **settings)
    assert second.searched is not None
    assert second.searched.trainings == 28
    whole = tune(objective, **settings)
    again = tune(lambda *a: pytest.fail("trained"), **settings)
    assert str(whole) == str(again)
    searched = [call for call in calls if call[1] >= SEARCH_FROM]
    assert whole.searched is not None
    assert len(set(searched)) == whole.searched.trainings == 3 * len(whole.searched.tried)
    assert len(searched) == len(set(searched)) + 2  # only what was interrupted ran twice


def test_candidates_that_fail_are_no_finalists() -> None:
    def objective(slope: float, seed: int, report: Report) -> float:
        report(1, math.nan if slope > 0.2 else 1.0)
        return peaked(slope, seed, report)

    study = tune(objective, search=(0.0, 0.5), seeds=3, confirm=0)
    assert study.searched is not None
    assert 0 < len(study.searched.tried) < 24
    assert max(arm.value for arm in study.arms) <= 0.2  # type: ignore[type-var]


def test_a_searched_study_says_the_same_when_loaded(tmp_path: Path) -> None:
    study = tune(peaked, search=Range(0.0, 0.5, 6, 1, per_layer=True, layers=3), seeds=3, confirm=0)
    study.save(tmp_path / "study.json")
    loaded = load_study(tmp_path / "study.json")
    assert (str(loaded), loaded.searched, loaded.arms) == (str(study), study.searched, study.arms)
    assert json.loads((tmp_path / "study.json").read_text())["search"]["trainings"] == 6


@pytest.mark.parametrize("label", ["0", "0.01", "prelu", "0.1/0.2", "-0.5/1e-05/3"])
def test_a_label_is_its_arm(label: str) -> None:
    assert arm_of(label).label == label
    assert arms_of([arm_of(label).value], least=1) == (arm_of(label),)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"search": (0.5, 0.0)}, "from a slope to a higher one"),
        ({"search": (0.0, math.inf)}, "from a slope to a higher one"),
        ({"search": 3}, r"search must be \(low, high\)"),
        ({"search": (0.0, 0.1, 0.2)}, r"search must be \(low, high\)"),
        ({"search": {"low": 1}}, r"search must be \(low, high\)"),
        ({"slopes": (0.1, (0.1,))}, "at least two numbers"),
        ({"slopes": (0.1, (0.1, "prelu"))}, "at least two numbers"),
    ],
)
def test_a_wrong_search_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        tune(lambda *a: pytest.fail("trained"), seeds=3, **arguments)


def test_a_wrong_range_is_refused() -> None:
    with pytest.raises(InputError, match="candidates of a search must be at least 1"):
        Range(0.0, 1.0, candidates=0)
    with pytest.raises(InputError, match="at most the 3 candidates"):
        Range(0.0, 1.0, candidates=3, finalists=4)
    with pytest.raises(InputError, match="must have the number of layers"):
        tune(peaked, search=Range(0.0, 1.0, per_layer=True))


def test_slopes_of_layers_must_be_as_many_as_the_rectifiers() -> None:
    with pytest.raises(InputError, match="must be 2, one for each of 1, 3, not 3"):
        tune(objectives.task(), slopes=(0.0, (0.1, 0.2, 0.3)), seeds=3)


def test_a_range_without_anything_that_trains_says_so() -> None:
    def objective(slope: float, seed: int, report: Report) -> float:
        raise ValueError

    with pytest.raises(InputError, match="every training failed"):
        tune(objective, slopes=(), search=Range(0.0, 0.5, 3, 1, 2), seeds=3)
