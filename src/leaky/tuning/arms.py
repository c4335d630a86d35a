"""What a study compares: slopes by number, one for each layer, by rule, learned ones, and other activations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from leaky.checking import finite, shown
from leaky.errors import InputError
from leaky.text import named

PRELU, TAILORED = "prelu", "tailored"
LARGEST = 1e15
"""Of a slope: its square is a number in float32 still."""
OTHERS = ("elu", "gelu", "silu")
"""Activations without a slope that a study can put beside the slopes."""
Slope = float | str | tuple[float, ...]
"""A slope, a name from `PRELU`, `TAILORED` and `OTHERS`, or one slope for each rectifier of the model."""
REFERENCES: tuple[Slope, ...] = (0.0, 0.01)
"""What a search is compared with where nothing else is given: ReLU, and torch's default."""
DEFAULT_SLOPES: tuple[Slope, ...] = (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, PRELU, TAILORED)


@dataclass(frozen=True)
class Arm:
    """One of the things that a study compares."""

    value: Slope

    @property
    def label(self) -> str:
        """As it is printed and stored: "0.01", "prelu", "0.1/0.2" for two layers."""
        if isinstance(self.value, str):
            return self.value
        return "/".join(f"{slope:g}" for slope in (self.value if isinstance(self.value, tuple) else (self.value,)))

    @property
    def complexity(self) -> tuple[int, float]:
        """What sorts the simplest first.

        ReLU, torch's default, other fixed slopes by size, a rule, learned, others, one a layer.
        """
        if isinstance(self.value, tuple):
            return (9, math.fsum(map(abs, self.value)) / len(self.value))
        if isinstance(self.value, str):
            return (3 + [TAILORED, PRELU, *OTHERS].index(self.value), 0.0)
        return {0.0: (0, 0.0), 0.01: (1, 0.0)}.get(self.value, (2, abs(self.value)))


def arms_of(slopes: Sequence[Slope], least: int = 2) -> tuple[Arm, ...]:
    """The arms of a study.

    Args:
        slopes: finite numbers, names, and tuples of finite numbers, one for each rectifier.
        least: how many there must be.

    Raises:
        InputError: if there are fewer, one twice, or something else.
    """
    if isinstance(slopes, str):
        raise InputError(f"slopes must be a list of slopes, not the string {slopes!r}")
    if not isinstance(slopes, Iterable):
        raise InputError(f"slopes must be a list of slopes, not {shown(slopes)}")
    arms = tuple(Arm(_value(slope)) for slope in slopes)
    if len(arms) < least:
        raise InputError(f"slopes must be at least two, to be compared, not {len(arms)}")
    labels = [arm.label for arm in arms]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise InputError(f"slopes must differ; given more than once: {', '.join(twice)}")
    return arms


def _value(slope: Slope) -> Slope:
    if isinstance(slope, str):
        names = (PRELU, TAILORED, *OTHERS)
        if slope in names:
            return slope
        raise InputError(f"a slope must be a number or one of {', '.join(names)}, not {named(slope)}")
    if isinstance(slope, (tuple, list)):
        if len(slope) > 1 and not any(isinstance(each, (str, tuple, list)) for each in slope):
            return tuple(_number(each) for each in slope)
        raise InputError(f"slopes of layers must be at least two numbers, not {slope!r}")
    return _number(slope)


def _number(slope: float) -> float:
    return finite("a slope", slope, -LARGEST, LARGEST) + 0.0  # −0.0 is the same slope as 0.0


def slope_from(text: str) -> Slope:
    """A slope as the command line has it: a number, a name, or numbers of the layers with / between them.

    Raises:
        InputError: if it is none of these.
    """
    try:
        numbers = [float(part) for part in text.split("/")]
    except ValueError:
        return _value(text)
    return _value(numbers[0] if len(numbers) == 1 else tuple(numbers))


def arm_of(label: str) -> Arm:
    """The arm of a label.

    Raises:
        InputError: if it is none.
    """
    return Arm(slope_from(label))


class AnyArm(dict[str, Arm]):
    """Arms by label, where any label may come."""

    def __missing__(self, label: str) -> Arm:
        self[label] = arm_of(label)
        return self[label]
