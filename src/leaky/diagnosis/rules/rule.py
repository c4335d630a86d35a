"""What a rule is: a slug, what it is about, the thresholds it reads, and the function that looks.

A rule must be a pure function of a `Context`, and its slug must never change: it names the documentation page, the
findings in saved files, and what users silence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding
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


def rule(slug: str, *, concern: str, summary: str, thresholds: tuple[str, ...] = ()) -> Callable[[Check], Rule]:
    """Make the decorated function the rule `slug`."""

    def make(check: Check) -> Rule:
        return Rule(slug, concern, summary, thresholds, check)

    return make


def at_each_site(look: Callable[[Context, Site], Finding | None]) -> Check:
    """A check that looks at one site after another."""

    def check(context: Context) -> list[Finding]:
        found = (look(context, site) for site in context.record.sites)
        return [finding for finding in found if finding is not None]

    check.__doc__ = look.__doc__
    return check
