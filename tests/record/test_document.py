"""A record in which every field says something of its own comes back from its document as it was."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from tests.record.test_merging import assert_same
from tests.records import normal, producer, record_from, regression, site_from, tensor

from leaky.errors import InputError
from leaky.record import NotExamined, ParameterGradients, Record, Site
from leaky.record.derivatives import Derivatives
from leaky.record.directions import Directions
from leaky.record.ends import LossTerm, TensorStatistics
from leaky.record.layers import Choice, Normalisation, SharedLayer
from leaky.record.reading import record_from_dict
from leaky.record.writing import record_to_dict


def full() -> Record:
    z, g = normal(12, 3, 4, seed=1), normal(12, 3, 4, seed=2)
    z[0, 0, 0], z[1, 2] = np.nan, np.inf
    piecewise = site_from(
        z,
        [0.1, 0.0, -0.5],
        name="first",
        threshold=0.25,
        value=0.5,
        gain=1.5,
        floor=[-1.0, -2.0, -np.inf],
        cap=[1.5, 2.5, np.inf],
        gradient=g,
        batch_size=5,
        bypassed=True,
        source="model.py:7",
        producers=(producer(5, 3, 0.25),),
        directions=Directions(11, np.linspace(-1, 1, 12)),
    )
    smooth = site_from(z, name="second", smooth=np.tanh, activation="GELU", threshold=-0.75, bypassed=False)
    routed = replace(smooth, name="third", statistics=replace(smooth.statistics, seen=np.array([12, 7, 0])))
    output = tensor(
        z[:, :, 0], "output", made_by="softmax", made_over=3, alike_by_batch=False, lowest=-2.5, highest=9.5
    )
    term = replace(regression(g[:, :, 1], g[:, :, 2]), path=("softmax", "log"), hits=7, compared=11, classes=(4, 0, 7))
    return record_from(
        piecewise,
        smooth,
        routed,
        batches=3,
        mode="train",
        not_examined=(NotExamined("gate", "it scales another value"),),
        on_noise=True,
        seed=5,
        notes=("a note", "another"),
        versions={"torch": "2.13"},
        inputs=(tensor(z[:, :, 3], features=None), tensor(np.round(z[:, :, 3]), "mask", dtype="bool")),
        outputs=(output,),
        terms=(term,),
        gradients=ParameterGradients(9, ("a.weight",), ("b.weight", "b.bias")),
        normalisations=(Normalisation("norm", 7, False, 0.5, 2.5), Normalisation("new", None, True)),
        shared_layers=(SharedLayer("cell", 4),),
        unregistered=("layers[0]",),
        choices=(Choice("cell.gate", "gate", 40, 3, 5),),
        derivatives=Derivatives(2, True),
    )


def test_every_field_comes_back() -> None:
    record = full()
    text = json.dumps(record_to_dict(record), allow_nan=False)
    assert_same(record_from_dict(json.loads(text)), record)


def test_no_field_was_left_at_its_default() -> None:
    record = full()
    bare = record_from(site_from(normal(3, 2)))
    for field in fields(Record):
        assert getattr(record, field.name) not in ((), None, {}), field.name
        assert field.name in ("model", "data", "sites") or getattr(record, field.name) != getattr(bare, field.name)
    for name in {field.name for field in fields(Site)}:
        assert any(getattr(site, name) is not None for site in record.sites), name
    for name in {field.name for field in fields(TensorStatistics)}:
        assert any(getattr(each, name) is not None for each in (*record.inputs, *record.outputs)), name


def test_a_bare_record_comes_back_as_well() -> None:
    record = record_from(site_from(normal(3, 2)))
    assert_same(record_from_dict(json.loads(json.dumps(record_to_dict(record)))), record)


def test_a_site_is_found_by_its_name_and_others_are_listed() -> None:
    record = full()
    assert record.site("second").name == "second"
    with pytest.raises(InputError, match=r"no site is named 'fourth'.*'first'.*'third'"):
        record.site("fourth")
    with pytest.raises(InputError, match=r"^the record: "):
        record_from_dict({"model": 3})


def test_derivatives_of_two_parts_are_those_of_the_higher_order() -> None:
    assert Derivatives(1, False).merge(Derivatives(2, True)) == Derivatives(2, True)
    assert Derivatives(2, True).merge(Derivatives(1, False)) == Derivatives(2, True)
    first, second = record_from(derivatives=Derivatives(1, True)), record_from()
    assert first.merge(second).derivatives == second.merge(first).derivatives == Derivatives(1, True)


def test_one_unit_has_one_slope_in_its_document() -> None:
    data = record_to_dict(record_from(site_from(normal(3, 1), 0.25)))
    assert data["sites"][0]["negative_slope"] == 0.25


def test_the_documents_of_tensors_have_the_fields_of_their_class_and_no_other() -> None:
    data = record_to_dict(full())
    expected = {field.name for field in fields(TensorStatistics)}
    for tensor_ in (*data["inputs"], *data["outputs"], data["terms"][0]["given"], data["terms"][0]["target"]):
        assert tensor_.keys() == expected


def test_what_nobody_says_is_one_call_and_nothing_compared() -> None:
    z = site_from(normal(3, 2))
    assert Site("bare", "ReLU", z.negative_slope, z.statistics).calls == 1
    term = regression(normal(4, 1), normal(4, 1))
    assert LossTerm(term.operation, term.output, term.path, term.given, term.target).compared == 0


def test_one_parameter_without_a_gradient_is_all_of_them() -> None:
    assert ParameterGradients(1, zero=("weight",)).all_zero
    assert ParameterGradients(1, unreached=("weight",)).all_zero
    assert not ParameterGradients(0).all_zero
    assert not ParameterGradients(2, zero=("weight",)).all_zero
