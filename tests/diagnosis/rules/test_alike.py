"""alike-by-depth: deep plain networks, whose samples come to look the same, and networks that keep them apart."""

from __future__ import annotations

import numpy as np
import pytest
from tests.diagnosis.helpers import ENOUGH, findings, findings_in, only, terms
from tests.records import normal, record_from, site_from

from leaky import theory
from leaky.diagnosis import diagnose
from leaky.record import Directions, FloatArray, Record, Site


def directions(z: FloatArray) -> Directions:
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    return Directions(len(z), unit.sum(axis=0))


def network(
    depth: int, slope: float, *, gain: float | None = None, bias: float = 0.0, shortcut: bool = False
) -> Record:
    """What a network of 128 units a layer sees of 400 samples, in float64; its weights are He's or scaled by `gain`."""
    rng, width = np.random.default_rng(0), 128
    h, sites = normal(400, width, seed=1), []
    for layer in range(depth):
        weight = rng.standard_normal((width, width)) * (gain or theory.gain(slope)) / np.sqrt(width)
        z = h @ weight + bias * rng.standard_normal(width)
        out = np.where(z > 0, z, slope * z)
        h = (h + 0.3 * (out - out.mean(axis=0))) if shortcut else out
        sites.append(site_from(z, slope, name=f"act{layer}", directions=directions(z), bypassed=shortcut))
    return record_from(*sites)


def test_the_cosine_is_the_mean_over_all_pairs_and_merges_in_any_order() -> None:
    z = normal(50, 20, seed=3) + 0.7
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    pairs = [unit[i] @ unit[j] for i in range(50) for j in range(50) if i != j]
    assert directions(z).cosine == pytest.approx(np.mean(pairs), rel=1e-12)
    for cut in (1, 17):
        merged = directions(z[cut:]).merge(directions(z[:cut]))
        assert merged is not None
        assert merged.cosine == pytest.approx(np.mean(pairs), rel=1e-12)
    assert directions(z).merge(directions(z[:, :5])) is None
    assert directions(z[:1]).cosine is None


def test_a_deep_plain_network_is_said_to_draw_samples_together_as_far_as_the_correlation_map_takes_them() -> None:
    finding = only(findings_in("alike-by-depth", network(60, 0.0)))
    assert finding.level == "warning"
    last, predicted = finding.evidence["last"], finding.evidence["predicted"]
    assert isinstance(last, float)
    assert isinstance(predicted, float)
    assert predicted == pytest.approx(_mapped(finding.evidence["first"], 59, 0.0), abs=1e-9)
    assert abs(last - predicted) < 0.02
    slope = theory.tailored_slope(60).negative_slope
    assert f"`leaky tune TASK --slopes 0 {slope:.2g}` decides it" in finding.advice


def _mapped(first: object, steps: int, slope: float) -> float:
    """C(c) = (√(1−c²) + c(π − arccos c))/π of ReLU, as Cho and Saul write it, `steps` times over."""
    assert isinstance(first, float)
    assert slope == 0.0
    cosine = first
    for _ in range(steps):
        cosine = (np.sqrt(1 - cosine**2) + cosine * (np.pi - np.arccos(cosine))) / np.pi
    return float(cosine)


@pytest.mark.parametrize(
    ("depth", "slope", "shortcut"), [(8, 0.0, False), (60, 0.57, False), (60, 0.9, False), (60, 0.0, True)]
)
def test_networks_that_keep_samples_apart_get_nothing(depth: int, slope: float, shortcut: bool) -> None:
    assert findings_in("alike-by-depth", network(depth, slope, shortcut=shortcut)) == []


def test_weights_that_are_too_small_and_biases_are_named_where_they_outgrow_the_signal() -> None:
    finding = only(findings_in("alike-by-depth", network(16, 0.0, gain=0.577, bias=0.05)))
    assert "biases outgrow" in finding.advice
    assert "leaky.initialize(model)" in finding.advice
    assert "--slopes" not in finding.advice


def test_what_follows_from_it_stands_behind_it() -> None:
    """Where all samples look alike a unit is on for all of them or for none: no causes of their own."""
    found = diagnose(network(16, 0.0, gain=0.577, bias=0.05)).findings
    assert found[0].rule == "alike-by-depth"
    behind = {f.rule for f in found if f.follows_from == "alike-by-depth"}
    assert "output-imbalance" in behind
    assert "silent-so-far" in behind
    assert not [f for f in found if f.rule in ("dead", "silent-so-far") and f.follows_from is None]


def test_inputs_that_are_alike_from_the_start_are_not_depths_fault() -> None:
    sites: list[Site] = []
    for layer in range(20):
        z = normal(200, 64, seed=layer) + 8.0
        sites.append(site_from(z, 0.2, name=f"act{layer}", directions=directions(z)))
    assert findings_in("alike-by-depth", record_from(*sites)) == []


@pytest.mark.parametrize(("differs", "told"), [(0.0, True), (1e-3, False)])
def test_units_that_all_compute_the_same(differs: float, told: bool) -> None:
    z = np.repeat(normal(ENOUGH, 1), 6, axis=1)
    z[:, 5] += differs * normal(ENOUGH, 1, seed=4)[:, 0]
    assert bool(findings("alike-units", site_from(z))) == told
    assert findings("alike-units", site_from(z, is_output=True)) == []
    assert findings("alike-units", site_from(np.full((ENOUGH, 6), 0.7))) == []
    assert findings("alike-units", site_from(z[:, :3])) == []


@pytest.mark.parametrize(("noise", "level"), [(0.1, "info"), (0.8, "warning"), (30.0, "warning"), (None, "info")])
def test_alike_units_are_a_warning_where_the_outputs_do_not_fit(noise: float | None, level: str) -> None:
    known = () if noise is None else terms(noise)
    record = record_from(site_from(np.repeat(normal(ENOUGH, 1), 6, axis=1)), terms=known)
    assert only(findings_in("alike-units", record)).level == level
