"""What goes through: samples that look alike, and units that are one."""

from __future__ import annotations

from leaky.diagnosis import Finding
from leaky.watching.alarm_rules.now import LEAST_UNITS, Now, finding, stayed

LOOKS = 5
"""Looks in a row at what the model gives that make a habit."""
LEFT = 3.0
"""Times less than at first that a share must lack of 1."""
SURELY = 100.0
"""Times less than `alike_share` leaves that a share may lack of 1 in a model that began so."""
CONTENT = 5.0
"""Times less than at first that the gradient of a loss is which asks for nothing more."""
SPREAD = 2.0
"""Growth of the variance between samples from which on a model learns to tell them apart."""
GROWN = 10.0
"""Growth of E y² from which on a model goes to where its targets are."""
SAME = 3
"""Reports in a row in which all units of a site are the same that make them one."""


def alike(now: Now) -> list[Finding]:
    """The first site at which all samples look the same, report after report, and as many as a verdict takes."""
    if now.samples < now.needed:
        return []
    for site in now.sites:
        if not now.row[site.name]["alike"] >= now.thresholds.alike_share:
            continue
        share = stayed(now.history[site.name]["alike"])
        if site.units < LEAST_UNITS or site.is_output or not share >= now.thresholds.alike_share:
            continue
        message = f"all samples look the same here: (E z)² is {share:.2%} of E z² in half of the units or more"
        advice = (
            "What tells samples apart is lost before this site: look at the input, at weights that grew or shrank, at "
            "gates and squashing functions that saturate, at a loss that draws everything together."
        )
        return [finding("alike", "warning", site, message, advice, share=share)]
    return _same_outputs(now)


def _same_outputs(now: Now) -> list[Finding]:
    """A model that gives nearly the same for all samples, look after look, and whose loss is content with that.

    Targets far from 0 beside their variance have a model's output do so as well: of it what is given has grown. A model
    may begin so too, as with a bias that was set to the frequency of classes: judged is what is left of what it told
    samples apart by, unless that is next to nothing from the start and stays so.
    """
    looks, t = now.looks[-LOOKS:], now.thresholds
    if len(now.looks) <= LOOKS or not now.sites:
        return []
    first, lacks = now.looks[0], 1 - min(look.alike for look in looks)
    grows = any(look.variance > SPREAD * first.variance or look.square > GROWN * first.square for look in looks)
    drawn = lacks <= min(1 - t.alike_output, (1 - first.alike) / LEFT) and _content(now)
    if grows or not (drawn or lacks <= (1 - t.alike_share) / SURELY):
        return []
    message = (
        f"the model gives nearly the same for every sample: (E y)² lacks {lacks:.2%} of E y² in half of its entries"
    )
    advice = (
        "Look at whether the loss is content with that, as one that draws samples together and holds none apart is; at "
        "the input; at targets that vary little beside their mean, which are better centred."
    )
    return [finding("alike", "warning", None, message, advice, lacks=lacks)]


def _content(now: Now) -> bool:
    """Whether the gradient at the last site has become a small part of what it was in the first report."""
    gradient = now.history[now.sites[-1].name]["gradient"]
    return bool(gradient[-SAME:].max() <= gradient[0] / CONTENT)


def same_units(now: Now) -> list[Finding]:
    """Sites all of whose units show the same: they began with the same weights, and their gradients are the same."""
    found = []
    for site in now.sites if now.samples >= now.needed else ():
        if site.units >= LEAST_UNITS and site.same_for >= SAME:
            message = f"all {site.units} units compute the same, so that they are one"
            advice = "Their weights began the same and get the same gradient: draw them at random (`leaky.initialize`)."
            found.append(finding("same-units", "warning", site, message, advice, reports=site.same_for))
    return found
