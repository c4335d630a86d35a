"""What is decided without training, on a model of which everything that a judgement may ask is made up."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaky.repairing.judging import Bench, Decision, judged
from leaky.repairing.plan import Action, Plan, Treatment

GENTLE = ("shifted", "revived")
NAMES = (*GENTLE, "begun anew")


def plan_of(
    planned: str | None = "shifted", *, doubt: str | None = None, lost: str | None = None, decides: bool = False
) -> Plan:
    treatments = tuple(
        Treatment(name, (Action("revive", "1", (0,), name),), keeps_function=name == "revived") for name in NAMES
    )
    return Plan(treatments, planned, (), doubt, lost, decides, (1, 4), 0.5)


@dataclass
class Model:
    """A model that is as it was, or under one treatment.

    Attributes:
        metrics: the user's metric under each treatment.
        newborn: that of each new network, over and over.
        well: the treatments under which units are back, sizes usual and outputs alive.
        moved: the relative change of the outputs under each.
        born_so: whether a new network has as many units in trouble.
        now: the treatment that it is under.
        done: all that were carried out.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    newborn: tuple[float, ...] = (0.1, 0.1, 0.1)
    well: tuple[str, ...] = NAMES
    moved: dict[str, float] = field(default_factory=dict)
    born_so: bool = False
    now: str | None = None
    done: list[str] = field(default_factory=list)

    def do(self, actions: tuple[Action, ...]) -> None:
        assert self.now is None, "a treatment is carried out on the model as it was"
        (self.now,) = {action.reason for action in actions}
        self.done.append(self.now)

    def put_back(self) -> None:
        self.now = None

    def bench(self) -> Bench:
        return Bench(
            do=self.do,
            put_back=self.put_back,
            measure=lambda: self.metrics[str(self.now)],
            score=lambda metric: metric,
            newborn=lambda seed: self.newborn[seed % len(self.newborn)],
            alive=lambda: self.now in self.well,
            sound=lambda: self.now in self.well,
            usual=lambda: self.now in self.well,
            moved=lambda: self.moved[str(self.now)],
            born_so=lambda: self.born_so,
        )

    def judge(self, plan: Plan, start: float | None = None, *, tolerance: float = 0.0) -> Decision:
        found = judged(plan, self.bench(), start, tolerance, 0.1)
        assert self.now == (found.treatment.name if found.treatment else None), "the model is left as is said"
        assert (found.treatment is None) == (found.verdict in ("left", "rolled back"))
        return found


@pytest.mark.parametrize(("moved", "verdict"), [(0.0, "not judged"), (0.1, "not judged"), (0.11, "rolled back")])
def test_without_a_metric_the_planned_treatment_stays_if_it_moves_the_outputs_by_little(
    moved: float, verdict: str
) -> None:
    model = Model(moved={"shifted": moved})
    found = model.judge(plan_of())
    assert (found.verdict, model.done) == (verdict, ["shifted"])
    assert f"changed by {moved:.3g} of their size (at most 0.1" in found.reason


def test_without_a_metric_what_is_not_planned_is_not_done() -> None:
    model = Model()
    found = model.judge(plan_of(None))
    assert (found.verdict, model.done) == ("left", [])
    assert all(name in found.reason for name in NAMES)


@pytest.mark.parametrize("well", [("shifted", "revived"), ("revived",), ("begun anew",), ()])
def test_where_nothing_is_lost_the_gentlest_that_brings_it_back_is_done(well: tuple[str, ...]) -> None:
    model = Model(well=well)
    found = model.judge(plan_of(lost="its outputs are the same for all inputs"))
    expected = next((name for name in NAMES if name in well), None)
    assert (found.treatment and found.treatment.name) == expected
    assert found.verdict == ("not judged" if well else "rolled back")
    assert "its outputs are the same for all inputs" in found.reason


def test_where_only_training_can_tell_nothing_is_tried() -> None:
    model = Model(metrics={"shifted": 1.0, "revived": 1.0})
    found = model.judge(plan_of(doubt="its loss has been flat", decides=True), 0.5)
    assert (found.verdict, model.done) == ("left", [])
    assert "its loss has been flat" in found.reason


