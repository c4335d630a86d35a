"""What one observation of a network saw: plain data, without torch and without a live model.

A Record must hold everything that diagnosis, reports and repair need, for any slope: counts and sums are kept apart by
the region of the activation that each pre-activation fell into, so that "what if this site's slope were …" is answered
from the same numbers. Two Records of the same network merge in any order.
"""

from leaky.record.derivatives import Derivatives
from leaky.record.directions import Directions
from leaky.record.ends import (
    MOST_FEATURES,
    OVER_SAMPLES,
    WEIGHTED,
    FeatureStatistics,
    LossTerm,
    ParameterGradients,
    TensorStatistics,
    merged,
)
from leaky.record.layers import OVER_BATCH, PIECES, Choice, Normalisation, SharedLayer
from leaky.record.observation import NotExamined, Record
from leaky.record.site import OutputMoments, Producer, Site
from leaky.record.statistics import (
    BELOW,
    BEYOND_HIGH,
    BEYOND_LOW,
    LINEAR,
    NOTHING_SEEN,
    REGIONS,
    FloatArray,
    GradientStatistics,
    IntArray,
    UnitStatistics,
)

__all__ = [
    "BELOW",
    "BEYOND_HIGH",
    "BEYOND_LOW",
    "LINEAR",
    "MOST_FEATURES",
    "NOTHING_SEEN",
    "OVER_BATCH",
    "OVER_SAMPLES",
    "PIECES",
    "REGIONS",
    "WEIGHTED",
    "Choice",
    "Derivatives",
    "Directions",
    "FeatureStatistics",
    "FloatArray",
    "GradientStatistics",
    "IntArray",
    "LossTerm",
    "Normalisation",
    "NotExamined",
    "OutputMoments",
    "ParameterGradients",
    "Producer",
    "Record",
    "SharedLayer",
    "Site",
    "TensorStatistics",
    "UnitStatistics",
    "merged",
]
