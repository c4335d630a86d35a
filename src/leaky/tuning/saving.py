"""A study and its trainings as a document, and back.

The trainings are the data; the conclusions are written beside them for other readers and are not read back.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Any, Literal

from leaky import documents
from leaky.documents import Json, Reader, plain
from leaky.errors import InputError
from leaky.text import named
from leaky.tuning.arms import Arm, arms_of
from leaky.tuning.conclusions import Searched
from leaky.tuning.scheduling import Budget
from leaky.tuning.study import Study
from leaky.tuning.trial import LARGEST_FIGURE, Trial


@dataclass(frozen=True)
class TrialDocument:
    """One training of a study.

    Attributes:
        slope: the label of what was tried, "0.01" or "prelu".
        seed: of initialisation and data order.
        outcome: how it ended.
        reason: in words, where it did not finish.
        trained_slope: that it trained with, where the slope is a rule ("tailored"); null elsewhere.
        confirms: whether its seed came after the choice and does not take part in it.
        score: what slopes are chosen by; null unless it finished.
        test: the score on data that nothing is chosen by; null where there are none.
        seconds: that it took.
        measurements: figures of the trained network, by name.
        curve: pairs of a step and a value, as the training reported them.
    """

    slope: str
    seed: int
    outcome: Literal["finished", "diverged", "out_of_memory", "raised"]
    reason: str
    trained_slope: float | None = None
    confirms: bool = False
    score: float | None = None
    test: float | None = None
    seconds: float = 0.0
    measurements: dict[str, float] = field(default_factory=dict)
    curve: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class BudgetDocument:
    """What a study may spend.

    Attributes:
        mode: whether seeds are spent by need, or exactly so many a slope.
        seeds: a slope.
        patience: seconds that an undecided study may go on for.
    """

    mode: Literal["adaptive", "fixed"]
    seeds: int
    patience: float = 0.0


@dataclass(frozen=True)
class StudyDocument:
    """Slopes × seeds, every training with its result, and the conclusion.

    Attributes:
        slopes: what is compared: numbers, names, and lists of numbers, one for each rectifier.
        seeds: of the comparison, in the order in which they are run.
        higher_is_better: whether more of the score is better.
        budget: what may be spent.
        trials: every training that ended.
        ended: why the study is over; "" if it was stopped before its end.
        engine: how the trainings ran, and why so.
        worth: the smallest difference of scores that matters; null where nobody said.
        search: what was tried to find some of the slopes; null where all were given.
        conclusion: what the trainings say together, for other readers; leaky concludes anew.
    """

    slopes: tuple[float | str | tuple[float, ...], ...]
    seeds: tuple[int, ...]
    higher_is_better: bool
    budget: BudgetDocument
    trials: tuple[TrialDocument, ...]
    ended: str = ""
    engine: str = ""
    worth: float | None = None
    search: Searched | None = None
    conclusion: dict[str, Any] = field(default_factory=dict)


SCHEMA = StudyDocument


def encode(study: Study) -> Json:
    """The body of a study's document."""
    return {
        "slopes": [arm.value for arm in study.arms],  # a tuple becomes a list
        "seeds": list(study.seeds),
        "higher_is_better": study.higher_is_better,
        "budget": {"mode": study.budget.mode, "seeds": study.budget.seeds, "patience": study.budget.patience},
        "worth": study.worth,
        "ended": study.ended,
        "engine": study.engine,
        "search": plain.encode(study.searched),
        "conclusion": _conclusion(study),
        "trials": [trial_to_dict(trial) for trial in study.trials],
    }


def decode(at: Reader) -> Study:
    """The study that `encode` wrote."""
    body = plain.decode(StudyDocument, _as_now(at))
    try:
        study = Study(
            arms=arms_of(body.slopes),
            seeds=body.seeds,
            higher_is_better=body.higher_is_better,
            budget=Budget(body.budget.seeds, body.budget.mode, body.budget.patience),
            trials=tuple(map(_trial, body.trials, at.items("trials"))),
            ended=body.ended,
            engine=body.engine,
            searched=body.search,
            worth=body.worth,
        )
    except InputError as error:
        raise InputError(f"{at.source}: {error}") from error
    labels = {arm.label for arm in study.arms}
    if len(set(study.seeds)) < len(study.seeds) or any(seed < 0 for seed in study.seeds):
        raise at.wrong("seeds", "different numbers of at least 0")
    for place, trial in enumerate(study.trials):
        if trial.arm not in labels or (not trial.confirms and trial.seed not in study.seeds):
            came = f"number {place} is of {named(trial.arm)}, {trial.seed}"
            raise InputError(f"{at.source}: trials must be of the study's slopes and seeds; {came}")
    return study


def _as_now(at: Reader) -> Reader:
    """Version 1 said `direction`, "maximize" or "minimize"."""
    if at.data.get("schema_version") != 1:
        return at
    directions = ("minimize", "maximize")
    if at.data.get("direction") not in directions:
        raise at.wrong("direction", f"one of {', '.join(map(repr, directions))}")
    return Reader({**at.data, "higher_is_better": at.data["direction"] == "maximize"}, at.source, at.place)


def load_study(path: str | os.PathLike[str]) -> Study:
    """The study that `Study.save` wrote; `leaky.load` reads every kind.

    Raises:
        InputError: if the file cannot be read or is no study that this leaky knows; the message names the field.
    """
    study: Study = documents.load_as("study", path)
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
        "curve": plain.encode(trial.curve),
    }


def trial_from(at: Reader) -> Trial:
    """The training that `trial_to_dict` wrote."""
    return _trial(plain.decode(TrialDocument, at), at)


def _trial(body: TrialDocument, at: Reader) -> Trial:
    figures = (body.score, body.test, body.seconds, *body.measurements.values())
    if any(figure is not None and not abs(figure) <= LARGEST_FIGURE for figure in figures) or body.seconds < 0:
        place = f"{at.place or 'the training'} of {named(body.slope)}, {body.seed}"
        raise InputError(f"{at.source}: {place} must have figures of at most {LARGEST_FIGURE:g}, and seconds from 0 on")
    return Trial(
        arm=body.slope,
        seed=body.seed,
        outcome=body.outcome,
        score=body.score,
        test=body.test,
        reason=body.reason,
        seconds=body.seconds,
        confirms=body.confirms,
        slope=body.trained_slope,
        measurements=body.measurements,
        curve=body.curve,
    )


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
