"""Every kind of document: written, described by its schema, read again, and harmless whatever comes."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from tests.records import normal, planted, producer, record_from, site_from

import leaky
from leaky.checkup import Checkup
from leaky.diagnosis import Comparison, Finding, compare, diagnose
from leaky.documents import KINDS, document, dumps, from_data, loads, schema
from leaky.documents.schema_generation import generated
from leaky.errors import InputError
from leaky.record import (
    Choice,
    FeatureStatistics,
    LossTerm,
    Normalisation,
    ParameterGradients,
    Record,
    SharedLayer,
    TensorStatistics,
)
from leaky.repairing import outcome
from leaky.repairing.plan import Action, Left, Plan, Treatment
from leaky.repairing.recipe import Recipe, Rectifier
from leaky.tuning.arms import Arm
from leaky.tuning.conclusions import Searched
from leaky.tuning.scheduling import Budget
from leaky.tuning.study import Study
from leaky.tuning.trial import Trial
from leaky.watching.alarm import Alarm
from leaky.watching.control_record import ControlRecord
from leaky.watching.history import FIGURES
from leaky.watching.run import Run
from leaky.watching.unit_rates import UnitRates

NASTY = "a\ud800b\x1b[31m\u202e" + "n" * 5000


def record(shift: float = -1.0) -> Record:
    z = planted(normal(400, 6, seed=1), [1, 2], -5.0 if shift < 0 else 0.5)
    sites = site_from(z, 0.0, name=NASTY), site_from(z, 0.2, name="b", producers=(producer(3, 6, 0.5),))
    return record_from(*sites, model=NASTY, notes=(NASTY,), **ends())


def ends() -> dict[str, Any]:
    features = FeatureStatistics(
        *(np.array(row) for row in ([2.0, 0], [3.0, 0], [5.0, 0], [1.0, np.inf], [2, -np.inf]))
    )
    tensor = TensorStatistics(NASTY, "float32", (2, 2), 2, 2, 2, True, 3.0, 5.0, 1.0, 2.0, False, "ab", features)
    return {
        "inputs": (tensor,),
        "outputs": (tensor,),
        "terms": (LossTerm("mse_loss", NASTY, ("clamp",), tensor, tensor, 0.5, 1, 2, (1, 1)),),
        "gradients": ParameterGradients(3, (NASTY,), ("b",)),
        "normalisations": (Normalisation("norm", 3, False),),
        "shared_layers": (SharedLayer("layer", 2),),
        "unregistered": ("layers[0]",),
        "choices": (Choice("gate", "gate", 40, 3, 5),),
    }


def checkup() -> Checkup:
    return Checkup(diagnose(record(), initial=record(1.0)), record(1.0))


def study() -> Study:
    arms = (Arm(0.0), Arm(0.1), Arm("prelu"), Arm((0.1, 0.2)))
    trials = [
        Trial(arm.label, seed, "finished", score=seed + 0.5, curve=((1, 0.5),)) for arm in arms for seed in (0, 1)
    ]
    trials[0] = Trial("0", 0, "raised", reason=NASTY, measurements={"dead_share": 0.5})
    searched = Searched(0.0, 1.0, False, "TPE", 2, 4, (("0.1", 0.5),))
    return Study(arms, (0, 1), True, Budget(2, "fixed"), tuple(trials), "it", NASTY, searched)


def comparison() -> Comparison:
    return compare(Checkup(diagnose(record(1.0))), checkup())


def run() -> Run:
    finding = Finding("dead", "warning", NASTY, (1, 2), NASTY, {"share": 0.5, "sites": ["a"]}, "do this")
    figures = {name: np.array([0.5, np.nan]) for name in FIGURES}
    steps, samples = np.array([9, 19]), np.array([640, 640])
    alarms = (Alarm(9, finding),)
    rates = UnitRates(steps, {NASTY: "AAH+AAH/"})
    units, kinds = {NASTY: 3}, {NASTY: "ReLU"}
    control = ControlRecord(9, "rate", NASTY, "dead", NASTY, (NASTY,), 0.1, 0.01, ended=12, why_ended=NASTY)
    refused = ControlRecord(9, "slope", None, "dead", NASTY, refused=NASTY)
    told = {"unit_rates": rates, "controls": (control, refused)}
    return Run(NASTY, units, kinds, steps, samples, {NASTY: figures}, alarms, "stopped", (NASTY,), **told)


def plan() -> Plan:
    actions = (Action("revive", NASTY, (1, 2), NASTY, 0.1, (NASTY,)), Action("swap", None, (), "why"))
    treatment = Treatment(NASTY, actions, True)
    left = (Left(NASTY, (3,), NASTY),)
    return Plan((treatment,), NASTY, left, NASTY, None, True, (2, 12), 0.5, {"rate": 0.01}, 3)


def recipe() -> Recipe:
    return Recipe((Rectifier(NASTY, 0.1), Rectifier("b", (0.1, 0.2), 2, 1.5)), (NASTY,))


def repair() -> outcome.RepairRecord:
    result = outcome.TreatmentResult(NASTY, 0.5, 0.75, 2)
    before, after, left = plan().actions, (0.5, 0.25), plan().left
    return outcome.RepairRecord("kept", NASTY, before, left, 0.01, after, after, recipe(), (result,), (2, 8), (NASTY,))


MADE: dict[str, Any] = {
    "checkup": checkup,
    "record": record,
    "comparison": comparison,
    "plan": plan,
    "recipe": recipe,
    "repair": repair,
    "run": run,
    "study": study,
}


@pytest.fixture(scope="module", params=sorted(MADE))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def written(kind: str) -> dict[str, Any]:
    thing = MADE[kind]()
    return json.loads(dumps(document(kind, KINDS[kind].codec.encode(thing))).encode(), parse_constant=pytest.fail)


def test_saved_and_loaded_it_is_the_same(kind: str, written: dict[str, Any], tmp_path: Path) -> None:
    MADE[kind]().save(tmp_path / "a.json")
    again = leaky.load(tmp_path / "a.json")
    assert type(again) is type(MADE[kind]())
    assert loads(dumps(document(kind, KINDS[kind].codec.encode(again))), "again") == written
    if kind not in ("record", "checkup", "recipe"):
        assert str(again) == str(MADE[kind]())


def test_it_follows_its_schema(kind: str, written: dict[str, Any]) -> None:
    rules = schema(kind)
    jsonschema.Draft202012Validator.check_schema(rules)
    jsonschema.Draft202012Validator(rules).validate(written)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_the_schemas_that_ship_are_those_of_the_classes(name: str) -> None:
    rules = generated(name)
    assert rules in (None, schema(name)), "run python -m leaky.documents"
    jsonschema.Draft202012Validator.check_schema(schema(name))
    assert schema(name)["properties"]["schema_version"]["const"] == KINDS[name].version


def shown() -> dict[str, Any]:
    """Everything that a user may print, with untrusted words in every place."""
    found = checkup()
    finding = replace(found.findings[0], site=NASTY, message=NASTY, rule=NASTY, advice=NASTY)
    diagnosis = replace(found.diagnosis, findings=(finding,))
    parts = {"finding": finding, "diagnosis": diagnosis, "site": found.record.sites[0], "action": plan().actions[0]}
    parts |= {"statistics": found.record.sites[0].statistics, "left": plan().left[0]}
    return {name: make() for name, make in MADE.items() if name != "recipe"} | parts


@pytest.mark.parametrize(
    "name", sorted({*MADE, "finding", "diagnosis", "site", "statistics", "action", "left"} - {"recipe"})
)
def test_no_text_of_it_steers_a_terminal_or_fills_it(name: str) -> None:
    thing = shown()[name]
    assert str(thing).replace("\n", "").isprintable()
    assert "n" * 400 not in str(thing)
    if name not in ("action", "left"):
        assert repr(thing).isprintable()
        assert len(repr(thing)) < 1500


WRONG = [None, True, -1, 10**400, 1e308, float("inf"), "x" * 5000, "\ud800", [], [[]], [None], {}, {"a": []}]
DEEP: list[Any] = []
for _ in range(900):
    DEEP = [DEEP]


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in the data; of long lists, to the first items."""
    inner = (
        list(data.items()) if isinstance(data, dict) else list(enumerate(data[:2])) if isinstance(data, list) else []
    )
    return [path] * bool(path) + [deeper for key, value in inner for deeper in places(value, (*path, key))]


