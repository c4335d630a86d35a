"""Lowers the rate of a layer, whatever the optimizer: after its step, w ← w_old + c·(w_new − w_old).

c is a fixed part, or what keeps the step within a share of the weights' norm, as it is or as it was when the control
was made, whichever is less; then a step that is short already stays as it is, bit for bit. The optimizer and its state
are left alone. A step that was skipped changes nothing, nor does this.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from leaky.structure.modules import without_wrappers
from leaky.watching.controlling.control import RefusedError, Wanted
from leaky.watching.optimizers import parameters_of

AIM = 1 / 30
"""What a step is kept within, ÷ the threshold `update_warning`: a hundredth of the weights, ten times the usual."""

LEAST = 2.0**-24
"""The smallest part of a step that is kept; below, it would not reach a float32 weight."""

HALF = 0.5
"""What is kept of a step where neither its length nor the user says how much."""


class Steps:
    """The steps of an optimizer on the parameters of a model, as they were and as they are kept.

    Args:
        model: whose parameters they are.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._before: dict[nn.Parameter, Tensor] = {}
        self._current: dict[nn.Parameter, None] = {}
        self._shortened: list[Shortened] = []

    def begin(self, everything: bool) -> None:
        """A step is about to be made.

        Args:
            everything: whether all parameters are kept, or only those whose steps are shortened.
        """
        wanted = self._model.parameters() if everything else self._parts()
        self._current = dict.fromkeys(p for p in wanted if p.requires_grad and is_whole(p))
        for p in self._current:
            held = self._before.get(p)
            if held is None or held.shape != p.shape or held.dtype != p.dtype or held.device != p.device:
                self._before[p] = torch.empty_like(p, requires_grad=False)
        if self._current:
            with torch.no_grad():
                torch._foreach_copy_([self._before[p] for p in self._current], list(self._current))

    def end(self) -> None:
        """It has been made."""
        for each in self._shortened:
            each.apply()

    def shorten(self, parameters: Iterable[nn.Parameter], part: float | Tensor) -> None:
        """Keep only a part of the step that was made last; nothing of one that is not finite."""
        with torch.no_grad():
            for p in (p for p in parameters if p in self._current):
                before = self._before[p]
                if isinstance(part, Tensor):
                    kept = torch.lerp(before, p, part.to(p))
                    p.copy_(torch.where(part >= 1, p, torch.where(part > 0, kept, before)))
                else:
                    p.copy_(torch.lerp(before, p, part))

    def add(self, shortened: Shortened) -> None:
        """These steps are shortened from here on, and the last one too."""
        self._shortened.append(shortened)
        shortened.apply()

    def remove(self, shortened: Shortened) -> None:
        """No longer."""
        self._shortened = [each for each in self._shortened if each is not shortened]

    def shortens(self, p: nn.Parameter) -> bool:
        """Whether steps on a parameter are shortened."""
        return any(p is each for shortened in self._shortened for each in shortened.parameters)

    def keeps_short(self, p: nn.Parameter) -> bool:
        """Whether they are kept within a share of the weights."""
        return any(p is other for each in self._shortened if each.part is None for other in each.parameters)

    def part(self, p: nn.Parameter) -> float:
        """The fixed part that is kept of each step on a parameter."""
        return math.prod(
            each.part for each in self._shortened if each.part is not None for other in each.parameters if other is p
        )

    def ratio(self, parameters: Iterable[nn.Parameter]) -> float:
        """‖Δw‖ ÷ ‖w‖ of the last step on these together; NaN where that is not known."""
        change, size = self.lengths(parameters)
        return float(change / size)

    def lengths(self, parameters: Iterable[nn.Parameter]) -> tuple[Tensor, Tensor]:
        """‖Δw‖ and ‖w‖ of the last step on these together, float32 on their device; 0 where that is not known."""
        known = [p for p in parameters if p in self._current]
        with torch.no_grad():
            place = known[0].device if known else torch.device("cpu")
            change, size = torch.zeros(2, device=place).unbind()
            for p in known:
                before, wide = self._before[p], torch.promote_types(p.dtype, torch.float32)
                change = change + torch.linalg.vector_norm(p - before, dtype=wide).to(place, torch.float32).square()
                size = size + torch.linalg.vector_norm(before, dtype=wide).to(place, torch.float32).square()
            return change.sqrt(), size.sqrt()

    def _parts(self) -> list[nn.Parameter]:
        return [p for each in self._shortened for p in each.parameters]


