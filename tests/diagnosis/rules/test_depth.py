"""The findings by depth: growth, decay, gradients, and the first site that is not finite."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.diagnosis.helpers import findings, findings_in, only, terms
from tests.records import normal, producer, record_from, site_from, tensor

from leaky.diagnosis import diagnose
from leaky.diagnosis.rules.depth import weights_log_gain
from leaky.record import Record, Site
from leaky.theory import gain


def chain(factor: float, depth: int = 6, slope: float = 0.0, gradient: float | None = None) -> list[Site]:
    """Sites whose outputs' second moment grows by `factor` a site, and whose gradient's by `gradient` to the input."""
    sites = []
    for layer in range(depth):
        z = factor ** (layer / 2) * normal(60, 8, seed=layer)
        g = None if gradient is None else gradient ** ((depth - layer) / 2) * normal(60, 8, seed=100 + layer)
        scale = factor if layer else 1e6
        weight = producer(8, 8, math.sqrt(scale) * gain(slope) / math.sqrt(8), f"{layer}.weight")
        sites.append(site_from(z, slope, name=f"act{layer}", gradient=g, producers=(weight,)))
    return sites


@pytest.mark.parametrize(
    ("factor", "rule", "level"),
    [
        (1.0, None, None),
        (3.0, None, None),
        (5.0, "growth", "info"),
        (8.0, "growth", "warning"),
        (50.0, "growth", "error"),
    ],
)
def test_growth_and_its_mirror_decay(factor: float, rule: str | None, level: str | None) -> None:
    for power, name in ((1, rule), (-1, rule and "decay")):
        found = [f for each in ("growth", "decay") for f in findings(each, *chain(factor**power))]
        assert [(f.rule, f.level) for f in found] == ([(name, level)] if name else [])
        if found:
            log_gain = found[0].evidence["log_gain_per_site"]
            assert log_gain == pytest.approx(power * math.log(factor), abs=0.1)
            # the first weight comes before the first output and has no part in how the outputs grow
            assert found[0].evidence["predicted_log_gain_per_site"] == pytest.approx(power * math.log(factor))
            assert found[0].site is None


def biased(scale: float, depth: int) -> Record:
    """Layers whose weights are `scale` times matched ones, each with a bias of the weights' size, on standard input."""
    rng = np.random.default_rng(0)
    x = h = rng.standard_normal((400, 16))
    sites = []
    for layer in range(depth):
        w, b = (scale * rng.standard_normal(shape) / math.sqrt(8) for shape in ((16, 16), 16))
        rms = float(np.sqrt((w**2).mean()))
        z = h @ w + b
        sites.append(site_from(z, 0.0, name=f"act{layer}", producers=(producer(16, 16, rms, f"{layer}.weight"),)))
        h = np.maximum(z, 0)
    out = (h @ rng.standard_normal((16, 3)) + rng.standard_normal(3)) * scale / math.sqrt(8)
    return record_from(*sites, inputs=(tensor(x),), outputs=(tensor(out, "output"),))


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_weights_that_decayed_to_nothing_are_the_cause_though_biases_hold_the_range_up(depth: int) -> None:
    first, *rest = diagnose(biased(1e-3, depth)).findings
    assert (first.rule, first.follows_from) == ("decay", None)
    assert first.level != "info"
    # He's closed form: a layer takes the square of its weights' scale
    assert first.evidence["predicted_log_gain_per_site"] == pytest.approx(2 * math.log(1e-3), abs=0.3)
    assert first.evidence["log_gain_per_site"] == pytest.approx(2 * math.log(1e-3), abs=1.0)
    assert {f.follows_from for f in rest if f.level != "info"} <= {"decay"}
    assert not findings_in("decay", biased(1.0, depth))


def test_the_weights_of_a_usual_initialisation_are_a_note() -> None:
    (found,) = findings_in("decay", biased(0.4, 5))
    assert (found.level, found.evidence["predicted_log_gain_per_site"]) == (
        "info",
        pytest.approx(math.log(0.16), abs=0.2),
    )


def test_the_closed_form_of_a_matched_weight_keeps_the_second_moment() -> None:
    for slope in (0.0, 0.01, 0.2, -0.5):
        site = site_from(normal(40, 3), slope, producers=(producer(64, 10, gain(slope) / 8),))
        assert weights_log_gain(site, [64]) == pytest.approx(0.0, abs=1e-12)
    assert weights_log_gain(site_from(normal(40, 3), 0.0, gain=2.0, producers=site.producers), [64]) != 0
    assert weights_log_gain(site_from(normal(40, 3), 0.0), []) is None
    assert weights_log_gain(site_from(normal(40, 3), 0.0, producers=(producer(8, 8, 0.0),)), [8]) is None


def test_torchs_default_weights_shrink_by_a_sixth() -> None:
    site = site_from(normal(40, 3), 0.0, producers=(producer(64, 10, 1 / math.sqrt(3 * 64)),))
    predicted = weights_log_gain(site, [64])
    assert predicted is not None
    assert math.exp(predicted) == pytest.approx(1 / 6)


def test_without_producers_the_closed_form_is_left_out() -> None:
    sites = [site_from(100.0**layer * normal(60, 4), 0.0, name=str(layer)) for layer in range(4)]
    found = only(findings("growth", *sites))
    assert found.evidence["predicted_log_gain_per_site"] is None
    assert "closed form" not in found.message


