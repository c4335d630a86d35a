"""Which alarm leads to which control: the table, and how a user's own is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias, cast

from leaky.errors import InputError
from leaky.watching.alarms import ALARMS
from leaky.watching.control_record import KINDS, ControlKind

Choice: TypeAlias = ControlKind | tuple[ControlKind, float]
"""A control, or one with its amount: ("clamp", largest magnitude), ("slope", α), ("rescale", power of two),
("rate", part of each step)."""

Asked: TypeAlias = tuple[ControlKind, float | None]
"""A kind and its amount; None for one that follows from the evidence."""

Table: TypeAlias = Mapping[str, tuple[Asked, ...]]
"""The controls for each alarm, in order."""

CONTROLS: Mapping[str, ControlKind] = {
    "update-size": "rate",
    "gradient-spike": "rate",
    "drift": "clamp",
    "collapsing": "slope",
    "stopped-firing": "slope",
    "dead": "slope",
}
"""What `on_alarm="control"` does. NaN is past help when it is seen: it is in the weights and the optimizer's moments.
What is wrong from the start (input, depth, experts) is for its cause to be mended."""


def table_of(choices: Mapping[str, Choice | list[Choice]]) -> Table:
    """The table that a user's own choices make.

    Raises:
        InputError: if it names what does not exist, or an amount that cannot be.
    """
    several = {alarm: choice if isinstance(choice, list) else [choice] for alarm, choice in choices.items()}
    return {alarm: tuple(_read(alarm, each) for each in chosen) for alarm, chosen in several.items()}


def _read(alarm: str, choice: Choice) -> Asked:
    if alarm not in ALARMS:
        raise InputError(f"on_alarm must name alarms among {', '.join(ALARMS)}, not {alarm!r}")
    kind, amount = (choice, None) if isinstance(choice, str) else cast("Asked", choice)
    if kind not in KINDS:
        raise InputError(f"the control for {alarm!r} must be one of {', '.join(KINDS)}, not {kind!r}")
    if amount is None:
        return kind, None
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 < amount < math.inf:
        raise InputError(f"the amount of {kind!r} for {alarm!r} must be a number above 0, not {amount!r}")
    if kind in ("slope", "rate") and amount >= 1:
        raise InputError(f"the amount of {kind!r} for {alarm!r} must be below 1, not {amount!r}")
    if kind == "rescale" and (math.frexp(amount)[0] != 0.5 or amount == 1):
        raise InputError(f"the amount of 'rescale' for {alarm!r} must be a power of two, such as 0.25, not {amount!r}")
    return kind, float(amount)
