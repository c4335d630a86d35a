"""Waste or harm: what units that do nothing cost the network, told by evidence and not by their share alone.

Harm is shown where nothing can pass (all units of a site that no path leads around), where fewer units are left than
the network has room for elsewhere, where many are gone and the outputs fit no better than a constant, where most of the
network is gone, or where a site is mostly gone behind an input that is far off scale. All else is waste: worth knowing,
and no reason to act.
"""

from __future__ import annotations

from dataclasses import dataclass

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Level
from leaky.record import Site
from leaky.text import counted, percentage


@dataclass(frozen=True)
class Cost:
    """What lost units cost.

    Attributes:
        level: how bad that is.
        reason: why, a sentence; empty where it is plain waste.
    """

    level: Level
    reason: str = ""


def cost_of_losing(context: Context, site: Site, lost: int) -> Cost:
    """The cost of `lost` inactive units at a hidden site."""
    t = context.thresholds
    if lost >= site.units:
        return _whole_site(context, site)
    if context.learned:
        return Cost("info", "The network has learned all the same.")
    share, left = lost / site.units, site.units - lost
    if share < t.dead_warning or site.bypassed:
        return Cost("info")
    level: Level = "error" if share >= t.dead_error else "warning"
    if context.learned is False:
        return Cost(level, "The outputs fit the targets no better than a constant, so this may be why.")
    room = narrowest(context, site)
    if room is not None and left + 1 < room:
        return Cost(
            level, f"Only {counted(left, 'unit')} are left, fewer than the network has room for elsewhere ({room:,})."
        )
    return _together(context) if share >= t.dead_error else Cost("info")


def _together(context: Context) -> Cost:
    """What a site that is mostly gone costs with the rest of the network and the input looked at."""
    t = context.thresholds
    hidden = [site for site in context.record.sites if not site.is_output]
    dead = {site.name: len(context.verdicts[site.name].dead) for site in hidden}
    mostly = sum(dead[site.name] >= t.dead_error * site.units for site in hidden if site.units)
    gone = sum(dead.values()) / max(1, sum(site.units for site in hidden))
    if mostly > 1 and gone >= t.network_dead_warning:
        return Cost("warning", f"With them {percentage(gone)} of the network's hidden units are dead.")
    if any(tensor.is_floating and tensor.root_mean_square > t.input_high for tensor in context.record.inputs):
        return Cost("warning", "The input is far off scale, which throws units out of the data.")
    return Cost("info")


def _whole_site(context: Context, site: Site) -> Cost:
    varying = bool(context.record.outputs) and not all(out.alike for out in context.record.outputs)
    if site.bypassed is False or not (site.bypassed or varying):
        return Cost("error", "Nothing of the input passes here.")
    if context.learned or site.units <= context.thresholds.side_share * context.record.units:
        return Cost("info", "Other paths lead around it.")
    return Cost("warning", "Other paths lead around it, and this one carries nothing.")


def narrowest(context: Context, site: Site) -> int | None:
    """The fewest units that the signal has at any other place: sites, inputs and outputs; None where none is known.

    A site's own width counts too: what was narrow from the start has lost nothing.
    """
    places = [other.units for other in context.record.sites if other is not site and not other.bypassed]
    ends = (*context.record.inputs[:1], *context.record.outputs[:1])
    places += [len(end.features.sums) for end in ends if end.features is not None and end.is_floating]
    return min([*places, site.units]) if places else None


def unless_learned(context: Context, site: Site, level: Level) -> Level:
    """A share by itself is no harm where the network has learned, nor on a path that others lead around."""
    return "info" if context.learned or site.bypassed else level
