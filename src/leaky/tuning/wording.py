"""A study in words: the verdict, the ranking with its differences, and what it cost.

Must say no more than the scores allow.
"""

from __future__ import annotations

import math

from leaky.report.view import Column, Gap, Table, View, line
from leaky.text import counted, percentage, together
from leaky.tuning.arms import Arm
from leaky.tuning.conclusions import Conclusions
from leaky.tuning.statistics.answering import BETTER, EQUAL, UNDECIDED
from leaky.tuning.statistics.judging import Difference

REFERENCES = ("0", "0.01")
"""What everything is compared with besides the best: ReLU, and torch's default."""
FAR_OFF = 1_000_000
"""Trainings beyond which a projection says nothing but that there are more."""
COLUMNS = {"dead_share": "dead", "second_moment": "E[h²]"}
"""Measurements that stand beside the scores, and their headings."""


def study_view(study: Conclusions) -> View:
    """Everything that a reader is shown."""
    said = (_searched(study), _differences_known(study), _reported(study), _cost(study), *_failures(study))
    return (line(verdict(study), "strong"), Gap(), _table(study), Gap(), *(line(words) for words in said if words))


def verdict(study: Conclusions) -> str:
    """The answer in a sentence or two."""
    unfinished = "" if study.ended else " The study was stopped before its end; the same call resumes it."
    if not study.trials:
        return f"No training has ended yet.{unfinished}"
    if study.budget.fixed_seeds and study.judgement.seeds < study.budget.seeds and not study.judgement.eliminations:
        return f"A study of fixed budget is judged once, at its end; {_progress(study)}.{unfinished}"
    said = {BETTER: _better, EQUAL: _equal, UNDECIDED: _undecided}[study.answer.kind](study)
    return f"{said}{unfinished}"


def _better(study: Conclusions) -> str:
    found, worse = study.answer, [study.arms[out.arm].label for out in study.judgement.eliminations]
    taken, reference = Arm(study.best_slope or 0.0).label, study.reference.label
    by = f"by at least {found.at_least:.2g}"
    if not study.higher_is_better:
        by = f"lower by at least {found.at_least:.2g}"
    text = f"{taken} is better than {reference}, {by} (95%, all comparisons together)."
    also = [label for label in worse if label != reference]
    if also:
        text += f" {together(also)} {'is' if len(also) == 1 else 'are'} detectably worse than the best as well."
    rest = [arm.label for arm in study.best_set if arm.label != taken]
    return f"{text} {together(rest)} cannot be told apart from it." if rest else text


def _equal(study: Conclusions) -> str:
    found, reference = study.answer, study.reference
    out = [study.arms[each.arm] for each in study.judgement.eliminations]
    worse = [arm.label for arm in out if arm != reference]
    rest = [arm for arm in study.best_set if arm != reference]
    gaps = {arm.label: study.difference(arm, reference) for arm in rest}
    equal = [label for label, gap in gaps.items() if max(-gap.low, gap.high) <= found.worth]
    text = f"No slope is better than {reference.label} by more than {found.worth:.2g} (95%, all comparisons together)"
    text += f": take {reference.label}, the simplest."
    if equal:
        text += f" {together(equal)} {'is' if len(equal) == 1 else 'are'} equal to it within {found.worth:.2g}."
    if worse:
        text += f" {together(worse)} {'is' if len(worse) == 1 else 'are'} detectably worse."
    return text


def _undecided(study: Conclusions) -> str:
    found, reference = study.answer, study.reference.label
    open_arms = [study.arms[arm].label for arm in study.judgement.ranking if arm in found.open]
    text = (
        f"Undecided: whether {together(open_arms)} {'is' if len(open_arms) == 1 else 'are'} better than {reference} by "
        f"more than {found.worth:.2g} is not known."
    )
    return f"{text} {_what_would_tell(study)} Nothing is recommended."


def _what_would_tell(study: Conclusions) -> str:
    more, seconds = study.answer.more_trainings, study.more_seconds
    if more is None or seconds is None:
        return "Too few trainings have ended to say how many more would tell."
    if more > FAR_OFF:
        return f"More than {FAR_OFF:,} further trainings would be needed; a larger worth needs fewer."
    return f"About {_rounded(more)} more {'training' if more == 1 else 'trainings'}, {_duration(seconds)}, would tell."


