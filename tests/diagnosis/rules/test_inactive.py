"""The findings on dead, silent, nearly dead and locked units: level, wording, bound, advice."""

from __future__ import annotations

import numpy as np
import pytest
from tests.diagnosis.helpers import ENOUGH, findings, findings_in, only
from tests.records import normal, planted, record_from, regression, site_from, tensor

from leaky.diagnosis import diagnose
from leaky.diagnosis.rules.advice import SLOPES, suggest_slope
from leaky.record import Site
from leaky.theory import rate_bound, samples_needed


def negative(count: int, n: int = ENOUGH, seed: int = 7) -> np.ndarray:
    return -np.abs(normal(n, count, seed=seed)) - 0.1


def with_dead(count: int, units: int = 100, n: int = ENOUGH) -> np.ndarray:
    return planted(normal(n, units), range(count), negative(count, n))


def beside(site: Site, units: int = 100) -> tuple[Site, Site]:
    """The site with a second, healthy one, which is all the room that the network has elsewhere."""
    return site, site_from(normal(ENOUGH, units, seed=3), 0.0, name="peer")


@pytest.mark.parametrize(
    ("count", "level"),
    [(1, "info"), (39, "info"), (40, "warning"), (59, "warning"), (60, "error"), (100, "error")],
)
def test_where_fewer_units_are_left_than_there_is_room_elsewhere_the_share_sets_the_level(
    count: int, level: str
) -> None:
    found = only(findings("dead", *beside(site_from(with_dead(count), 0.0))))
    assert (found.level, found.units) == (level, tuple(range(count)))
    assert found.evidence["share"] == count / 100


@pytest.mark.parametrize("count", [40, 60, 90, 98])
def test_a_share_alone_is_waste_and_no_harm(count: int) -> None:
    narrow = record_from(*beside(site_from(with_dead(count), 0.0), units=2))
    found = only(findings_in("dead", narrow))
    assert found.level == "info"
    assert "nothing shows that they are missed" in found.advice
    assert only(findings("dead", site_from(with_dead(count), 0.0))).level == "info"


def test_what_other_paths_lead_around_is_waste_unless_it_is_much() -> None:
    outputs = (tensor(normal(ENOUGH, 3), "output"),)
    gate = site_from(negative(4), 0.0, bypassed=True)
    found = only(findings_in("dead", record_from(*beside(gate), outputs=outputs)))
    assert (found.level, "Other paths lead around it" in found.message) == ("info", True)
    branch = site_from(negative(50), 0.0, bypassed=True)
    assert only(findings_in("dead", record_from(*beside(branch), outputs=outputs))).level == "warning"
    stem = site_from(negative(4), 0.0, bypassed=False)
    assert only(findings_in("dead", record_from(*beside(stem), outputs=outputs))).level == "error"


def test_in_a_network_that_has_learned_shares_are_notes_and_in_one_that_has_not_they_are_harm() -> None:
    target = normal(ENOUGH, 1, seed=8)
    for noise, level in ((0.01, "info"), (0.7, "info"), (1.0, "error")):  # R² is 1 − noise²
        term = regression(target, target + noise * normal(ENOUGH, 1, seed=9))
        record = record_from(site_from(with_dead(70), 0.0), terms=(term,), outputs=(term.given,))
        assert only(findings_in("dead", record)).level == level


def test_the_levels_can_be_moved() -> None:
    found = only(findings("dead", *beside(site_from(with_dead(3), 0.0)), dead_warning=0.02, dead_error=0.03))
    assert found.level == "error"


def test_a_finding_states_its_data_its_samples_and_its_bound() -> None:
    found = only(findings("dead", site_from(with_dead(3), 0.0)))
    bound = rate_bound(ENOUGH, 0.05, 100)
    assert found.message == (
        "3 of 100 units (3.0%; 0, 1, 2) are dead on these 1,500 samples: a derivative of practically 0 on every "
        f"element. With 95% confidence each of them fires on less than {100 * bound:.2g}% of such samples."
    )
    expected = {"samples": ENOUGH, "samples_needed": samples_needed(100), "confidence": 0.95, "units_examined": 100}
    assert expected.items() <= found.evidence.items()
    assert found.evidence["rate_bound"] == bound
    assert found.evidence["silent"] == 3


def test_on_noise_every_verdict_says_so_and_real_data_come_first() -> None:
    diagnosis = diagnose(record_from(site_from(with_dead(3), 0.0), on_noise=True))
    found = only([f for f in diagnosis.findings if f.rule == "dead"])
    assert "on 1,500 samples of noise" in found.message
    assert "these" not in found.message
    assert found.advice.startswith("Look again on real data first")
    assert found.evidence["on_noise"] is True
    assert "on real data the answer may differ" in diagnosis.confidence


