"""Waste or harm: what units that do nothing cost the network, told by evidence and not by their share alone.

Harm is shown where nothing can pass (all units of a site that no path leads around), where fewer units are left than
the network has room for elsewhere, where many are gone and the outputs fit no better than a constant, where most of the
network is gone, or where a site is mostly gone behind an input that is far off scale. In a training that is watched it
shows as well where those that are left fall silent too, and where many fell silent at one stroke. All else is waste:
worth knowing, and no reason to act.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Level
from leaky.diagnosis.thresholds import Thresholds
from leaky.record import Site, TensorStatistics
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


@dataclass(frozen=True)
class Lost:
    """Units of a hidden site that do nothing, and what else is known that tells what they cost.

    Attributes:
        units: of the site.
        lost: of them, those that do nothing; not all.
        bypassed: whether some path leads around the site; None where that is not known.
        learned: whether the network has learned; None where that is not known.
        others_active: share of the samples on which a unit that is left is active ÷ the same of all units at first,
            where units died in a training that was watched; None where no earlier state is known.
        at_once: share of the site's units that fell silent together, later than at the first steps; 0 where not known.
        room: the fewest units that the signal has at any other place; None where none is known.
        network: share of all hidden units that do nothing, where several sites are mostly gone, or 0.
        far_off: whether the input is far off scale.
    """

    units: int
    lost: int
    bypassed: bool | None = None
    learned: bool | None = None
    others_active: float | None = None
    at_once: float = 0.0
    room: int | None = None
    network: float = 0.0
    far_off: bool = False


def cost(of: Lost, t: Thresholds) -> Cost:
    """What losing some units of a site costs: the one rule, whoever asks."""
    share, left = of.lost / of.units, of.units - of.lost
    if of.learned:
        return Cost("info", "The network has learned all the same.")
    if share < t.dead_warning or of.bypassed:
        return Cost("info")
    level: Level = "error" if share >= t.dead_error else "warning"
    if of.learned is False:
        return Cost(level, "The outputs fit the targets no better than a constant, so this may be why.")
    if of.others_active is not None and not of.others_active >= t.others_active:
        rarer = f"they fire {of.others_active:.2g} times as often as units did at first"
        return Cost(level, f"Those that are left fade too: {rarer}.")
    if of.at_once >= t.dead_warning:
        return Cost(level, f"{percentage(of.at_once)} of the units fell silent at one stroke.")
    if of.room is not None and left + 1 < of.room:
        few = f"Only {counted(left, 'unit')} are left, fewer than the network has room for elsewhere ({of.room:,})."
        return Cost(level, few)
    if share >= t.dead_error and of.network >= t.network_dead_warning:
        return Cost("warning", f"With them {percentage(of.network)} of the network's hidden units are dead.")
    if share >= t.dead_error and of.far_off:
        return Cost("warning", "The input is far off scale, which throws units out of the data.")
    return Cost("info")


def cost_of_losing(context: Context, site: Site, lost: int) -> Cost:
    """The cost of `lost` inactive units at a hidden site of a record."""
    if lost >= site.units:
        return _whole_site(context, site)
    t, record = context.thresholds, context.record
    hidden = {each.name: each.units for each in record.sites if not each.is_output}
    dead = {name: len(context.verdicts[name].dead) for name in hidden}
    known = Lost(
        site.units,
        lost,
        bypassed=site.bypassed,
        learned=context.learned,
        room=narrowest(context, site),
        network=share_of_network(dead, hidden, t),
        far_off=far_off(record.inputs, t),
    )
    return cost(known, t)


def share_of_network(dead: Mapping[str, int], units: Mapping[str, int], t: Thresholds) -> float:
    """The share of all hidden units that are dead, where several sites are mostly so; 0 elsewhere."""
    mostly = sum(dead[name] >= t.dead_error * n for name, n in units.items() if n)
    return sum(dead.values()) / max(1, sum(units.values())) if mostly > 1 else 0.0


def far_off(inputs: Iterable[TensorStatistics], t: Thresholds) -> bool:
    """Whether an input is far off scale."""
    return any(tensor.is_floating and tensor.root_mean_square > t.input_high for tensor in inputs)


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
