"""How far a watched training has come."""

from __future__ import annotations

from collections.abc import Callable


class Clock:
    """What all sites of a watch share.

    Attributes:
        step: of the training.
        samples: of the pass that is running.
        passes: begun so far.
        nonfinite: whether any site has shown NaN or infinity since the last report.
        failed: told of an error in a gradient's hook.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self.step = self.samples = self.passes = 0
        self.nonfinite = False
        self.failed = failed
