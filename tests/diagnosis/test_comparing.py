"""Two diagnoses side by side: what appeared, what went, and what only lacks samples."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from tests.records import normal, planted, record_from, site_from

from leaky.diagnosis import Comparison, Diagnosis, compare, diagnose
from leaky.diagnosis.changes import UnitChange
from leaky.record import Site

N, UNITS = 1500, 40


def site(
    dead: list[int], n: int = N, slope: float = 0.0, name: str = "act", units: int = UNITS, **others: object
) -> Site:
    z = planted(normal(n, units), dead, -np.abs(normal(n, len(dead), seed=5)) - 0.1)
    return site_from(z, slope, name=name, **others)  # type: ignore[arg-type]


def between(old: Site | Diagnosis, new: Site | Diagnosis) -> Comparison:
    """With a second site as wide and healthy, beside which lost units are missed."""
    peer = site([], name="peer")
    sides = [side if isinstance(side, Diagnosis) else diagnose(record_from(side, peer)) for side in (old, new)]
    return compare(*sides)


def change(found: Comparison, verdict: str, name: str = "act") -> UnitChange:
    fitting = [c for c in found.units if (c.site, c.verdict) == (name, verdict)]
    assert len(fitting) == 1
    return fitting[0]


def test_nothing_changes_between_the_same() -> None:
    found = between(site([1, 2]), site([1, 2]))
    assert (found.units, found.findings, found.notes, found.worse) == ((), (), (), False)
    assert str(found).startswith("It did not get worse.")


def test_new_dead_units_make_it_worse() -> None:
    found = between(site([1, 2]), site([2, 7, 9]))
    assert change(found, "dead") == UnitChange("act", "dead", appeared=(7, 9), gone=(1,), lost=(7, 9))
    assert found.worse
    assert found.reasons == ("act: 2 units (7, 9) newly dead",)
    assert found.totals["dead"] == (2, 3)
    assert str(found).startswith("It got worse, for 1 reason:\n  · act: 2 units (7, 9) newly dead")


def test_recovered_units_do_not() -> None:
    found = between(site([1, 2, 3]), site([2]))
    assert change(found, "dead") == UnitChange("act", "dead", gone=(1, 3))
    assert not found.worse


def test_that_a_dead_unit_is_dormant_is_not_told_twice() -> None:
    found = between(site([]), site([3]))
    assert change(found, "dormant").appeared == (3,)
    assert "act: dead: appeared: 1 unit (3)" in found.changes
    assert not any("dormant" in line for line in found.changes)


def test_too_few_samples_are_no_recovery() -> None:
    found = between(site([1, 2]), site([2], n=100))
    assert change(found, "dead") == UnitChange("act", "dead", gone=(1,), undecided=(2,))
    line = "act: dead: gone: 1 unit (1); undecided (the new record sees too little to tell; no recovery): 1 unit (2)"
    assert line in found.changes
    assert not found.worse


def test_a_finding_that_went_for_lack_of_samples_says_so() -> None:
    found = between(site([1, 2]), site([1, 2], n=100))
    gone = next(c for c in found.findings if c.rule == "dead")
    assert (gone.before, gone.after, gone.undecided) == ("info", None, True)
    assert "dead (info) went, for lack of samples" in str(found)
    recovered = next(c for c in between(site([1]), site([])).findings if c.rule == "dead")
    assert not recovered.undecided


def test_more_samples_that_prove_a_suspicion_are_no_loss() -> None:
    many = list(range(30))
    found = between(site(many, n=100), site(many))
    assert change(found, "dead") == UnitChange("act", "dead", confirmed=tuple(many))
    assert [(c.rule, c.after) for c in found.findings if c.after == "error"] == [("dead", "error")]
    assert not found.worse


def test_a_unit_that_fired_before_is_lost_even_if_the_old_samples_were_few() -> None:
    found = between(site([], n=100), site([4]))
    assert change(found, "dead").lost == (4,)
    assert found.worse


def test_a_unit_of_which_nothing_is_seen_now_has_not_recovered() -> None:
    unseen = site_from(planted(normal(N, UNITS), [1], np.nan), 0.0, name="act")
    found = between(site([1]), unseen)
    assert change(found, "dead").undecided == (1,)


def test_a_leak_in_place_of_a_dead_unit_is_no_loss() -> None:
    many = list(range(30))
    found = between(site(many), site(many, slope=0.2))
    assert change(found, "dead").gone == tuple(many)
    assert change(found, "locked_negative") == UnitChange("act", "locked_negative", appeared=tuple(many))
    assert not found.worse
    assert "the activation or slope differs at 1 site: act" in found.notes


def test_a_healthy_unit_that_locks_is_a_loss() -> None:
    assert between(site([], slope=0.2), site([3], slope=0.2)).reasons == ("act: 1 unit (3) newly locked negative",)


def rarely(units: list[int], n: int = N) -> Site:
    z = planted(normal(n, UNITS), units, -1.0 - np.abs(normal(n, len(units))))
    z[:3, units] = 0.5
    return site_from(z, 0.0, name="act")


def test_from_dead_to_nearly_dead_is_a_recovery_and_back_a_loss() -> None:
    assert not between(site([1]), rarely([1])).worse
    assert between(rarely([1]), site([1])).reasons == ("act: 1 unit (1) newly dead",)
    assert not between(site([]), rarely([1])).worse  # a few rare units come and go


def test_a_warning_that_appears_is_a_reason() -> None:
    calm, rare = site([]), rarely(list(range(20)))
    found = between(calm, rare)
    assert [(c.rule, c.after, c.worse) for c in found.findings if c.worse] == [("nearly-dead", "warning", True)]
    assert found.reasons == ("act: nearly-dead is warning, was not there",)


def test_a_level_that_rises_is_a_reason_and_one_that_falls_is_not() -> None:
    found = between(site(list(range(17))), site(list(range(30))))
    raised = next(c for c in found.findings if c.rule == "dead")
    assert (raised.before, raised.after, raised.worse) == ("warning", "error", True)
    assert "act: dead is error, was warning" in found.reasons
    fallen = between(site(list(range(30))), site(list(range(17))))
    assert "dead is warning, was error" in str(fallen)
    assert not fallen.worse


def test_what_the_old_record_could_not_measure_is_no_loss() -> None:
    starving = planted(normal(N, UNITS, seed=2), range(20), 0.0)
    plain, with_loss = site([]), site([], gradient=starving)
    found = between(plain, with_loss)
    assert [(c.rule, c.worse) for c in found.findings] == [("gradient-starved", False)]
    healthy = site([], gradient=normal(N, UNITS, seed=2))
    assert between(healthy, with_loss).worse
    few = site_from(normal(10, UNITS) + 60, 0.0, name="act")
    assert not between(few, site_from(normal(N, UNITS) + 60, 0.0, name="act")).worse


def test_a_gradient_that_was_not_measured_before_is_no_loss() -> None:
    def network(*scales: float) -> Diagnosis:
        sites = [
            site([], name=str(k), gradient=scale * normal(N, UNITS, seed=k) if scale else None)
            for k, scale in enumerate(scales)
        ]
        return diagnose(record_from(*sites))

    exploding, even, unmeasured = network(1e8, 1e4, 1.0), network(1.0, 1.0, 1.0), network(0, 0, 0)
    assert between(even, exploding).reasons == ("network: exploding-gradient is error, was not there",)
    assert not between(unmeasured, exploding).worse


def test_numbers_that_stop_being_finite_are_a_reason() -> None:
    ill = normal(N, UNITS)
    ill[0, 0] = np.nan
    assert between(site([]), site_from(ill, 0.0, name="act")).reasons == ("act: non-finite is error, was not there",)


def test_silence_on_few_samples_is_never_a_reason() -> None:
    found = between(site([]), site(list(range(30)), n=100))
    assert next(c for c in found.findings if c.rule == "silent-so-far").after == "warning"
    assert not found.worse


def test_sites_that_come_go_or_change_size_are_named() -> None:
    old = diagnose(record_from(site([1], name="a"), site([], name="b"), site([], name="c")))
    new = diagnose(record_from(site([], name="b", units=50), site([], name="c"), site([], name="d")))
    found = compare(old, new)
    assert (found.added, found.removed) == (("d",), ("a",))
    assert [(r.site, r.before, r.after) for r in found.resized] == [("b", 40, 50)]
    text = str(found)
    assert "site added: d" in text
    assert "site removed: a" in text
    assert "b: 40 units, now 50; not compared unit by unit" in text


def test_errors_at_a_new_or_resized_site_count() -> None:
    old = diagnose(record_from(site([], name="a")))
    new = diagnose(record_from(site([], name="a"), site(list(range(30)), name="b")))
    assert compare(old, new).reasons == ("b: dead is error, was not there",)
    assert between(site([]), site(list(range(40)), units=50)).worse


def test_a_call_whose_line_moved_is_the_same_site() -> None:
    found = between(site([1], name="body relu#0 (net.py:31)"), site([1, 5], name="body relu#0 (net.py:40)"))
    assert (found.added, found.removed) == ((), ())
    assert change(found, "dead", "body relu#0 (net.py:40)").appeared == (5,)


def test_calls_that_cannot_be_told_apart_without_their_lines_are_not_matched() -> None:
    old = diagnose(record_from(site([], name="relu (net.py:1)"), site([], name="relu (net.py:2)")))
    new = diagnose(record_from(site([], name="relu (net.py:3)"), site([], name="relu (net.py:4)")))
    assert len(compare(old, new).added) == 2


def test_figures_of_each_site() -> None:
    found = between(site([1]), site_from(2 * normal(N, UNITS), 0.0, name="act"))
    figures = found.figures[0]
    assert figures.dead_share == (1 / UNITS, 0.0)
    before, after = figures.second_moment
    assert before is not None
    assert after is not None
    assert after / before == pytest.approx(4, rel=0.1)
    assert "act: E h²" in str(found)
    assert between(site([1]), site_from(np.zeros((0, UNITS)), 0.0, name="act")).figures[0].firing_rate[1] is None


def test_what_makes_two_hard_to_compare_is_noted() -> None:
    old = diagnose(record_from(site([]), data="train.npy"))
    new = diagnose(record_from(site([]), data="noise", mode="train", on_noise=True), thresholds={"rate": 0.02})
    notes = compare(old, new).notes
    assert "the data set differs: 'train.npy', now 'noise'" in notes
    assert "the mode differs: 'eval', now 'train'" in notes
    assert any("on noise" in note for note in notes)
    assert "the threshold rate differs: 0.01, now 0.02" in notes


@dataclass
class CheckupLike:
    """As `leaky.Checkup` is: the diagnosis inside, its parts outside."""

    diagnosis: Diagnosis

    @property
    def record(self) -> object:
        return self.diagnosis.record

    @property
    def verdicts(self) -> object:
        return self.diagnosis.verdicts

    @property
    def findings(self) -> object:
        return self.diagnosis.findings


def test_checkups_are_compared_by_the_thresholds_that_made_them() -> None:
    old = diagnose(record_from(site([1], slope=0.05)), thresholds={"dead_derivative": 0.1})
    new = diagnose(record_from(site([1], slope=0.05, n=100)), thresholds={"dead_derivative": 0.1})
    found = compare(CheckupLike(old), CheckupLike(new))  # type: ignore[arg-type]
    assert change(found, "dead").undecided == (1,)


def test_it_goes_into_json() -> None:
    found = between(site([1]), site([2]))
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["worse"] is True
    assert data["reasons"] == list(found.reasons)
    assert data["units"][0]["lost"] == [2]
    assert data["totals"]["samples"] == [N, N]
