"""What every operation of repair is: the same small interface.

An operation says of a wanted action what of it can be done and why the rest cannot, does it, and tells the subject what
it changed. Undoing is the same for all of them: `Subject.undone_on_error`, and the snapshots of whoever calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from leaky.errors import InputError
from leaky.repairing.plan import Action, ActionKind, Left
from leaky.repairing.subject import Subject
from leaky.structure.units import SiteStructure

Able: TypeAlias = Callable[[Subject, Action], tuple[Action | None, tuple[Left, ...]]]


@dataclass(frozen=True)
class Operation:
    """One thing that can be done to a model.

    Attributes:
        kind: of the actions that it carries out.
        needs: what must be given for it.
        promises: what stays as it was.
        keeps_function: whether the outputs on the data stay, up to rounding.
        able: what of a wanted action can be done, and what is left with the reason; changes nothing.
        carry_out: does actions of this kind together.
    """

    kind: ActionKind
    needs: str
    promises: str
    keeps_function: bool
    able: Able
    carry_out: Callable[[Subject, Sequence[Action]], None]


def place_of(action: Action) -> str:
    """The site, or the layer, of an action of a kind that has one."""
    assert action.site is not None
    return action.site


def units_by_site(actions: Sequence[Action]) -> dict[str, tuple[int, ...]]:
    """The units of actions, by site."""
    return {place_of(action): action.units for action in actions}


def existing(site: SiteStructure, units: Iterable[int]) -> tuple[int, ...]:
    """These units, all of which the site has.

    Raises:
        InputError: if there is no such unit.
    """
    chosen = tuple(units)
    unknown = sorted({unit for unit in chosen if not 0 <= unit < site.units})
    if unknown:
        raise InputError(f"the units of {site.name!r} must be below {site.units}, not {unknown[:5]}")
    return chosen
