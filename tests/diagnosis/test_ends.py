"""What goes in, what the loss asks for and what comes out: facts, levels, and silence where all is well."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.diagnosis.helpers import findings_in, only
from tests.records import normal, record_from, regression, site_from, tensor

from leaky.diagnosis import Finding, diagnose
from leaky.record import LossTerm, Normalisation, ParameterGradients, Record, SharedLayer, TensorStatistics

N = 1000
WITH_LOGITS = "binary_cross_entropy_with_logits"


def network(x: Any = None, y: Any = None, **others: Any) -> Record:
    """A healthy network's record with other ends."""
    fields: dict[str, Any] = {
        "inputs": (tensor(normal(N, 4, seed=1) if x is None else x),),
        "outputs": (tensor(normal(N, 2, seed=2) if y is None else y, "output"),),
        "samples": N if x is None else len(x),
    }
    return record_from(site_from(normal(N, 8), 0.0, name="hidden", bypassed=False), **(fields | others))


def found(rule: str, record: Record) -> Finding | None:
    every = findings_in(rule, record)
    return only(every) if every else None


def test_healthy_ends_are_silent() -> None:
    target = normal(N, 2, seed=3)
    record = network(terms=(regression(target, target + 0.1 * normal(N, 2, seed=4)),), gradients=ParameterGradients(4))
    assert [f.rule for f in diagnose(record).findings] == []


# inputs


@pytest.mark.parametrize(("n", "words"), [(2, "all 2 samples"), (N, "all 1,000 samples")])
def test_a_constant_input_is_a_fact_at_any_n(n: int, words: str) -> None:
    finding = found("input-constant", network(x=np.full((n, 4), 3.0)))
    assert finding is not None
    assert words in finding.message
    assert finding.level == "warning"
    zero = found("input-constant", network(x=np.zeros((n, 4))))
    assert zero is not None
    assert "all zero" in zero.message
    assert found("input-constant", network(x=np.full((1, 4), 3.0))) is None
    varied = np.full((N, 4), 3.0)
    varied[-1, 0] = np.nextafter(3.0, 4.0)
    assert found("input-constant", network(x=varied)) is None


@pytest.mark.parametrize(
    ("factor", "shift", "rule"),
    [
        (1, 0, None),
        (12, 0, None),
        (80, 0, "input-scale"),
        (1e-3, 0, "input-scale"),
        (1, 5, None),
        (1, 15, "input-offset"),
    ],
)
def test_scale_and_offset(factor: float, shift: float, rule: str | None) -> None:
    record = network(x=normal(N, 4, seed=1) * factor + shift)
    rules = [f.rule for f in diagnose(record).findings]
    assert rules == ([rule] if rule else [])
    assert {f.level for f in diagnose(record).findings} <= {"info"}


def test_one_large_column_is_enough_and_integers_are_not_judged() -> None:
    x = normal(N, 4, seed=1)
    x[:, 2] *= 1e4
    finding = found("input-scale", network(x=x))
    assert finding is not None
    assert "in 1 of 4 features" in finding.message
    tokens = tensor(np.arange(4000).reshape(N, 4), dtype="int64")
    assert diagnose(network(inputs=(tokens,))).findings == ()


def test_a_single_outlier_is_told_as_one_and_not_as_a_scale() -> None:
    x = normal(N, 4, seed=1)
    x[17, 1] = 1e4
    assert found("input-outliers", network(x=x)) is not None
    assert found("input-scale", network(x=x)) is None
    assert found("input-outliers", network(x=normal(N, 4) * 1e4)) is None


def test_non_finite_input_is_told_before_the_sites() -> None:
    x = normal(N, 4, seed=1)
    x[0, 0] = np.nan
    z = normal(N, 8)
    z[0] = np.nan
    record = record_from(site_from(z, 0.0), inputs=(tensor(x),), outputs=())
    first = diagnose(record).findings[0]
    assert (first.rule, first.site, first.level) == ("non-finite", None, "error")
    assert first.advice.startswith("Look at what loads the data")


