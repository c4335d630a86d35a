"""Pruning units that are constant on the evidence: a new, smaller network of the same modules, the same function.

Every tensor that has an entry for the unit loses it; what the unit gave goes into the next bias. The new network is run
against the old one before it is handed over.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from leaky.arguments import takes
from leaky.checking import shown, unit_numbers
from leaky.checkup import Checkup, check
from leaky.errors import InputError
from leaky.observation.calling import calling
from leaky.observation.options import DataArguments
from leaky.repairing.ground import Ground, owned, relative_change
from leaky.repairing.operations.refusals import refusals
from leaky.report.shown import Shown
from leaky.report.view import View, line, titled
from leaky.structure.modules import without_wrappers
from leaky.structure.units import SiteStructure
from leaky.text import counted, percentage, ranges

TOLERANCE = 1e-6
"""The largest relative change of the outputs that counts as none."""

_SIZES = {0: ("out_features", "out_channels", "num_features", "num_parameters"), 1: ("in_features", "in_channels")}


@dataclass(frozen=True, eq=False)
class Pruning(Shown):
    """What `prune` did.

    Attributes:
        model: the new network; the old one is untouched.
        removed: the units, by site.
        refused: why a unit stayed, by site and unit.
        change: ‖change of the outputs‖ / ‖outputs‖ on the data.
        parameters: elements of all parameters before and after.
    """

    model: nn.Module
    removed: dict[str, tuple[int, ...]]
    refused: dict[str, dict[int, str]]
    change: float
    parameters: tuple[int, int]

    def __repr__(self) -> str:
        return f"<Pruning of {counted(sum(map(len, self.removed.values())), 'unit')}>"

    def view(self) -> View:
        """What was removed, and what stayed for which reason."""
        count = sum(map(len, self.removed.values()))
        before, after = self.parameters
        less = f"{before:,} parameters before, {after:,} after ({percentage(1 - after / before)} less)" if count else ""
        lines = [titled(f"{counted(count, 'unit')} removed", less) if count else line("No unit was removed.", "strong")]
        lines += [titled(name, f"units {ranges(units)}", indent=1) for name, units in self.removed.items()]
        for name, reasons in self.refused.items():
            for reason in dict.fromkeys(reasons.values()):
                stayed = [unit for unit, own in reasons.items() if own == reason]
                lines.append(titled("left alone", f"{name} units {ranges(stayed)}: {reason}", "quiet", indent=1))
        return (*lines, line(f"outputs changed by {self.change:.3g} of their size", indent=1))


@dataclass(frozen=True)
class PruneArguments(DataArguments):
    """What is pruned, on which evidence: the arguments of `leaky.prune`.

    Attributes:
        model: left as it was. Its parameters are not the new one's: an optimizer needs to be made anew.
        data: the evidence.
        units: which, by the site's name; or a checkup, of which the dead and constant units are taken, as those of a
            new one are by default.
    """

    model: nn.Module
    data: Any
    units: Mapping[str, Sequence[int]] | Checkup | None = None


@takes(PruneArguments)
def prune(given: PruneArguments) -> Pruning:
    """A smaller network without units that give nothing, with the same outputs on the data to 1e-6.

    Every tensor that has an entry for such a unit loses it; what the unit gave goes into the next bias.

    Returns:
        The new network, what was removed, and why other units stayed.

    Raises:
        InputError: if the smaller network does not run or differs, because the model's own code has a size written
            into it.
    """
    model, data, units = given.model, calling(given.data, given.forward), given.units
    if isinstance(units, Mapping):
        units = unit_numbers(units)
    else:
        checkup = check(model, data, seed=0) if units is None else units
        if not isinstance(checkup, Checkup):
            raise InputError(f"units must be numbers by site, {{'relu': [3]}}, or a checkup, not {shown(units)}")
        outputs = {site.name for site in checkup.record.sites if site.is_output}
        found = {name: tuple(sorted({*v.dead, *v.constant})) for name, v in checkup.verdicts.items()}
        units = {name: gone for name, gone in found.items() if gone and name not in outputs}
    return _pruned(model, data, units)


def _pruned(model: nn.Module, data: Any, units: Mapping[str, Sequence[int]]) -> Pruning:
    ground = Ground(copy.deepcopy(model), data)
    sites = {name: ground.site(name) for name in units}
    refused = refusals(ground, sites, units, frozen=True)
    chosen: dict[str, tuple[int, ...]] = {}
    for name, site in sites.items():
        rest = sorted({unit for unit in units[name] if unit not in refused[name]})
        reason = _uncuttable(site)
        if reason is None and len(rest) == site.units:
            reason = "at least one unit of a site must stay"
        if reason is not None:
            refused[name].update(dict.fromkeys(rest[:1] if "at least" in reason else rest, reason))
            rest = rest[1:] if "at least" in reason else []
        chosen[name] = tuple(rest)
    before, size = ground.outputs(), _size(ground.model)
    _cut(ground, sites, chosen)
    change = _checked(ground, before, chosen)
    kept = {name: cut for name, cut in chosen.items() if cut}
    reasons = {name: found for name, found in refused.items() if found}
    return Pruning(ground.model, kept, reasons, change, (size, _size(ground.model)))


def _size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _checked(ground: Ground, before: list[Tensor], chosen: Mapping[str, tuple[int, ...]]) -> float:
    if not any(chosen.values()):
        return 0.0
    try:
        change = relative_change(before, Ground(ground.model, ground.batches).outputs())
    except Exception as error:
        raise InputError(
            "the smaller network must run, and it does not: a size is written into the model's own code "
            f"({str(error).splitlines()[0]}); remove fewer sites"
        ) from error
    if not change <= TOLERANCE:
        raise InputError(
            f"the smaller network must have the outputs of the old one, and they differ by {change:.2g}: the model's "
            "own code works on sizes that changed"
        )
    return change


def _uncuttable(site: SiteStructure) -> str | None:
    for made in site.made:
        if made.joined:
            return f"a shortcut is added to what {made.weight} makes"
        if made.kind != "linear" and int(made.event.call.get("groups", 1)) > 1:
            return f"{made.weight} works in groups"
    for taken in site.taken:
        if int(taken.event.call.get("groups", 1)) > 1:
            return f"{taken.weight} works in groups"
    return None


def _cut(ground: Ground, sites: Mapping[str, SiteStructure], chosen: Mapping[str, tuple[int, ...]]) -> None:
    entering = ground.entering({taken.event for site in sites.values() for taken in site.taken})
    gone: dict[str, Tensor] = {}
    for name, site in sites.items():
        if not chosen[name]:
            continue
        for taken in site.taken:
            mask = owned(taken.owner, chosen[name])
            ground.fold(taken, ground.shift(taken, entering[taken.event.number].mean, mask))
            gone[taken.weight] = gone.get(taken.weight, torch.zeros_like(mask)) | mask
        for made in site.made:
            owners = [{made.weight: made.owner}, dict([made.bias] if made.bias else [])]
            owners += [dict(norm.owners) for norm in made.norms]
            for owner in owners:
                _mark(gone, owner, chosen[name])
        for channelled in site.channelled:
            _mark(gone, channelled.owners, chosen[name])
    for tensor_name, mask in gone.items():
        _shrink(ground.model, tensor_name, mask)


def _mark(gone: dict[str, Tensor], owners: Mapping[str, Tensor], units: tuple[int, ...]) -> None:
    for name, owner in owners.items():
        mask = owned(owner, units)
        gone[name] = gone.get(name, torch.zeros_like(mask)) | mask


def _shrink(model: nn.Module, name: str, mask: Tensor) -> None:
    """Take whole slices out of a parameter or buffer, along each axis that has whole ones."""
    path, _, own = name.rpartition(".")
    module = _submodule(model, path)
    tensor = getattr(module, own)
    keep = [torch.arange(size) for size in mask.shape]
    for dim in range(mask.ndim):
        others = [d for d in range(mask.ndim) if d != dim]
        whole = mask.all(dim=tuple(others)) if others else mask
        if bool(whole.any()):
            keep[dim] = torch.nonzero(~whole).flatten()
    covered = mask.clone()
    for dim, kept in enumerate(keep):
        lost = torch.ones(mask.shape[dim], dtype=torch.bool)
        lost[kept] = False
        covered.index_fill_(dim, torch.nonzero(lost).flatten(), False)
    if bool(covered.any()):
        raise InputError(f"{name} has entries of a unit that are no whole slice of it; it cannot be removed")
    smaller = tensor.detach()
    for dim, kept in enumerate(keep):
        smaller = smaller.index_select(dim, kept.to(smaller.device))
    if isinstance(tensor, nn.Parameter):
        setattr(module, own, nn.Parameter(smaller.clone(), tensor.requires_grad))
    else:
        setattr(module, own, smaller.clone())
    _resize(module, own, keep)


def _submodule(model: nn.Module, path: str) -> nn.Module:
    """The submodule of a name without the steps that wrappers put in."""
    found: nn.Module = next(module for name, module in model.named_modules() if without_wrappers(name) == path)
    return found


def _resize(module: nn.Module, own: str, keep: Sequence[Tensor]) -> None:
    """The numbers that modules of torch's keep of their sizes."""
    if own != "weight" and not (own == "running_mean" and getattr(module, "weight", None) is None):
        return
    swapped = isinstance(module, nn.modules.conv._ConvTransposeNd)
    for dim, kept in enumerate(keep[:2]):
        for attribute in _SIZES[1 - dim if swapped else dim]:
            if hasattr(module, attribute):
                setattr(module, attribute, len(kept))
