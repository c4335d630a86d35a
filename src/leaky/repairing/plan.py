"""What a repair would do and why: plain data, without a model, to be printed, saved, edited and carried out.

Must say all that happens: the treatments in the order in which they are tried, the modules that are exchanged and the
keys of the state dict that appear.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from leaky import documents
from leaky.errors import InputError
from leaky.report.shown import Shown, as_text
from leaky.report.view import Line, View, line, titled
from leaky.text import counted, listed, printable, ranges

ActionKind = Literal[
    "forget moments",
    "standardise",
    "estimate statistics",
    "level",
    "recentre",
    "revive",
    "recycle",
    "swap",
    "rescale",
    "reinitialise",
    "begin anew",
]
KINDS: tuple[ActionKind, ...] = get_args(ActionKind)
MOST_SITES = 6
"""Sites that a treatment's line names."""
UNSEEN_OPTIMIZER = (
    "an optimizer that apply is given, or train holds, forgets its moments if they are of gradients of another size; "
    "repair(…, optimizer=…) tells now whether it does"
)
"""What a plan can say of an optimizer that it was not made with."""

FORGOTTEN = "moments forgotten"
"""The treatment that moves nothing of the model: the optimizer's memory of other gradients begins anew."""

MomentsSeen = Literal["not looked at", "looked at", "left alone"]
"""Of an optimizer's memory: before it is seen, a plan can only say under which condition it is forgotten."""


@dataclass(frozen=True)
class Action:
    """One thing to do.

    Attributes:
        kind: the operation.
        site: its name, or that of the layer whose inputs are standardised; None for the whole network.
        units: the units concerned; none where the whole site is.
        reason: why.
        negative_slope: α of the rectifier that is put in; None where none is.
        changes: modules that are exchanged, keys of the state dict that appear, and an optimizer's state that begins
            anew, in words.
    """

    kind: ActionKind
    site: str | None
    units: tuple[int, ...]
    reason: str
    negative_slope: float | None = None
    changes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return as_text(tuple(_action_lines(self)))


@dataclass(frozen=True)
class Left:
    """What is not repaired, and why: a reason, or the edit to make in the user's source."""

    site: str
    units: tuple[int, ...]
    reason: str

    def __str__(self) -> str:
        return printable(_left_words(self))


@dataclass(frozen=True)
class Treatment:
    """Actions that are done together and tried as one.

    Attributes:
        name: "shifted", "revived", "recycled", "begun anew", …
        actions: in their order.
        keeps_function: whether the outputs on the data stay, up to rounding.
    """

    name: str
    actions: tuple[Action, ...]
    keeps_function: bool