@pytest.mark.parametrize("gradient", ["ill", "fine", "unknown"])
def test_targets_that_are_not_finite_are_an_error_unless_the_loss_leaves_them_out(gradient: str) -> None:
    g = normal(N, 8, seed=3)
    g[7] = np.nan if gradient == "ill" else 0.0
    site = site_from(normal(N, 8), 0.0, name="hidden", gradient=None if gradient == "unknown" else g)
    target = normal(N, 1, seed=4)
    target[7] = np.nan
    terms = (regression(target, normal(N, 1)),)
    record = record_from(site, inputs=(tensor(normal(N, 4, seed=1)),), terms=terms)
    finding = found("non-finite", record)
    if gradient == "fine":
        assert finding is None
    else:
        assert finding is not None
        assert (finding.site, finding.level, finding.evidence["tensors"]) == (None, "error", ["batch[1]"])
        assert "1 entry of the targets (batch[1]) is NaN" in finding.message


def test_sites_that_are_not_finite_follow_from_such_targets_and_dead_units_do_not() -> None:
    z, target = normal(N, 8), normal(N, 1)
    z[:, 0], z[:, 1:], target[3] = np.nan, -np.abs(z[:, 1:]) - 1, np.inf
    record = record_from(site_from(z, 0.0, name="hidden"), terms=(regression(target, normal(N, 1)),))
    causes = {f.name: f.follows_from for f in diagnose(record).findings}
    assert causes["non-finite@hidden"] == "non-finite"
    assert causes["dead@hidden"] is None


# the loss


def term(
    operation: str, given: TensorStatistics, target: TensorStatistics, path: tuple[str, ...] = (), **k: Any
) -> Any:
    return LossTerm(operation, "output", path, given, target, **k)


CLASSES = tensor(np.arange(N).reshape(N, 1) % 10, "batch[1]", dtype="int64", shape=(N,))
PROBABILITIES = tensor(np.abs(normal(N, 10)) / 9, "output", made_by="softmax", made_over=10)
LOGITS = tensor(normal(N, 10), "output")


@pytest.mark.parametrize(
    ("operation", "output", "path", "level"),
    [
        ("cross_entropy", PROBABILITIES, (), "warning"),
        ("cross_entropy", LOGITS, ("softmax",), "warning"),
        ("cross_entropy", LOGITS, (), None),
        ("cross_entropy", LOGITS, ("log_softmax",), None),
        ("nll_loss", LOGITS, (), "error"),
        ("nll_loss", PROBABILITIES, (), "error"),
        ("nll_loss", LOGITS, ("log_softmax",), None),
        ("binary_cross_entropy_with_logits", LOGITS, ("sigmoid",), "warning"),
        ("binary_cross_entropy_with_logits", LOGITS, (), None),
    ],
)
def test_a_last_layer_that_does_not_fit_its_loss(
    operation: str, output: TensorStatistics, path: tuple[str, ...], level: str | None
) -> None:
    record = network(outputs=(output,), terms=(term(operation, output, CLASSES, path),))
    finding = found("loss-misfit", record)
    assert (None if finding is None else finding.level) == level


@pytest.mark.parametrize(
    ("made_by", "path", "compared", "level"),
    [
        ("softmax over samples", (), True, "error"),
        ("log_softmax over samples", (), False, "warning"),
        (None, ("softmax over samples", "add", "log"), True, "error"),
        ("softmax", ("add", "log"), True, None),
    ],
)
def test_a_softmax_over_the_samples(made_by: str | None, path: tuple[str, ...], compared: bool, level: Any) -> None:
    output = tensor(np.abs(normal(N, 10)) / N, "output", made_by=made_by)
    terms = (term("nll_loss", output, CLASSES, path),) if compared else ()
    finding = found("loss-misfit", network(outputs=(output,), terms=terms))
    assert (None if finding is None else finding.level) == level
    assert finding is None or "softmax over the samples of a batch" in finding.message


def test_a_softmax_over_one_unit_is_the_cause_of_all_that_follows() -> None:
    ones = tensor(np.ones((N, 1)), "output", made_by="softmax", made_over=1)
    target = tensor(np.arange(N).reshape(N, 1) % 2, "batch[1]")
    gradients = ParameterGradients(2, zero=("a", "b"))
    record = network(outputs=(ones,), terms=(term("binary_cross_entropy", ones, target),), gradients=gradients)
    first, *rest = diagnose(record).findings
    assert (first.rule, first.level) == ("loss-misfit", "error")
    assert {f.rule: f.follows_from for f in rest} == dict.fromkeys(("same-output", "no-gradient"), "loss-misfit")


