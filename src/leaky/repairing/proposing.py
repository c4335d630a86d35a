"""From a checkup to a plan: which treatments there are for what was found, gentlest first.

Must list what cannot be repaired, with the reason and, where only the user's source can change it, the edit to make. A
healthy model gives an empty plan.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from leaky.checkup import Checkup
from leaky.repairing.design import by_design, cut_off
from leaky.repairing.gates import blown_up_gates
from leaky.repairing.operations import OPERATIONS
from leaky.repairing.operations.anew import DEEP, tailored
from leaky.repairing.operations.levelling import held_on_one_side
from leaky.repairing.operations.standardising import first_events, input_ranges
from leaky.repairing.operations.statistics import stale
from leaky.repairing.plan import Action, ActionKind, Left, Plan, Treatment
from leaky.repairing.sizes import blown_up, doubt, odd_weights
from leaky.repairing.subject import Subject
from leaky.repairing.trouble import Trouble, trouble_of
from leaky.repairing.variation import tells_apart
from leaky.text import percentage

ALIKE = 0.95
"""From this part of the pre-activations' second moment on that is their mean's, all inputs look alike to a site."""

LEAK = 0.1
"""The slope of rectifiers that are put in."""

MOST_OF_A_LAYER = 0.5
"""The share of a site's units in trouble from which on its layer may begin anew."""

_SAME = "its outputs are the same for all inputs"

_LOST_RANGE = frozenset({"growth", "decay", "non-finite"})
"""Rules whose errors say that the range is lost with depth."""


@dataclass
class _Draft:
    """What is gathered for a plan: wanted actions go through their operations, which say what of them can be done."""

    subject: Subject
    left: list[Left] = field(default_factory=list)

    def able(self, wanted: Sequence[Action], *, silent: bool = False) -> tuple[Action, ...]:
        """What can be done of these actions; what cannot is listed, unless another treatment is for it."""
        found = []
        for action in wanted:
            able, left = OPERATIONS[action.kind].able(self.subject, action)
            if able is not None:
                found.append(able)
            if not silent:
                self.left += [one for one in left if one not in self.left]
        return tuple(found)


def propose(
    subject: Subject, checkup: Checkup, *, negative_slope: float | None = None, include: Collection[str] = ()
) -> Plan:
    """The plan for a model from what was seen of it; the model is left as it is.

    Args:
        subject: the model and the data of the checkup.
        checkup: of it.
        negative_slope: α of the rectifiers that are put in; None for `LEAK`, or for what theory says where the network
            begins anew.
        include: sites that are treated although they are sparse by design.
    """
    draft = _Draft(subject)
    ground = subject.ground
    troubles = {name: t for name, t in _troubles(checkup, include).items() if name in ground.structure.sites}
    taken = {event for name in troubles for event in (t.event for t in ground.site(name).taken)}
    ground.entering([*first_events(ground), *taken])  # one pass for all that is measured
    wanted = _wanted(draft, checkup, troubles, include)
    ranges = input_ranges(ground)
    first = draft.able([Action("standardise", r.module, (), r.trouble) for r in ranges if r.trouble is not None])
    unsure, nothing, held = doubt(checkup.record), _nothing_to_lose(subject.outputs), held_on_one_side(ground)
    if not wanted and not held and nothing == _SAME:
        nothing = None  # no unit is in trouble: a last layer of zeros learns by itself
    if any(seen.constant for seen in ranges):
        nothing = None  # inputs that are all the same say nothing about the network
        first = ()
    alike = _alike(checkup)
    if alike is not None and len(wanted) > len(ground.structure.sites) / 2:
        wanted = {}  # in trouble as a consequence: no unit is the cause
    else:
        alike = None
    lost = alike or nothing or _range_lost(checkup)
    # with inputs that are too large, the weights need not be
    sized = None if first else blown_up(checkup.record) or blown_up_gates(subject.model)
    unsure = unsure or sized
    sized = None if first else sized or odd_weights(ground)  # by itself no doubt of a network that works
    treatments = _treatments(draft, wanted, first, (sized, lost or unsure or sized, held), negative_slope)
    decides = alike is not None and nothing is None
    total = sum(site.units for site in checkup.record.sites)
    gone = sum(len(t.gone) for t in _troubles(checkup, ()).values())
    return Plan(
        treatments=treatments,
        planned=None if decides else _planned(treatments, nothing, troubles),
        left=tuple(draft.left),
        doubt=lost or unsure,
        nothing_to_lose=nothing,
        training_decides=decides,
        examined=(len(checkup.record.sites), total),
        lost_share=gone / total if total else 0.0,
        thresholds=dict(checkup.diagnosis.thresholds.as_dict()),
        seed=subject.seed,
    )


