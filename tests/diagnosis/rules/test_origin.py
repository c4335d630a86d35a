"""The findings against an initial record: born dead or died, and an initialisation that ignores the slope."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.diagnosis.helpers import ENOUGH, findings, only
from tests.records import normal, planted, producer, record_from, site_from

from leaky.diagnosis import diagnose
from leaky.diagnosis.rules.origin import gain_gaps
from leaky.errors import InputError
from leaky.record import Site
from leaky.theory import gain


def site_with_dead(units: list[int], n: int = ENOUGH, slope: float = 0.0, name: str = "act") -> Site:
    return site_from(planted(normal(n, 12), units, -np.abs(normal(n, len(units))) - 0.1), slope, name=name)


def test_dead_units_are_told_by_whether_they_ever_lived() -> None:
    now, before = site_with_dead([1, 2, 3]), record_from(site_with_dead([2, 3, 7]))
    born = only(findings("born-dead", now, initial=before))
    died = only(findings("died-in-training", now, initial=before))
    assert (born.units, died.units) == ((2, 3), (1,))
    counts = {"born_dead": 2, "died_in_training": 1, "revived": 1, "initial_samples": ENOUGH, "samples": ENOUGH}
    assert born.evidence == died.evidence == counts
    assert (born.level, died.level) == ("info", "info")
    assert "Change the initialisation" in born.advice
    assert "lower the learning rate" in died.advice


def test_an_initial_record_of_few_samples_says_so() -> None:
    found = only(findings("born-dead", site_with_dead([1]), initial=record_from(site_with_dead([1], n=50))))
    assert "on too few samples to be sure" in found.message


def test_without_an_initial_record_nothing_is_said_of_the_origin() -> None:
    found = diagnose(record_from(site_with_dead([1])))
    assert {f.rule for f in found.findings} == {"dead"}


def test_units_that_the_initial_record_did_not_see_have_no_origin() -> None:
    unseen = site_from(planted(normal(ENOUGH, 12), [1], np.nan), 0.0, name="act")
    rules = {f.rule for f in diagnose(record_from(site_with_dead([1])), initial=record_from(unseen)).findings}
    assert {"born-dead", "died-in-training"} & rules == set()


def test_a_unit_under_another_slope_was_alive() -> None:
    found = findings("died-in-training", site_with_dead([1]), initial=record_from(site_with_dead([1], slope=0.2)))
    assert only(found).units == (1,)


def test_another_network_is_refused() -> None:
    with pytest.raises(InputError, match="none of its sites has the name"):
        diagnose(record_from(site_with_dead([])), initial=record_from(site_with_dead([], name="other")))
    with pytest.raises(InputError, match="site 'act' has 3 units there and 12 here"):
        diagnose(record_from(site_with_dead([])), initial=record_from(site_from(normal(9, 3), name="act")))


def test_a_site_that_is_new_has_no_origin() -> None:
    record = record_from(site_with_dead([]), site_with_dead([1], name="new"))
    rules = {f.rule for f in diagnose(record, initial=record_from(site_with_dead([]))).findings}
    assert rules == {"dead"}


def initialised(
    gains: list[float], slope: float = 0.0, fan_in: int = 256, fan_out: int = 256, **others: float
) -> list[Site]:
    """Sites whose weights have these gains by fan_in."""
    return [
        site_from(
            normal(40, 256, seed=layer),
            slope,
            name=f"act{layer}",
            producers=(producer(fan_in, fan_out, each / math.sqrt(fan_in), f"{layer}.weight"),),
            **others,
        )
        for layer, each in enumerate(gains)
    ]


@pytest.mark.parametrize(
    ("observed", "slope", "pattern"),
    [
        (gain(math.sqrt(5)), 0.0, "torch's default"),
        (gain(math.sqrt(5)), 0.2, "torch's default"),
        (1.0, 0.01, "LeCun's"),
        (gain(0), 0.9, "He's for slope 0"),
        (3.0, 0.0, "none that is known"),
    ],
)
def test_a_gain_that_ignores_the_slope_is_found_and_named(observed: float, slope: float, pattern: str) -> None:
    sites = initialised([observed, observed], slope)
    found = only(findings("initialisation-gain", *sites, initial=record_from(*sites)))
    assert found.site is None
    assert pattern in str(found.evidence["pattern"])
    assert found.evidence["gain"] == pytest.approx(observed)
    assert found.evidence["wanted_gain"] == pytest.approx(gain(slope))
    assert found.evidence["second_moment_factor"] == pytest.approx((observed / gain(slope)) ** 2)
    assert found.evidence["weights"] == ["0.weight", "1.weight"]
    assert found.level == "info"


def test_glorots_scale_is_told_by_the_mean_of_the_fans() -> None:
    rms = math.sqrt(2 / (100 + 400))
    sites = initialised([rms * math.sqrt(400)], fan_in=400, fan_out=100)
    assert "Glorot" in str(
        only(findings("initialisation-gain", *sites, initial=record_from(*sites))).evidence["pattern"]
    )


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.2, 0.9])
def test_a_matched_gain_is_no_finding_by_either_fan(slope: float) -> None:
    forward = initialised([gain(slope)], slope, fan_in=64, fan_out=256)
    backward = initialised([gain(slope) * math.sqrt(64 / 256)], slope, fan_in=64, fan_out=256)
    assert gain_gaps(forward[0], 0.1) == gain_gaps(backward[0], 0.1) == []


def test_the_sites_own_gain_is_part_of_the_match() -> None:
    assert gain_gaps(initialised([1.0], gain=math.sqrt(2))[0], 0.1) == []
    assert gain_gaps(initialised([gain(0)], gain=math.sqrt(2))[0], 0.1) != []


def test_slopes_of_single_units_count_by_their_squares() -> None:
    slopes = np.tile([0.9, 0.0], 128)
    wanted = math.sqrt(2 / (1 + 0.405))
    site = site_from(normal(40, 256), slopes, producers=(producer(900, 900, wanted / 30),))
    assert gain_gaps(site, 0.01) == []


def test_a_small_layer_is_given_its_sampling_error() -> None:
    weight = producer(2, 4, 1.2 * gain(0) / math.sqrt(2))
    assert gain_gaps(site_from(normal(40, 4), 0.0, producers=(weight,)), 0.1) == []
    assert gain_gaps(site_from(normal(40, 4000), 0.0, producers=(weight,)), 0.1) != []


def test_the_tolerance_can_be_chosen() -> None:
    assert gain_gaps(initialised([gain(0)], 0.2, fan_in=4000, fan_out=4000)[0], 0.1) == []
    assert gain_gaps(initialised([gain(0)], 0.2, fan_in=4000, fan_out=4000)[0], 0.01) != []


def test_it_is_a_warning_where_the_initial_range_decays() -> None:
    sites = [
        site_from(
            6.0 ** (-layer / 2) * normal(40, 64, seed=layer),
            0.0,
            name=f"act{layer}",
            producers=(producer(64, 64, gain(math.sqrt(5)) / 8, f"{layer}.weight"),),
        )
        for layer in range(9)
    ]
    found = only(findings("initialisation-gain", *sites, initial=record_from(*sites)))
    assert found.level == "warning"
    assert "E h² by 0.17" in found.message


def test_one_site_is_named_and_embeddings_are_not_judged() -> None:
    sites = initialised([gain(0), 0.3])
    assert only(findings("initialisation-gain", *sites, initial=record_from(*sites))).site == "act1"
    table = producer(256, 256, 1.0, kind="embedding")
    assert gain_gaps(site_from(normal(40, 8), 0.0, producers=(table,)), 0.1) == []
