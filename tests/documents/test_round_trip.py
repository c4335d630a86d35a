"""A Record goes to strict JSON and back number for number, and is what the shipped schema says."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.records import normal, producer, record_from, site_from

from leaky.documents import document, dumps, loads, schema
from leaky.record import GradientStatistics, NotExamined, Record, Site, UnitStatistics
from leaky.record.reading import record_from_dict
from leaky.record.writing import record_to_dict

VERDICTS = ("dead", "locked_negative", "locked_positive", "dormant")


def sites() -> dict[str, Site]:
    z = normal(12, 3, 2, seed=3)
    wild = z.copy()
    wild[:, 0] = np.nan
    wild[4, 1, 0] = np.inf
    return {
        "relu": site_from(z, 0.0),
        "leaky": site_from(z, 0.2, producers=(producer(4, 3, 0.5),), shape=(12, 3, 2), unit_dim=1, sample_dim=0),
        "per-channel slopes": site_from(z, [0.1, -0.3, 0.0]),
        "signed zeros": site_from(z, [0.0, -0.0, 0.0]),
        "a NaN slope": site_from(z, [0.1, np.nan, 0.1]),
        "caps": site_from(z, 0.0, cap=1.0),
        "some caps": site_from(z, 0.0, cap=[1.0, np.inf, np.inf], floor=[-np.inf, -1.0, -np.inf]),
        "non-finite elements": site_from(wild, 0.01),
        "threshold": site_from(z, 0.0, threshold=0.5, value=-2.0, gain=1.5, source="net.py:31", is_output=True),
        "smooth": site_from(z, smooth=np.tanh),
        "gradient": site_from(z, 0.2, cap=1.0, gradient=normal(12, 3, 2, seed=4)),
        "no sample": site_from(np.zeros((0, 3)), 0.01),
        "no unit": site_from(np.zeros((4, 0)), 0.01),
        "an unknown weight": site_from(z, 0.01, producers=(producer(4, 3, float("nan")),)),
    }


def written_and_read(record: Record) -> Record:
    return record_from_dict(loads(dumps(record_to_dict(record)).encode(), "the test"))


def assert_same(left: Any, right: Any, place: str = "record") -> None:
    """Equal to the last bit of every number; NaN equals NaN, and −0.0 does not equal 0.0."""
    assert type(left) is type(right), place
    if dataclasses.is_dataclass(left):
        for field in dataclasses.fields(left):
            assert_same(getattr(left, field.name), getattr(right, field.name), f"{place}.{field.name}")
    elif isinstance(left, tuple):
        assert len(left) == len(right), place
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            assert_same(one, other, f"{place}[{index}]")
    elif isinstance(left, np.ndarray):
        assert left.dtype == right.dtype, place
        np.testing.assert_array_equal(left, right, err_msg=place)
        np.testing.assert_array_equal(np.signbit(left), np.signbit(right), err_msg=place)
    elif isinstance(left, float):
        np.testing.assert_array_equal(left, right, err_msg=place)
    else:
        assert left == right, place


@pytest.mark.parametrize("name", sites())
def test_a_site_comes_back_as_it_was(name: str) -> None:
    record = record_from(sites()[name])
    assert_same(record, written_and_read(record))


def test_the_comparison_sees_a_difference_of_one_bit() -> None:
    site = sites()["leaky"]
    sums = site.statistics.sums.copy()
    sums[1, 2] = np.nextafter(sums[1, 2], np.inf)
    other = dataclasses.replace(site, statistics=dataclasses.replace(site.statistics, sums=sums))
    with pytest.raises(AssertionError, match="sums"):
        assert_same(record_from(site), record_from(other))


def test_everything_around_the_sites_comes_back() -> None:
    record = record_from(
        model="net <b>β</b>",
        data="noise\n\x1b[31m",
        mode="train",
        samples=7,
        batches=3,
        not_examined=(NotExamined("head", "it was compiled"),),
        on_noise=True,
        seed=5,
        notes=("one", "two"),
        versions={"torch": "2.13.0"},
    )
    assert_same(record, written_and_read(record))


@pytest.mark.parametrize("name", sites())
def test_what_is_written_follows_the_schema_field_by_field(name: str) -> None:
    record = record_from(sites()[name], not_examined=(NotExamined("head", "it was compiled"),))
    data = json.loads(dumps(document("record", record_to_dict(record))), parse_constant=pytest.fail)
    whole = schema("record")
    validator = jsonschema.Draft202012Validator
    validator.check_schema(whole)
    validator(whole).validate(data)
    assert undescribed(data, whole["$defs"]["record"], whole["$defs"]) == []


def undescribed(data: Any, rules: dict[str, Any], definitions: dict[str, Any], place: str = "") -> list[str]:
    """The properties in `data` that the schema has no description of."""
    if "$ref" in rules:
        rules = definitions[rules["$ref"].rsplit("/", 1)[1]]
    if isinstance(data, list):
        return [lost for item in data for lost in undescribed(item, rules.get("items", {}), definitions, place)]
    if not isinstance(data, dict) or "properties" not in rules:
        return []
    lost = []
    for key, value in data.items():
        known = rules["properties"].get(key)
        if known is None or not ({"description", "$ref"} & known.keys()):
            lost.append(f"{place}.{key}")
        else:
            lost += undescribed(value, known, definitions, f"{place}.{key}")
    return lost


def test_undescribed_finds_a_new_field() -> None:
    data = record_to_dict(record_from(sites()["relu"]))
    data["sites"][0]["statistics"]["brand_new"] = []
    whole = schema()
    assert undescribed(data, whole["$defs"]["record"], whole["$defs"]) == [".sites.statistics.brand_new"]


def test_numbers_that_json_cannot_say_are_null_and_counted() -> None:
    data = record_to_dict(record_from(sites()["non-finite elements"], sites()["no sample"]))
    wild, empty = data["sites"]
    assert wild["statistics"]["minimum"][0] is None
    assert wild["statistics"]["nonfinite"] == [24, 1, 0]
    assert wild["firing_rate"][0] is None
    assert wild["nulls"] == {"firing_rate": 1, "statistics.minimum": 1, "statistics.maximum": 1}
    assert empty["firing_rate"] == [None] * 3
    assert empty["nulls"] == {"firing_rate": 3, "statistics.minimum": 3, "statistics.maximum": 3}


def test_verdicts_stand_in_the_site_and_silent_is_a_fact() -> None:
    z = normal(20, 4, seed=1)
    z[:, 2] = -1.0
    record = record_from(site_from(z, 0.0, name="a"))
    assert record_to_dict(record)["sites"][0]["silent"] == [2]
    assert not set(VERDICTS) & record_to_dict(record)["sites"][0].keys()
    verdicts = {"a": {verdict: [] for verdict in VERDICTS} | {"dead": [2]}}
    site = record_to_dict(record, verdicts)["sites"][0]
    assert (site["dead"], site["dormant"]) == ([2], [])


@st.composite
def records(draw: st.DrawFn) -> Record:
    units = draw(st.integers(0, 4))
    # A region that nothing fell into is left out and comes back as 0.0: no sum of nothing is −0.0.
    numbers = st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)
    positive = st.floats(0.0, allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)
    whole = st.integers(0, 2**63 - 1)

    def array(elements: st.SearchStrategy[Any], *shape: int) -> Any:
        kind = np.float64 if elements in (numbers, positive) else np.int64
        return draw(arrays.arrays(kind, shape, elements=elements))

    gradient = draw(st.booleans()) and GradientStatistics(
        draw(whole), array(positive, 4, units), array(positive, 4, units), draw(whole)
    )
    samples = draw(whole)
    statistics = UnitStatistics(
        samples=samples,
        fired=array(st.integers(0, samples), units),
        counts=array(whole, 4, units),
        sums=array(numbers, 4, units),
        squares=array(positive, 4, units),
        minimum=array(numbers, units),
        maximum=array(numbers, units),
        nonfinite=array(whole, units),
        last_fired=array(whole, units),
        gradient=gradient or None,
    )
    words = st.text(alphabet=st.characters())  # half surrogate pairs too
    site = Site(draw(words), draw(words), array(numbers, units), statistics, draw(numbers), draw(numbers))
    return record_from(site, model=draw(words), data=draw(words), notes=tuple(draw(st.lists(st.text()))))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(records())
def test_any_record_comes_back_as_it_was(record: Record) -> None:
    assert_same(record, written_and_read(record))
