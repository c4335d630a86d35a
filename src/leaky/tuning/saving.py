"""A study and its trainings as strict JSON, and back.

The trainings are the data; the conclusions are written beside them for other readers and are not read back.
"""

from __future__ import annotations

import math
import os
from typing import Any

from leaky.serialization import Json, Reader, dumps, read
from leaky.tuning.arms import Arm, arms_of
from leaky.tuning.scheduling import MODES, Budget
from leaky.tuning.study import MAXIMIZE, MINIMIZE, OUTCOMES, Searched, Study, Trial

SCHEMA_VERSION = 1


def study_to_json(study: Study) -> str:
    """The study as strict JSON text."""
    return dumps(
        {
            "schema_version": SCHEMA_VERSION,
            "kind": "study",
            "slopes": [arm.value for arm in study.arms],  # a tuple becomes a list
            "seeds": list(study.seeds),
            "direction": study.direction,
            "budget": {"mode": study.budget.mode, "seeds": study.budget.seeds, "patience": study.budget.patience},
            "worth": study.worth,
            "ended": study.ended,
            "engine": study.engine,
            "search": None if study.searched is None else {**vars(study.searched)},
            "conclusion": _conclusion(study),
            "trials": [trial_to_dict(trial) for trial in study.trials],
        }
    )


def load_study(path: str | os.PathLike[str]) -> Study:
    """The study that `Study.save` wrote.

    Raises:
        InputError: if the file cannot be read or is no study that this leaky knows; the message names the field.
    """
    at = Reader(read(path), repr(os.fspath(path)))
    if at.get("kind", str) != "study":
        raise at.wrong("kind", "'study'")
    budget = at.inside("budget")
    study = Study(
        arms=arms_of(at.data.get("slopes", [])),
        seeds=tuple(at.list_of("seeds", int)),
        direction=at.one_of("direction", (MAXIMIZE, MINIMIZE)),
        budget=Budget(
            budget.get("seeds", int),
            budget.one_of("mode", MODES),
            budget.number("patience") if "patience" in budget.data else 0.0,
        ),
        trials=tuple(trial_from(trial) for trial in at.items("trials")),
        ended=at.get("ended", str),
        engine=at.get("engine", str),
        searched=_searched(at.inside("search")) if at.data.get("search") is not None else None,
        worth=_optional(at, "worth"),
    )
    labels = {arm.label for arm in study.arms}
    for place, trial in enumerate(study.trials):
        if trial.arm not in labels or (not trial.confirms and trial.seed not in study.seeds):
            raise at.wrong(
                "trials", f"of the study's slopes and seeds; number {place} is of {trial.arm!r}, {trial.seed}"
            )
    return study


def trial_to_dict(trial: Trial) -> Json:
    """A training as JSON-safe data; figures that are not finite are left out."""
    return {
        "slope": trial.arm,
        "trained_slope": trial.slope,
        "seed": trial.seed,
        "confirms": trial.confirms,
        "outcome": trial.outcome,
        "score": trial.score,
        "test": trial.test,
        "reason": trial.reason,
        "seconds": trial.seconds,
        "measurements": {name: value for name, value in trial.measurements.items() if math.isfinite(value)},
        "curve": [[step, value] for step, value in trial.curve],
    }


def trial_from(at: Reader) -> Trial:
    """The training that `trial_to_dict` wrote."""
    return Trial(
        arm=at.get("slope", str),
        seed=at.get("seed", int),
        outcome=at.one_of("outcome", OUTCOMES),
        score=_optional(at, "score"),
        test=_optional(at, "test"),
        reason=at.get("reason", str),
        seconds=at.number("seconds"),
        confirms=at.get("confirms", bool),
        slope=_optional(at, "trained_slope"),
        measurements={str(name): float(value) for name, value in at.get("measurements", dict).items()},
        curve=tuple((int(step), float(value)) for step, value in at.get("curve", list)),
    )


def _searched(at: Reader) -> Searched:
    return Searched(
        low=at.number("low"),
        high=at.number("high"),
        per_layer=at.get("per_layer", bool),
        sampler=at.get("sampler", str),
        seeds=at.get("seeds", int),
        trainings=at.get("trainings", int),
        tried=tuple((str(label), float(value)) for label, value in at.get("tried", list)),
    )


def _optional(at: Reader, key: str) -> float | None:
    return None if at.data.get(key) is None else at.number(key)


def _conclusion(study: Study) -> Json:
    reported = study.reported
    best = study.ranking[0]
    return {
        "answer": _answer(study),
        "best_slope": study.best_slope,
        "recommended": study.recommended,
        "best_set": [arm.value for arm in study.best_set],
        "ranking": [_row(study, arm, best) for arm in study.ranking],
        "smallest_detectable": _number(study.judgement.smallest_detectable),
        "reported": None
        if reported is None
        else {
            "score": reported.score,
            "standard_deviation": _number(reported.deviation),
            "trainings": reported.trainings,
            "source": reported.source,
        },
        "trainings": len(study.trials),
        "training_seconds": study.seconds,
    }


def _answer(study: Study) -> Json:
    found, (worth, why) = study.answer, study.matters
    return {
        "kind": found.kind,
        "reference": study.reference.value,
        "worth": worth,
        "worth_is": why,
        "at_least": found.at_least,
        "at_most": _number(found.at_most),
        "open": [study.arms[arm].value for arm in found.open],
        "more_trainings": found.more_trainings,
        "more_seconds": _number(study.more_seconds),
    }


def _row(study: Study, arm: Arm, best: Arm) -> dict[str, Any]:
    gap = study.difference(arm, best)
    return {
        "slope": arm.value,
        "mean_score": _number(study.mean(arm)),
        "trainings": len(study.trials_of(arm)),
        "failed": study.failures(arm),
        "difference_to_best": _number(gap.estimate),
        "low": _number(gap.low),
        "high": _number(gap.high),
    }


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
