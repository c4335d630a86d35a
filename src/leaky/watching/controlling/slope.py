"""Raises the slope of a rectifier in its place: the module stays the same object, with its hooks and its names.

An `nn.ReLU` becomes an `nn.LeakyReLU`; neither has parameters, so the keys of the state dict stay what they are.
"""

from __future__ import annotations

import math
import types

from torch import nn

from leaky.watching.controlling.control import RefusedError, Wanted

MOST, LEAST = 0.1, 0.01
"""Bounds of a slope that follows from the evidence."""


class Raised:
    """A site with a raised slope; see `Done`."""

    stays = True

    def __init__(self, wanted: Wanted) -> None:
        module = wanted.module()
        if type(module) not in (nn.ReLU, nn.LeakyReLU):
            raise RefusedError(f"it is a {type(module).__name__}, and only the slope of a ReLU or LeakyReLU is raised")
        own = module.__dict__.get("forward")
        if own is not None and getattr(own, "__func__", None) is not type(module).forward:
            raise RefusedError("its forward is not its class's, and a class with a leak would be without effect")
        if wanted.observer.sites[wanted.site].is_output:
            raise RefusedError("its output is the model's, which a leak would make another one")
        self._module, self._kind = module, type(module)
        self._before = float(getattr(module, "negative_slope", 0.0))
        self.amount = slope_of(wanted) if wanted.amount is None else wanted.amount
        if self._before >= self.amount:
            raise RefusedError(f"its slope is {self._before:.4g} already")
        self.places: tuple[str, ...] = (wanted.paths[module],)
        self._observer, self._site = wanted.observer, wanted.site
        self._become(nn.LeakyReLU, self.amount)
        self._forget()

    def undo(self) -> None:
        """Give it the slope that it had."""
        self._become(self._kind, self._before)
        self._forget()

    def _become(self, kind: type[nn.Module], slope: float) -> None:
        module = self._module
        module.__class__ = kind
        if "forward" in module.__dict__:  # the old class's, by which a watch has torch compile anew
            module.__dict__["forward"] = types.MethodType(kind.forward, module)
        if kind is nn.LeakyReLU:
            module.__dict__["negative_slope"] = slope
        else:
            del module.__dict__["negative_slope"]

    def _forget(self) -> None:
        self._observer.changed(self._site)
        self._observer.relearn()


def slope_of(wanted: Wanted) -> float:
    """The slope whose leak puts out no more than the site did, or about 1 where it put out nothing, within bounds.

    α = √(E h² ÷ E z⁻²), with E z⁻² = E z² − E h² of a ReLU.
    """
    figures = wanted.history[wanted.site]
    entered, left = float(figures["second_moment"][-1]), float(figures["output_moment"][-1])
    below = entered - left
    if not (math.isfinite(below) and below > 0):
        return MOST
    return min(MOST, max(LEAST, math.sqrt((left if left > 0 else 1.0) / below)))
