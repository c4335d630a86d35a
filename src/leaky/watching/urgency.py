"""When a watch looks more closely than usual: which steps of the optimizer it measures, and what is reported at once.

A rate far too high tells itself in the very first steps, and by the first report may have killed all units.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from leaky.watching.sums import waits

FIRST_STEPS = 10
"""Steps of which every one's update is measured, not only one a report; also after the rate has risen."""


class Urgency:
    """What one watch has seen of rates, and when it last spoke up.

    Args:
        optimizer: whose rates are looked at; None for none.
        report_every: observed steps a report.

    Attributes:
        rise: the rate at the last step ÷ the first one that was not 0; 1 before one was seen.
        measured: the last step that was.
    """

    def __init__(self, optimizer: torch.optim.Optimizer | None, report_every: int) -> None:
        self._optimizer, self._report_every = optimizer, report_every
        self._now = self._highest = self._first = 0.0
        self.rise = 1.0
        self._told_until, self._closely_until = 0, FIRST_STEPS
        self._observed = self._before_last = self.measured = 0

    def measures(self, step: int, observed: int) -> bool:
        """Whether the optimizer's step that is about to be made is measured.

        One a report is, the last and the one before it by turns: what others do to the weights at every so many steps
        would else be seen at each report, or at none.

        Args:
            step: its number.
            observed: steps that were since the last report.
        """
        rate = 0.0
        for group in () if self._optimizer is None else self._optimizer.param_groups:
            each = group.get("lr", 0.0)
            each = each if type(each) is float else _known(each)
            rate = each if each > rate else rate
        if rate != self._now and self._rises_to(rate):
            self._closely_until = step + FIRST_STEPS
        if observed < self._observed and self._report_every > 2:
            self._before_last = 1 - self._before_last
        self._observed = observed
        left = self._report_every - observed - 1
        due = left == self._before_last or left < 0 or step < self._closely_until
        self.measured = step if due else self.measured
        return due

    def tells(self, step: int) -> bool:
        """Whether what was odd in this step is reported at once: not again before a report would be due."""
        if step < self._told_until:
            return False
        self._told_until = step + self._report_every
        return True

    def _rises_to(self, rate: float) -> bool:
        """Whether a rate is far above every one before, as at the first step, in a spike, after a hot restart."""
        self._now = rate
        self._first = self._first or rate
        self.rise = rate / self._first if self._first > 0 else 1.0
        risen, self._highest = rate > 2 * self._highest, max(rate, self._highest)
        return risen


def _known(rate: Any) -> float:
    """A rate as a number; 0 where asking would wait for a device."""
    return 0.0 if isinstance(rate, Tensor) and waits(rate.device) else float(rate)
