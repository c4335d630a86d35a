"""Every number that a rule decides by, in one table.

The table must be the only home of these numbers: rules read them from here, keywords and the command line override
them here, and the documentation shows the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from leaky.checking import shown
from leaky.errors import InputError
from leaky.text import did_you_mean, named


@dataclass(frozen=True)
class Row:
    """One row of the table: a threshold's name, default, valid range [low, high], meaning and source."""

    name: str
    default: float
    low: float
    high: float
    meaning: str
    source: str


def _share(default: float, meaning: str, source: str) -> Any:
    return field(default=default, metadata={"low": 0.0, "high": 1.0, "meaning": meaning, "source": source})


def _number(default: float, meaning: str, source: str, low: float = 0.0, high: float = math.inf) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "meaning": meaning, "source": source})


_OPEN = {"low": 1e-12, "high": 1.0 - 1e-12}
_HEALTHY = "above what healthy networks show"
"""Source of the limits that were set by measuring networks that train well; the figures are in docs/rules/README.md."""


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of one diagnosis. Shares are of a site's units unless said otherwise; `of` checks the values."""

    # evidence
    delta: float = _number(
        0.05, "δ: all verdicts together are wrong with at most this probability", "convention", **_OPEN
    )
    rate: float = _number(
        0.01, "p₀: a silent unit is called dead if it fires on less than this share", "convention", **_OPEN
    )
    units_examined: float = _number(
        0, "U: units that the verdicts hold for at once; 0 for all in the record", "union bound"
    )
    least_samples: float = _number(30, "samples without which averages are not judged", "convention")

    # units
    dead_derivative: float = _number(
        1e-3, "τ: an effective derivative of at most this size is practically 0", "a tenth of the usual smallest slope"
    )
    few: float = _share(0.05, "share of inactive units up to which the advice is to leave them", "convention")
    dead_warning: float = _share(0.4, "share of dead units from which on it is a warning", _HEALTHY)
    dead_error: float = _share(0.6, "share of dead units from which on it is an error", "networks that fail to train")
    network_dead_warning: float = _share(
        0.65, "share of all hidden units from which on a site that is mostly dead is a warning", _HEALTHY
    )
    silent_warning: float = _share(0.6, "share of units silent so far from which on it is a warning", _HEALTHY)
    locked_warning: float = _share(0.9, "share of locked units from which on it is a warning", _HEALTHY)
    nearly_dead_rate: float = _share(
        0.01, "a unit that fires on less than this share of samples is nearly dead", "SageMaker DeadRelu"
    )
    nearly_dead_warning: float = _share(0.25, "share of nearly dead units from which on it is a warning", _HEALTHY)
    dormant_score: float = _number(0.025, "dormant: E|h| of the unit ÷ the site's mean is at most this", "ReDo")
    dormant_warning: float = _share(
        0.4, "share of dormant units, inactive ones apart, from which on it is a warning", _HEALTHY
    )
    constant_range: float = _number(1e-6, "constant: max − min of z is at most this times max|z|", "float32 rounding")
    constant_warning: float = _share(0.05, "share of constant units from which on it is a warning", _HEALTHY)
    starved_score: float = _number(
        0.01, "starved: effective gradient of the unit ÷ the site's mean is at most this", "convention"
    )
    starved_warning: float = _share(0.25, "share of starved units from which on it is a warning", _HEALTHY)
    linear_distance: float = _number(0.1, "practically linear: |1 − α| is at most this", "bends .6% as much as ReLU")
    linear_warning: float = _share(0.5, "share of practically linear units from which on it is a warning", "convention")

    # sites
    imbalance_info: float = _share(
        0.95, "share of Σh² held by the units' means from which on it is noted", "21 plain ReLU layers"
    )
    imbalance_warning: float = _share(
        0.995, "the same, from which on it is a warning where the outputs are no more varied", "84 plain ReLU layers"
    )
    sparse_info: float = _share(0.05, "share of elements above the threshold below which it is noted", _HEALTHY)
    sparse_warning: float = _share(0.01, "the same, below which it is a warning", "SageMaker DeadRelu")
    lost_info: float = _share(
        0.9, "share of Σz² that slope 0 discards from which on it is noted", "N(0, 1) loses .5, N(−1, 1) .96"
    )
    lost_warning: float = _share(0.999, "the same, from which on it is a warning", "z ~ N(−2, 1) loses .9988")

    saturated_info: float = _share(
        0.4, "share of pre-activations in the flat ends of a sigmoid or tanh from which on it is noted", _HEALTHY
    )
    saturated_warning: float = _share(0.7, "the same, from which on it is a warning", "drawn three times too large")

    # depth
    least_sites: float = _number(3, "sites without which no trend by depth is judged", "convention", low=2)
    growth_info: float = _number(
        1e3, "factor of growth or decay of E h² from first to last site: noted", _HEALTHY, low=1
    )
    growth_warning: float = _number(1e4, "the same: warning", _HEALTHY, low=1)
    growth_error: float = _number(1e8, "the same: error", "half precision ends at 65504", low=1)
    gradient_info: float = _number(
        1e4, "factor of growth or decay of E‖∂L/∂z‖² towards the input: noted", _HEALTHY, low=1
    )
    gradient_warning: float = _number(1e6, "the same: warning", _HEALTHY, low=1)
    gradient_error: float = _number(1e12, "the same: error", "squares of half precision's 6e-8", low=1)

    alike_sites: float = _number(
        12, "sites in one pass without which samples are not said to grow alike with depth", "10 layers train", low=2
    )
    alike_info: float = _share(
        0.9, "mean cosine of two samples over the last quarter of the sites from which on it is noted", _HEALTHY
    )
    alike_warning: float = _share(0.96, "the same, from which on it is a warning", "24 plain ReLU layers")

    # the two ends
    input_high: float = _number(
        30,
        "root mean square of an input feature above which the input is called large",
        "raw bytes: 80; digits 0–16: 12",
    )
    input_low: float = _number(0.03, "max|x| below which the input is called small", "diabetes, scaled to .05: max .2")
    input_offset: float = _share(
        0.99,
        "share of Σx² held by the features' means from which on the input is called offset",
        "mean ten times the std",
    )
    input_outlier: float = _number(
        50, "max|x|, and its ratio to the others' root mean square, from which on it is an outlier", "normal data: 5"
    )
    target_high: float = _number(
        30, "root mean square of a regression's targets above which they are large", "convention"
    )
    norm_distance: float = _number(
        1.0, "BatchNorm: running means this many running std off what comes in are stale", _HEALTHY
    )
    norm_spread: float = _number(
        4.0, "BatchNorm: running variances off what comes in by this factor are stale", _HEALTHY, low=1
    )
    learned: float = _share(
        0.8, "R², or share of chance's errors avoided, from which on a network has learned", "convention"
    )
    stalled: float = _share(0.1, "the same, below which it fits no better than a constant", "convention")
    side_share: float = _share(
        0.05, "share of the network's units up to which a dead branch that can be bypassed is waste", _HEALTHY
    )

    # against an initial record
    gain_tolerance: float = _number(
        0.1, "relative distance from the right gain that is let pass", "the gain of slope .46 instead of 0"
    )

    # while it trains
    stopped_warning: float = _share(
        0.4, "share of a site's units that have stopped firing from which on it is a warning", _HEALTHY
    )
    collapse_share: float = _share(
        0.5, "share of silent units at which a layer counts as collapsed, for its projected step", "SageMaker DeadRelu"
    )
    collapse_rise: float = _share(
        0.3, "rise of the share of silent units within the last reports that makes a projection", _HEALTHY
    )
    drift_warning: float = _number(
        1e4,
        "factor of E z² of a site over its first reports from which on it is a warning",
        "a dozen small trainings",
        low=1,
    )
    rate_rise: float = _number(
        10, "the optimizer's rate ÷ its first one from which on it is blamed where ranges drift", "convention", low=1
    )
    spike_warning: float = _number(
        30,
        "gradient of a report ÷ the usual one, from which on it is a warning",
        "a dozen small trainings",
        low=1,
    )
    spike_error: float = _number(1e4, "the same: error", "squares overflow half precision", low=1)
    update_warning: float = _number(
        0.3, "‖ΔW‖ ÷ ‖W‖ of one optimizer step from which on it is a warning", "a hundred times the usual 1e-3"
    )
    update_error: float = _number(1.0, "the same: error", "the step is as long as the weights")
    update_steady: float = _number(
        0.1, "the same of every report, from which on it is a warning", "healthy trainings stay below .06"
    )
    update_tiny: float = _number(
        1e-6, "the same of every step since the start, up to which nothing is learned", "the last bits of float32"
    )
    update_moved: float = _share(
        0.03,
        "share of a half-precision weight's entries that any step has moved, up to which steps are rounded away",
        "trainings that learn: .04 to 1",
    )
    starved_weight: float = _share(
        1e-4, "‖g‖·‖W‖ of a weight ÷ the model's largest, report after report, up to which it is starved", _HEALTHY
    )
    loss_rise: float = _share(
        1.0,
        "rise of the loss ÷ how far it had fallen, from which on, beyond chance, it is a warning",
        "value functions that learn (DQN, PPO): .6 at most",
    )
    loss_error: float = _number(4, "the same rise ÷ its standard error, without which nothing is said", "convention")
    batch_order: float = _number(
        10, "n·Var(x̄) ÷ Var(x) of batches from which on they are no random draws", "healthy trainings: 2.6"
    )
    step_back: float = _share(
        0.97, "cosine of a step with the gradient after it from which on steps go to and fro", _HEALTHY
    )
    weight_speed: float = _number(
        0.014, "steady growth of ln ‖W‖ a step, either way, from which on it is a warning", "a quarter in 16 steps"
    )
    weight_gain: float = _number(
        3, "√(fan-in · E w²) without which growing weights are let grow", "twice what keeps a rectifier's range"
    )
    changed_aside: float = _share(
        0.004,
        "change of ‖W‖ a step by others than the optimizer: warning",
        "a fiftieth in 5 steps",
    )
    taken_back: float = _share(
        0.9, "share of each step that others take back: warning", "one put back whole: 1; looking ahead: ½ or over 1"
    )
    even_gradient: float = _share(
        0.9, "(E|g|)² ÷ E g² from which on one term may outweigh the samples", "healthy classifiers: .73 at most"
    )
    proportional_gradient: float = _share(
        0.95, "correlation over units of ln E g² with ln E h² from which on the same is said", "healthy trainings: .82"
    )
    pressed_output: float = _share(
        0.5, "share of the first E h² up to which such a term is said to press a site", "penalties press to a tenth"
    )
    cut_off: float = _share(
        0.03, "share of the first E g² of a site, beside the last site's, up to which it is cut off", "healthy: .11"
    )
    alike_share: float = _share(
        0.98, "(E z)² ÷ E z², the median over units, from which on it is a warning", "healthy trainings: .88"
    )
    alike_output: float = _share(
        0.9,
        "the same of what the model gives, by entries, and more than at first",
        "healthy ones: .76, over 5 looks",
    )
    expert_share: float = _share(
        0.05, "an expert that is given less than this part of an even share of the samples is idle", "convention"
    )
    asleep_samples: float = _number(
        1e7, "samples without firing after which a unit is asleep, as dead latents are called", "Gao et al. 2024", low=1
    )
    srank_delta: float = _share(
        0.01, "δ of the effective rank: the part of the singular values' sum that is left out", "Kumar et al. 2021"
    )

    @classmethod
    def of(cls, overrides: Mapping[str, float] | None = None) -> Thresholds:
        """The defaults with `overrides` in their place.

        Raises:
            InputError: for a name that is not in the table, or a value outside its range.
        """
        if overrides is not None and not isinstance(overrides, Mapping):
            raise InputError(f"thresholds must be numbers by name, {{'delta': 0.01}}, not {shown(overrides)}")
        rows = {row.name: row for row in table()}
        for name, value in (overrides or {}).items():
            if name not in rows:
                raise InputError(f"there is no threshold {named(name)}{did_you_mean(name, rows)}")
            _check(rows[name], value)
        return cls(**{name: float(value) for name, value in (overrides or {}).items()})

    def as_dict(self) -> dict[str, float]:
        """Every threshold by name; `Thresholds.of` takes it back."""
        return asdict(self)


def table() -> tuple[Row, ...]:
    """The rows, in the order of the documentation."""
    return tuple(Row(name=f.name, default=_default(f.default), **f.metadata) for f in fields(Thresholds))


def markdown() -> str:
    """The table as docs/rules/README.md shows it."""
    rows = [f"| `{row.name}` | {row.default:g} | {_cell(row.meaning)} | {_cell(row.source)} |" for row in table()]
    return "\n".join(["| name | default | meaning | source |", "|---|---|---|---|", *rows])


def _cell(words: str) -> str:
    """As a table's cell holds it, where a bar would end it."""
    return words.replace("|", "\\|")


def _default(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _check(row: Row, value: object) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not row.low <= float(value) <= row.high:  # type: ignore[arg-type]  # NaN fails as well
        raise InputError(f"the threshold {row.name} must be a number in [{row.low:g}, {row.high:g}], not {value!r}")
