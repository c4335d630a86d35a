"""Where rules register: a slug, what they are about, the thresholds they read, and the function that looks.

A rule must be a pure function of a `Context`, and its slug must never change: it names the documentation page, the
findings in saved files, and what users silence.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding
from leaky.errors import InputError
from leaky.record import Site

Check = Callable[[Context], list[Finding]]


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        slug: its stable name.
        concern: what it is about; rules of one concern are different degrees of the same trouble.
        summary: what it finds, in a line.
        thresholds: the names of those that it reads.
        check: the function.
    """

    slug: str
    concern: str
    summary: str
    thresholds: tuple[str, ...]
    check: Check


RULES: dict[str, Rule] = {}
"""Every rule by its slug."""


def rule(slug: str, *, concern: str, summary: str, thresholds: tuple[str, ...] = ()) -> Callable[[Check], Check]:
    """Register the decorated function as the rule `slug`."""

    def register(check: Check) -> Check:
        RULES[slug] = Rule(slug, concern, summary, thresholds, check)
        return check

    return register


def at_each_site(look: Callable[[Context, Site], Finding | None]) -> Check:
    """A check that looks at one site after another."""

    def check(context: Context) -> list[Finding]:
        found = (look(context, site) for site in context.record.sites)
        return [finding for finding in found if finding is not None]

    check.__doc__ = look.__doc__
    return check


def run(context: Context, ignore: Collection[str] = ()) -> list[Finding]:
    """The findings of all rules but those in `ignore`.

    Raises:
        InputError: if `ignore` names a rule that does not exist.
    """
    for slug in ignore:
        if slug not in RULES:
            raise InputError(f"only rules can be ignored: {', '.join(RULES)}; {slug!r} is none of them")
    return [finding for slug, each in RULES.items() if slug not in ignore for finding in each.check(context)]
