"""What a watch did to a training at an alarm. Plain data, without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from leaky.errors import InputError
from leaky.text import named

ControlKind = Literal["clamp", "slope", "rescale", "rate"]
KINDS: tuple[ControlKind, ...] = get_args(ControlKind)


@dataclass(frozen=True)
class ControlRecord:
    """A control that an alarm led to, or why there was none.

    Attributes:
        step: at which it was made.
        kind: clamp: what a site puts out is cut off at ±amount; slope: the site's slope is raised to amount; rescale:
            the layer before it is multiplied by amount, a power of two, and the next ones divided by it; rate: of each
            step of the optimizer on the layer the part amount is kept, or only so much that it is within at_most of the
            weights, and amount of the step that raised the alarm.
        site: of the alarm; None for a layer that no site follows.
        alarm: the alarm's name.
        evidence: what the alarm said.
        places: names of the parameters, or of the module, that are changed.
        amount: see kind; NaN where it was refused.
        at_most: the longest step that is kept, ‖Δw‖ ÷ ‖w‖; NaN where it is a fixed part, or another kind.
        refused: why nothing was done; empty where it was.
        ended: the step at which it was undone; None while it holds.
        why_ended: in words.
    """

    step: int
    kind: ControlKind
    site: str | None
    alarm: str
    evidence: str
    places: tuple[str, ...] = ()
    amount: float = math.nan
    at_most: float = math.nan
    refused: str = ""
    ended: int | None = None
    why_ended: str = ""

    def __post_init__(self) -> None:
        if not self.refused and not (math.isfinite(self.amount) and self.amount > 0):
            raise InputError(f"the amount of a control must be a number above 0, not {self.amount!r}")

    def __str__(self) -> str:
        where = f"at {named(self.site)}" if self.site is not None else "at a layer that no site follows"
        head = f"step {self.step}: {self.kind} {where}"
        return f"{head} is refused: {self.refused}" if self.refused else f"{head}: {self.said}"

    @property
    def said(self) -> str:
        """What was done, and when and why it was undone, in words; why nothing was where it was refused."""
        if self.refused:
            return self.refused
        places = ", ".join(self.places)
        end = "" if self.ended is None else f"; undone at step {self.ended}: {self.why_ended}"
        done = _SHORT if math.isfinite(self.at_most) else _DONE[self.kind]
        return f"{done.format(places=places, amount=self.amount, at_most=self.at_most)}{end}"


_DONE: dict[ControlKind, str] = {
    "clamp": "what {places} puts out is cut off at ±{amount:.4g}",
    "slope": "{places} now has the slope {amount:.4g}",
    "rescale": "{places}: multiplied by {amount:.6g} and what follows divided, the function being the same",
    "rate": "of each step on {places} the part {amount:.3g} is kept",
}
_SHORT = "steps on {places} are kept within {at_most:.3g} of the weights, of this one the part {amount:.3g}"
