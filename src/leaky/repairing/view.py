"""What a reader is shown of a plan, of what a repair did, and of a pruning.

Sites, units and reasons must be said once, however many treatments are for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from leaky.report.view import Line, Tone, View, line, titled
from leaky.text import counted, listed, percentage, ranges

if TYPE_CHECKING:
    from leaky.repairing.outcome import RepairRecord, Trial, Verdict
    from leaky.repairing.plan import Action, Left, Plan, Treatment
    from leaky.repairing.pruning import Pruning

MOST_SITES = 6
"""Sites that a treatment's line names."""
UNSEEN_OPTIMIZER = (
    "an optimizer that apply is given, or train holds, forgets its moments if they are of gradients of another size; "
    "repair(…, optimizer=…) tells now whether it does"
)
"""What a plan can say of an optimizer that it was not made with."""
VERDICTS: dict[Verdict, str] = {
    "kept": "Kept",
    "not judged": "Done, not judged",
    "left": "Left as it was",
    "nothing to do": "Left as it was",
    "rolled back": "Rolled back",
}


def plan_view(plan: Plan) -> View:
    """What would be done, what would be tried besides, and what is left alone."""
    told: set[object] = set()
    lines: list[Line] = []
    if not plan.treatments:
        nothing = "Nothing that could be repaired." if plan.left or plan.doubt else "Nothing to repair."
        sites, units = plan.examined
        lines.append(line(f"{nothing} {counted(units, 'unit')} at {counted(sites, 'site')} were examined.", "strong"))
    for action in plan.actions:
        told |= {(action.site, action.units), action.reason, *action.changes}
        lines += action_lines(action)
    others = [treatment for treatment in plan.treatments if treatment.name != plan.planned]
    if others and plan.planned is not None:
        lines.append(line("with validate=… and train=… these are tried too, gentlest first:", "strong"))
    elif others:
        lines.append(line("nothing is done without evidence; with validate=… and train=… these are tried:", "strong"))
    for treatment in others:
        lines += _treatment(treatment, told)
    if plan.moments == "not looked at":
        lines.append(titled("first of all", UNSEEN_OPTIMIZER, "quiet"))
    lines += [titled("left alone", left_words(left), "quiet") for left in plan.left]
    if plan.doubt is not None:
        lines.append(titled("in doubt", plan.doubt, "warning"))
    return tuple(lines)


def action_lines(action: Action) -> list[Line]:
    """An action in full: what, where, why, and what it changes."""
    units = f" units {ranges(action.units)}" if action.units else ""
    lines = [titled(f"{action.kind} {action.site or 'the whole network'}{units}", action.reason)]
    return lines + [line(f"changes {change}", "quiet", 2) for change in action.changes]


def left_words(left: Left) -> str:
    """What is left alone, and why."""
    return f"{left.site}{f' units {ranges(left.units)}' if left.units else ''}: {left.reason}"


def _treatment(treatment: Treatment, told: set[object]) -> Iterable[Line]:
    """A treatment in a line, with what was not said before; it is `told` afterwards."""
    by_kind: dict[str, list[str]] = {}
    for action in treatment.actions:
        known = not action.units or (action.site, action.units) in told
        site = action.site or "the whole network"
        by_kind.setdefault(action.kind, []).append(site if known else f"{site} (units {ranges(action.units)})")
        told.add((action.site, action.units))
    what = "; ".join(f"{kind} {listed(sites, MOST_SITES)}" for kind, sites in by_kind.items())
    reasons = [reason for reason in dict.fromkeys(a.reason for a in treatment.actions) if reason not in told]
    told |= set(reasons)
    yield titled(treatment.name, what + (f": {listed(reasons, 2)}" if reasons else ""), indent=1)
    for change in dict.fromkeys(change for action in treatment.actions for change in action.changes):
        if change not in told:
            yield line(f"changes {change}", "quiet", 2)
    told |= {change for action in treatment.actions for change in action.changes}


def record_view(record: RepairRecord) -> View:
    """What was done, on which evidence."""
    tone: Tone = "good" if record.verdict == "kept" else "strong"
    lines = [titled(VERDICTS[record.verdict], record.reason, tone)]
    if record.verdict not in ("left", "nothing to do"):
        known = math.isfinite(record.output_change)
        change = f"{record.output_change:.3g} of their size" if known else "all they were"
        lines.append(line(f"outputs changed by {change}", indent=1))
        lines += [line(change, indent=1) for action in record.actions for change in action.changes]
    if record.metric is not None:
        lines.append(line(f"validation {record.metric[0]:.6g} before, {record.metric[1]:.6g} after", indent=1))
    lines += [line(trial_words(trial), indent=1) for trial in record.trials]
    if record.trainings is not None:
        lines.append(line(f"{record.trainings[0]} short trainings, of at most {record.trainings[1]}", indent=1))
    before, after = map(percentage, record.lost_share)
    lines.append(line(f"dead or constant units {before} before, {after} after", indent=1))
    return (*lines, *(titled("note", note, "quiet", indent=1) for note in record.notes))


def trial_words(trial: Trial) -> str:
    """What became of the model under one treatment."""
    if not trial.trainings:
        return f"{trial.name}: {trial.before:.6g}"
    times = "" if trial.trainings == 1 else f" ({trial.trainings} times)"
    return f"{trial.name}: {trial.before:.6g}, trained for a while{times} {trial.after:.6g}"


def pruning_view(pruning: Pruning) -> View:
    """What was removed, and what stayed for which reason."""
    count = sum(map(len, pruning.removed.values()))
    before, after = pruning.parameters
    less = f"{before:,} parameters before, {after:,} after ({percentage(1 - after / before)} less)" if count else ""
    lines = [titled(f"{counted(count, 'unit')} removed", less) if count else line("No unit was removed.", "strong")]
    lines += [titled(name, f"units {ranges(units)}", indent=1) for name, units in pruning.removed.items()]
    for name, reasons in pruning.refused.items():
        for reason in dict.fromkeys(reasons.values()):
            stayed = [unit for unit, own in reasons.items() if own == reason]
            lines.append(titled("left alone", f"{name} units {ranges(stayed)}: {reason}", "quiet", indent=1))
    return (*lines, line(f"outputs changed by {pruning.change:.3g} of their size", indent=1))
