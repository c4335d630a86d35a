"""The thresholds that the rules for one record decide by."""

from __future__ import annotations

from dataclasses import dataclass

from leaky.diagnosis.threshold import HEALTHY, OPEN, number, share


@dataclass(frozen=True)
class RecordThresholds:
    """Thresholds of a single observation. Shares are of a site's units unless said otherwise."""

    # evidence
    delta: float = number(
        0.05, "δ: all verdicts together are wrong with at most this probability", "convention", **OPEN
    )
    rate: float = number(
        0.01, "p₀: a silent unit is called dead if it fires on less than this share", "convention", **OPEN
    )
    units_examined: float = number(
        0, "U: units that the verdicts hold for at once; 0 for all in the record", "union bound"
    )
    least_samples: float = number(30, "samples without which averages are not judged", "convention")

    # units
    dead_derivative: float = number(
        1e-3, "τ: an effective derivative of at most this size is practically 0", "a tenth of the usual smallest slope"
    )
    few: float = share(0.05, "share of inactive units up to which the advice is to leave them", "convention")
    dead_warning: float = share(0.4, "share of dead units from which on it is a warning", HEALTHY)
    dead_error: float = share(0.6, "share of dead units from which on it is an error", "networks that fail to train")
    network_dead_warning: float = share(
        0.65, "share of all hidden units from which on a site that is mostly dead is a warning", HEALTHY
    )
    silent_warning: float = share(0.6, "share of units silent so far from which on it is a warning", HEALTHY)
    locked_warning: float = share(0.9, "share of locked units from which on it is a warning", HEALTHY)
    nearly_dead_rate: float = share(
        0.01, "a unit that fires on less than this share of samples is nearly dead", "SageMaker DeadRelu"
    )
    nearly_dead_warning: float = share(0.25, "share of nearly dead units from which on it is a warning", HEALTHY)
    dormant_score: float = number(0.025, "dormant: E|h| of the unit ÷ the site's mean is at most this", "ReDo")
    dormant_warning: float = share(
        0.4, "share of dormant units, inactive ones apart, from which on it is a warning", HEALTHY
    )
    constant_range: float = number(1e-6, "constant: max − min of z is at most this times max|z|", "float32 rounding")
    constant_warning: float = share(0.05, "share of constant units from which on it is a warning", HEALTHY)
    starved_score: float = number(
        0.01, "starved: effective gradient of the unit ÷ the site's mean is at most this", "convention"
    )
    starved_warning: float = share(0.25, "share of starved units from which on it is a warning", HEALTHY)
    linear_distance: float = number(0.1, "practically linear: |1 − α| is at most this", "bends .6% as much as ReLU")
    linear_warning: float = share(0.5, "share of practically linear units from which on it is a warning", "convention")

    # sites
    imbalance_info: float = share(
        0.95, "share of Σh² held by the units' means from which on it is noted", "21 plain ReLU layers"
    )
    imbalance_warning: float = share(
        0.995, "the same, from which on it is a warning where the outputs are no more varied", "84 plain ReLU layers"
    )
    sparse_info: float = share(0.05, "share of elements above the threshold below which it is noted", HEALTHY)
    sparse_warning: float = share(0.01, "the same, below which it is a warning", "SageMaker DeadRelu")
    lost_info: float = share(
        0.9, "share of Σz² that slope 0 discards from which on it is noted", "N(0, 1) loses .5, N(−1, 1) .96"
    )
    lost_warning: float = share(0.999, "the same, from which on it is a warning", "z ~ N(−2, 1) loses .9988")

    saturated_info: float = share(
        0.4, "share of pre-activations in the flat ends of a sigmoid or tanh from which on it is noted", HEALTHY
    )
    saturated_warning: float = share(0.7, "the same, from which on it is a warning", "drawn three times too large")

    # depth
    least_sites: float = number(3, "sites without which no trend by depth is judged", "convention", low=2)
    growth_info: float = number(1e3, "factor of growth or decay of E h² from first to last site: noted", HEALTHY, low=1)
    growth_warning: float = number(1e4, "the same: warning", HEALTHY, low=1)
    growth_error: float = number(1e8, "the same: error", "half precision ends at 65504", low=1)
    gradient_info: float = number(
        1e4, "factor of growth or decay of E‖∂L/∂z‖² towards the input: noted", HEALTHY, low=1
    )
    gradient_warning: float = number(1e6, "the same: warning", HEALTHY, low=1)
    gradient_error: float = number(1e12, "the same: error", "squares of half precision's 6e-8", low=1)

    alike_sites: float = number(
        12, "sites in one pass without which samples are not said to grow alike with depth", "10 layers train", low=2
    )
    alike_info: float = share(
        0.9, "mean cosine of two samples over the last quarter of the sites from which on it is noted", HEALTHY
    )
    alike_warning: float = share(0.96, "the same, from which on it is a warning", "24 plain ReLU layers")

    # the two ends
    input_high: float = number(
        30,
        "root mean square of an input feature above which the input is called large",
        "raw bytes: 80; digits 0–16: 12",
    )
    input_low: float = number(0.03, "max|x| below which the input is called small", "diabetes, scaled to .05: max .2")
    input_offset: float = share(
        0.99,
        "share of Σx² held by the features' means from which on the input is called offset",
        "mean ten times the std",
    )
    input_outlier: float = number(
        50, "max|x|, and its ratio to the others' root mean square, from which on it is an outlier", "normal data: 5"
    )
    target_high: float = number(
        30, "root mean square of a regression's targets above which they are large", "convention"
    )
    norm_distance: float = number(
        1.0, "BatchNorm: running means this many running std off what comes in are stale", HEALTHY
    )
    norm_spread: float = number(
        4.0, "BatchNorm: running variances off what comes in by this factor are stale", HEALTHY, low=1
    )
    learned: float = share(
        0.8, "R², or share of chance's errors avoided, from which on a network has learned", "convention"
    )
    stalled: float = share(0.1, "the same, below which it fits no better than a constant", "convention")
    side_share: float = share(
        0.05, "share of the network's units up to which a dead branch that can be bypassed is waste", HEALTHY
    )

    # against an initial record
    gain_tolerance: float = number(
        0.1, "relative distance from the right gain that is let pass", "the gain of slope .46 instead of 0"
    )
