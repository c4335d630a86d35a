"""A study as what its page shows: the answer, each training, paired differences with the intervals of the library.

Takes any object with what `leaky.tuning.Study` has: report and tuning do not import each other.
"""

from __future__ import annotations

import math
from typing import Any

from leaky.report.page.columns import Columns
from leaky.report.page.wording import told
from leaky.text import counted

MEASUREMENTS = {"dead_share": "Dead share", "second_moment": "E h²"}
"""That get a chart, by their names."""


def study_content(study: Any, columns: Columns) -> dict[str, Any]:
    """What the page of a study shows; curves go to `columns`."""
    trials = [trial for trial in study.trials if not trial.confirms]
    reference = study.reference
    return {
        "kind": "study",
        "title": "study of slopes",
        "verdict": told(str(study).split("\n\n")[0]),
        "level": {"better": "info", "equal": "none"}.get(study.answer.kind, "warning") if trials else "nothing",
        "subtitle": _subtitle(study),
        "reference": reference.label,
        "recommended": None if study.recommended is None else told(str(study.recommended)),
        "higher_is_better": study.higher_is_better,
        "worth": study.answer.worth if trials else None,
        "arms": [_arm(study, arm, reference) for arm in study.ranking] if trials else [],
        "trials": [_trial(trial) for trial in trials],
        "curves": [_curve(trial, columns) for trial in trials if trial.curve],
        "measurements": {
            name: words for name, words in MEASUREMENTS.items() if any(name in trial.measurements for trial in trials)
        },
        "failures": [
            [told(trial.arm), str(trial.seed), told(trial.outcome.replace("_", " ")), told(trial.reason)]
            for trial in trials
            if trial.score is None
        ],
        "notes": [told(line) for line in str(study).split("\n\n")[-1].splitlines()],
    }


def _subtitle(study: Any) -> str:
    ended = f" · {told(study.ended)}" if study.ended else ""
    return f"{counted(len(study.arms), 'slope')} · {counted(len(study.trials), 'training')}{ended}"


def _arm(study: Any, arm: Any, reference: Any) -> dict[str, Any]:
    gap = study.difference(arm, reference)
    same = arm == reference
    return {
        "label": told(arm.label),
        "mean": study.mean(arm),
        "trainings": len(study.trials_of(arm)),
        "failed": study.failures(arm),
        "in_best_set": arm in study.best_set,
        "difference": None if same else gap.estimate,
        "low": None if same else gap.low,
        "high": None if same else gap.high,
    }


def _trial(trial: Any) -> dict[str, Any]:
    return {
        "arm": told(trial.arm),
        "seed": trial.seed,
        "score": trial.score,
        "test": trial.test,
        "outcome": told(trial.outcome),
        "measurements": {name: trial.measurements[name] for name in MEASUREMENTS if name in trial.measurements},
    }


def _curve(trial: Any, columns: Columns) -> dict[str, Any]:
    kept = [(step, value) for step, value in trial.curve if math.isfinite(value)]
    return {
        "arm": told(trial.arm),
        "seed": trial.seed,
        "steps": columns.add([step for step, _ in kept], "f8"),
        "values": columns.add([value for _, value in kept], "f4"),
    }
