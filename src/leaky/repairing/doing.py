"""The actions of a plan, done in their order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from leaky.observation.batches import batches_of
from leaky.repairing.calibration import calibrate
from leaky.repairing.ground import Ground
from leaky.repairing.initialization import initialize
from leaky.repairing.plan import Action, Plan
from leaky.repairing.planning import tailored
from leaky.repairing.recentre import recentre_on
from leaky.repairing.recipe import Recipe, Rectifier, recipe_of
from leaky.repairing.revive import revive_on
from leaky.repairing.standardise import standardise_on
from leaky.repairing.step_size import step_size
from leaky.repairing.swap import channel_dim_of, not_apart, put_rectifier, refusal, slopes_of, swap_on

SMALL_LEAK = 0.01
"""The slope of units that come back with the weights that they had: what it lets through moves the outputs."""


class Doing:
    """Does actions to the model of a plan; whoever calls holds a snapshot.

    Args:
        plan: whose model, batches, slope and seed are used.
        optimizer: whose state of what begins anew does so too.
    """

    def __init__(self, plan: Plan, optimizer: torch.optim.Optimizer | None) -> None:
        self._plan = plan
        self._optimizer = optimizer
        self._rectifiers: dict[str, Rectifier] = {}
        self._standardised: tuple[str, ...] = ()

    def do(self, actions: tuple[Action, ...]) -> Recipe:
        """Do them; what weights cannot hold of it."""
        plan = self._plan
        layers = [a.site for a in actions if a.kind == "standardise" and a.site is not None]
        if layers:
            self._standardise(layers)
        if any(action.kind == "begin anew" for action in actions):
            self._begin_anew()
            return self._recipe
        shifted = _of_kind(actions, "recentre")
        if shifted:
            recentre_on(Ground(plan.model, plan.batches), shifted, self._optimizer)
        revived = _of_kind(actions, "revive")
        if revived:
            revive_on(Ground(plan.model, plan.batches), revived, optimizer=self._optimizer, seed=plan.seed)
        given = plan.negative_slope
        self._leak(revived, given)
        self._leak(shifted, given if plan.slope_given else min(given, SMALL_LEAK))
        for action in actions:
            if action.kind == "swap" and action.site is not None:
                ground = Ground(plan.model, plan.batches)
                done = swap_on(ground, action.site, negative_slope=plan.negative_slope, units=action.units)
                self._rectifiers[done.module] = Rectifier(done.module, done.negative_slope, done.channel_dim)
        return self._recipe

    @property
    def _recipe(self) -> Recipe:
        """What is in the model now, earlier repairs' changes included."""
        return recipe_of(self._plan.model, self._rectifiers)

    def _standardise(self, layers: list[str]) -> None:
        """The weights are other ones then, of another size: what the optimizer knows of them begins anew."""
        ground = Ground(self._plan.model, self._plan.batches)
        self._standardised = standardise_on(ground, layers)
        for path in self._standardised:
            for parameter in self._plan.model.get_submodule(path).parameters(recurse=False):
                self._forget(parameter)

    def _forget(self, parameter: nn.Parameter) -> None:
        if self._optimizer is not None:
            self._optimizer.state.pop(parameter, None)

    def _leak(self, units: Mapping[str, tuple[int, ...]], negative_slope: float) -> None:
        """Give units that were brought back a leak, so that they do not die again."""
        if not units or not negative_slope:
            return
        ground = Ground(self._plan.model, self._plan.batches)
        for name, chosen in units.items():
            site = ground.site(name)
            own = np.broadcast_to(site.use.activation.negative_slope, site.units)
            if np.any(own[list(chosen)]) or (refusal(ground, site) or not_apart(site)) is not None:
                continue
            slope = slopes_of(site, negative_slope, chosen)
            self._put(site.step.module, slope, channel_dim_of(site))

    def _put(self, module: str, slope: float | tuple[float, ...], channel_dim: int, gain: float = 1.0) -> None:
        put_rectifier(self._plan.model, module, slope, channel_dim, gain)
        self._rectifiers[module] = Rectifier(module, slope, channel_dim, gain)

    def _begin_anew(self) -> None:
        plan = self._plan
        ground = Ground(plan.model, plan.batches)
        slope = plan.negative_slope if plan.slope_given else tailored(ground)
        gain = 1 / step_size(ground, self._optimizer)
        for site in ground.structure.sites.values():
            if slope and refusal(ground, site, whole_module=True) is None:
                self._put(site.step.module, slope, channel_dim_of(site), gain)
        initialize(plan.model, plan.batches, orthogonal=True, seed=plan.seed)
        if not self._standardised and not _unit_size(plan.model, plan.batches):
            calibrate(plan.model, plan.batches)
        for parameter in plan.model.parameters():
            self._forget(parameter)


def _of_kind(actions: tuple[Action, ...], kind: str) -> dict[str, tuple[int, ...]]:
    """The units of the actions of this kind, by site."""
    return {a.site: a.units for a in actions if a.kind == kind and a.site is not None}


def _unit_size(model: nn.Module, batches: Any) -> bool:
    """Whether the inputs have about the size that an initialisation by variance takes for granted."""
    first = next(batches_of(batches, model, batch_dim=0, batch_size=None, max_samples=None))
    sizes = [float(t.detach().double().square().mean()) for t in first.tensors if t.is_floating_point()]
    return all(0.1 < size < 10 for size in sizes)
