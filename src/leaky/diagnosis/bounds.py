"""How rarely a unit can be said to fire, from how often it was seen to."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from leaky.theory import rate_bound


@lru_cache(maxsize=1024)  # a finding asks twice, and sites with as many samples often ask the same
def rate_upper_bound(events: int, samples: int, delta: float, units: int) -> float:
    """The rate that a unit with `events` on `samples` samples stays below with confidence 1 − δ, for U units at once.

    The p at which P(X ≤ events | samples, p) = δ/U for a binomial X, by bisection; 1 − (δ/U)^(1/n) without events.

    Args:
        events: samples on which it happened, 0 … samples.
        samples: independent samples seen.
        delta: δ, in (0, 1).
        units: U, the number of units for which the bound is to hold at once.

    Source:
        Clopper & Pearson 1934.
    """
    if events <= 0:
        return rate_bound(samples, delta, units)
    if events >= samples:
        return 1.0
    k = np.arange(events + 1)
    factorials = np.array([math.lgamma(i + 1) + math.lgamma(samples - i + 1) for i in k])
    log_choices = math.lgamma(samples + 1) - factorials
    low, high = events / samples, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if middle >= 1.0:
            return 1.0
        logs = log_choices + k * math.log(middle) + (samples - k) * math.log1p(-middle)
        likely = logs.max() + math.log(np.exp(logs - logs.max()).sum()) > math.log(delta / units)
        low, high = (middle, high) if likely else (low, middle)
    return high
