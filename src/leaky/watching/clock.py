"""How far a watched training has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

quietly = np.errstate(all="ignore")
"""Decorates what meets numbers that are not finite, which a watch expects: NumPy does not warn of them."""


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

    def safely(self, does: Callable[[], Any]) -> bool:
        """What leaky itself does wrong ends the watching, never the training; a warning that is an error is meant.

        Returns:
            Whether all went well.
        """
        try:
            does()
        except Warning:
            raise
        except Exception as error:
            self.failed(error)
            return False
        return True
