"""Causes before consequences: the findings in the order of the flow, each consequence behind what it follows from.

What goes in comes before the first site that goes wrong, that one before what comes out and before the gradient. A
cause is as bad as the worst that follows from it. Which rule's findings may follow from which stands in one table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from leaky.diagnosis.finding import Finding, Level, level_rank
from leaky.record import Record

UNITS = frozenset(
    (
        "dead", "silent-so-far", "nearly-dead", "locked-negative", "locked-positive", "dormant", "constant",
        "gradient-starved", "over-sparse", "negative-information-lost", "output-imbalance", "growth", "decay",
        "vanishing-gradient", "exploding-gradient", "born-dead", "died-in-training", "alike-by-depth", "saturated",
    )
)  # fmt: skip
"""Rules on what the units do."""
ENDS = frozenset(("output-rectifier", "same-output", "no-gradient", "not-learning", "non-finite"))
"""Rules on what comes out and what the gradient does."""
ANYTHING = UNITS | ENDS
SUSPECTED = ANYTHING - {"output-rectifier"}
"""What a scale may bring about; a rectifier at the end cuts off what it cuts off by itself."""
PASSIVE = frozenset(("same-output", "no-gradient", "not-learning", "output-rectifier", "vanishing-gradient", "decay"))
"""What follows where nothing passes a site."""
NATURAL = frozenset(
    ("same-output", "constant", "locked-positive", "locked-negative", "output-imbalance", "not-learning")
)
"""What a constant input brings about in a network that is in order."""

STAGES = (
    ("input-constant",),
    ("loss-misfit", "target-shape", "target-range", "no-curvature", "unregistered"),
    ("batchnorm-statistics",),
    ("target-scale",),
    ("input-outliers", "input-scale", "input-offset"),
    ("not-learning", "initialisation-gain"),
    ("growth", "decay"),
    ("alike-by-depth", "alike-units"),
    ("softmax-inside", "shut-gate", "saturated-attention", "idle-pieces"),
    (),  # the sites, one after another
    ("output-rectifier", "same-output"),
    ("no-gradient", "vanishing-gradient", "exploding-gradient"),
    ("shared-weights",),
)
"""The flow, what is certain before what is suspected: the place of each rule that is not about one site."""
_SITES = STAGES.index(())
_STAGE = {rule: place for place, rules in enumerate(STAGES) for rule in rules}
_FIRST_AT_A_SITE = ("non-finite", "saturated", "constant", "dead", "silent-so-far")


@dataclass(frozen=True)
class Relation:
    """What may follow from the findings of a rule.

    Attributes:
        cause: slug of the rule.
        follow: slugs of what may follow.
        holds: whether this finding of the rule is such a cause, and that other one comes behind it.
        most: the level that what follows keeps at most, None for its own: a consequence that is no trouble by itself.
        cap: the level that the cause takes from what follows at most.
    """

    cause: str
    follow: frozenset[str]
    holds: Callable[[Finding, Finding, dict[str, int]], bool] = lambda cause, other, order: True
    most: Level | None = None
    cap: Level = "error"


def _behind(cause: Finding, other: Finding, order: dict[str, int]) -> bool:
    """Whether the cause is about a whole site on the only way, and the other about a later one or about the network."""
    if not cause.evidence.get("whole_site"):
        return False
    if other.site is None or other.rule in PASSIVE:
        return True
    later = order.get(other.site, -1) > order.get(cause.site or "", -1)
    return later or (other.site == cause.site and other.rule in ("dead", "silent-so-far", "dormant", "over-sparse"))


def _before_norms(cause: Finding, other: Finding, order: dict[str, int]) -> bool:
    """Whether nothing passes a site, and the first BatchNorm that is off gets one value for all samples."""
    spreads = other.evidence.get("spreads")
    return bool(cause.evidence.get("whole_site")) and isinstance(spreads, list) and float(spreads[0]) < SAME


SAME = 1e-6
"""Variance of what comes into a BatchNorm ÷ its running one, up to which nothing but rounding varies."""


def _same_site(cause: Finding, other: Finding, order: dict[str, int]) -> bool:
    return cause.site is not None and cause.site == other.site


def _shut(cause: Finding, other: Finding, order: dict[str, int]) -> bool:
    return bool(cause.evidence.get("shut"))


def _at_input(cause: Finding, other: Finding, order: dict[str, int]) -> bool:
    return cause.evidence.get("end") == "input"


def _at_targets(cause: Finding, other: Finding, order: dict[str, int]) -> bool:
    return cause.evidence.get("end") == "targets"


def _no_cut(cause: Finding, other: Finding, order: dict[str, int]) -> bool:
    """Whether the other is no gradient that is cut off: no scale does that."""
    return other.evidence.get("kind") != "unreached"


def _by_weights(cause: Finding, other: Finding, order: dict[str, int]) -> bool:
    """Whether the weights' scale explains at least half of the trend."""
    trend, predicted = cause.evidence.get("log_gain_per_site"), cause.evidence.get("predicted_log_gain_per_site")
    known = isinstance(trend, float) and isinstance(predicted, float)
    return known and trend * predicted > 0 and abs(predicted) >= abs(trend) / 2  # type: ignore[operator, arg-type]


