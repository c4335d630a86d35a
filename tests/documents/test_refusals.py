"""A file that leaky did not write gets one clear error that names the place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.records import normal, record_from, site_from

from leaky.documents import KINDS, document, dumps, from_data, load_as, loads, read
from leaky.documents.strict import LARGEST
from leaky.errors import InputError
from leaky.record.reading import record_from_dict
from leaky.record.writing import record_to_dict

GOOD = record_to_dict(record_from(site_from(normal(5, 2, seed=1), 0.1, cap=1.0)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be JSON"),
        ("{", "must be JSON"),
        ('{"schema_version": NaN}', "NaN is not a JSON number"),
        ("[" * 100_000, "nested too deeply"),
        (b"\xff\xfe\x00", "must be JSON"),
        ("[]", "object with a schema_version"),
        ("{}", "object with a kind and a schema_version"),
        ('{"kind": 3}', "object with a kind and a schema_version"),
        ('{"kind": "record"}', "object with a schema_version"),
        ('{"kind": "record", "schema_version": true}', "object with a schema_version"),
        ('{"kind": "record", "schema_version": 0}', "1 or more, not 0"),
        ('{"kind": "a\\u001b", "kind": 2}', "the key 'kind' stands twice in an object"),
        ('{"kind": "a\\u001bb"}', r"of the kind 'a\\x1bb', and this leaky knows checkup, record"),
        ('{"sites": [], "schema_version": 1e999}', "object with a schema_version"),
        ('{"sites": [], "schema_version": ' + "9" * 5000 + "}", "must be JSON"),
        ('{"sites": [], "schema_version": ' + "9" * 400 + "}", "has schema_version a whole number of more than 60"),
    ],
)
def test_what_is_no_file_of_ours_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        from_data(loads(text, "'old.json'"), "'old.json'")
    assert str(caught.value).startswith("'old.json' ")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_newer_schema_is_refused_by_name_for_every_kind(kind: str) -> None:
    known = KINDS[kind].version
    message = f"'x' has schema_version {known + 1} of a {kind}, and this leaky reads up to {known}: install a newer"
    with pytest.raises(InputError, match=message):
        from_data({"kind": kind, "schema_version": known + 1}, "'x'")


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"recipe"}))  # of which an empty one says: nothing to do
def test_an_empty_document_names_what_is_missing(kind: str) -> None:
    with pytest.raises(InputError, match=r"^'x': .* must be .*, not missing$"):
        from_data({"kind": kind, "schema_version": KINDS[kind].version}, "'x'")


def test_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(dumps(document("record", GOOD)))
    with pytest.raises(InputError, match=r"a\.json' must be a study, as `leaky tune --json` writes it; it is a record"):
        load_as("study", tmp_path / "a.json")


def test_many_keys_that_stand_twice_are_no_more_work_than_one() -> None:
    keys = ", ".join(f'"{number}": 0' for number in range(200_000))
    with pytest.raises(InputError, match="the key '0' stands twice"):  # by counting, hours
        loads(f"{{{keys}, {keys}}}", "'old.json'")


def test_a_file_larger_than_any_document_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as stream:
        stream.truncate(LARGEST + 1)
    with pytest.raises(InputError, match=r"a\.json' must have at most 536,870,912 bytes"):
        read(tmp_path / "a.json")


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    data = copy.deepcopy(GOOD)
    change(data)
    return data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("model"), "model must be a string, not missing"),
        (lambda d: d.update(mode="test"), "mode must be one of 'eval', 'train', not \"test\""),
        (lambda d: d.update(samples=True), "samples must be a whole number, not true"),
        (lambda d: d.update(notes=[1]), r"notes must be a list, each item a string, not \[1\]"),
        (lambda d: d.update(sites={}), "sites must be a list, not {}"),
        (lambda d: d.update(sites=[3]), r"sites\[0\] must be an object, not 3"),
        (lambda d: d.update(samples=-1), "samples must be 0 or more, not -1"),
        (lambda d: d.update(samples=10**400), "samples must be a whole number of at most 64 bits, not a whole number"),
        (lambda d: d.update(versions={"torch": [3]}), "versions must be an object, each value a string"),
        (lambda d: d.update(notes="x" * 9999), 'notes must be a list, not "x*'),
        (lambda d: d["sites"][0].update(samples=-5), r"sites\[0\].samples must be 0 or more, not -5"),
        (
            lambda d: d["sites"][0]["statistics"].update(fired=[1, 6]),
            "fired must be a list of numbers of at most 5, the",
        ),
        (lambda d: d["sites"][0]["statistics"].update(fired=[1, -1]), "fired must be a list of numbers of 0 or more"),
        (
            lambda d: d["sites"][0]["statistics"].update(last_fired=[1, -2]),
            "last_fired must be a list of numbers of -1",
        ),
        (
            lambda d: d["sites"][0]["statistics"].update(sum_of_squares_below=[1, -2.0]),
            "squares_below must be a list of",
        ),
        (lambda d: d["sites"][0].update(units=-1), r"sites\[0\].units must be 0 or more, not -1"),
        (lambda d: d["sites"].append(d["sites"][0]), "no two sites may have the same name"),
        (lambda d: d["sites"][0].update(units=10**15), r"fired must have one number for each of 10{15} units, not 2"),
        (lambda d: d["sites"][0].update(units=3), r"fired must have one number for each of 3 units, not 2"),
        (lambda d: d["sites"][0].update(negative_slope="x"), r"negative_slope must be a number or null, not \"x\""),
        (lambda d: d["sites"][0].update(gain=10**400), "gain must be numbers of at most 64 bits"),
        (lambda d: d["sites"][0]["statistics"].update(fired=[1, 2.5]), r"statistics.fired must hold whole numbers"),
        (lambda d: d["sites"][0]["statistics"].update(fired=[1, 2**64]), "fired must be numbers of at most 64 bits"),
        (lambda d: d["sites"][0]["statistics"].pop("sum_linear"), r"statistics.sum_linear must be a list, not missing"),
        (lambda d: d["sites"][0]["statistics"].update(sum_below=[1.0, "a"]), "sum_below must hold numbers or nulls"),
        (lambda d: d["sites"][0]["statistics"].update(sum_below=[1.0, float("inf")]), "sum_below must be finite"),
    ],
)
def test_a_malformed_field_is_named(change: Callable[[dict[str, Any]], object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        record_from_dict(changed(change), "old.json")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_unknown_fields_are_ignored() -> None:
    record_from_dict(changed(lambda d: d.update(later_addition=1)))


def test_dumps_refuses_what_is_no_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps({"schema_version": float("nan")})


def test_read_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing.json' must be a readable file: No such file"):
        read(tmp_path / "missing.json")
    with pytest.raises(InputError, match="must be a readable file: Is a directory"):
        read(tmp_path)
    half = tmp_path / "half.json"
    half.write_text(dumps(GOOD)[:300])
    with pytest.raises(InputError, match=r"half.json' must be JSON that leaky wrote"):
        read(half)
