"""The race by itself: what wins, what goes on, and how many trainings are spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from leaky.errors import InputError
from leaky.repairing.plan import Action, Treatment
from leaky.repairing.race import Race
from leaky.repairing.recipe import Recipe

NAN = float("nan")

SCRIPTS: dict[str, tuple[dict[str, list[float]], str, int]] = {
    # metric after the change and after each training, by treatment; what wins; trainings
    "the gentler one, hardly worse": (
        {"as it was": [0.1, 0.1], "shifted": [0.1, 0.80, 0.9, 0.9], "begun anew": [0.1, 0.82, 0.91, 0.92]},
        "shifted",
        7,
    ),
    "the harsher one, clearly better": (
        {"as it was": [0.1, 0.1], "shifted": [0.1, 0.3], "begun anew": [0.1, 0.9]},
        "begun anew",
        3,
    ),
    "nothing, as good as all": (
        {"as it was": [0.1, 0.9, 0.9, 0.9], "shifted": [0.1, 0.88, 0.9, 0.9], "begun anew": [0.1, 0.3]},
        "as it was",
        7,
    ),
    "a close race goes on": (
        {"as it was": [0.1, 0.1], "shifted": [0.1, 0.8, 0.95], "begun anew": [0.1, 0.9, 0.91], "revived": [0.1, 0.2]},
        "shifted",
        8,
    ),
    "nothing learns": (
        {"as it was": [0.1, 0.1, 0.1, 0.1], "shifted": [0.1, 0.1, 0.1, 0.1], "begun anew": [0.1, 0.1, 0.1, 0.1]},
        "as it was",
        6,
    ),
    "not a number": ({"as it was": [NAN, NAN], "shifted": [0.1, NAN], "begun anew": [0.1, NAN]}, "as it was", 3),
    "what its training undoes": (
        {"as it was": [0.4, 0.85, 0.88], "shifted": [0.98, 0.7], "begun anew": [0.1, 0.2]},
        "shifted",
        3,
    ),
    "what no training in sight comes up to": (
        {"as it was": [0.4, 0.6, 0.62], "shifted": [0.98, 0.75, 0.77], "begun anew": [0.1, 0.2]},
        "shifted",
        3,
    ),
    "what its training undoes a little": (
        {"as it was": [0.4, 0.73, 0.75], "shifted": [0.98, 0.955], "begun anew": [0.1, 0.2]},
        "shifted",
        3,
    ),
    "less after its training than the change alone gives": (
        {"as it was": [0.1, 0.1], "shifted": [0.9, 0.95], "begun anew": [0.1, 0.85, 0.99]},
        "shifted",
        3,
    ),
    "not clearly better than the model as it was": (
        {"as it was": [0.1, 0.8], "shifted": [0.1, 0.78, 0.99], "begun anew": [0.1, 0.3]},
        "as it was",
        3,
    ),
    "out of nowhere": ({"as it was": [NAN, NAN], "shifted": [NAN, 0.5], "begun anew": [0.1, 0.2]}, "shifted", 3),
}


class Model:
    """What a race changes: which treatment it is in, and how often that was trained."""

    def __init__(self, scores: dict[str, list[float]]) -> None:
        self.scores, self.now = scores, ("as it was", 0)
        self.trained: list[str] = []

    def do(self, actions: Sequence[Action]) -> Recipe:
        assert self.now == ("as it was", 0)
        self.now = (actions[0].reason, 0)
        return Recipe()

    def train(self) -> None:
        name, count = self.now
        self.now = (name, count + 1)
        self.trained.append(name)

    def measure(self) -> float:
        name, count = self.now
        values = self.scores[name]
        return values[min(count, len(values) - 1)]

    def kept(self) -> Callable[[], None]:
        now = self.now

        def put_back() -> None:
            self.now = now

        return put_back


def treatments(names: Sequence[str]) -> list[Treatment]:
    return [Treatment(n, (Action("recentre", None, (), n),), keeps_function=False) for n in names if n != "as it was"]


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("name", SCRIPTS)
def test_what_wins_and_what_it_costs(name: str, sign: float) -> None:
    scores, winner, most = SCRIPTS[name]
    model = Model({treatment: [sign * value for value in values] for treatment, values in scores.items()})
    race = Race(model.do, model.train, model.measure, model.kept, sign, 0.01, 8)
    won, runners = race.run(treatments(list(scores)))
    assert won.treatment.name == winner
    assert race.trainings == len(model.trained) == sum(runner.trainings for runner in runners) <= most
    won.put_back()
    assert model.now == (winner, 0 if won.untrained else won.trainings)
    assert won.untrained is (name.startswith("what its training undoes") or "in sight" in name)


CHANCE = [0.08, 0.1, 0.12]  # from .04 to .16, with their range on both sides, nothing is told


@pytest.mark.parametrize(
    ("scores", "shows_nothing", "trained"),
    [
        ({"as it was": [0.1, 0.1], "shifted": [0.1, 0.11], "begun anew": [0.1, 0.09]}, True, (1, 3, 3)),
        ({"as it was": [0.1, 0.1, 0.1], "shifted": [0.1, 0.1, 0.9], "begun anew": [0.1, 0.1]}, False, (2, 2, 2)),
        ({"as it was": [-9.0, -9.0], "shifted": [-9.0, -7.0], "begun anew": [0.1, 0.12]}, False, (1, 1, 1)),
        ({"as it was": [-9.0, -9.0], "shifted": [-9.0, 0.1], "begun anew": [0.1, 0.1]}, False, (1, 3, 3)),
        ({"as it was": [0.1, 0.035], "shifted": [0.1, 0.039], "begun anew": [0.1, 0.041]}, True, (1, 1, 1)),
    ],
    ids=[
        "nobody learns",
        "one learns late",
        "the model as it was is worse than chance",
        "and something gentle is not",
        "nor is anything better",
    ],
)
def test_at_chance_those_go_on_that_are_not_below_it(
    scores: dict[str, list[float]], shows_nothing: bool, trained: tuple[int, ...]
) -> None:
    model = Model(scores)
    race = Race(model.do, model.train, model.measure, model.kept, 1.0, 0.01, 8, CHANCE)
    won, runners = race.run(treatments(list(scores)))
    assert race.shows_nothing(runners) is shows_nothing
    assert tuple(runner.trainings for runner in runners) == trained
    best = max(runner.score for runner in runners)
    assert shows_nothing or won.score == best


def test_the_number_of_trainings_is_bounded_and_losers_are_stopped() -> None:
    names = ["as it was", *(f"treatment {i}" for i in range(9))]
    model = Model({name: [0.1, 0.1 + 0.01 * i] for i, name in enumerate(names)})
    race = Race(model.do, model.train, model.measure, model.kept, 1.0, 1e-3, 5)
    race.run(treatments(names))
    assert race.trainings <= 5
    model = Model({"as it was": [0.1], "shifted": [0.1, 0.8], "revived": [0.1, 0.9], "begun anew": [0.1, 0.15]})
    race = Race(model.do, model.train, model.measure, model.kept, 1.0, 1e-3, 8)
    race.run(treatments(["as it was", "shifted", "revived", "begun anew"]))
    assert model.trained[4:] == ["shifted", "revived"] * 2
    assert model.trained.count("begun anew") == 1


def test_a_treatment_that_refuses_is_withdrawn_with_the_reason() -> None:
    model = Model({"as it was": [0.1], "begun anew": [0.1, 0.9]})

    def do(actions: Sequence[Action]) -> Recipe:
        if actions[0].reason == "shifted":
            raise InputError("it is frozen")
        return model.do(actions)

    race = Race(do, model.train, model.measure, model.kept, 1.0, 1e-3, 8)
    won, runners = race.run(treatments(["shifted", "begun anew"]))
    assert won.treatment.name == "begun anew"
    assert len(runners) == 2
    assert race.withdrawn == ["shifted could not be tried: it is frozen"]


@pytest.mark.parametrize(("learned", "winner"), [(0.12, "begun anew"), (0.5, "layers anew")])
def test_layers_in_a_network_that_has_learned_nothing_are_no_gentler_than_a_new_one(
    learned: float, winner: str
) -> None:
    model = Model({"as it was": [-9.0], "layers anew": [0.1, learned], "begun anew": [0.1, 0.115]})
    race = Race(model.do, model.train, model.measure, model.kept, 1.0, 0.01, 8, CHANCE)
    won, _ = race.run(treatments(["as it was", "layers anew", "begun anew"]))
    assert won.treatment.name == winner


@pytest.mark.parametrize("kept", ["as it was", "rescaled"])
@pytest.mark.parametrize(
    ("first", "learned", "sized", "wins"),
    [(0.1, 0.4, True, False), (0.1, 0.7, True, True), (0.3, 0.4, True, True), (0.1, 0.4, False, True)],
    ids=["a third faster", "more than twice as fast", "it still knew something", "of usual size"],
)
def test_weights_of_no_usual_size_that_give_no_more_than_new_ones_must_learn_twice_as_fast(
    kept: str, first: float, learned: float, sized: bool, wins: bool
) -> None:
    values = {"as it was": [-9.0], "rescaled": [-9.0], "begun anew": [0.1, 0.32]} | {kept: [first, learned]}
    names = {} if sized else {"rescaled": "shifted"}
    scores = {names.get(name, name): found for name, found in values.items()}
    model = Model(scores)
    race = Race(model.do, model.train, model.measure, model.kept, 1.0, 0.01, 8, CHANCE)
    won, _ = race.run(treatments(list(scores)))
    assert won.treatment.name == (names.get(kept, kept) if wins else "begun anew")
    assert race.trainings <= 5
