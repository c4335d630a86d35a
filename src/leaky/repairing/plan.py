"""What a repair would change and why, and what it did: plain data, but for the model that a plan is for.

Nothing is touched before `Plan.apply`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from leaky.checkup import Checkup
from leaky.repairing.recipe import Recipe

Kind = Literal["revive", "swap", "begin anew"]


@dataclass(frozen=True)
class Action:
    """One thing to do.

    Attributes:
        kind: "revive", "swap" or "begin anew".
        site: its name; None for the whole network.
        units: the units concerned.
        reason: why.
    """

    kind: Kind
    site: str | None
    units: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Left:
    """Units that are not repaired, and why: a reason, or the edit to make in the user's source."""

    site: str
    units: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class RepairRecord:
    """What a transaction did.

    Attributes:
        kept: whether the model is changed; if not, it is as it was to the last bit.
        reason: why it was kept or rolled back.
        actions: what was done.
        left: what was not, and why.
        output_change: ‖change of the outputs‖ / ‖outputs‖ on the batches.
        metric: the user's validation metric before and after; None without one.
        lost_share: units that are dead or constant over all units, before and after.
        recipe: what the weights cannot hold.
    """

    kept: bool
    reason: str
    actions: tuple[Action, ...]
    left: tuple[Left, ...]
    output_change: float
    metric: tuple[float, float] | None
    lost_share: tuple[float, float]
    recipe: Recipe

    def __str__(self) -> str:
        lines = [("Kept: " if self.kept else "Rolled back: ") + self.reason]
        lines += [f"  outputs changed by {self.output_change:.3g} of their size"]
        if self.metric is not None:
            lines += [f"  validation {self.metric[0]:.6g} before, {self.metric[1]:.6g} after"]
        lines += [f"  dead or constant units {self.lost_share[0]:.2%} before, {self.lost_share[1]:.2%} after"]
        return "\n".join(lines)


@dataclass(eq=False)
class Plan:
    """What would be changed.

    Attributes:
        model: the model.
        checkup: what the plan was made from.
        actions: what to do, in order; empty for a healthy model.
        left: what cannot be repaired.
        negative_slope: of the rectifiers that are put in.
        slope_given: whether the user chose that slope.
        seed: of new weights.
    """

    model: nn.Module
    checkup: Checkup
    batches: Any
    actions: tuple[Action, ...]
    left: tuple[Left, ...]
    negative_slope: float
    slope_given: bool
    seed: int

    def __bool__(self) -> bool:
        return bool(self.actions)

    def __str__(self) -> str:
        record = self.checkup.record
        lines = []
        if not self.actions:
            what = "Nothing that could be repaired." if self.left else "Nothing to repair: no unit is dead or constant."
            lines.append(f"{what} {record.units} units at {len(record.sites)} sites were examined.")
        for action in self.actions:
            units = f" units {_listed(action.units)}" if action.units else ""
            lines.append(f"{action.kind} {action.site or 'the whole network'}{units}: {action.reason}")
        lines += [f"left alone: {left.site} units {_listed(left.units)}: {left.reason}" for left in self.left]
        return "\n".join(lines)

    def apply(
        self,
        *,
        validate: Callable[[nn.Module], float] | None = None,
        tolerance: float = 1e-3,
        max_change: float = 0.05,
        higher_is_better: bool = True,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> RepairRecord:
        """Do it, measure, and keep it or put everything back to the last bit.

        Args:
            validate: the user's metric of a model. It decides: a change that worsens it by more than `tolerance` is
                rolled back. A network that told no inputs apart before has nothing to lose; there it only reports.
            tolerance: in the metric's own unit.
            max_change: without `validate`, the largest relative change of the outputs that is kept.
            higher_is_better: whether more of the metric is better.
            optimizer: whose state of the changed weights begins anew; parameters stay the same objects, so that groups,
                schedulers and the loop go on.

        Returns:
            What was done and measured.

        Raises:
            Whatever an operation or `validate` raises; the model and the optimizer are then as they were.
        """
        from leaky.repairing.transaction import Transaction  # not at the top: it works on plans

        return Transaction(self, validate, tolerance, max_change, higher_is_better, optimizer).run()


def _listed(units: Sequence[int], most: int = 12) -> str:
    shown = ", ".join(map(str, units[:most]))
    return shown + (f" and {len(units) - most} more" if len(units) > most else "")