@pytest.mark.parametrize(
    ("mine", "theirs", "bad"),
    [
        ((N, 1), (N,), True),
        ((N,), (N, 1), True),
        ((N, 1), (N, 1), False),
        ((N, 3), (N, 1), False),
        ((1, 1), (1,), False),
    ],
)
def test_shapes_that_broadcast(mine: tuple[int, ...], theirs: tuple[int, ...], bad: bool) -> None:
    given, target = tensor(normal(N, 1), "output", shape=mine), tensor(normal(N, 1, seed=5), "batch[1]", shape=theirs)
    record = network(terms=(term("mse_loss", given, target),))
    assert (found("target-shape", record) is not None) == bad


@pytest.mark.parametrize(
    ("made_by", "low", "high", "bad"),
    [
        ("sigmoid", 0, 1, False), ("sigmoid", 0, 9, True), ("tanh", -1, 1, False), ("tanh", -3, 3, True),
        ("softplus", 0, 99, False), ("softplus", -1, 1, True), (None, -9, 9, False),
    ],
)  # fmt: skip
def test_targets_outside_the_outputs_range(made_by: str | None, low: float, high: float, bad: bool) -> None:
    given = tensor(np.clip(normal(N, 1), 0, 1), "output", made_by=made_by)
    target = tensor(np.linspace(low, high, N).reshape(N, 1), "batch[1]")
    for path in ((), ("clamp", "log")):
        record = network(outputs=(given,), terms=(term("mul" if path else "mse_loss", given, target, path),))
        assert (found("target-range", record) is not None) == bad


@pytest.mark.parametrize(
    ("values", "bad"),
    [((0, 1), False), ((-1, 1), True), ((0, 2), True), ((0, 0.3, 1), False), ((-1, 0, 1), False), ((0, 1, 255), False)],
)
def test_targets_of_a_loss_that_takes_probabilities(values: tuple[float, ...], bad: bool) -> None:
    logits = tensor(normal(N, 1), "output")
    target = tensor(np.resize(values, N).reshape(N, 1), "batch[1]")
    finding = found("target-range", network(outputs=(logits,), terms=(term(WITH_LOGITS, logits, target),)))
    assert (None if finding is None else finding.level) == ("error" if bad else None)


@pytest.mark.parametrize(("least", "bad"), [(0, False), (-2.5, True)])
def test_counts_below_zero_of_a_loss_that_takes_counts(least: float, bad: bool) -> None:
    rates = tensor(normal(N, 1), "output")
    target = tensor(least + np.resize(np.arange(9.0), N).reshape(N, 1), "batch[1]")
    finding = found("target-range", network(outputs=(rates,), terms=(term("poisson_nll_loss", rates, target),)))
    assert (finding is not None) == bad


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_a_site_that_nothing_passes_comes_before_a_batchnorm_that_gets_one_value(spread: float) -> None:
    dead = site_from(normal(N, 8) - 20, 0.0, name="hidden", bypassed=False)
    norm = Normalisation("norm", 40, False, distance=30.0, spread=spread)
    first = diagnose(record_from(dead, normalisations=(norm,), samples=N)).findings[0]
    assert first.rule == ("batchnorm-statistics" if spread else "dead")


@pytest.mark.parametrize(("over", "classes", "bad"), [(7, 3, True), (3, 3, False), (None, 3, False)])
def test_a_softmax_over_what_are_no_classes(over: int | None, classes: int, bad: bool) -> None:
    output = tensor(np.abs(normal(N, 21)), "output", made_by="softmax", made_over=over, shape=(N, 7, classes))
    given = tensor(normal(N, 21), "output", shape=(N, classes, 7))
    target = tensor(np.arange(7 * N).reshape(N, 7) % 3, "batch[1]", dtype="int64")
    terms = (term("nll_loss", given, target, ("log",)),)
    finding = found("loss-misfit", network(outputs=(output,), terms=terms))
    assert (None if finding is None else finding.level) == ("warning" if bad else None)
    assert finding is None or "over 7 entries, and nll_loss takes 3 classes" in finding.message


def test_a_network_that_is_frozen_as_a_whole() -> None:
    y = normal(N, 1, seed=3)
    for fit, level in ((0.01, "info"), (5.0, "warning")):
        terms = (regression(y, y + fit * normal(N, 1, seed=4)),)
        finding = found("no-gradient", network(terms=terms, gradients=ParameterGradients(0)))
        assert finding is not None
        assert (finding.level, finding.evidence["kind"]) == (level, "frozen")