def _by_sums(cause: Finding, other: Finding, order: dict[str, int]) -> bool:
    """Whether the sites that grow all lie beside shortcuts, whose sums grow by every branch."""
    return bool(cause.evidence.get("on_shortcuts")) and cause.level != "info"


def _within_batches(cause: Finding, other: Finding, order: dict[str, int]) -> bool:
    """Whether the outputs are the same within a batch, and not from batch to batch."""
    return bool(cause.evidence.get("within_batches"))


RELATIONS = (
    Relation("non-finite", ANYTHING, _at_input),
    Relation("non-finite", ENDS | {"gradient-starved", "vanishing-gradient", "exploding-gradient"}, _at_targets),
    Relation("input-constant", NATURAL, most="info", cap="info"),
    Relation("input-constant", ANYTHING),
    Relation("loss-misfit", ANYTHING),
    Relation("target-shape", ANYTHING),
    Relation("target-range", ANYTHING),
    Relation("no-curvature", ANYTHING),
    Relation("constant", frozenset(("batchnorm-statistics",)), _before_norms),
    Relation("dead", frozenset(("batchnorm-statistics",)), _before_norms),
    Relation("batchnorm-statistics", ANYTHING, most="info", cap="warning"),
    Relation("output-rectifier", frozenset(("same-output", "no-gradient", "not-learning", "gradient-starved"))),
    Relation("target-scale", SUSPECTED, _no_cut),
    Relation("input-outliers", SUSPECTED, _no_cut),
    Relation("input-scale", SUSPECTED, _no_cut),
    Relation("input-offset", SUSPECTED, _no_cut),
    Relation("initialisation-gain", frozenset(("growth", "decay", "vanishing-gradient", "exploding-gradient"))),
    Relation("growth", UNITS | {"non-finite", "not-learning"}, _by_weights),
    Relation("growth", UNITS | {"non-finite", "not-learning"}, _by_sums),
    Relation("decay", UNITS | {"same-output", "not-learning"}, _by_weights),
    Relation("same-output", UNITS | {"not-learning"}, _within_batches),
    Relation("constant", ANYTHING, _behind),
    Relation("dead", ANYTHING, _behind),
    Relation("silent-so-far", ANYTHING, _behind),
    Relation(
        "alike-by-depth", UNITS | {"same-output", "not-learning"}
    ),  # a unit is then on for all samples or for none
    Relation("saturated", frozenset(("dead", "silent-so-far", "nearly-dead")), _same_site),
    Relation("saturated", frozenset(("vanishing-gradient", "not-learning"))),
    Relation("alike-units", UNITS | {"not-learning"}, cap="warning"),
    Relation("softmax-inside", PASSIVE),
    Relation("shut-gate", PASSIVE | {"constant"}, _shut),
    Relation("shut-gate", frozenset(("same-output", "not-learning"))),
    Relation("saturated-attention", PASSIVE, cap="warning"),
    Relation("idle-pieces", frozenset(("not-learning",)), cap="warning"),
    Relation("dead", frozenset(("born-dead", "died-in-training")), _same_site),
    Relation("no-gradient", frozenset(("vanishing-gradient", "gradient-starved"))),
)
"""In the order of the flow: what may follow from several causes follows from the first of them."""


