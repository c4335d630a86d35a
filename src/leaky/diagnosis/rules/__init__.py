"""The rules, by family; importing this package registers all of them, in the order in which they are documented."""

from __future__ import annotations

from leaky.diagnosis.rules import depth, gradient, inactive, non_finite, origin, throughput, weak  # noqa: F401  # in this order
from leaky.diagnosis.rules.registry import RULES, Rule, run

__all__ = ["RULES", "Rule", "run"]
