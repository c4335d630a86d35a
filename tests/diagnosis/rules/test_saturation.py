"""saturated: two-sided smooth sites by the share in their flat ends, against the derivative itself."""

from __future__ import annotations

import numpy as np
import pytest
from tests.diagnosis.helpers import ENOUGH, findings, findings_in, only
from tests.records import normal, record_from, regression, site_from, tensor

from leaky.diagnosis import diagnose
from leaky.record import FloatArray, Site

FLAT = 4.14709
"""|z| from which on 1 − tanh² z is below a thousandth."""


def tanh_site(z: FloatArray, **others: object) -> Site:
    return site_from(z, name="act", activation="Tanh", smooth=np.tanh, threshold=-FLAT, cap=FLAT, **others)


@pytest.mark.parametrize(
    ("spread", "level"), [(0.5, None), (3.0, None), (6.5, "info"), (20.0, "warning"), (100.0, "warning")]
)
def test_the_share_is_that_of_derivatives_of_at_most_a_thousandth(spread: float, level: str | None) -> None:
    z = spread * normal(ENOUGH, 20)
    found = findings("saturated", tanh_site(z))
    assert [f.level for f in found] == ([] if level is None else [level])
    for finding in found:
        by_hand = float((1 - np.tanh(z) ** 2 <= 1e-3).mean())
        assert finding.evidence["flat_share"] == pytest.approx(by_hand, abs=1e-4)


@pytest.mark.parametrize(("width", "step"), [(0.0, True), (1 / 64, True), (0.5, False)])
def test_a_step_is_told_from_what_comes_in_too_large(width: float, step: bool) -> None:
    z = 20 * normal(ENOUGH, 20)
    site = site_from(z, name="act", activation="Sign", smooth=np.sign, threshold=0.0, cap=width)
    found = only(findings("saturated", site))
    assert ("straight-through" in found.advice, "too large" in found.advice) == (step, not step)
    assert found.evidence["step"] is step


def test_outputs_one_sided_activations_and_few_samples_are_not_judged() -> None:
    z = 50 * normal(ENOUGH, 20)
    one_sided = site_from(z, activation="GELU", smooth=lambda x: x * (x > 0), threshold=-5.0)
    assert findings("saturated", tanh_site(z, is_output=True)) == []
    assert findings("saturated", one_sided) == []
    assert findings("saturated", tanh_site(z[:10])) == []


def test_a_network_that_has_learned_gets_a_note() -> None:
    target = normal(ENOUGH, 1, seed=8)
    term = regression(target, target + 0.1 * normal(ENOUGH, 1, seed=9))
    record = record_from(tanh_site(50 * normal(ENOUGH, 20)), terms=(term,), outputs=(term.given,))
    assert only(findings_in("saturated", record)).level == "info"


def test_an_input_that_is_too_large_comes_first_and_dead_units_behind() -> None:
    z = 50 * normal(ENOUGH, 20)
    z[:, 0] = 60 + normal(ENOUGH, 1, seed=3)[:, 0]
    found = diagnose(record_from(tanh_site(z), inputs=(tensor(200 * normal(ENOUGH, 4)),))).findings
    assert [f.rule for f in found[:2]] == ["input-scale", "saturated"]
    assert found[1].follows_from == "input-scale"
    alone = diagnose(record_from(tanh_site(z))).findings
    assert [(f.rule, f.follows_from) for f in alone[:2]] == [("saturated", None), ("dead", "saturated@act")]