def test_large_targets_are_noted_until_they_are_fitted() -> None:
    target = 1e4 * normal(N, 1, seed=3)
    note = found("target-scale", network(terms=(regression(target, normal(N, 1)),)))
    assert note is not None
    assert note.level == "info"
    assert found("target-scale", network(terms=(regression(target, 0.99 * target),))) is None
    assert found("target-scale", network(terms=(regression(target / 1e3, normal(N, 1)),))) is None


# layers


@pytest.mark.parametrize(
    ("norm", "words"),
    [
        (Normalisation("n", 0, True, 0.5, 0.1), "have seen no batch"),
        (Normalisation("n", 9, False, 0.1, 1.1), None),
        (Normalisation("n", 9, False, 2.0, 1.1), "not those of what comes in"),
        (Normalisation("n", 9, False, 0.1, 9.0), "not those of what comes in"),
        (Normalisation("n", None, False), None),
    ],
)
def test_batchnorm_statistics_are_judged_in_eval_mode(norm: Normalisation, words: str | None) -> None:
    finding = found("batchnorm-statistics", network(normalisations=(norm,)))
    assert (words in finding.message) if words and finding else finding is None
    assert found("batchnorm-statistics", network(normalisations=(norm,), mode="train")) is None


def test_what_a_fresh_batchnorm_brings_about_is_no_error() -> None:
    dead = site_from(-np.abs(normal(N, 8)) - 1, 0.0, name="hidden", bypassed=False)
    record = record_from(dead, normalisations=(Normalisation("n", 0, True, 0.5, 0.1),))
    first, *rest = diagnose(record).findings
    assert (first.rule, first.level) == ("batchnorm-statistics", "warning")
    assert {(f.level, f.follows_from) for f in rest} == {("info", "batchnorm-statistics")}


def test_shared_weights_are_told_as_a_note() -> None:
    finding = found("shared-weights", network(shared_layers=(SharedLayer("conv", 4),)))
    assert finding is not None
    assert ("conv (× 4)" in finding.message, finding.level) == (True, "info")


# outputs


@pytest.mark.parametrize("n", [2, 7, N])
def test_the_same_output_for_every_input_is_an_error_at_any_n(n: int) -> None:
    record = network(x=normal(n, 4, seed=1), y=np.full((n, 2), 0.3))
    finding = found("same-output", record)
    assert finding is not None
    assert (finding.level, f"exactly the same for all {n:,} samples" in finding.message) == ("error", True)
    assert found("same-output", network(x=normal(1, 4), y=np.full((1, 2), 0.3))) is None


def test_of_several_outputs_a_constant_one_counts_where_its_targets_vary() -> None:
    same, other = tensor(np.zeros((N, 1)), "output 1"), tensor(normal(N, 2), "output 0")
    noted = found("same-output", network(outputs=(other, same)))
    assert noted is not None
    assert noted.level == "info"
    compared = LossTerm("mse_loss", "output 1", (), same, tensor(normal(N, 1, seed=4), "batch[1]"))
    harmful = found("same-output", network(outputs=(other, same), terms=(compared,)))
    assert harmful is not None
    assert harmful.level == "error"


def rectified(z: Any, target: Any = None, gradient: Any = None, **term_fields: Any) -> Record:
    z = np.asarray(z, float)
    site = site_from(z, 0.0, name="last", is_output=True, bypassed=False, gradient=gradient)
    out = tensor(np.maximum(z, 0), "output", made_by="relu")
    terms = () if target is None else (regression(target, np.maximum(z, 0), **term_fields),)
    return record_from(site, outputs=(out,), terms=terms, inputs=(tensor(normal(len(z), 4)),))


def test_a_final_rectifier_is_judged_by_what_the_targets_need() -> None:
    z = normal(N, 1, seed=6)
    fits = found("output-rectifier", rectified(z, np.maximum(z, 0)))
    assert fits is None
    below = found("output-rectifier", rectified(z, z))
    assert below is not None
    assert (below.level, "the targets go down to -" in below.message) == ("warning", True)
    for n in (3, N):
        dead = found("output-rectifier", rectified(-np.abs(normal(n, 1)) - 1, normal(n, 1, seed=2)))
        assert dead is not None
        assert (dead.level, f"all {n:,} samples" in dead.message) == ("error", True)