def in_order(findings: Sequence[Finding], record: Record) -> tuple[Finding, ...]:
    """The findings, each consequence marked and put behind its cause; groups worst first, then along the flow."""
    order = {site.name: place for place, site in enumerate(record.sites)}
    linked = _linked(findings, order)
    groups: dict[str, list[Finding]] = {f.name: [f] for f in linked if f.follows_from is None}
    for finding in sorted(linked, key=lambda f: (-level_rank(f.level), _place(f, order))):
        if finding.follows_from is not None:
            groups[finding.follows_from].append(finding)
    ranked = sorted(groups.values(), key=lambda group: (-level_rank(group[0].level), _place(group[0], order)))
    return tuple(finding for group in ranked for finding in group)


def _place(finding: Finding, order: dict[str, int]) -> tuple[float, int, int]:
    """Where in the flow a finding belongs."""
    at_site = _FIRST_AT_A_SITE.index(finding.rule) if finding.rule in _FIRST_AT_A_SITE else len(_FIRST_AT_A_SITE)
    if finding.rule == "non-finite" and finding.site is None:
        return -1, 0, 0
    if finding.rule in _STAGE:
        return _STAGE[finding.rule], order.get(finding.site or "", -1), 0
    return _SITES, order.get(finding.site or "", -1), at_site


def _linked(findings: Sequence[Finding], order: dict[str, int]) -> list[Finding]:
    """Every finding with its cause and the level that it has then."""
    causes: dict[str, tuple[Finding, Relation]] = {}
    for relation in RELATIONS:
        for cause in sorted((f for f in findings if f.rule == relation.cause), key=lambda f: _place(f, order)):
            if cause.name in causes:
                continue  # what follows itself is no root: its consequences follow from its own cause
            for other in findings:
                mine = other.name not in causes and other.name != cause.name and other.rule in relation.follow
                if mine and relation.holds(cause, other, order):
                    causes[other.name] = (cause, relation)
    levels = {finding.name: finding.level for finding in findings}
    for finding in findings:
        if finding.name in causes:
            cause, relation = causes[finding.name]
            levels[cause.name] = _worse(levels[cause.name], _milder(finding.level, relation.cap))
    return [_placed(finding, causes, levels[finding.name]) for finding in findings]


def _placed(finding: Finding, causes: dict[str, tuple[Finding, Relation]], level: Level) -> Finding:
    if finding.name not in causes:
        return replace(finding, level=level)
    cause, relation = causes[finding.name]
    while cause.name in causes:  # the root of it
        cause = causes[cause.name][0]
    most = relation.most
    return replace(
        finding,
        level=level if most is None else _milder(level, most),
        follows_from=cause.name,
        advice=finding.advice if cause.rule == "dead" and finding.rule in _ORIGIN else _after(cause),
    )


_ORIGIN = ("born-dead", "died-in-training")


def _after(cause: Finding) -> str:
    """Advice for what follows from another finding: no cure of its own before that is mended."""
    return f"It may follow from {cause.name}: mend that first, then look again."


def _worse(a: Level, b: Level) -> Level:
    return max(a, b, key=level_rank)


def _milder(a: Level, b: Level) -> Level:
    return min(a, b, key=level_rank)
