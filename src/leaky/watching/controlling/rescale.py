"""Rescales the layer before a site by a power of two, and the layers behind it by the inverse.

Must leave the function as it is to the last bit: powers of two are exact, and the model is run before and after to see
that no output has moved. The optimizer's moments are rescaled with the gradients that they are of.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from leaky.errors import InputError
from leaky.failures import one_line
from leaky.observation.batches import Batch
from leaky.observation.calling import Calling
from leaky.observation.following import analyse
from leaky.observation.nesting import tensors_in
from leaky.observation.preserve import preserved
from leaky.observation.torch_route import uncompiled
from leaky.repairing.operations.optimizer_state import rescale_moments, unknown_moments
from leaky.structure.analysis import Analysis
from leaky.structure.label_rules import NONE
from leaky.structure.units import SiteStructure
from leaky.watching.controlling.clamp import Clamp
from leaky.watching.controlling.control import RefusedError, Wanted

_HOMOGENEOUS = ("ReLU", "LeakyReLU", "PReLU")
"""h(s·z) = s·h(z) for s > 0."""

Part = tuple[nn.Parameter, Tensor | None]
"""A parameter and which of its elements; None for all."""


class Rescaled:
    """A layer that was rescaled; see `Done`."""

    stays = True

    def __init__(self, wanted: Wanted) -> None:
        if wanted.optimizer is None:
            raise RefusedError("the optimizer's moments would be of another scale: give leaky.watch the optimizer")
        batch = wanted.observer.last
        if batch is None or batch.forward is not None:
            raise RefusedError("no batch is at hand to see that the function stays the same")
        factor = factor_of(wanted) if wanted.amount is None else wanted.amount
        self._observer, self._site, self._optimizer = wanted.observer, wanted.site, wanted.optimizer
        with _apart(wanted):
            analysis = _analysis(wanted.model, batch)
            self._before, self._behind = _parts(wanted, analysis)
            chosen = {id(p) for p, _ in (*self._before, *self._behind)}
            self.places = tuple(name for name, p in analysis.parameters.items() if id(p) in chosen)
            self.amount = factor
            outputs = _outputs(wanted.model, batch)
            self._scale(factor)
            try:
                same = all(map(torch.equal, outputs, _outputs(wanted.model, batch)))
            except BaseException:
                self._scale(1 / factor)
                raise
        if not same:
            self._scale(1 / factor)
            raise RefusedError("the outputs would move, so that the next layer does not make up for it")

    def undo(self) -> None:
        """Multiply back, which leaves the function as the training has made it."""
        self._scale(1 / self.amount)

    def _scale(self, factor: float) -> None:
        for parts, by in ((self._before, factor), (self._behind, 1 / factor)):
            for p, mask in parts:
                with torch.no_grad():
                    p.mul_(by if mask is None else torch.where(mask, by, 1.0).to(p))
                rescale_moments(self._optimizer, p, by, mask)
        self._observer.changed(self._site)


def factor_of(wanted: Wanted) -> float:
    """The power of two that brings the site's range to where it was, or to 1 where the alarm is of no change.

    Raises:
        RefusedError: if the range is within a factor of two of that, or is not known.
    """
    evidence, figures = wanted.finding.evidence, wanted.history[wanted.site]
    rule, told = wanted.finding.rule, evidence.get("factor")
    square = 1 / float(figures["output_moment"][-1] or np.nan)
    if isinstance(told, float | int) and told > 0:
        if rule == "gradient-by-depth":  # ∂L/∂h falls as h grows
            square = float(told)
        elif rule in ("depth", "drift"):
            grows = rule == "drift" or "grows" in wanted.finding.message
            square = 1 / float(told) if grows else float(told)
    exponent = 0 if not math.isfinite(square) else round(math.log2(square) / 2)
    if exponent == 0:
        raise RefusedError("its range is within a factor of two of what it should be, or is not known")
    return float(2.0**exponent)


def _parts(wanted: Wanted, analysis: Analysis) -> tuple[list[Part], list[Part]]:
    """What makes the site's units, whole, and what takes them.

    Raises:
        RefusedError: if anything else has a part in it.
    """
    try:
        site = analysis.site(wanted.site)
    except InputError:
        raise RefusedError("it is not met in evaluation mode") from None
    activation = wanted.observer.sites[wanted.site].activation
    if activation.name not in _HOMOGENEOUS or activation.cap is not None or activation.threshold != 0:
        raise RefusedError(f"a {activation.name} does not scale with what comes in")
    if any(isinstance(h, Clamp) for m in wanted.model.modules() for h in m._forward_hooks.values()):
        raise RefusedError("the model has a clamp, which does not scale")
    reason = next((each for unit in range(site.units) if (each := site.refusal(unit))), None)
    if reason is not None:
        raise RefusedError(reason)
    if site.channelled or any(made.norms or made.joined for made in site.made):
        raise RefusedError("a normalisation or another branch lies between it and the layers around it")
    before, behind = _made(site, analysis), _taken(site, analysis)
    for p, _ in (*before, *behind):
        if sum(other is p for other in analysis.parameters.values()) > 1:
            raise RefusedError("a weight around it is shared")
        unknown = unknown_moments(wanted.optimizer, p)
        if unknown:
            raise RefusedError(f"the optimizer keeps {unknown[0]}, whose scale is not known")
    return before, behind


def _made(site: SiteStructure, analysis: Analysis) -> list[Part]:
    parts: list[Part] = []
    for made in site.made:
        if bool((made.owner == NONE).any()):
            raise RefusedError(f"{made.weight} also makes what is not this site's")
        parts += [(analysis.parameters[name], None) for name in (made.weight, *(made.bias or ())[:1])]
    return parts


def _taken(site: SiteStructure, analysis: Analysis) -> list[Part]:
    parts: list[Part] = []
    for taken in site.taken:
        p = analysis.parameters[taken.weight]
        mask = taken.owner != NONE
        parts.append((p, None if bool(mask.all()) else mask.to(p.device)))
    return parts


@contextmanager
def _apart(wanted: Wanted) -> Iterator[None]:
    """While open, passes of the model are not observed."""
    observing, wanted.observer.observing = wanted.observer.observing, False
    try:
        yield
    finally:
        wanted.observer.observing = observing


def _analysis(model: nn.Module, batch: Batch) -> Analysis:
    inputs = {"args": batch.args, "kwargs": batch.kwargs}
    try:
        return analyse(model, Calling([inputs], lambda model, item: model(*item["args"], **item["kwargs"])))
    except Exception as error:
        raise RefusedError(f"the model could not be followed ({one_line(error)})") from error


def _outputs(model: nn.Module, batch: Batch) -> list[Tensor]:
    try:
        with preserved(model, "eval", 0, values=False), uncompiled(), torch.no_grad(), batch.kept():
            return [tensor.detach().clone() for tensor in tensors_in(batch.run(model))]
    except Exception as error:  # of the user's own code, which must not end the training here
        raise RefusedError(f"the model could not be run in evaluation mode ({one_line(error)})") from error
