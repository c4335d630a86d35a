"""What an optimizer remembers of gradients of another size, forgotten: the function stays, and steps have a size again.

One bad batch leaves Adam a mean square of gradients that shortens every step for about 1/(1 − β₂) steps; the network
is then as good as frozen, however well its units are. Nothing of the model moves.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor

from leaky.repairing.operations.operation import Operation
from leaky.repairing.plan import Action, Left
from leaky.repairing.subject import Subject

LEAST, MOST = 1e-3, 1.05
"""Size of the mean gradient ÷ root of the mean square that Adam keeps of a tensor, in the middle tensor, between which
nothing is wrong. It is at most 1 of gradients that do not grow, and √((1 − β₁)/(1 + β₁)) = .23 of such that are noise
alone; up to (1 − β₁)/√(1 − β₂) = 3.2 while one gradient far larger than all others is fresh; afterwards about
.23/(√(1 − β₂)·r) for one that was r times as large. Healthy small networks had .33 to .008 (`python -m
benchmarks.patients`), the less the better the training data are fitted."""

ALIKE, STEADY = 0.3, 0.7
"""Quartile range ÷ median of that ratio over the elements, below which both averages are of one and the same gradient;
of noise it is 1.23. It says so where the ratio is below the second figure: of a gradient that never changes it is 1."""

FEW = 10
"""Steps up to which an average is of few gradients anyway."""

ELEMENTS = 1 << 16
"""Elements of a tensor that are looked at, at most."""


def out_of_date(optimizer: torch.optim.Optimizer | None) -> str | None:
    """Why an optimizer's moments are those of other gradients than come now; None where nothing says so.

    Told from the two averages that Adam and its kin keep; of optimizers that keep one, it cannot be told.
    """
    found = []
    for group in optimizer.param_groups if optimizer is not None else ():
        for parameter in group["params"]:
            ratio = ratio_of(optimizer.state.get(parameter, {}), group.get("betas"))  # type: ignore[union-attr]
            if ratio is not None:
                found.append(ratio)
    if not found:
        return None
    middle = statistics.median(size for size, _ in found)
    if middle > MOST:
        return f"its last gradients were far larger than those before: {middle:.3g} times the root of their mean square"
    if middle < LEAST:
        return f"its gradients were far larger once: now {middle:.3g} times the root of their mean square"
    each = torch.cat([ratios for _, ratios in found])
    if not len(each):
        return None
    low, median, high = torch.quantile(each[:: max(1, len(each) // ELEMENTS)], torch.tensor([0.25, 0.5, 0.75])).tolist()
    if middle < STEADY and high - low < ALIKE * median:
        return "one of its last gradients was so large that what it remembers is that one alone"
    return None


def ratio_of(state: dict[str, object], betas: tuple[float, float] | None) -> tuple[float, Tensor] | None:
    """Of a tensor, and of its elements where both averages are of many gradients."""
    mean, square, step = state.get("exp_avg"), state.get("exp_avg_sq"), state.get("step")
    if betas is None or not isinstance(mean, Tensor) or not isinstance(square, Tensor) or step is None:
        return None
    count = float(step)  # type: ignore[arg-type]
    if count < 1 or not bool(square.any()) or not bool(mean.any()):
        return None  # without a gradient, nothing is known of its size
    corrected = math.sqrt(1 - betas[1] ** count) / (1 - betas[0] ** count)
    size = float((mean.abs().double().square().mean() / square.double().mean()).sqrt()) * corrected
    flat = mean.detach().reshape(-1), square.detach().reshape(-1)
    some = slice(None, None, max(1, len(flat[0]) // ELEMENTS))
    first, second = (part[some].abs().float().cpu() for part in flat)
    own = (second > 0) if count > FEW else torch.zeros_like(second, dtype=torch.bool)
    return (size if math.isfinite(size) else math.inf), first[own] / second[own].sqrt() * corrected


def _able(subject: Subject, wanted: Action) -> tuple[Action | None, tuple[Left, ...]]:
    return wanted, ()


def _carry_out(subject: Subject, actions: Sequence[Action]) -> None:
    subject.forget_state(list(subject.model.parameters()))


FORGET_MOMENTS = Operation(
    kind="forget moments",
    needs="an optimizer, which apply is given or train holds",
    promises="the model",
    keeps_function=True,
    able=_able,
    carry_out=_carry_out,
)