def _rounded(count: int) -> str:
    """A projection has two figures at most."""
    step = 10 ** max(0, len(str(count)) - 2)
    return f"{round(count / step) * step:,}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else "a second"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _progress(study: Conclusions) -> str:
    return f"{len(study.trials)} of {len(study.arms) * study.budget.seeds} trainings have ended"


def _table(study: Conclusions) -> Table:
    best = study.ranking[0]
    labels = {arm.label: arm for arm in study.arms}
    references = [labels[name] for name in REFERENCES if name in labels]
    measured = [name for name in COLUMNS if not all(math.isnan(study.measurement(arm, name)) for arm in study.arms)]
    numbers = ["seeds", "score", "to the best", *(f"to {arm.label}" for arm in references)]
    numbers += [COLUMNS[name] for name in measured]
    out = {each.arm for each in study.judgement.eliminations}
    worse = {arm for place, arm in enumerate(study.arms) if place in out}
    rows = []
    for arm in study.ranking:
        row = [arm.label, str(len(study.trials_of(arm))), _figure(study.mean(arm))]
        row += [_interval(study.difference(arm, other), arm == other) for other in (best, *references)]
        row += [_measured(study, arm, name) for name in measured]
        rows.append((*row, "worse" if arm in worse else ""))
    return Table((Column("slope"), *(Column(name) for name in numbers), Column("")), tuple(rows))


def _figure(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4g}"


def _interval(difference: Difference, same: bool) -> str:
    if same or difference.seeds == 0:
        return "–"
    estimate = f"{difference.estimate:+.3g}"
    if not math.isfinite(difference.low):
        return estimate
    return f"{estimate} [{difference.low:+.3g}, {difference.high:+.3g}]"


def _measured(study: Conclusions, arm: Arm, name: str) -> str:
    value = study.measurement(arm, name)
    if math.isnan(value):
        return "–"
    return percentage(value) if name.endswith("_share") else f"{value:.3g}"


def _differences_known(study: Conclusions) -> str:
    smallest = study.judgement.smallest_detectable
    if smallest is None or study.judgement.seeds == 0:
        return ""
    if math.isinf(smallest):
        return f"{counted(study.judgement.seeds, 'seed')} a slope are too few to detect any difference."
    return (
        f"With {counted(study.judgement.seeds, 'seed')}, a difference of {smallest:.3g} would have been detected "
        "in 4 of 5 studies; smaller ones may exist."
    )


def _searched(study: Conclusions) -> str:
    searched = study.searched
    if searched is None:
        return ""
    shape = " for each layer" if searched.per_layer else ""
    best = f", the best {searched.tried[0][0]} with {searched.tried[0][1]:.4g} there" if searched.tried else ""
    return (
        f"{searched.sampler} tried {counted(len(searched.tried), 'slope')}{shape} from {searched.low:g} to "
        f"{searched.high:g} before, on {counted(searched.seeds, 'seed')} of its own "
        f"({counted(searched.trainings, 'training')}){best}."
    )


def _reported(study: Conclusions) -> str:
    reported = study.reported
    if reported is None or study.recommended is None:
        return ""
    spread = "" if math.isnan(reported.deviation) else f" ± {reported.deviation:.2g}"
    return (
        f"Score of {Arm(study.recommended).label} on {reported.source}, which had no part in the choice: "
        f"{reported.score:.4g}{spread} ({counted(reported.trainings, 'training')}, ± one standard deviation)."
    )


def _cost(study: Conclusions) -> str:
    better = "higher" if study.higher_is_better else "lower"
    engine = f", {study.engine}" if study.engine else ""
    ended = f" It ended because {study.ended}." if study.ended else ""
    total = f"{counted(len(study.trials), 'training')}, {study.seconds:.1f} s of training{engine}"
    worth, why = study.matters
    return f"{total}; {better} scores are better; a difference of {worth:.2g} matters ({why}).{ended}"


def _failures(study: Conclusions) -> list[str]:
    lines = []
    for arm in study.arms:
        failed = [trial for trial in study.trials_of(arm) if not trial.finished]
        if failed:
            first = failed[0]
            reason = f": {first.reason}" if first.reason else ""
            lines.append(
                f"{arm.label} failed in {len(failed)} of {len(study.trials_of(arm))}, counted as worse than the worst "
                f"score; seed {first.seed} {first.outcome.replace('_', ' ')}{reason}"
            )
    return lines
