"""Swapping a rectifier for a leaky one, for a whole site or some of its units; the drift is kept small and told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leaky.activation.torch import LeakyReLU
from leaky.errors import InputError
from leaky.repairing.ground import Ground, relative_change
from leaky.repairing.operations.operation import Operation, existing, place_of
from leaky.repairing.plan import Action, Left
from leaky.repairing.subject import Subject
from leaky.structure.label_rules import NONE
from leaky.structure.units import SiteStructure

_SWAPPABLE = (nn.ReLU, nn.LeakyReLU, LeakyReLU)


@dataclass(frozen=True)
class Swap:
    """What `swap` did; what a recipe keeps of it.

    Attributes:
        module: qualified name of the rectifier.
        negative_slope: the slope of all units, or one a unit.
        channel_dim: the dimension of its input along which several slopes run.
        drift: ‖change of the outputs‖ / ‖outputs‖ on the data.
        folded: names of the biases and running means that took the mean shift.
    """

    module: str
    negative_slope: float | tuple[float, ...]
    channel_dim: int
    drift: float
    folded: tuple[str, ...]


def refusal(ground: Ground, site: SiteStructure, *, whole_module: bool = False) -> str | None:
    """Why the rectifier of a site cannot be swapped; None where it can. A functional call gets the edit to make.

    Args:
        ground: the model.
        site: the site.
        whole_module: whether the swap is meant for every site of the same module.
    """
    module = _module_of(ground, site)
    if module is None:
        call = site.event.call.name
        where = f" at {site.use.source}" if site.use.source else ""
        return (
            f"it is a call of {call}{where}, which only its own source can change: write "
            "torch.nn.functional.leaky_relu(x, negative_slope) there"
        )
    if not isinstance(module, _SWAPPABLE):
        return f"it is a {type(module).__name__}, and only a ReLU or a LeakyReLU is swapped"
    if isinstance(module, LeakyReLU) and (module.clamp is not None or module.learnable):
        return "it has a clamp or learnable slopes of its own"
    if isinstance(module, LeakyReLU) and module.gain != 1.0 and not whole_module:
        return "it has a gain of its own"
    others = [event for event in ground.history.events if event.site and event.module == site.event.module]
    if len(others) > 1 and not whole_module:
        names = ", ".join(dict.fromkeys(event.site.name for event in others if event.site))
        return f"module {site.event.module} runs {len(others)} times in one pass ({names}); give each place its own"
    return None


def _module_of(ground: Ground, site: SiteStructure) -> nn.Module | None:
    if site.use.source is not None or site.name.partition("#")[0] != (site.event.module or "(model)"):
        return None
    return ground.model.get_submodule(site.event.module) if site.event.module else None


def swap(
    model: nn.Module,
    site: str,
    data: Any,
    *,
    negative_slope: float,
    units: Iterable[int] | None = None,
    fold: bool = True,
) -> Swap:
    """Put a leaky ReLU in the place of a site's rectifier.

    The mean shift that it brings, α·E[z⁻] a unit, is measured where the units are taken and goes into the next biases.

    Args:
        model: changed in place; on an exception it is put back.
        site: its name as `leaky.check` has it.
        data: the evidence, as `leaky.observe` takes them.
        negative_slope: α.
        units: which get it; the others keep their slope, so that the function on them does not move. All by default.
        fold: whether the mean shift is taken away.

    Raises:
        InputError: if the site cannot be swapped; the message says why and what to do.
    """
    return _swap(Subject(model, data), site, negative_slope=negative_slope, units=units, fold=fold)


def _swap(
    subject: Subject, name: str, *, negative_slope: float, units: Iterable[int] | None = None, fold: bool = True
) -> Swap:
    ground = subject.ground
    site = ground.site(name)
    reason = refusal(ground, site)
    if reason is not None:
        raise InputError(f"site {name!r} cannot be swapped: {reason}")
    slope = slopes_of(site, negative_slope, units)
    entering, before = ground.entering(taken.event for taken in site.taken), ground.outputs()
    with subject.undone_on_error():
        put_rectifier(ground.model, site.event.module, slope, channel_dim_of(site))
        subject.changed(modules=True)
        entered = {taken.weight: entering[taken.event.number].mean for taken in site.taken}
        folded = _fold_shift(subject.ground, site, entered) if fold else ()
        subject.changed()
        drift = relative_change(before, subject.outputs)
    return Swap(site.event.module, slope, channel_dim_of(site), drift, folded)


def channel_dim_of(site: SiteStructure) -> int:
    """The units' dimension from the end, so that inputs without a batch, or with more axes in front, fit too."""
    dim = site.use.layout.unit_dim
    assert dim is not None, "asked of sites that `not_apart` lets through"
    return dim - len(site.event.results[0].shape)