class Shortened:
    """Layers whose steps are shortened; see `Done`.

    Args:
        steps: of the optimizer.
        layers: their parameters by name.
        part: that is kept of each step; None for what keeps it within `at_most`.
        at_most: the longest step, ÷ the weights' norm.
    """

    stays = False

    def __init__(self, steps: Steps, layers: dict[str, nn.Parameter], part: float | None, at_most: float) -> None:
        self.places, self.parameters = tuple(layers), tuple(layers.values())
        self.part, self.at_most, self._steps = part, at_most, steps
        self._last: Tensor | None = None
        self._size: Tensor | None = None
        if part is not None and any(part * steps.part(p) < LEAST for p in self.parameters):
            raise RefusedError(f"less than {LEAST:.2g} of each step would be kept")
        steps.add(self)
        self.amount = part if part is not None else self._first()

    def apply(self) -> None:
        """Shorten the step that was made last."""
        if self.part is not None:
            self._steps.shorten(self.parameters, self.part)
            return
        self._last, size = self._steps.lengths(self.parameters)
        if self._size is None:
            self._size, self._ratio = size, self._last / size
        part = (self.at_most * torch.minimum(size, self._size) / self._last).clamp(max=1.0)
        part = torch.where(self._last == 0, 1.0, part)  # of NaN neither is so, and nothing of the step is kept
        self._steps.shorten(self.parameters, part)

    def undo(self) -> None:
        """Keep the steps whole again."""
        self._steps.remove(self)

    @property
    def lost(self) -> bool:
        """Whether the optimizer's own last step was not finite, so that nothing of it was kept."""
        return self._last is not None and not math.isfinite(float(self._last))

    def _first(self) -> float:
        ratio = float(self._ratio)
        return self.at_most / ratio if ratio > self.at_most else 1.0


def shortened(wanted: Wanted, steps: Steps) -> Shortened:
    """Shorten the steps of the layers behind a site; the one that was just made too.

    Raises:
        RefusedError: if they are not the optimizer's, are sharded, or need not be shortened.
    """
    layers = layers_of(wanted.model)
    behind = {without_wrappers(name).rpartition(".")[0] for name in wanted.observer.sites[wanted.site].weights}
    chosen = {name: p for layer in behind for name, p in layers.get(layer, {}).items()}
    if not chosen:
        raise RefusedError("no weight that is trained lies behind it")
    if not all(is_whole(p) for p in chosen.values()):
        raise RefusedError("its weights are sharded over ranks, and how far a step moves them is not known here")
    if wanted.optimizer is not None:
        theirs = set(parameters_of(wanted.optimizer))
        if not theirs & set(chosen.values()):
            raise RefusedError("the optimizer that was given does not train it")
    if wanted.amount is not None:
        return Shortened(steps, chosen, wanted.amount, math.nan)
    if any(steps.keeps_short(p) for p in chosen.values()):
        raise RefusedError("its steps are kept short already")
    aim, rule = AIM * wanted.thresholds.update_warning, wanted.finding.rule
    ratio = steps.ratio(chosen.values())
    if rule == "update-size" or ratio > aim:
        return Shortened(steps, chosen, None, aim)
    if rule == "gradient-spike":
        raise RefusedError(f"its step was {ratio:.2g} of the weights, which is not too long")
    return Shortened(steps, chosen, HALF, math.nan)


def layers_of(model: nn.Module) -> dict[str, dict[str, nn.Parameter]]:
    """The parameters that are trained, by the module that they are of and by name."""
    layers: dict[str, dict[str, nn.Parameter]] = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            layers.setdefault(without_wrappers(name).rpartition(".")[0], {})[without_wrappers(name)] = p
    return layers


def is_whole(p: Tensor) -> bool:
    """Whether all of a parameter is here; what FSDP2 shards has a mesh of devices."""
    return getattr(p, "device_mesh", None) is None and p.is_floating_point()