@dataclass(frozen=True)
class Plan(Shown):
    """What would be tried.

    Attributes:
        treatments: gentlest first; none for a model that needs none.
        planned: the name of the one that is done where nothing can be measured; None where none may be.
        left: what cannot be repaired, or is not for a reason.
        doubt: why the weights may be worth less than new ones, which only training can tell; None without such a sign.
        nothing_to_lose: why any change can only help; None where the model does something.
        training_decides: whether the units in trouble may be a consequence of something that only training tells.
        examined: how many sites and units.
        lost_share: units in trouble over all units.
        thresholds: of the checkup that it was made from.
        seed: of new weights.
        moments: whether the optimizer's memory has been looked at. If not, it is when the plan is carried out; where it
            is of other gradients, it is forgotten in front of each treatment, and as one of its own.
    """

    treatments: tuple[Treatment, ...]
    planned: str | None
    left: tuple[Left, ...]
    doubt: str | None
    nothing_to_lose: str | None
    training_decides: bool
    examined: tuple[int, int]
    lost_share: float
    thresholds: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    moments: MomentsSeen = "not looked at"

    def __bool__(self) -> bool:
        return bool(self.actions)

    @property
    def actions(self) -> tuple[Action, ...]:
        """The actions of the planned treatment."""
        return next((t.actions for t in self.treatments if t.name == self.planned), ())

    def without(self, *names: str) -> Plan:
        """The plan without these treatments, or without all that is done at these sites.

        Without "moments forgotten", an optimizer's memory stays with every other treatment too.

        Raises:
            InputError: if the plan has no such treatment or site.
        """
        known = {t.name for t in self.treatments} | {a.site for t in self.treatments for a in t.actions if a.site}
        known |= {FORGOTTEN} if self.moments == "not looked at" else set()
        for name in names:
            if name not in known:
                raise InputError(f"the plan has no treatment or site {name!r}; it has {', '.join(sorted(known))}")
        rest = []
        for treatment in self.treatments:
            actions = tuple(action for action in treatment.actions if not _is_one_of(action, names))
            worth = treatment.name == FORGOTTEN or any(action.kind != "forget moments" for action in actions)
            if treatment.name not in names and actions and worth:
                rest.append(replace(treatment, actions=actions))
        planned = self.planned if any(t.name == self.planned for t in rest) else None
        moments: MomentsSeen = "left alone" if FORGOTTEN in names else self.moments
        return replace(self, treatments=tuple(rest), planned=planned, moments=moments)

    def __repr__(self) -> str:
        names = listed(treatment.name for treatment in self.treatments)
        return printable(
            f"<Plan for {counted(self.examined[1], 'unit')} at {counted(self.examined[0], 'site')}: {names}>"
        )

    def view(self) -> View:
        """What a reader is shown."""
        return _plan_view(self)

    def to_dict(self) -> documents.Json:
        """The plan as JSON-safe data, a document of the kind "plan"."""
        return documents.as_data("plan", self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan as JSON, whole or not at all; `leaky.load` reads it."""
        documents.save(path, "plan", self)


def _is_one_of(action: Action, names: Collection[str]) -> bool:
    """Whether an action is done at one of these sites, or is the treatment of that name in front of others."""
    return action.site in names or (action.kind == "forget moments" and FORGOTTEN in names)


def read_plan(source: Mapping[str, Any] | str | os.PathLike[str]) -> Plan:
    """A plan from the file that `Plan.save` wrote, or from its data.

    Raises:
        InputError: if it is no plan, is damaged, or was written by a newer leaky.
    """
    plan: Plan = documents.load_as("plan", source)
    return plan


def _plan_view(plan: Plan) -> View:
    """What would be done, what would be tried besides, and what is left alone."""
    told: set[object] = set()
    lines: list[Line] = []
    if not plan.treatments:
        nothing = "Nothing that could be repaired." if plan.left or plan.doubt else "Nothing to repair."
        sites, units = plan.examined
        lines.append(line(f"{nothing} {counted(units, 'unit')} at {counted(sites, 'site')} were examined.", "strong"))
    for action in plan.actions:
        told |= {(action.site, action.units), action.reason, *action.changes}
        lines += _action_lines(action)
    others = [treatment for treatment in plan.treatments if treatment.name != plan.planned]
    if others and plan.planned is not None:
        lines.append(line("with validate=… and train=… these are tried too, gentlest first:", "strong"))
    elif others:
        lines.append(line("nothing is done without evidence; with validate=… and train=… these are tried:", "strong"))
    for treatment in others:
        lines += _treatment(treatment, told)
    if plan.moments == "not looked at":
        lines.append(titled("first of all", UNSEEN_OPTIMIZER, "quiet"))
    lines += [titled("left alone", _left_words(left), "quiet") for left in plan.left]
    if plan.doubt is not None:
        lines.append(titled("in doubt", plan.doubt, "warning"))
    return tuple(lines)


def _action_lines(action: Action) -> list[Line]:
    """An action in full: what, where, why, and what it changes."""
    units = f" units {ranges(action.units)}" if action.units else ""
    lines = [titled(f"{action.kind} {action.site or 'the whole network'}{units}", action.reason)]
    return lines + [line(f"changes {change}", "quiet", 2) for change in action.changes]


def _left_words(left: Left) -> str:
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