def test_batches_that_count_as_samples_are_called_batches() -> None:
    found = only(findings("dead", site_from(with_dead(3), 0.0, sample_dim=None)))
    assert "on these 1,500 batches, each counted as one sample" in found.message


def test_units_beyond_a_cap_are_not_said_never_to_fire() -> None:
    z = planted(normal(ENOUGH, 50), [3], 9.0 + np.abs(normal(ENOUGH, 1)))
    found = only(findings("dead", site_from(z, 0.01, cap=6.0)))
    assert "leaves the flat part on less than" in found.message
    assert "where a slope below the threshold does not reach" in found.advice
    assert "leaky slope" not in found.advice


def test_a_few_dead_units_are_left_alone() -> None:
    advice = only(findings("dead", *beside(site_from(with_dead(5), 0.0)))).advice
    assert "Leave them" in advice
    assert "slope" not in advice


def test_a_leak_is_a_hypothesis_with_the_command_that_decides_it() -> None:
    site = site_from(with_dead(50), 0.0)
    advice = only(findings("dead", *beside(site))).advice
    suggestion = suggest_slope(site)
    assert suggestion is not None
    assert f"{suggestion}, which `leaky tune TASK --slopes 0 {suggestion.negative_slope:g}` decides" in advice
    assert advice.index("Look for the cause first") < advice.index("leaky repair MODEL") < advice.index("leak:")


def test_biases_far_below_are_told_and_no_slope_beyond_its_limit() -> None:
    far = planted(0.1 * normal(ENOUGH, 100), range(60), normal(ENOUGH, 60) - 9.0)
    advice = only(findings("dead", *beside(site_from(far, 0.0)))).advice
    assert "Their pre-activations lie 9 standard deviations below the threshold: a matter of biases." in advice
    assert "no slope in use stays within × 1.5 of E h² here" in advice
    assert suggest_slope(site_from(far, 0.0)) is None


def test_a_dead_site_has_no_range_that_a_slope_could_keep() -> None:
    found = only(findings("dead", site_from(negative(20), 0.0)))
    assert found.level == "error"
    assert found.message.startswith("all 20 units are dead")
    assert "a leak is not what to try first" in found.advice
    assert suggest_slope(site_from(negative(20), 0.0)) is None


def test_constant_dead_units_are_not_promised_a_leak() -> None:
    found = only(findings("dead", site_from(planted(normal(ENOUGH, 10), range(6), -0.5), 0.0)))
    assert "6 units got a constant input, which no slope changes" in found.advice
    assert "A leak helps" not in found.advice


def test_saturated_smooth_units_get_their_own_words() -> None:
    z = planted(normal(ENOUGH, 10), range(5), -9 + np.tanh(normal(ENOUGH, 5)))
    site = site_from(z, smooth=lambda x: x / (1 + np.exp(-x)), threshold=-7.0)
    found = only(findings("dead", *beside(site)))
    assert "The activation is saturated" in found.advice
    assert "a leak is not the question" in found.advice


def test_a_final_rectifier_is_never_told_among_hidden_sites() -> None:
    site = site_from(with_dead(1, 2), 0.0, is_output=True)
    assert findings("dead", site) == []
    assert only(findings("output-rectifier", site)).units == (0,)


def test_a_single_unit_reads_well() -> None:
    found = only(findings("dead", site_from(negative(1), 0.0)))
    assert found.message.startswith("the only unit is dead on these 1,500 samples: ")
    assert "With 95% confidence it fires on less than" in found.message


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_suggested_slope_keeps_the_range(scale: float) -> None:
    z = scale * (normal(ENOUGH, 20) - 1.0)
    site = site_from(z, 0.0)
    suggestion = suggest_slope(site)
    assert suggestion is not None
    slope = suggestion.negative_slope
    h = np.where(z > 0, z, slope * z)
    assert suggestion.after == pytest.approx((h**2).mean())
    assert suggestion.before == pytest.approx((np.maximum(z, 0) ** 2).mean())
    assert suggestion.after <= 1.5 * suggestion.before
    larger = [s for s in SLOPES if s > slope]
    assert all((np.where(z > 0, z, s * z) ** 2).mean() > 1.5 * suggestion.before for s in larger)


def test_with_too_few_samples_silence_is_all_that_is_said() -> None:
    site = site_from(with_dead(10, n=200), 0.0)
    assert findings("dead", site) == []
    found = only(findings("silent-so-far", site))
    needed = samples_needed(100)
    assert (found.level, found.units) == ("info", tuple(range(10)))
    assert found.evidence["samples_missing"] == needed - 200
    assert f"show it {needed - 200:,} more independent samples" in found.advice
    assert f"among 100 units, takes {needed}" in found.message
    assert "With 95% confidence each of them fires on less than" in found.message