def _troubles(checkup: Checkup, include: Collection[str]) -> dict[str, Trouble]:
    found = {}
    for site in checkup.record.sites:
        trouble = trouble_of(site, checkup.verdicts[site.name])
        if trouble.gone or trouble.stuck or trouble.locked or site.name in include:
            found[site.name] = trouble
    return found


def _wanted(
    draft: _Draft, checkup: Checkup, troubles: dict[str, Trouble], include: Collection[str]
) -> dict[str, tuple[tuple[int, ...], str]]:
    """The units to treat and why, by site; what is left alone on purpose is listed."""
    ground = draft.subject.ground
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for name, trouble in troubles.items():
        site, seen = ground.site(name), checkup.record.site(name)
        if not trouble.candidates:
            if trouble.gone:
                share = percentage(len(trouble.gone) / trouble.units)
                draft.left.append(Left(name, trouble.gone, f"they are {share} of the site; healthy ones have as many"))
            continue
        reason = None if name in include else by_design(ground, site, seen)
        if reason is not None:
            draft.left.append(Left(name, trouble.candidates, reason))
            continue
        cut = set() if name in include else set(cut_off(ground, site)).intersection(trouble.candidates)
        if cut:
            draft.left.append(
                Left(name, tuple(sorted(cut)), "they were cut off: all that makes and takes them is zero")
            )
        rest = tuple(unit for unit in trouble.candidates if unit not in cut)
        if len(rest) > 0 and not (cut and set(rest).isdisjoint({*trouble.gone, *trouble.stuck, *trouble.locked})):
            found[name] = (rest, trouble.reason)
    return found


def _treatments(
    draft: _Draft,
    wanted: dict[str, tuple[tuple[int, ...], str]],
    first: tuple[Action, ...],
    reasons: tuple[str | None, str | None, str | None],
    negative_slope: float | None,
) -> tuple[Treatment, ...]:
    """Gentlest first; each has the standardising of the inputs in front, which moves nothing.

    `reasons` has why weights are to be scaled, why all may have to begin anew, and what is held on one side.
    """
    sized, anew, held = reasons
    ground = draft.subject.ground
    able = draft.able
    slope = LEAK if negative_slope is None else negative_slope
    every = {kind: [Action(kind, name, units, why) for name, (units, why) in wanted.items()] for kind in _BY_UNIT}
    found: list[tuple[str, tuple[Action, ...]]] = []
    old = stale(ground)
    if old:
        reason = f"{len(old)} of them are not those of the data ({next(iter(old))}: {next(iter(old.values()))})"
        found.append(("statistics estimated anew", able([Action("estimate statistics", None, (), reason)])))
    if first:
        found.append(("inputs standardised", ()))
    shifted = able(every["recentre"], silent=True)
    levelled = able([Action("level", None, (), held)]) if held is not None else ()
    revived = able(every["revive"], silent=True)
    leak = () if not slope else _leaks(draft, wanted, revived, slope, given=negative_slope is not None)
    if shifted or levelled:
        found.append(("shifted", (*levelled, *shifted, *_rest(revived, shifted))))
    if revived:
        found.append(("revived", (*revived, *(leak if negative_slope else ()))))
    recycled = able(every["recycle"], silent=bool(shifted or revived))
    if recycled and recycled != tuple(_as(recycled, "recycle", revived)):
        found.append(("recycled", recycled))
    if leak and not shifted:
        found.append(("leaky", leak))
    if sized is not None:
        scaled = able([Action("rescale", None, (), sized)], silent=True)
        found.append(("rescaled", (*scaled, *levelled, *shifted) if scaled else ()))
    layers = [n for n, (units, _) in wanted.items() if len(units) > MOST_OF_A_LAYER * ground.site(n).units]
    if layers and len(layers) < len(ground.structure.sites):
        found.append(("layers anew", able([Action("reinitialise", n, (), wanted[n][1]) for n in layers], silent=True)))
    if wanted or anew is not None or first or levelled:
        found.append(("begun anew", _begun_anew(draft, anew or held, negative_slope)))
    return tuple(
        Treatment(name, (*first, *actions), _keeps_function(name, actions))
        for name, actions in found
        if actions or (first and name == "inputs standardised")
    )