def test_classes_that_a_final_rectifier_always_cuts_are_never_predicted() -> None:
    z, gradient = normal(N, 4, seed=6), np.full((N, 4), 0.25)
    z[:, 2] = -1 - np.abs(z[:, 2])
    fields: dict[str, Any] = {"operation": "cross_entropy", "classes": (1, 1, 1, 1), "compared": 4, "hits": 1}
    record = rectified(z, normal(N, 4), gradient, **fields)
    finding = found("output-rectifier", record)
    assert finding is not None
    assert (finding.level, finding.units) == ("error", (2,))
    assert finding.evidence["gradient_blocked"] == pytest.approx((z <= 0).mean())
    assert "logits" in finding.advice


def test_what_gets_no_gradient_is_named() -> None:
    everything = found("no-gradient", network(gradients=ParameterGradients(2, unreached=("a",), zero=("b",))))
    assert everything is not None
    assert everything.level == "error"
    part = found("no-gradient", network(gradients=ParameterGradients(9, unreached=("head.weight",))))
    assert part is not None
    assert (part.level, "head.weight" in part.message) == ("info", True)
    assert found("no-gradient", network(gradients=ParameterGradients(9))) is None


def test_a_network_that_fits_no_better_than_a_constant_is_sent_elsewhere() -> None:
    target = normal(N, 1, seed=3)
    note = found("not-learning", network(terms=(regression(target, 0 * target),)))
    assert note is not None
    assert (note.level, "R² " in note.message) == ("info", True)
    labels = LossTerm("cross_entropy", "output", (), LOGITS, CLASSES, None, 110, 1000, (100,) * 10)
    chance = found("not-learning", network(terms=(labels,)))
    assert chance is not None
    assert "11.0% right where always the commonest class would be 10.0%" in chance.message


# causes


def test_an_input_becomes_the_cause_of_what_goes_wrong_behind_it() -> None:
    dead = site_from(-np.abs(normal(N, 8)) - 1, 0.0, name="hidden", bypassed=False)
    record = record_from(dead, inputs=(tensor(80 * normal(N, 4)),), outputs=(tensor(np.zeros((N, 1)), "output"),))
    first, *rest = diagnose(record).findings
    assert (first.rule, first.level) == ("input-scale", "error")
    assert {f.rule for f in rest if f.follows_from == "input-scale"} >= {"dead", "same-output"}
    assert all("input-scale" in f.advice for f in rest)


def test_without_another_cause_the_first_dead_site_is_one() -> None:
    dead = site_from(-np.abs(normal(N, 8)) - 1, 0.0, name="first", bypassed=False)
    after = site_from(np.full((N, 8), 0.5), 0.0, name="second", bypassed=False)
    out = tensor(np.full((N, 1), 0.5), "output")
    first, *rest = diagnose(record_from(dead, after, inputs=(tensor(normal(N, 4)),), outputs=(out,))).findings
    assert (first.rule, first.site) == ("dead", "first")
    assert {f.rule: f.follows_from for f in rest}.items() >= {
        "same-output": "dead@first",
        "constant": "dead@first",
    }.items()


def test_a_constant_input_makes_its_natural_consequences_notes() -> None:
    flat = site_from(np.full((N, 8), 0.5), 0.0, name="hidden", bypassed=False)
    record = record_from(flat, inputs=(tensor(np.ones((N, 4))),), outputs=(tensor(np.ones((N, 1)), "output"),))
    first, *rest = diagnose(record).findings
    assert (first.rule, first.level) == ("input-constant", "warning")
    assert {f.level for f in rest} == {"info"}


@pytest.mark.parametrize(
    ("noise", "lost", "level"), [(0.0, "zero", "info"), (0.0, "unreached", "error"), (30.0, "zero", "error")]
)
def test_no_gradient_at_all_is_a_note_where_nothing_is_left_to_learn(noise: float, lost: str, level: str) -> None:
    target = normal(N, 2, seed=3)
    terms = (regression(target, target + noise * normal(N, 2, seed=4)),)
    gradients = ParameterGradients(2, **{lost: ("a", "b")})
    finding = found("no-gradient", network(terms=terms, gradients=gradients))
    assert finding is not None
    assert finding.level == level
