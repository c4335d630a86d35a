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
from leaky.errors import InputError
from leaky.repairing.recipe import Recipe

Kind = Literal["standardise", "revive", "recentre", "swap", "begin anew"]


@dataclass(frozen=True)
class Action:
    """One thing to do.

    Attributes:
        kind: "standardise", "revive", "recentre", "swap" or "begin anew".
        site: its name, or that of the layer whose inputs are standardised; None for the whole network.
        units: the units concerned.
        reason: why.
    """

    kind: Kind
    site: str | None
    units: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Left:
    """What is not repaired, and why: a reason, or the edit to make in the user's source."""

    site: str
    units: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Trial:
    """What a short piece of the user's own training made of the model, changed in one of several ways.

    Attributes:
        name: "as it was", "repaired" or "begun anew".
        before, after: the user's metric, right after the change and after the training.
    """

    name: str
    before: float
    after: float

    def __str__(self) -> str:
        return f"{self.name}: {self.before:.6g}, trained for a while {self.after:.6g}"


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
        trials: what each way came to, where `train` was given.
    """

    kept: bool
    reason: str
    actions: tuple[Action, ...]
    left: tuple[Left, ...]
    output_change: float
    metric: tuple[float, float] | None
    lost_share: tuple[float, float]
    recipe: Recipe
    trials: tuple[Trial, ...] = ()

    def __str__(self) -> str:
        lines = [("Kept: " if self.kept else "Rolled back: ") + self.reason]
        lines += [f"  outputs changed by {self.output_change:.3g} of their size"]
        if self.metric is not None:
            lines += [f"  validation {self.metric[0]:.6g} before, {self.metric[1]:.6g} after"]
        lines += [f"  {trial}" for trial in self.trials]
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
        recentred: the same with units shifted back by their bias instead, which moves the function; done where that
            brings a better metric. Empty where no unit can be.
        suspicion: why beginning anew might be better, which only a metric can tell; None where nothing says so.
        negative_slope: of the rectifiers that are put in.
        slope_given: whether the user chose that slope.
        seed: of new weights.
    """

    model: nn.Module
    checkup: Checkup
    batches: Any
    actions: tuple[Action, ...]
    left: tuple[Left, ...]
    recentred: tuple[Action, ...]
    suspicion: str | None
    negative_slope: float
    slope_given: bool
    seed: int

    def __bool__(self) -> bool:
        return bool(self.actions)

    def __str__(self) -> str:
        record = self.checkup.record
        lines = []
        if not self.actions:
            nothing = "Nothing to repair: no unit is dead or constant."
            what = "Nothing that could be repaired." if self.left or self.suspicion else nothing
            lines.append(f"{what} {record.units} units at {len(record.sites)} sites were examined.")
        for action in self.actions:
            units = f" units {_listed(action.units)}" if action.units else ""
            lines.append(f"{action.kind} {action.site or 'the whole network'}{units}: {action.reason}")
        for left in self.left:
            units = f" units {_listed(left.units)}" if left.units else ""
            lines.append(f"left alone: {left.site}{units}: {left.reason}")
        if self.suspicion is not None and not any(action.kind == "begin anew" for action in self.actions):
            lines.append(
                f"in doubt: {self.suspicion}; apply(validate=…, train=…) tries whether to begin anew is better"
            )
        return "\n".join(lines)

    def apply(
        self,
        *,
        validate: Callable[[nn.Module], float] | None = None,
        train: Callable[[nn.Module], object] | None = None,
        tolerance: float = 1e-3,
        max_change: float = 0.05,
        higher_is_better: bool = True,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> RepairRecord:
        """Do it, measure, and keep it or put everything back to the last bit.

        Args:
            validate: the user's metric of a model. It decides: a change that worsens it by more than `tolerance` is
                rolled back. A network that told no inputs apart before has nothing to lose; there it only reports.
            train: a short piece of the user's own training of the model, some dozens of steps. With it and `validate`,
                the model as it was, repaired, and begun anew are each trained so, from the same random state, and the
                one that scores best is kept, with what it learned meanwhile; the repaired one also where it is worse
                by no more than `tolerance`. It must not step a scheduler, and an optimizer that it uses and that lives
                on must be given as `optimizer`.
            tolerance: in the metric's own unit.
            max_change: without `validate`, the largest relative change of the outputs that is kept.
            higher_is_better: whether more of the metric is better.
            optimizer: whose state of the changed weights begins anew; parameters stay the same objects, so that groups,
                schedulers and the loop go on.

        Returns:
            What was done and measured.

        Raises:
            InputError: if `train` comes without `validate`.
            Whatever an operation, `train` or `validate` raises; model and optimizer are then as they were.
        """
        from leaky.repairing.transaction import Limits, Transaction  # not at the top: it works on plans

        if train is not None and validate is None:
            raise InputError("train must come with validate, the metric that says which way learns best")
        limits = Limits(tolerance, max_change, higher_is_better)
        return Transaction(self, validate, train, limits, optimizer).run()


def _listed(units: Sequence[int], most: int = 12) -> str:
    shown = ", ".join(map(str, units[:most]))
    return shown + (f" and {len(units) - most} more" if len(units) > most else "")
