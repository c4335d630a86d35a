"""A diagnosis as a whole: order, confidence, silenced rules, purity, and that it needs no torch."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pkgutil import iter_modules

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.records import normal, planted, producer, record_from, site_from

from leaky.diagnosis import RULES, Diagnosis, Finding, Rule, compare, diagnose, level_rank, rules
from leaky.errors import InputError
from leaky.record import Site
from leaky.theory import samples_needed

N = 1500


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosis:
    dead = planted(normal(N, 10), range(8), -1 - np.abs(normal(N, 8)))
    sites = [
        site_from(planted(normal(N, 50), [3], -1.0), 0.0, name="first"),
        site_from(dead, 0.0, name="second"),
        site_from(np.abs(normal(N, 10)) + 0.1, 0.0, name="third"),
        site_from(planted(normal(N, 50), [1], -1 - np.abs(normal(N, 1))), 0.0, name="fourth"),
    ]
    return diagnose(record_from(*sites))


def test_findings_are_worst_first_then_in_the_order_of_the_sites(diagnosis: Diagnosis) -> None:
    order = ["first", "second", "third", "fourth"]
    keys = [(-level_rank(f.level), order.index(f.site or "first")) for f in diagnosis.findings]
    assert keys == sorted(keys)
    assert (diagnosis.findings[0].rule, diagnosis.findings[0].site) == ("dead", "second")
    assert diagnosis.worst == "error"


def test_findings_at_a_level_or_worse(diagnosis: Diagnosis) -> None:
    assert diagnosis.at_least("info") == diagnosis.findings
    assert {f.level for f in diagnosis.at_least("warning")} == {"warning", "error"}
    assert {f.level for f in diagnosis.at_least("error")} == {"error"}


def test_the_confidence_names_units_rate_and_samples(diagnosis: Diagnosis) -> None:
    assert (diagnosis.units_examined, diagnosis.samples_needed) == (120, samples_needed(120))
    assert diagnosis.confidence == (
        "With 95% confidence, all verdicts of dead and locked on the 120 units together hold on all but 1.0% of "
        f"samples like these; that takes {samples_needed(120)} independent samples at a site, and each saw at "
        "least 1,500."
    )


def test_too_few_samples_claim_no_confidence(diagnosis: Diagnosis) -> None:
    assert diagnose(diagnosis.record, thresholds={"units_examined": 10**9}).confidence == (
        "No unit can be called dead or locked yet: to say so of any of 1,000,000,000 units with 95% confidence takes "
        "2,361 independent samples at a site, and none saw more than 1,500."
    )


def test_where_no_unit_is_idle_few_samples_say_that_none_is_dead() -> None:
    """A unit that was active once is not dead, however few the samples; whether it is locked needs more of them."""
    few = diagnose(record_from(site_from(normal(50, 8), 0.0)))
    assert few.confidence == (
        "None is dead: each unit that was reached was active on some sample; to call any of 8 units locked with 95% "
        f"confidence takes {samples_needed(8)} independent samples at a site, and none saw more than 50."
    )
    silent = diagnose(record_from(site_from(-np.abs(normal(50, 8)), 0.0)))
    assert silent.confidence.startswith("No unit can be called dead or locked yet")


def test_the_number_of_units_compared_can_be_given(diagnosis: Diagnosis) -> None:
    found = diagnose(diagnosis.record, thresholds={"units_examined": 10_000})
    assert (found.units_examined, found.samples_needed) == (10_000, 1215)
    assert found.verdicts["second"].unproven == ()
    assert next(f for f in found.findings if f.rule == "dead").evidence["samples_needed"] == 1215


def test_it_prints_every_finding_with_its_advice(diagnosis: Diagnosis) -> None:
    text = str(diagnosis)
    for finding in diagnosis.findings:
        assert str(finding) in text
        assert finding.advice in text
    assert "error: second: 8 of 10 units" in text


def test_a_rule_can_be_silenced_without_touching_the_verdicts(diagnosis: Diagnosis) -> None:
    quiet = diagnose(diagnosis.record, ignore=["dead"])
    assert {f.rule for f in diagnosis.findings} - {f.rule for f in quiet.findings} == {"dead"}
    assert quiet.verdicts == diagnosis.verdicts


def test_only_rules_can_be_silenced() -> None:
    with pytest.raises(InputError, match=r"only rules can be ignored: .*dead, .*; 'deaf' is none of them"):
        diagnose(record_from(), ignore=["deaf"])


def test_diagnosing_changes_nothing_and_is_repeatable(diagnosis: Diagnosis) -> None:
    before = [site.statistics.counts.copy() for site in diagnosis.record.sites]
    again = diagnose(diagnosis.record)
    assert again.findings == diagnosis.findings
    for site, counts in zip(diagnosis.record.sites, before, strict=True):
        np.testing.assert_array_equal(site.statistics.counts, counts)


def test_merged_records_are_diagnosed_as_one() -> None:
    z = planted(normal(N, 20), [2, 5], -1 - np.abs(normal(N, 2)))
    parts = [record_from(site_from(part, 0.0)) for part in np.array_split(z, 4)]
    merged = parts[0].merge(parts[1]).merge(parts[2]).merge(parts[3])
    whole = diagnose(record_from(site_from(z, 0.0)))
    assert diagnose(merged).verdicts == whole.verdicts
    assert [f.rule for f in diagnose(merged).findings] == [f.rule for f in whole.findings]
    assert diagnose(parts[0]).verdicts["site"].unproven == (2, 5)


def test_a_record_without_sites_has_nothing_to_report() -> None:
    found = diagnose(record_from())
    assert (found.findings, found.verdicts, found.worst) == ((), {}, None)
    assert str(found).startswith("nothing to report\n")


SIGHTS = [-1e200, -7.0, -1.0, -0.0, 0.0, 1e-300, 0.5, 8.0, 1e200, np.nan, np.inf, -np.inf]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_whatever_was_seen_the_findings_are_sound(data: st.DataObject) -> None:
    """Any mixture of sizes, slopes, bounds, special values and gradients: no exception, no warning, strict JSON."""

    def site(name: str) -> Site:
        shape = data.draw(st.tuples(st.sampled_from([0, 1, 40, 400]), st.integers(1, 5)))
        rng = np.random.default_rng(data.draw(st.integers(0, 99)))
        z = rng.choice(data.draw(st.lists(st.sampled_from(SIGHTS), min_size=1, max_size=4)), shape)
        g = rng.choice(data.draw(st.lists(st.sampled_from(SIGHTS), min_size=1, max_size=3)), shape)
        smooth = data.draw(st.booleans())
        with np.errstate(over="ignore", invalid="ignore"):
            return site_from(
                z,
                data.draw(st.sampled_from([0.0, 0.01, -0.3, 0.95, 1.0])),
                name=name,
                smooth=np.tanh if smooth else None,
                gain=data.draw(st.sampled_from([1.0, 1e-4, 2.0])),
                cap=data.draw(st.sampled_from([None, 6.0])),
                floor=data.draw(st.sampled_from([None, -3.0])),
                gradient=data.draw(st.sampled_from([None, g])),
                is_output=data.draw(st.booleans()),
                producers=(producer(3, 4, data.draw(st.sampled_from([0.0, 0.5, np.inf]))),),
            )

    record = record_from(*[site(f"act{i}") for i in range(data.draw(st.integers(0, 4)))])
    found = diagnose(record, initial=record)
    for finding in found.findings:
        json.dumps(finding.evidence, allow_nan=False)
        assert "nan" not in finding.message.lower().replace("nan or infinite", "")
        if finding.site is not None:
            assert set(finding.units) <= set(range(record.site(finding.site).units))
    assert not compare(found, found).worse
    json.dumps(compare(found, found).to_dict(), allow_nan=False)


def test_every_finding_carries_the_slug_of_a_rule(diagnosis: Diagnosis) -> None:
    assert {f.rule for f in diagnosis.findings} <= set(RULES)
    for slug, rule in RULES.items():
        assert rule.slug == slug == slug.lower().replace("_", "-")


def test_every_rule_that_is_written_is_run() -> None:
    modules = [importlib.import_module(f"leaky.diagnosis.rules.{found.name}") for found in iter_modules(rules.__path__)]
    written = {value.slug for module in modules for value in vars(module).values() if isinstance(value, Rule)}
    assert written == set(RULES)


def test_levels_have_an_order() -> None:
    assert [level_rank(level) for level in (None, "info", "warning", "error")] == [-1, 0, 1, 2]
    with pytest.raises(InputError, match="must be one of info, warning, error, not 'fatal'"):
        level_rank("fatal")


def test_a_finding_reads_on_its_own() -> None:
    finding = Finding("growth", "warning", None, (), "it grows", {}, "Stop it.")
    assert str(finding) == "warning: network: it grows [growth]"


def test_diagnosis_needs_no_torch() -> None:
    code = "import sys, leaky.diagnosis; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
