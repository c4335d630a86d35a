"""What the rules of alarms are given, and how they say what they found. Plain data, without torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from leaky.diagnosis import Finding, Level, Thresholds
from leaky.diagnosis.wording import evidence
from leaky.record import FloatArray, TensorStatistics
from leaky.watching.course import Course
from leaky.watching.history import FigureHistory, SiteFigures
from leaky.watching.weights import Series


@dataclass(eq=False, slots=True)
class SiteNow:
    """One site at a report.

    Attributes:
        name: of the site.
        units: of the site.
        silent_for: samples since each unit fired, shape (units,).
        ever_fired: whether it has since the last reset, shape (units,).
        last_fired: step at which it fired last, −1 for never, shape (units,).
        flat: whether its derivative below the threshold is practically 0, so that a silent unit cannot learn.
        gated: whether it is smooth, and so is judged by its share of the output alone.
        nonfinite: NaN and infinite pre-activations since the last report, shape (units,).
        alike: (E z)² ÷ E z², the median over units; NaN where not known.
        same_for: reports in a row in which all units showed the same.
        is_output: whether what it gives is the model's output.
    """

    name: str
    units: int
    silent_for: FloatArray
    ever_fired: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    last_fired: FloatArray
    flat: bool
    gated: bool
    nonfinite: FloatArray
    alike: float = math.nan
    same_for: int = 0
    is_output: bool = False


@dataclass(frozen=True)
class Loop:
    """What is known of the loop around the model.

    Attributes:
        rate_rise: the optimizer's rate ÷ its first one that was not 0, the largest of its groups; 1 where not known.
        unzeroed: steps in a row whose gradient was added to that of the step before.
        nothing_comes: whether no gradient came to any of the optimizer's parameters at its first steps.
        weights: what was measured of them, by name.
        ill_loss: whether the loss was NaN or infinite since the last report.
        course: of the losses, where they are known.
        searches: whether the optimizer evaluates the loss again and again within a step, and chooses its length by it.
    """

    rate_rise: float = 1.0
    unzeroed: int = 0
    nothing_comes: bool = False
    weights: Mapping[str, Series] = field(default_factory=dict)
    ill_loss: bool = False
    course: Course = field(default_factory=Course)
    searches: bool = False


@dataclass(frozen=True)
class Look:
    """What the model gave in one pass.

    Attributes:
        alike: (E y)² ÷ E y² over samples, the median over the entries of one sample's output.
        variance: between samples, the mean over the entries.
        square: E y².
        width: entries that each sample has along the smallest axis of the output.
    """

    alike: float
    variance: float
    square: float
    width: int = 1


@dataclass(frozen=True, eq=False)
class Now:
    """What the rules are given.

    Attributes:
        step, batch: at which the report is made.
        row: its figures by site.
        history: this report included.
        sites: in the order in which they run.
        needed: samples that a verdict takes.
        thresholds: that decide.
        origin: what is known of a non-finite value's origin ("the input is finite"), for the reader.
        scaled: whether a GradScaler is at work, whose first steps overflow by design.
        inputs: of the batch that was looked at last.
        inputs_of: that batch's number.
        order: n·Var(x̄) ÷ Var(x) of the batches, about 1 where they are drawn at random; NaN where that is not known.
        input_jump: the largest batch since the last report ÷ the usual one; 0 where that is not known.
        experts: the share of the samples of each expert, by the container that they are in.
        codes: how often each row of a table was chosen, of those among which the model chooses, by the table's name.
        loop: around the model.
        looks: at what the model gave, the first one and the last ones.
    """

    step: int
    batch: int
    row: SiteFigures
    history: FigureHistory
    sites: tuple[SiteNow, ...]
    needed: int
    thresholds: Thresholds
    origin: str = ""
    scaled: bool = False
    inputs: tuple[TensorStatistics, ...] = ()
    inputs_of: int = 0
    input_jump: float = 0.0
    order: float = math.nan
    experts: dict[str, FloatArray] = field(default_factory=dict)
    codes: Mapping[str, FloatArray] = field(default_factory=dict)
    loop: Loop = field(default_factory=Loop)
    looks: tuple[Look, ...] = ()

    @cached_property
    def samples(self) -> int:
        """Of all reports."""
        return int(self.history.samples.sum())

    @cached_property
    def recent(self) -> int:
        """How many of the last reports have as many samples as a verdict takes; all where they have fewer."""
        return 1 + int(np.searchsorted(self.history.samples[:0:-1].cumsum(), self.needed))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the sites."""
        return tuple(site.name for site in self.sites)

    def series(self, figure: str) -> FloatArray:
        """A figure of the sites over the reports, shape (reports, sites)."""
        return self.history.of(figure, self.names)

    def but(self, well: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> list[SiteNow]:
        """The sites without those that surely have nothing that a rule looks for."""
        return [site for site, known in zip(self.sites, well.tolist(), strict=True) if not known]


Check = Callable[[Now], list[Finding]]


def finding(rule: str, level: Level, site: SiteNow | None, message: str, advice: str, **numbers: object) -> Finding:
    """What a rule found, with the numbers behind it."""
    units = numbers.pop("units", ())
    assert isinstance(units, tuple)
    name = None if site is None else site.name
    return Finding(rule, level, name, units, message, evidence(**numbers), advice)


def level_of(size: float, warning: float, error: float) -> Level | None:
    """The level of a size that is worse the larger it is; None where it is neither."""
    if math.isnan(size) or size < warning:
        return None
    return "error" if size >= error else "warning"


LEAST_UNITS = 4
"""Units of a site without which nothing is said of how its units are alike, or its samples."""


def stayed(values: FloatArray, reports: int = 3) -> float:
    """The least of the last reports' values; NaN where there are fewer, or one is not known."""
    recent = values[-reports:]
    return float(recent.min()) if len(recent) == reports else math.nan


def beyond_chance(count: int, units: int, share: float, delta: float) -> bool:
    """Whether so many of a layer's units are more than a share, and no accident of a layer of few units.

    A limit was measured on layers of many units. Of n units each of which is meant with half that probability, `count`
    or more must be so with a probability of at most δ: Σ_{k ≥ count} C(n, k) pᵏ (1 − p)ⁿ⁻ᵏ ≤ δ.

    Args:
        count: units that are meant.
        units: n, of the layer.
        share: the limit.
        delta: δ.
    """
    if count < share * units or share <= 0:
        return count >= share * units
    p, n = share / 2, units
    choices = math.lgamma(n + 1) - math.lgamma(count + 1) - math.lgamma(n - count + 1)
    term = total = math.exp(choices + count * math.log(p) + (n - count) * math.log1p(-p))
    for k in range(count, n):
        term *= (n - k) / (k + 1) * p / (1 - p)  # at most half the one before, for k is beyond 2pn
        total += term
        if term < 1e-9 * total:
            break
    return total <= delta


def known(now: Now, figure: str) -> list[tuple[SiteNow, float]]:
    """The sites with a finite figure at this report, and the figure."""
    values: Mapping[str, dict[str, float]] = now.row
    pairs = [(site, values[site.name][figure]) for site in now.sites]
    return [(site, value) for site, value in pairs if math.isfinite(value)]
