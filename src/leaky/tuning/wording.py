"""A study in words: the verdict, the ranking with its differences, and what it cost.

Must say no more than the scores allow, and nothing that a terminal would obey.
"""

from __future__ import annotations

import math

from leaky.report.words import counted, printable
from leaky.tuning.arms import Arm
from leaky.tuning.judging import Difference
from leaky.tuning.study import FINISHED, MAXIMIZE, Study

REFERENCES = ("0", "0.01")
"""What everything is compared with besides the best: ReLU, and torch's default."""
COLUMNS = {"dead_share": "dead", "second_moment": "E[h²]"}
"""Measurements that stand beside the scores, and their headings."""


def study_text(study: Study) -> str:
    """Everything, as a few lines of text."""
    lines = [verdict(study), "", *_table(study), ""]
    said = (_searched(study), _differences_known(study), _reported(study), _cost(study), *_failures(study))
    lines += [line for line in said if line]
    return "\n".join(lines)


def verdict(study: Study) -> str:
    """The answer in a sentence or two."""
    judgement, best_set = study.judgement, study.best_set
    names = [arm.label for arm in best_set]
    unfinished = "" if study.ended else " The study was stopped before its end; the same call resumes it."
    if not study.trials:
        return f"No training has ended yet.{unfinished}"
    if not judgement.eliminations:
        if study.budget.fixed_seeds and judgement.seeds < study.budget.seeds:
            return f"A study of fixed budget is judged once, at its end; {_progress(study)}.{unfinished}"
        return (
            f"No detectable difference between {_listed(names)}; "
            f"{study.simplest.label} is the simplest adequate slope.{unfinished}"
        )
    worse = [study.arms[out.arm].label for out in judgement.eliminations]
    if len(names) == 1:
        return f"{names[0]} is better than {_listed(worse)}, detectably (95%, all comparisons together).{unfinished}"
    return (
        f"{_listed(worse)} {'is' if len(worse) == 1 else 'are'} detectably worse (95%, all comparisons together); "
        f"{_listed(names)} cannot be told apart, of which {names[0]} ranks first and "
        f"{study.simplest.label} is the simplest.{unfinished}"
    )


def _progress(study: Study) -> str:
    return f"{len(study.trials)} of {len(study.arms) * study.budget.seeds} trainings have ended"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _table(study: Study) -> list[str]:
    best = study.ranking[0]
    labels = {arm.label: arm for arm in study.arms}
    references = [labels[name] for name in REFERENCES if name in labels]
    columns = [name for name in COLUMNS if not all(math.isnan(study.measurement(arm, name)) for arm in study.arms)]
    head = ["slope", "seeds", "score", "to the best", *(f"to {arm.label}" for arm in references)]
    rows = [[*head, *(COLUMNS[name] for name in columns), ""]]
    members = set(study.best_set)
    for arm in study.ranking:
        row = [arm.label, str(len(study.trials_of(arm))), _figure(study.mean(arm))]
        row += [_interval(study.difference(arm, other), arm == other) for other in (best, *references)]
        row += [_measured(study, arm, name) for name in columns]
        rows.append([*row, "" if arm in members else "worse"])
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _figure(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4g}"


def _interval(difference: Difference, same: bool) -> str:
    if same or difference.seeds == 0:
        return "–"
    estimate = f"{difference.estimate:+.3g}"
    if not math.isfinite(difference.low):
        return estimate
    return f"{estimate} [{difference.low:+.3g}, {difference.high:+.3g}]"


def _measured(study: Study, arm: Arm, name: str) -> str:
    value = study.measurement(arm, name)
    if math.isnan(value):
        return "–"
    return f"{value:.1%}" if name.endswith("_share") else f"{value:.3g}"


def _differences_known(study: Study) -> str:
    smallest = study.judgement.smallest_detectable
    if smallest is None or study.judgement.seeds == 0:
        return ""
    if math.isinf(smallest):
        return f"{counted(study.judgement.seeds, 'seed')} a slope are too few to detect any difference."
    return (
        f"With {counted(study.judgement.seeds, 'seed')}, a difference of {smallest:.3g} would have been detected "
        "in 4 of 5 studies; smaller ones may exist."
    )


def _searched(study: Study) -> str:
    searched = study.searched
    if searched is None:
        return ""
    shape = " for each layer" if searched.per_layer else ""
    best = f", the best {searched.tried[0][0]} with {searched.tried[0][1]:.4g} there" if searched.tried else ""
    return (
        f"{printable(searched.sampler)} tried {counted(len(searched.tried), 'slope')}{shape} from {searched.low:g} to "
        f"{searched.high:g} before, on {counted(searched.seeds, 'seed')} of its own "
        f"({counted(searched.trainings, 'training')}){best}."
    )


def _reported(study: Study) -> str:
    reported = study.reported
    if reported is None:
        return ""
    spread = "" if math.isnan(reported.deviation) else f" ± {reported.deviation:.2g}"
    return (
        f"Score of {Arm(study.recommended).label} on {reported.source}, which had no part in the choice: "
        f"{reported.score:.4g}{spread} ({counted(reported.trainings, 'training')}, ± one standard deviation)."
    )


def _cost(study: Study) -> str:
    better = "higher" if study.direction == MAXIMIZE else "lower"
    engine = f", {printable(study.engine)}" if study.engine else ""
    ended = f" It ended because {study.ended}." if study.ended else ""
    total = f"{counted(len(study.trials), 'training')}, {study.seconds:.1f} s of training{engine}"
    return f"{total}; {better} scores are better.{ended}"


def _failures(study: Study) -> list[str]:
    lines = []
    for arm in study.arms:
        failed = [trial for trial in study.trials_of(arm) if trial.outcome != FINISHED]
        if failed:
            first = failed[0]
            reason = f": {printable(first.reason)}" if first.reason else ""
            lines.append(
                f"{arm.label} failed in {len(failed)} of {len(study.trials_of(arm))}, counted as worse than the worst "
                f"score; seed {first.seed} {first.outcome.replace('_', ' ')}{reason}"
            )
    return lines
