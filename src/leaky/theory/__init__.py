"""What mathematics says of a negative slope, before any data is seen.

Must run on plain numbers and on its own graph type, never on a model: `leaky.analyse` derives the graph of one. α is
the negative slope, f the Leaky ReLU with f(z) = z for z > 0 and αz elsewhere; every formula is exact, none is fitted.
"""

from leaky.theory.evidence import Bounds, born_dead_probability, rate_bound, samples_needed
from leaky.theory.layer import Moments, correlation_map, gain, moments
from leaky.theory.network import (
    SignalPropagation,
    TailoredSlope,
    global_correlation,
    signal_propagation,
    tailored_slope,
    worst_correlation,
)
from leaky.theory.signals import Graph, Prediction, Vertex, plain

__all__ = [
    "Bounds",
    "Graph",
    "Moments",
    "Prediction",
    "SignalPropagation",
    "TailoredSlope",
    "Vertex",
    "born_dead_probability",
    "correlation_map",
    "gain",
    "global_correlation",
    "moments",
    "plain",
    "rate_bound",
    "samples_needed",
    "signal_propagation",
    "tailored_slope",
    "worst_correlation",
]
