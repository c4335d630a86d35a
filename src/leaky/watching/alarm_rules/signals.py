"""What goes through: samples that look alike, and units that are one."""

from __future__ import annotations

from leaky.diagnosis import Finding
from leaky.watching.alarm_rules.now import LEAST_UNITS, Now, finding, stayed

SAME = 3
"""Reports in a row in which all units of a site are the same that make them one."""


def alike(now: Now) -> list[Finding]:
    """The first site at which all samples look the same, report after report, and as many as a verdict takes."""
    if now.history.samples.sum() < now.needed:
        return []
    for site in now.sites:
        share = stayed(now.history[site.name]["alike"])
        if site.units < LEAST_UNITS or site.is_output or not share >= now.thresholds.alike_share:
            continue
        message = f"all samples look the same here: (E z)² is {share:.2%} of E z² in half of the units or more"
        advice = (
            "What tells samples apart is lost before this site: look at the input, at weights that grew or shrank, at "
            "gates and squashing functions that saturate, at a loss that draws everything together."
        )
        return [finding("alike", "warning", site, message, advice, share=share)]
    return []


def same_units(now: Now) -> list[Finding]:
    """Sites all of whose units show the same: they began with the same weights, and their gradients are the same."""
    found = []
    for site in now.sites if now.history.samples.sum() >= now.needed else ():
        if site.units >= LEAST_UNITS and site.same_for >= SAME:
            message = f"all {site.units} units compute the same, so that they are one"
            advice = "Their weights began the same and get the same gradient: draw them at random (`leaky.initialize`)."
            found.append(finding("same-units", "warning", site, message, advice, reports=site.same_for))
    return found
