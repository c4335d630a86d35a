"""For each site: the weights before and behind its units, and the units that can be changed independently.

Plain data: names of parameters, and for each element of a parameter the unit that it belongs to.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from leaky.structure.graph import Node
from leaky.structure.history import Event, History, SiteUse
from leaky.structure.label_propagation import Channelled, Propagation, Taken, propagate
from leaky.structure.label_rules import (
    NONE,
    labels_in,
    operands_of,
    unit_dim_of,
    units_of_weight,
)
from leaky.structure.layers import KINDS
from leaky.structure.modules import without_wrappers
from leaky.structure.operators import operator_named
from leaky.structure.pass_index import PassIndex
from leaky.text import counted


@dataclass(frozen=True, eq=False)
class Made:
    """A weight that makes units of a site.

    Attributes:
        event: the operation.
        weight: its name.
        kind: "linear", "convolution" or "transposed_convolution".
        owner: the unit of the site that each element of the weight makes a part of, NONE where it makes none.
        bias: its name and the unit of each of its elements; None where there is none.
        norms: what works on a unit by itself on the way to the site; owners are units of the site.
        joined: whether other data are added on that way.
    """

    event: Event
    weight: str
    kind: str
    owner: Tensor
    bias: tuple[str, Tensor] | None
    norms: tuple[Channelled, ...]
    joined: bool


@dataclass(eq=False)
class SiteStructure:
    """The weights before and behind the units of one site.

    Attributes:
        use: the call of the site.
        event: its operation.
        made: the weights that make its units and nothing else.
        taken: the weights that take them; owners are units of the site.
        channelled: what works on a unit by itself behind the site.
        not_made: why no weight is a unit's own, by unit.
        not_alone: why what follows a unit is not its own, by unit: a shortcut, a normalisation over units, …
        passed: names of the operators between the site and what takes it, and between what makes it and the site.
        every_time: what makes its units each time that it runs, where one weight does so, wherever else that is used.
    """

    use: SiteUse
    event: Event
    made: list[Made] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    channelled: list[Channelled] = field(default_factory=list)
    not_made: dict[int, str] = field(default_factory=dict)
    not_alone: dict[int, str] = field(default_factory=dict)
    passed: frozenset[str] = frozenset()
    every_time: Made | None = None

    @property
    def name(self) -> str:
        """The site's name."""
        return self.use.name

    @property
    def units(self) -> int:
        """How many it has."""
        return self.use.layout.units

    def refusal(self, unit: int) -> str | None:
        """Why a unit cannot be changed by itself; None where it can."""
        return self.not_made.get(unit) or self.not_alone.get(unit)


@dataclass(eq=False)
class ModelSites:
    """The sites of a model, in the order in which they run.

    Attributes:
        sites: by name.
        recorded: the recorded pass that they were found in.
    """

    sites: dict[str, SiteStructure]
    recorded: PassIndex

    def __repr__(self) -> str:
        return f"<ModelSites: {counted(len(self.sites), 'site')}>"


def structure_of(model: nn.Module, history: History) -> ModelSites:
    """The structure of each site of a recorded pass of `model`."""
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    recorded = PassIndex(history, {without_wrappers(name): tuple(tensor.shape) for name, tensor in named})
    uses = Counter(p.weight for event in history.events for p in event.call.produced)
    # derivatives that a model takes itself run through a site's output again; each pre-activation is one call
    runs = {(event.site.name, event.site.pre_activation) for event in history.events if event.site}
    calls = Counter(name for name, _ in runs)
    sites: dict[str, SiteStructure] = {}
    for event in history.events:
        if event.site is not None and event.site.name not in sites:
            sites[event.site.name] = _behind(recorded, event, event.site, uses)
    lanes = [lane for lane in (_lane(recorded, event, uses) for event in history.events) if lane is not None]
    for site in sites.values():
        _before(site, lanes)
        site.every_time = _every_time(site, calls[site.name], lanes)
        if calls[site.name] > 1:
            site.not_made = dict.fromkeys(range(site.units), f"the site runs {calls[site.name]} times in one pass")
    return ModelSites(sites, recorded)


def _behind(recorded: PassIndex, event: Event, use: SiteUse, uses: Counter[str]) -> SiteStructure:
    """The site with everything that follows it."""
    result = event.results[0]
    propagation = propagate(recorded, {result.index: _site_labels(use, result.shape)}, through_sites=True)
    site = SiteStructure(
        use, event, taken=propagation.taken, channelled=propagation.channelled, passed=propagation.passed
    )
    for ended in (*propagation.ended, *propagation.joined):
        for unit in ended.labels:
            site.not_alone.setdefault(unit, ended.reason)
    for taken in propagation.taken:
        if uses[taken.weight] > 1:
            for unit in labels_in(taken.owner):
                site.not_alone.setdefault(unit, f"{taken.weight} takes it and is used {uses[taken.weight]} times")
    taken_units = {unit for taken in propagation.taken for unit in labels_in(taken.owner)}
    for unit in range(site.units):
        if unit not in taken_units:
            site.not_alone.setdefault(unit, "no weight takes it")
    return site


def _site_labels(use: SiteUse, shape: tuple[int, ...]) -> Tensor:
    """The number of its unit for each element of a site's output."""
    view = use.layout
    labels = torch.arange(view.units).reshape(1, -1, 1).expand(view.samples, -1, view.positions)
    split = labels.reshape([view.shape[i] for i in view.order])
    inverse = sorted(range(len(view.order)), key=view.order.__getitem__)
    return split.permute(inverse).reshape(shape).contiguous()


