"""A final rectifier that is below its threshold on everything: cut off, slow under a small leak, or one sample only."""

from __future__ import annotations

import pytest
from tests.diagnosis.helpers import findings_in, only
from tests.records import normal, record_from, site_from

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