def not_apart(site: SiteStructure) -> str | None:
    """Why units of a site cannot have slopes of their own; None where they can."""
    dim = site.use.layout.unit_dim
    if dim is None:
        return "it is one unit without an axis of its own, so a slope a unit cannot be given"
    if site.event.results[0].shape[dim] == site.units:
        return None
    return "its units share an axis with their positions (flattened), so a slope a unit cannot be given"


def slopes_of(site: SiteStructure, negative_slope: float, units: Iterable[int] | None) -> float | tuple[float, ...]:
    """The slopes of a site of which some units, or all, get a new one; a number where all have the same.

    Raises:
        InputError: if there is no such unit.
    """
    if units is None:
        return negative_slope
    chosen = set(existing(site, units))
    if len(chosen) == site.units:
        return negative_slope
    kept = np.broadcast_to(np.asarray(site.use.activation.negative_slope).reshape(-1), site.units).tolist()
    return tuple(negative_slope if unit in chosen else kept[unit] for unit in range(site.units))


def put_rectifier(
    model: nn.Module, path: str, slope: float | Sequence[float], channel_dim: int, gain: float = 1.0
) -> None:
    """Put a leaky ReLU at a module's place, in its mode and on the model's device."""
    old = model.get_submodule(path)
    inplace = bool(getattr(old, "inplace", False))
    new: nn.Module
    if isinstance(slope, float | int):
        plain = gain == 1.0
        new = nn.LeakyReLU(float(slope), inplace=inplace) if plain else LeakyReLU(slope, gain=gain, inplace=inplace)
    else:
        reference = next(model.parameters(), torch.zeros(()))
        new = LeakyReLU(list(slope), gain=gain, inplace=inplace, channel_dim=channel_dim).to(reference.device)
    model.set_submodule(path, new.train(old.training))


def _fold_shift(after: Ground, site: SiteStructure, entered: dict[str, Tensor]) -> tuple[str, ...]:
    """Take the mean shift at every weight that takes the site's units off its bias."""
    new = after.site(site.name)
    now = after.entering(taken.event for taken in new.taken)
    folded = []
    for taken in new.taken:
        target = taken.bias or taken.running_mean
        if target is None:
            continue
        shift = now[taken.event.number].mean - entered[taken.weight]
        if after.fold(taken, -after.shift(taken, shift, taken.owner != NONE)):
            folded.append(target)
    return tuple(folded)


def key_added(site: SiteStructure, units: Sequence[int]) -> bool:
    """Whether a leak for these units alone needs slopes of their own, which are a buffer of the state dict."""
    return bool(units) and len(set(units)) < site.units


def _able(subject: Subject, wanted: Action) -> tuple[Action | None, tuple[Left, ...]]:
    site = subject.ground.site(place_of(wanted))
    reason = refusal(subject.ground, site) or (not_apart(site) if key_added(site, wanted.units) else None)
    if reason is not None:
        return None, (Left(site.name, wanted.units, reason),)
    module = subject.ground.model.get_submodule(site.event.module)
    change = f"{site.event.module}: {type(module).__name__} becomes LeakyReLU({wanted.negative_slope:g})"
    if key_added(site, wanted.units):
        change += (
            f" for these units; the state dict gets the key {site.event.module}.negative_slope, so that "
            "leaky.apply_recipe must prepare a model for it"
        )
    return replace(wanted, changes=(change,)), ()


def _carry_out(subject: Subject, actions: Sequence[Action]) -> None:
    for action in actions:
        assert action.negative_slope is not None
        _swap(subject, place_of(action), negative_slope=action.negative_slope, units=action.units or None)


SWAP = Operation(
    kind="swap",
    needs="a rectifier that is a module of its own and runs once",
    promises="the mean of what enters the next layers; the drift is told",
    keeps_function=False,
    able=_able,
    carry_out=_carry_out,
)