@dataclass(frozen=True, eq=False)
class _Lane:
    """One weight and the propagation of its output up to the next sites.

    Attributes:
        owner: the unit of the weight's own result that each element makes a part of.
        refusals: why a unit of the result is not one site's alone.
    """

    event: Event
    weight: str
    kind: str
    owner: Tensor
    bias: tuple[str, Tensor] | None
    propagation: Propagation
    refusals: dict[int, str]


def _lane(recorded: PassIndex, event: Event, uses: Counter[str]) -> _Lane | None:
    if not event.call.produced or event.call.produced[0].kind not in KINDS:
        return None
    if event.operator.operands is None:
        return None
    _, weight, bias = operands_of(event)
    source = recorded.elements(weight)
    if source is None or weight.from_data:
        return None
    name, elements = source
    owner = torch.full((recorded.elements_of(name),), NONE)
    owner[elements.reshape(-1)] = units_of_weight(event, weight).reshape(-1)
    result = event.results[0]
    dim = unit_dim_of(event, weight)
    along = torch.arange(result.shape[dim])
    shape = [-1 if d == dim else 1 for d in range(len(result.shape))]
    propagation = propagate(recorded, {result.index: along.reshape(shape).expand(result.shape)}, through_sites=False)
    return _Lane(
        event,
        name,
        event.call.produced[0].kind,
        owner.reshape(recorded.shape(name)),
        _bias(recorded, bias, propagation, len(along)),
        propagation,
        _lane_refusals(propagation, name, uses),
    )


def _lane_refusals(propagation: Propagation, weight: str, uses: Counter[str]) -> dict[int, str]:
    refusals: dict[int, str] = {}
    for ended in propagation.ended:
        refusals.update(dict.fromkeys(ended.labels, f"in front of the site, {ended.reason}"))
    for taken in propagation.taken:
        refusals.update(dict.fromkeys(labels_in(taken.owner), f"{taken.weight} takes its pre-activation too"))
    arrived: Counter[int] = Counter(unit for reached in propagation.reached for unit in labels_in(reached.labels))
    refusals.update({unit: f"{weight} makes it for {count} sites" for unit, count in arrived.items() if count > 1})
    bent = sorted(name for name in propagation.passed if not operator_named(name).keeps)
    if bent:
        refusals.update({unit: f"what {weight} makes goes through {', '.join(bent)} first" for unit in arrived})
    if uses[weight] > 1:
        refusals.update(dict.fromkeys(arrived, f"{weight} is shared: it is used {uses[weight]} times in one pass"))
    return refusals


def _bias(recorded: PassIndex, bias: Node | None, propagation: Propagation, units: int) -> tuple[str, Tensor] | None:
    """The bias that the operation adds itself, or that is added to its result by the next one."""
    source = None if bias is None else recorded.elements(bias)
    if source is not None and source[1].numel() == units:
        return source[0], torch.arange(units).reshape(recorded.shape(source[0]))
    for channelled in propagation.channelled:
        if channelled.event.call.name == "add" and len(channelled.owners) == 1:
            return next(iter(channelled.owners.items()))
    return None


def _before(site: SiteStructure, lanes: list[_Lane]) -> None:
    """Fill in what makes the units of a site."""
    refused: dict[int, str] = {}
    made: set[int] = set()
    for lane in lanes:
        for reached in lane.propagation.reached:
            if reached.event is not site.event:
                continue
            unit_of = {int(row): unit for unit, row in enumerate(reached.labels.tolist()) if row != NONE}
            for row, unit in unit_of.items():
                if row in lane.refusals:
                    refused.setdefault(unit, lane.refusals[row])
            own = {row: unit for row, unit in unit_of.items() if row not in lane.refusals}
            if own:
                made |= set(own.values())
                site.made.append(_made(lane, own))
    site.not_made = {
        unit: refused.get(unit, "no weight that makes it could be found")
        for unit in range(site.units)
        if unit not in made
    }


def _every_time(site: SiteStructure, calls: int, lanes: list[_Lane]) -> Made | None:
    """What makes all units of a site, if one weight does so each time that the site runs and nothing else does."""
    rows: dict[int, int] | None = None
    found = [
        (lane, reached)
        for lane in lanes
        for reached in lane.propagation.reached
        if reached.event.site is not None and reached.event.site.name == site.name
    ]
    if len(found) != calls or len({lane.weight for lane, _ in found}) > 1:
        return None
    for lane, reached in found:
        if len(lane.propagation.reached) > 1 or _lane_refusals(lane.propagation, lane.weight, Counter()):
            return None
        unit_of = {row: unit for unit, row in enumerate(reached.labels.tolist()) if row != NONE}
        if rows not in (None, unit_of):
            return None
        rows = unit_of
    return _made(found[0][0], rows) if rows and len(rows) == site.units else None


def _made(lane: _Lane, unit_of: dict[int, int]) -> Made:
    table = torch.full((max(int(lane.owner.max()), *unit_of) + 2,), NONE)
    for row, unit in unit_of.items():
        table[row] = unit

    def translated(owner: Tensor) -> Tensor:
        return table[owner]  # NONE is the last entry, which stays NONE

    norms = [
        Channelled(c.event, {name: translated(owner) for name, owner in c.owners.items()}, c.norm)
        for c in lane.propagation.channelled
        if c.norm or lane.bias is None or set(c.owners) != {lane.bias[0]}
    ]
    return Made(
        event=lane.event,
        weight=lane.weight,
        kind=lane.kind,
        owner=translated(lane.owner),
        bias=None if lane.bias is None else (lane.bias[0], translated(lane.bias[1])),
        norms=tuple(norms),
        joined=bool(lane.propagation.joined),
    )