@pytest.mark.parametrize(
    ("shifted", "revived", "expected"),
    [
        (0.9, 0.5, "shifted"),
        (0.5, 0.9, "revived"),
        (0.9, 0.9, "shifted"),
        (0.87, 0.9, "shifted"),  # a tenth of the gain of .4 is the price of gentleness
        (0.85, 0.9, "revived"),
        (0.5, 0.5, None),
        (float("nan"), 0.9, "revived"),
    ],
)
def test_a_metric_that_means_something_approves_of_the_gentlest_that_is_nearly_as_good_as_the_best(
    shifted: float, revived: float, expected: str | None
) -> None:
    scored = Model(metrics={"shifted": shifted if shifted == shifted else -float("inf"), "revived": revived})
    found = scored.judge(plan_of(), 0.5, tolerance=0.01)
    assert (found.treatment and found.treatment.name) == expected
    assert found.verdict == ("kept" if expected else "left")
    if expected:
        assert f"{expected}: validation went from 0.5 to {scored.metrics[expected]:g}" in found.reason


def test_what_moves_nothing_is_done_where_the_metric_does_not_mind() -> None:
    model = Model(metrics={"shifted": 0.4, "revived": 0.5})
    found = model.judge(plan_of("revived"), 0.5)
    assert (found.verdict, found.treatment and found.treatment.name) == ("not judged", "revived")
    assert [(result.name, result.after) for result in found.results] == [("shifted", 0.4), ("revived", 0.5)]
    moved = Model(metrics={"shifted": 0.5, "revived": 0.4})
    assert moved.judge(plan_of("shifted"), 0.5).verdict == "left"


SCORES = st.floats(0.0, 1.0, allow_subnormal=False)


@settings(max_examples=150, deadline=None)
@given(SCORES, SCORES, SCORES, st.tuples(SCORES, SCORES, SCORES), st.sampled_from([0.0, 0.01, 0.2]))
def test_whatever_the_metric_says(
    start: float, shifted: float, revived: float, newborn: tuple[float, ...], tolerance: float
) -> None:
    model = Model({"shifted": shifted, "revived": revived}, newborn)
    found = model.judge(plan_of(), start, tolerance=tolerance)
    lucky = max(newborn) + (max(newborn) - min(newborn))
    if start > lucky + tolerance:  # it has learned something: it is never thrown away, nor changed for the worse
        assert "begun anew" not in model.done
        if found.verdict == "kept":
            assert found.treatment is not None
            assert model.metrics[found.treatment.name] > start
        best = max(shifted, revived)
        assert (found.verdict == "kept") == (best > start + tolerance)
    elif found.verdict == "kept" and found.treatment is not None and found.treatment.name != "begun anew":
        assert model.metrics[found.treatment.name] > lucky  # at chance, only what no new network comes to is better
    assert {result.name: result.after for result in found.results}.items() <= model.metrics.items()


@pytest.mark.parametrize("value", [0.0, 0.5, float("-inf")])
def test_a_metric_that_does_not_move_neither_approves_nor_vetoes(value: float) -> None:
    model = Model({"shifted": value, "revived": value}, (value,) * 3, well=GENTLE)
    found = model.judge(plan_of(), value)
    assert (found.verdict, found.treatment and found.treatment.name) == ("not judged", "shifted")


def test_at_chance_units_that_a_new_network_has_too_are_left_as_they_are() -> None:
    metrics = dict.fromkeys(NAMES, 0.1)
    assert Model(metrics).judge(plan_of(), 0.1).verdict == "not judged"
    found = Model(metrics, born_so=True).judge(plan_of(), 0.1)
    assert (found.verdict, found.treatment) == ("left", None)
    lost = Model(metrics, born_so=True).judge(plan_of(lost="the outputs are the same for all inputs"), 0.1)
    assert lost.verdict == "not judged"  # there is nothing that could be lost


@pytest.mark.parametrize(("lucky", "verdict"), [(0.1, "kept"), (0.19, "not judged"), (0.3, "not judged")])
def test_at_chance_fifteen_new_networks_say_how_far_luck_reaches(lucky: float, verdict: str) -> None:
    newborn = (*[0.1] * 14, lucky)  # .19 reaches to .19 + .09 ÷ 4 = .2125
    model = Model({"shifted": 0.2, "revived": 0.1}, newborn)
    assert model.judge(plan_of(), 0.1).verdict == verdict


@pytest.mark.parametrize(("lucky", "verdict"), [(0.13, "not judged"), (0.11, "left")])
def test_three_new_networks_that_are_alike_do_not_show_that_a_model_has_learned(lucky: float, verdict: str) -> None:
    newborn = (0.09, 0.085, 0.087, *[0.1] * 11, lucky)  # by the three alone .136 would lie nine ranges above the best
    metrics = dict.fromkeys(NAMES, 0.136)
    found = Model(metrics, newborn).judge(plan_of(), 0.136)
    assert found.verdict == verdict