def changed(data: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    found: Any = copy.deepcopy(data)
    inside = found
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return dict(found)


def test_whatever_is_wrong_anywhere_is_one_line_that_names_the_file(kind: str, written: dict[str, Any]) -> None:
    chosen = random.Random(0)
    tried, every = 0, places(written)
    for path in chosen.sample(every, min(len(every), 150)):
        for value in chosen.sample([*WRONG, DEEP], 5):
            damaged = changed(written, path, value)
            tried += 1
            try:
                thing = from_data(damaged, "'bad.json'")
            except InputError as error:
                told = str(error)
                assert told.startswith("'bad.json'"), (path, told)
                assert told.isprintable(), (path, told)
                assert len(told) < 1000, (path, told)
            else:  # what is accepted can be written again
                dumps(document(kind, KINDS[kind].codec.encode(thing))).encode()
    assert tried >= 50


def test_a_key_that_is_missing_is_named_or_had_a_default(kind: str, written: dict[str, Any]) -> None:
    told = []
    for key in written:
        try:
            from_data({name: value for name, value in written.items() if name != key}, "'bad.json'")
        except InputError as error:
            told.append((key, str(error)))
    assert told or kind == "recipe"
    assert [(key, words) for key, words in told if key not in words] == []


def test_what_earlier_versions_called_otherwise_is_read() -> None:
    written = repair().to_dict()
    written["trials"] = written.pop("results")
    assert from_data({**written, "schema_version": 1}, "'old.json'").results == repair().results


def test_the_page_on_documents_has_every_kind() -> None:
    page = (Path(__file__).parents[2] / "docs" / "json.md").read_text("utf-8")
    assert [name for name in KINDS if f"| `{name}` |" not in page] == []