def test_many_silent_units_on_some_samples_count_and_on_very_few_they_do_not() -> None:
    assert only(findings("silent-so-far", *beside(site_from(with_dead(70, n=100), 0.0)))).level == "warning"
    assert only(findings("silent-so-far", *beside(site_from(with_dead(70, n=10), 0.0)))).level == "info"
    everything = only(findings("silent-so-far", *beside(site_from(with_dead(100, n=3), 0.0))))
    assert (everything.level, everything.evidence["whole_site"]) == ("error", True)  # a fact at any n


def test_all_the_data_there_is_needs_no_bound() -> None:
    record = record_from(site_from(with_dead(1, units=2, n=4), 0.0))
    diagnosis = diagnose(record, population=True)
    found = only([f for f in diagnosis.findings if f.rule == "dead"])
    assert found.units == (0,)
    assert "These are all the data there is" in found.message
    assert "needs no bound" in diagnosis.confidence


def test_a_site_that_no_sample_reached_says_so() -> None:
    found = only(findings("silent-so-far", site_from(np.zeros((0, 4)), 0.0)))
    assert (found.units, found.level) == ((), "info")
    assert "no sample came through here: nothing can be said of its 4 units" in found.message


def test_samples_spoilt_by_non_finite_elements_are_counted_out() -> None:
    z = with_dead(1, 50)
    z[:900, 0] = np.nan
    found = only(findings("silent-so-far", site_from(z, 0.0)))
    assert "900 of them perhaps spoilt" in found.message
    assert found.evidence["samples"] == 600


def test_nearly_dead_units_carry_the_bound_of_what_was_seen() -> None:
    z = with_dead(2)
    z[:4, 0], z[:9, 1] = 1.0, 1.0
    found = only(findings("nearly-dead", site_from(z, 0.0)))
    assert (found.level, found.units) == ("info", (0, 1))
    assert found.evidence["active_samples"] == [4, 9]
    assert "active on 4 … 9 samples" in found.message
    bound = found.evidence["rate_bound"]
    assert isinstance(bound, float)
    assert 9 / ENOUGH < bound < 0.03
    assert "may detect something rare" in found.advice


def test_one_sample_is_no_samples() -> None:
    z = -np.abs(normal(ENOUGH, 4))
    z[0, 1] = 1.0
    assert (
        "nearly dead: active on 1 sample and flat on the rest"
        in only(findings("nearly-dead", site_from(z, 0.0))).message
    )


def test_many_nearly_dead_units_are_a_warning_with_a_slope() -> None:
    z = with_dead(50)
    z[:4, :50] = 1.0
    found = only(findings("nearly-dead", *beside(site_from(z, 0.0))))
    assert found.level == "warning"
    assert "a slope of about" in found.advice


@pytest.mark.parametrize(("count", "level"), [(5, "info"), (40, "info"), (100, "warning")])
def test_locked_units_are_never_an_error(count: int, level: str) -> None:
    negatives = only(findings("locked-negative", site_from(with_dead(count), 0.2)))
    positives = only(findings("locked-positive", site_from(-with_dead(count), 0.2)))
    assert (negatives.level, positives.level) == (level, level)
    assert negatives.units == positives.units == tuple(range(count))
    assert (negatives.evidence["slope_min"], negatives.evidence["slope_max"]) == (0.2, 0.2)
    assert "only the slope 0.2 was used" in negatives.message
    assert "A larger slope would not unlock them" in negatives.advice
    assert "no slope below the threshold is ever used there" in positives.advice


def test_constant_units_have_a_rule_of_their_own() -> None:
    site = site_from(planted(normal(ENOUGH, 9), [2], 3.0), 0.2)
    assert findings("locked-positive", site) == []
    assert only(findings("constant", site)).units == (2,)


def test_outputs_that_are_always_positive_are_as_they_should_be() -> None:
    assert findings("locked-positive", site_from(np.abs(normal(ENOUGH, 3)) + 0.1, 0.0, is_output=True)) == []


def test_a_learned_slope_of_each_unit_is_told_apart() -> None:
    slopes = np.linspace(-0.5, 0.5, 100)  # 0 ± 1e-3 is none of them
    slopes[2] = 0.0
    record = record_from(site_from(with_dead(4), slopes))
    assert only(findings_in("dead", record)).units == (2,)
    assert only(findings_in("locked-negative", record)).units == (0, 1, 3)
