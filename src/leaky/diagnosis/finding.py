"""What a rule found: data that a person, a table and another program can read.

A finding must stand alone: it names its rule, says what was seen on which data with how much evidence, gives the
numbers, and ends in something to do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from leaky.errors import InputError
from leaky.text import counted, named, printable

Level = Literal["info", "warning", "error"]

LEVELS: tuple[Level, ...] = get_args(Level)
"""From the mildest to the worst."""

Evidence: TypeAlias = bool | int | float | str | list[int] | list[float] | list[str] | None
"""A number or words that strict JSON holds; None for a number that is not finite."""


def level_rank(level: str | None) -> int:
    """0 for info, 1 for warning, 2 for error, −1 for None: the order of levels.

    Raises:
        InputError: if there is no such level.
    """
    if level is None:
        return -1
    if level not in LEVELS:
        raise InputError(f"a level must be one of {', '.join(LEVELS)}, not {level!r}")
    return LEVELS.index(level)


@dataclass(frozen=True)
class Finding:
    """One thing that one rule found.

    Attributes:
        rule: slug of the rule; its page is docs/rules/<rule>.md.
        level: "info", "warning" or "error".
        site: name of the site, None for the network as a whole.
        units: the units concerned, ascending; empty where the site as a whole is.
        message: what was seen, on which data, with which bound.
        evidence: the numbers behind the message.
        advice: what to do next, and what would not help.
        follows_from: the finding that this one follows from, as its `name`; None for one that stands alone.
    """

    rule: str
    level: Level
    site: str | None
    units: tuple[int, ...]
    message: str
    evidence: dict[str, Evidence] = field(hash=False)
    advice: str
    follows_from: str | None = None

    @property
    def name(self) -> str:
        """What tells it from the others: its rule, and its site where it has one."""
        return self.rule if self.site is None else f"{self.rule}@{self.site}"

    def __str__(self) -> str:
        return printable(f"{self.level}: {self.site or 'network'}: {self.message} [{self.rule}]")

    def __repr__(self) -> str:
        units = f", {counted(len(self.units), 'unit')}" if self.units else ""
        return printable(f"<Finding {self.level} {self.rule} at {named(self.site or 'network')}{units}>")