def test_one_odd_site_two_sites_an_output_or_few_samples_make_no_trend() -> None:
    odd = chain(1.0)
    odd[3] = site_from(100 * normal(60, 8), 0.0, name="odd")
    assert findings("growth", *odd) == []
    assert findings("growth", *chain(1e6, depth=2)) == []
    last = site_from(1e6 * normal(60, 8), 0.0, name="last", is_output=True)
    assert findings("growth", *chain(1.0, depth=2), last) == []
    short = [site_from(100.0**layer * normal(20, 4), 0.0, name=str(layer)) for layer in range(4)]
    assert findings("growth", *short) == []


def test_a_dead_site_does_not_break_the_trend() -> None:
    sites = chain(8.0)
    sites[2] = site_from(-np.abs(normal(60, 8)), 0.0, name="dead")
    found = only(findings("growth", *sites))
    assert (found.evidence["sites"], found.level) == ([s.name for s in sites if s.name != "dead"], "error")
    assert findings("decay", *sites) == []
    assert only(findings("silent-so-far", *sites)).follows_from == "growth"  # it is the weights' scale


@pytest.mark.parametrize(
    ("factor", "level"), [(1.0, None), (4.0, None), (10.0, "info"), (20.0, "warning"), (1000.0, "error")]
)
def test_gradients_that_grow_or_shrink_towards_the_input(factor: float, level: str | None) -> None:
    for power, rule in ((1, "exploding-gradient"), (-1, "vanishing-gradient")):
        found = [
            f
            for each in ("exploding-gradient", "vanishing-gradient")
            for f in findings(each, *chain(1.0, gradient=factor**power))
        ]
        assert [(f.rule, f.level) for f in found] == ([(rule, level)] if level else [])


def test_the_gradients_norm_is_what_gets_through() -> None:
    z, g = normal(50, 6), normal(50, 6, seed=1)
    sites = [site_from(z, 0.1, name=str(i), gradient=g * 1e-4**i, gain=2.0) for i in range(3)]
    found = only(findings("exploding-gradient", *sites))
    passed = ((2 * np.where(z > 0, 1, 0.1) * g) ** 2).sum() / 50
    values = found.evidence["values"]
    assert isinstance(values, list)
    assert values[0] == pytest.approx(passed)
    assert values[2] == pytest.approx(passed * 1e-16)


def test_where_no_gradient_passes_the_last_such_site_is_named() -> None:
    sites = chain(1.0, gradient=1.0)
    for layer in (0, 1):
        sites[layer] = site_from(normal(60, 8), 0.0, name=f"cut{layer}", gradient=np.zeros((60, 8)))
    found = only(findings("no-gradient", *sites))
    assert (found.site, found.level, found.evidence["sites"]) == ("cut1", "warning", ["cut0", "cut1"])
    assert findings("no-gradient", *sites[:2]) == []  # a loss that needs none of it is the user's business


def test_without_a_loss_nothing_is_said_of_gradients() -> None:
    sites = chain(1.0)
    assert findings("vanishing-gradient", *sites) == findings("exploding-gradient", *sites) == []


def test_only_the_first_site_that_is_not_finite_is_named() -> None:
    sites = [site_from(normal(50, 4), 0.0, name=str(i)) for i in range(4)]
    for i in (1, 2):
        z = normal(50, 4)
        z[3, 2], z[4, 3] = np.nan, np.inf
        weight = producer(4, 4, 1.0, f"layer{i}.weight")
        sites[i] = site_from(z, 0.0, name=f"bad{i}", producers=(weight,))
    found = only(findings("non-finite", *sites))
    assert (found.site, found.level, found.units) == ("bad1", "error", (2, 3))
    assert "2 pre-activations (1.0%) of 2 units are NaN or infinite on these 50 samples" in found.message
    assert found.evidence["sites"] == ["bad1", "bad2"]
    assert found.advice.startswith("Look at layer1.weight")


def test_non_finite_input_sends_one_to_the_data() -> None:
    z = normal(50, 4)
    z[0] = np.nan
    assert only(findings("non-finite", site_from(z, 0.0))).advice.startswith("Look at the data first")


def test_a_gradient_that_is_not_finite_arises_behind_the_last_site_that_has_it() -> None:
    ill = normal(50, 4, seed=2)
    ill[0, 0] = np.nan
    gradients = [ill, ill, normal(50, 4)]
    sites = [site_from(normal(50, 4), 0.3, name=str(i), gradient=g) for i, g in enumerate(gradients)]
    found = only(findings("non-finite", *sites))
    assert (found.site, found.evidence["sites"]) == ("1", ["0", "1"])


def test_finite_numbers_are_no_finding() -> None:
    assert findings_in("non-finite", record_from(*chain(1.0, gradient=1.0))) == []


@pytest.mark.parametrize(("noise", "level"), [(0.1, "info"), (30.0, "error"), (None, "error")])
def test_a_trend_costs_nothing_where_the_network_has_learned(noise: float | None, level: str) -> None:
    known = () if noise is None else terms(noise)
    assert only(findings_in("growth", record_from(*chain(50.0), terms=known))).level == level
    assert only(findings_in("decay", record_from(*chain(1 / 50), terms=known))).level == level
