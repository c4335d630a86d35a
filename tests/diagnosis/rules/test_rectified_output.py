"""A final rectifier that is below its threshold on everything: cut off, slow under a small leak, or one sample only."""

from __future__ import annotations

import numpy as np
import pytest
from tests.diagnosis.helpers import findings_in, only
from tests.records import normal, record_from, regression, site_from, tensor

from leaky.record import Record


def ending_below(slope: float, samples: int, *positions: int) -> Record:
    z = normal(samples, 1, *positions) - 9
    return record_from(site_from(z, slope, name="last", is_output=True), samples=samples)


@pytest.mark.parametrize(("samples", "positions"), [(7, ()), (600, ()), (1, (5, 5))])
def test_what_is_cut_off_on_all_the_data_is_an_error_at_any_number(samples: int, positions: tuple[int, ...]) -> None:
    finding = only(findings_in("output-rectifier", ending_below(0.0, samples, *positions)))
    assert finding.level == "error"
    assert "no gradient comes back" in finding.message
    assert ("the one sample" if samples == 1 else f"all {samples} samples") in finding.message


def test_of_a_single_number_nothing_follows() -> None:
    assert findings_in("output-rectifier", ending_below(0.0, 1)) == []


def test_a_small_leak_lets_it_learn_slowly_and_is_not_said_to_block() -> None:
    finding = only(findings_in("output-rectifier", ending_below(0.001, 600)))
    assert finding.level == "warning"
    assert "0.1% of the gradient comes back: it learns, very slowly" in finding.message
    assert findings_in("output-rectifier", ending_below(0.01, 600)) == []


@pytest.mark.parametrize(("least", "said"), [(0.0, True), (0.5, False), (0.6, False)])
def test_behind_a_last_sigmoid_no_probability_is_below_a_half(least: float, said: bool) -> None:
    z = normal(600, 1)
    out = 1 / (1 + np.exp(-np.maximum(z, 0)))
    target = np.where(normal(600, 1, seed=1) > 0, 1.0, least)
    record = record_from(
        site_from(z, 0.0, name="last", is_output=True),
        samples=600,
        outputs=(tensor(out, "output", made_by="sigmoid"),),
        terms=(regression(target, out, "binary_cross_entropy", residual_squares=None),),
    )
    found = findings_in("output-rectifier", record)
    assert [f.level for f in found] == ["warning"] * said
    assert not said or "no probability be below 0.5, and the targets go down to 0" in found[0].message
