"""What mathematics says of a negative slope, before any data is seen.

Must run on plain numbers and plain structure data: torch is imported only where a model is given, to derive its
structure. α is the negative slope, f the Leaky ReLU with f(z) = z for z > 0 and αz elsewhere; every formula is exact,
none is fitted.
"""

from leaky.theory.evidence import Bounds, born_dead_probability, inactive_probability, rate_bound, samples_needed
from leaky.theory.layer import Moments, correlation_map, correlation_map_derivative, gain, moments
from leaky.theory.network import (
    IDENTITY,
    Chain,
    Mixture,
    Rectifiers,
    SignalPropagation,
    Structure,
    TailoredSlope,
    global_correlation,
    residual,
    signal_propagation,
    tailored_slope,
    worst_correlation,
)
from leaky.theory.signals import Graph, Prediction

__all__ = [
    "IDENTITY",
    "Bounds",
    "Chain",
    "Graph",
    "Mixture",
    "Moments",
    "Prediction",
    "Rectifiers",
    "SignalPropagation",
    "Structure",
    "TailoredSlope",
    "born_dead_probability",
    "correlation_map",
    "correlation_map_derivative",
    "gain",
    "global_correlation",
    "inactive_probability",
    "moments",
    "rate_bound",
    "residual",
    "samples_needed",
    "signal_propagation",
    "tailored_slope",
    "worst_correlation",
]