def _keeps_function(name: str, actions: tuple[Action, ...]) -> bool:
    """Whether a treatment moves nothing; a leak behind units that give nothing yet moves nothing either."""
    return name == "revived" or all(OPERATIONS[action.kind].keeps_function for action in actions)


def _begun_anew(draft: _Draft, reason: str | None, negative_slope: float | None) -> tuple[Action, ...]:
    """The whole network anew, with the slope that theory has for it unless one is given."""
    slope = tailored(draft.subject.ground) if negative_slope is None else negative_slope
    words = reason or "what put the network into this state may have harmed its weights too"
    return draft.able([Action("begin anew", None, (), words, slope)], silent=negative_slope == 0)


_BY_UNIT: tuple[ActionKind, ...] = ("recentre", "revive", "recycle")


def _as(actions: Sequence[Action], kind: ActionKind, others: Sequence[Action]) -> Sequence[Action]:
    return [Action(kind, other.site, other.units, other.reason) for other in others] if actions else []


def _rest(actions: Sequence[Action], done: Sequence[Action]) -> tuple[Action, ...]:
    """Of these actions, what the others leave."""
    units = {action.site: set(action.units) for action in done}
    rest = []
    for action in actions:
        free = tuple(unit for unit in action.units if unit not in units.get(action.site, ()))
        if free:
            rest.append(Action(action.kind, action.site, free, action.reason))
    return tuple(rest)


def _leaks(
    draft: _Draft,
    wanted: dict[str, tuple[tuple[int, ...], str]],
    revived: Sequence[Action],
    slope: float,
    *,
    given: bool,
) -> tuple[Action, ...]:
    """A leak for the sites in trouble: for the whole site, which changes no key, or for the units that are revived."""
    ground = draft.subject.ground
    units = {action.site: action.units for action in revived}
    actions = []
    for name, (candidates, reason) in wanted.items():
        if np.any(np.asarray(ground.site(name).use.activation.negative_slope)):
            continue
        chosen = units.get(name, candidates) if given else ()
        actions.append(Action("swap", name, chosen, f"{reason}; a leak lets them learn", slope))
    return draft.able(actions, silent=bool(revived))


def _planned(treatments: Sequence[Treatment], nothing: str | None, troubles: dict[str, Trouble]) -> str | None:
    """What is done where nothing can be measured: what keeps the function; anything gentle, where there is none.

    Units that have been silent on too few samples only are not touched so: on other data they may be at work.
    """
    names = [treatment.name for treatment in treatments]

    def proven(action: Action) -> bool:
        return action.site not in troubles or set(action.units) <= set(troubles[action.site].gone)

    keeping = [t.name for t in treatments if t.keeps_function and all(map(proven, t.actions))]
    if nothing is None:
        return keeping[-1] if keeping else None
    return next((name for name in names if name != "inputs standardised"), None)


def _nothing_to_lose(outputs: Sequence[Tensor]) -> str | None:
    """Why any change can only help; None where the model does something."""
    if not all(bool(torch.isfinite(out).all()) for out in outputs):
        return "its outputs are not finite"
    return None if tells_apart(outputs) else _SAME


def _range_lost(checkup: Checkup) -> str | None:
    """That the range is lost with depth, in words."""
    for finding in checkup.findings:
        if finding.rule in _LOST_RANGE and finding.level == "error":
            return finding.message
    return None


def _alike(checkup: Checkup) -> str | None:
    """That the deepest quarter of a deep network's sites tells no inputs apart, in words."""
    inner = [site for site in checkup.record.sites if not site.is_output]
    last = inner[-max(1, len(inner) // 4) :] if len(inner) >= DEEP else []
    shares = []
    for site in last:
        means, variances = np.nan_to_num(site.mean) ** 2, np.nan_to_num(site.variance)
        total = float((means + variances).sum())
        shares.append(float(means.sum()) / total if total > 0 else 1.0)
    if not shares or min(shares) < ALIKE:
        return None
    return f"its deepest {len(last)} sites see {percentage(min(shares))} or more of the same in every input"
