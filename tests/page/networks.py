"""Checkups to look at: a small network with everything that a page can show, a large one, one with hostile names."""

from __future__ import annotations

import numpy as np
from tests.records import normal, planted, record_from, site_from

from leaky.diagnosis import Diagnosis, diagnose
from leaky.record import NotExamined, Producer, Site

HOSTILE = (
    "<script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    "</noscript></script><!--<script>\"'`${alert(1)}",
    "line\nbreak\ttab\r\x00\x1b[31m",
    "right\u202eto\u2067left\u200f",
    "long" * 1250,
)


def small() -> Diagnosis:
    """Ten sites in three blocks: dead, locked, dormant and healthy units; bounds, slopes a unit, gradients."""
    sites = [_site(place) for place in range(8)]
    z = normal(1000, 24, seed=50)
    sites.append(
        site_from(2 * z, 0.0, name="head.relu6", activation="ReLU6", cap=1.5, gradient=normal(1000, 24, seed=51))
    )
    sites.append(site_from(z, np.linspace(0, 0.3, 24), name="head.prelu", gradient=normal(1000, 24, seed=52)))
    return diagnose(
        record_from(
            *sites,
            model="train.py:build_model",
            data="digits.npy",
            versions={"leaky": "0.1.0", "torch": "2.13.0"},
            not_examined=(NotExamined("decoder", "it is a compiled graph"),),
            notes=("the sample axis was taken from nn.RNN: 1",),
        )
    )


def _site(place: int, width: int = 64, samples: int = 1000) -> Site:
    z = (
        0.9**place * normal(samples, width, seed=place)
        + np.random.default_rng(place).normal(0, 0.5, width)
        - 0.12 * place
    )
    silent = max(0, (place - 2) * width // 14)
    if silent:
        z = planted(z, range(silent), -np.abs(z[:, :silent]) - 0.1)
    if place == 1:
        z = planted(z, (20, 21), np.abs(z[:, 20:22]) + 0.1)
    weight = Producer(f"block{place // 3}.linear{place % 3}.weight", "linear", width, width, 0.12)
    slope = 0.0 if place % 3 else 0.01
    gradient = 0.6 ** (8 - place) * normal(samples, width, seed=100 + place)
    name = f"block{place // 3}.relu{place % 3}"
    return site_from(z, slope, name=name, gradient=gradient, producers=(weight,))


def hostile() -> Diagnosis:
    """A site for each name that wants to be more than a name."""
    z = planted(normal(800, 8, seed=1), (0, 1), -np.abs(normal(800, 2, seed=2)) - 0.1)
    sites = [site_from(z, 0.0, name=name, source=name, activation=name) for name in HOSTILE]
    words = " ".join(HOSTILE)
    return diagnose(
        record_from(
            *sites,
            model=words,
            data=words,
            notes=HOSTILE,
            not_examined=tuple(NotExamined(name, name) for name in HOSTILE),
            versions={HOSTILE[0]: HOSTILE[1]},
        )
    )


def large(sites: int = 200, units: int = 1000) -> Diagnosis:
    """Many layers of many units; each from 64 samples drawn once."""
    base = normal(64, units, seed=7)
    random = np.random.default_rng(8)
    found = []
    for place in range(sites):
        z = base * random.lognormal(0, 0.3, units) + random.normal(-0.2, 0.4, units)
        gradient = normal(64, units, seed=9) * random.lognormal(0, 0.3, units)
        found.append(site_from(z, 0.0, name=f"layers.{place // 10}.{place % 10}.act", gradient=gradient))
    return diagnose(record_from(*found, model="a large network", data="made up"), thresholds={"rate": 0.2})
