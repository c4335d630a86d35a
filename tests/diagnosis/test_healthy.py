"""Healthy networks get no warning: Gaussian sites, He-initialised networks, networks trained on digits."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from tests.records import normal, producer, record_from, site_from

from leaky.diagnosis import Diagnosis, diagnose
from leaky.record import Record, Site
from leaky.theory import gain


def complaints(found: Diagnosis) -> list[str]:
    return [str(finding) for finding in found.at_least("warning")]


@pytest.mark.parametrize("samples", [1, 8, 30, 200, 1500])
@pytest.mark.parametrize("slope", [0.0, 0.01, 0.2])
def test_centred_gaussian_sites_get_no_warning(slope: float, samples: int) -> None:
    sites = [
        site_from(
            normal(samples, 64, seed=layer), slope, name=f"act{layer}", gradient=normal(samples, 64, seed=50 + layer)
        )
        for layer in range(4)
    ]
    found = diagnose(record_from(*sites))
    assert complaints(found) == []
    if samples >= 200:
        assert found.findings == ()


@pytest.mark.parametrize(("mean", "spread"), [(-0.5, 0.0), (-1.0, 0.3), (-1.3, 0.3)])
@pytest.mark.parametrize("slope", [0.0, 0.01, 0.2])
def test_sites_as_sparse_as_trained_ones_get_no_warning(slope: float, mean: float, spread: float) -> None:
    """Firing rates of 31, 17 and 11% on average, some units several times rarer."""
    means = mean + spread * normal(1, 128, seed=9)
    assert complaints(diagnose(record_from(site_from(normal(2000, 128) + means, slope)))) == []


def he_network(slope: float, depth: int, seed: int, width: int = 96) -> Record:
    """A plain network with He's weights and no biases, on centred data of some rank, and its gradient backwards."""
    rng = np.random.default_rng(seed)
    h = rng.standard_normal((1500, 20)) @ rng.standard_normal((20, width)) / np.sqrt(20)
    weights, pre_activations = [], []
    for _ in range(depth):
        weights.append(rng.standard_normal((width, width)) * gain(slope) / np.sqrt(width))
        pre_activations.append(h @ weights[-1])
        h = np.where(pre_activations[-1] > 0, pre_activations[-1], slope * pre_activations[-1])
    g = rng.standard_normal(h.shape)
    sites: list[Site] = []
    for layer in reversed(range(depth)):
        z = pre_activations[layer]
        weight = producer(width, width, float(np.sqrt((weights[layer] ** 2).mean())), f"{layer}.weight")
        sites.append(site_from(z, slope, name=f"act{layer}", gradient=g, producers=(weight,)))
        g = (g * np.where(z > 0, 1.0, slope)) @ weights[layer].T
    return record_from(*reversed(sites))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("slope", [0.0, 0.01, 0.2])
def test_he_initialised_networks_get_no_warning(slope: float, seed: int) -> None:
    record = he_network(slope, depth=8, seed=seed)
    found = diagnose(record, initial=record)
    assert complaints(found) == []
    assert not [f for f in found.findings if f.rule in ("initialisation-gain", "growth", "decay", "died-in-training")]


@pytest.mark.parametrize(("hidden", "seed"), [((64, 64), 0), ((96, 96, 96), 1), ((64, 64, 64, 64, 64), 2)])
def test_networks_trained_on_digits_get_no_warning(hidden: tuple[int, ...], seed: int) -> None:
    datasets, networks = pytest.importorskip("sklearn.datasets"), pytest.importorskip("sklearn.neural_network")
    images, labels = datasets.load_digits(return_X_y=True)
    images = images / 16
    network = networks.MLPClassifier(hidden, max_iter=25, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that 25 epochs are not convergence
        network.fit(images, labels)
    assert network.score(images, labels) > 0.97
    h, sites = images, []
    for layer in range(len(hidden)):
        z = h @ network.coefs_[layer] + network.intercepts_[layer]
        sites.append(site_from(z, 0.0, name=f"act{layer}"))
        h = np.maximum(z, 0)
    assert complaints(diagnose(record_from(*sites))) == []


def test_a_network_that_is_not_healthy_is_told_apart_from_them() -> None:
    """The same networks with biases far below 0: the silence above is not for want of looking."""
    record = he_network(0.0, depth=4, seed=0)
    z = normal(1500, 96) - 5.0
    sick = record_from(*record.sites[:2], site_from(z, 0.0, name="act2"), record.sites[3])
    found = diagnose(sick)
    assert [f.rule for f in found.at_least("error")] == ["dead"]
    assert found.worst == "error"
    assert found.findings[0].site == "act2"
