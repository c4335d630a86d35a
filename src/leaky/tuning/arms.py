"""What a study compares: slopes by number, by rule, learned ones, and other activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from leaky.errors import InputError

PRELU, TAILORED = "prelu", "tailored"
OTHERS = ("elu", "gelu", "silu")
"""Activations without a slope that a study can put beside the slopes."""
DEFAULT_SLOPES: tuple[float | str, ...] = (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, PRELU, TAILORED)


@dataclass(frozen=True)
class Arm:
    """One of the things that a study compares: a slope, or a name from `PRELU`, `TAILORED` and `OTHERS`."""

    value: float | str

    @property
    def label(self) -> str:
        """As it is printed and stored: "0.01", "prelu"."""
        return self.value if isinstance(self.value, str) else f"{self.value:g}"

    @property
    def complexity(self) -> tuple[int, float]:
        """What sorts the simplest first: ReLU, torch's default, other fixed slopes by size, a rule, learned, others."""
        if isinstance(self.value, str):
            return (3 + [TAILORED, PRELU, *OTHERS].index(self.value), 0.0)
        return {0.0: (0, 0.0), 0.01: (1, 0.0)}.get(self.value, (2, abs(self.value)))


def arms_of(slopes: Sequence[float | str]) -> tuple[Arm, ...]:
    """The arms of a study.

    Args:
        slopes: finite numbers, and names from `PRELU`, `TAILORED` and `OTHERS`.

    Raises:
        InputError: if there are fewer than two, one twice, or something else.
    """
    if isinstance(slopes, str):
        raise InputError(f"slopes must be a list of slopes, not the string {slopes!r}")
    arms = tuple(Arm(_value(slope)) for slope in slopes)
    if len(arms) < 2:
        raise InputError(f"slopes must be at least two, to be compared, not {len(arms)}")
    labels = [arm.label for arm in arms]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise InputError(f"slopes must differ; {', '.join(twice)} came more than once")
    return arms


def _value(slope: float | str) -> float | str:
    if isinstance(slope, str):
        names = (PRELU, TAILORED, *OTHERS)
        if slope in names:
            return slope
        raise InputError(f"a slope must be a number or one of {', '.join(names)}, not {slope!r}")
    if isinstance(slope, bool) or not math.isfinite(slope):
        raise InputError(f"a slope must be a finite number, not {slope!r}")
    return float(slope) + 0.0  # −0.0 is the same slope as 0.0


def slope_from(text: str) -> float | str:
    """A slope as the command line has it.

    Raises:
        InputError: if it is neither a finite number nor a name.
    """
    try:
        return _value(float(text))
    except ValueError:  # InputError is one
        return _value(text)
