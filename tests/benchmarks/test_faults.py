"""The planted-fault benchmark: its oracle on networks worked out by hand, its rules, a fast part of its run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.faults import __main__ as command
from benchmarks.faults import bursty, trial
from benchmarks.faults.kinds import KINDS, Kind
from benchmarks.faults.networks import FAMILIES
from benchmarks.faults.networks.base import Network, behind
from benchmarks.faults.oracle import Response, UndecidedError, examine
from benchmarks.faults.plants import PLANTS
from benchmarks.faults.rivals import RIVALS
from benchmarks.faults.scores import Score
from benchmarks.faults.summary import MUST_BE_PERFECT, failures, total
from torch import Tensor, nn

KIND = {kind.name: kind for kind in KINDS}
FAST = (
    ("MLP", "ReLU"),
    ("functional only", "ReLU6"),
    ("siamese", "PReLU"),
    ("CNN 1d", "leaky .2 clamped"),
    ("CNN 2d", "ReLU"),
    ("transformer (T, N, C)", "leaky .2"),
    ("recurrent", "ReLU"),
    ("deep, shared activation", "leaky .01"),
)


class Hand(Network):
    """One input, whose multiples are the pre-activations: everything about its units can be worked out by hand."""

    shapes = ((1,),)

    def __init__(self, kind: Kind, weights: list[float], biases: list[float], shortcut: bool = False) -> None:
        super().__init__(kind)
        self.layer = nn.Linear(1, len(weights)).double()
        self.layer.weight.data = torch.tensor(weights, dtype=torch.float64)[:, None]
        self.layer.bias.data = torch.tensor(biases, dtype=torch.float64)
        self.act = kind.module(len(weights)).double()
        self.head = nn.Linear(len(weights), 1).double()
        nn.init.ones_(self.head.weight)
        self.shortcut = shortcut
        self.places = (behind("layer", "only", len(weights)),)

    def forward(self, x: Tensor) -> Tensor:
        z = self.tape.before("only", self.layer(x))
        h = self.tape.after("only", self.act(z))
        return self.out(h + z if self.shortcut else h)


INPUTS = torch.linspace(-1, 1, 201, dtype=torch.float64)[:, None]
WEIGHTS = [1.0, 1.0, 1.0, 0.0, 1.0, 1e-3]
BIASES = [0.105, -1.5, 1.5, 0.5, -0.995, 1e-4]


def respond(kind: str, weights: list[float] = WEIGHTS, biases: list[float] = BIASES) -> Response:
    return examine(Hand(KIND[kind], weights, biases), (INPUTS,), 0)["only"]


def so(response: Response, samples: int | None = None) -> dict[str, list[int]]:
    return {name: np.flatnonzero(mask).tolist() for name, mask in response.truths(samples).items()}


def test_the_oracle_tells_what_can_be_worked_out_by_hand() -> None:
    relu, leaky = so(respond("ReLU")), so(respond("leaky .2"))
    assert relu["dead"] == relu["silent"] == leaky["locked_negative"] == leaky["silent"] == [1]
    assert relu["locked_positive"] == leaky["locked_positive"] == [2, 3]
    assert relu["constant"] == leaky["constant"] == [3]
    assert relu["nearly_dead"] == [4]
    assert leaky["nearly_dead"] == leaky["dead"] == relu["locked_negative"] == []
    assert relu["dormant"] == [1, 4, 5]
    assert leaky["dormant"] == [5]


def test_the_oracle_sees_a_cap() -> None:
    truths = so(respond("ReLU6", [1.0, 1.0, 1.0], [8.0, 6.5, 3.0]))
    assert truths["dead"] == [0]
    assert truths["silent"] == truths["locked_negative"] == []
    assert truths["locked_positive"] == [2]


def test_a_slope_of_practically_zero_is_dead_and_a_negative_one_is_not() -> None:
    slopes = KIND["PReLU"].slopes(6)
    truths = so(respond("PReLU", [1.0] * 6, [-2.0] * 6))
    assert [slopes[unit] for unit in truths["dead"]] == [5e-4, 0.0]
    assert [slopes[unit] for unit in truths["locked_negative"]] == [0.25, 0.01, -0.1, 0.6]


def test_fewer_samples_hide_what_the_others_show() -> None:
    assert so(respond("ReLU"), 80)["dead"] == [0, 1, 4, 5]
    assert so(respond("ReLU"))["dead"] == [1]


def test_a_way_past_the_place_does_not_make_a_dead_unit_alive() -> None:
    network = Hand(KIND["ReLU"], WEIGHTS, BIASES, shortcut=True)
    with pytest.raises(UndecidedError, match="output moves"):
        examine(network, (INPUTS,), 0)
    network.places = (replace(network.places[0], bypass=True),)
    response = examine(network, (INPUTS,), 0)["only"]
    assert so(response)["dead"] == [1]
    assert response.reaches_output[1]


def test_a_unit_that_only_touches_the_kink_is_not_decided() -> None:
    with pytest.raises(UndecidedError, match="kink"):
        respond("ReLU", [1.0], [-1.0])


def test_the_oracle_leaves_the_network_as_it_was() -> None:
    network = Hand(KIND["ReLU"], WEIGHTS, BIASES)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    examine(network, (INPUTS,), 0)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_unit_whose_outgoing_weight_is_zero_is_cut_off_and_starved() -> None:
    network = Hand(KIND["leaky .2"], WEIGHTS, BIASES)
    network.head.weight.data[0, 0] = 0.0
    response = examine(network, (INPUTS,), 0)["only"]
    starved = response.starved()
    assert starved is not None
    assert so(response)["cut_off"] == np.flatnonzero(starved).tolist() == [0]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_a_user_has_computes_what_the_oracle_runs(kind: Kind) -> None:
    z = torch.linspace(-30, 30, 96, dtype=torch.float64).reshape(16, 6)
    module = kind.module(6).double()
    slopes = torch.tensor(kind.slopes(6), dtype=torch.float64)
    for spelling in (*kind.spellings, *kind.user_spellings):
        torch.testing.assert_close(spelling(z.clone(), slopes), module(z.clone()), rtol=1e-7, atol=0)
    for family in ("MLP", "functional only"):
        network = FAMILIES[family](kind).float().eval()
        data = network.inputs(20, torch.Generator().manual_seed(0))
        torch.testing.assert_close(network.as_users_have_it()(*data), network(*data))


def rival(name: str, h: Tensor) -> list[int]:
    called = next(r for r in RIVALS if r.name == name).calls_dead(h)
    return [int(unit) for unit in torch.nonzero(called.flatten()).flatten()]


def test_the_rules_of_others_on_outputs_worked_out_by_hand() -> None:
    n = 1000
    h = torch.zeros(n, 6, 1)
    h[:, 1] = -0.3  # locked negative
    h[:, 2] = 1.0
    h[:5, 3] = 1.0  # fires on .5%
    h[:, 4] = 0.04
    h[:30, 5] = 1.0  # fires on 3%
    assert rival("near zero", h) == [0, 1, 4]
    assert rival("dead chart", h) == [0, 4]
    assert rival("zero sum", h) == [0]
    assert rival("rarely ≠ 0", h) == [0, 3]
    assert rival("p95", h) == [0, 3, 5]
    assert rival("ReDo", h) == [0, 3]
    pixels = torch.zeros(n, 1, 4)
    pixels[::2, :, 2] = 1.0
    assert rival("zero pixels", pixels) == [0, 1, 3]
    assert rival("zero sum", pixels) == []


def test_shares_on_a_healthy_leaky_layer_are_those_of_the_normal_distribution() -> None:
    z = torch.randn(200_000, 4, 1, generator=torch.Generator().manual_seed(0))
    shares = {r.name: r.layer_share(nn.functional.leaky_relu(z)) for r in RIVALS if r.layer_share is not None}
    assert shares["near zero"] == pytest.approx(0.5199, abs=0.003)  # P(z ≤ .05)
    assert shares["dead chart"] == pytest.approx(0.5987, abs=0.003)  # P(z < .25)
    assert shares["zero pixels"] == 0


def test_a_score_counts_and_knows_when_it_is_not_perfect() -> None:
    score = Score()
    assert (score.precision, score.recall, score.perfect) == (None, None, False)
    score.add([True, True, False, False], [True, True, False, False])
    assert score.perfect
    score.add([True, False], [False, True])
    assert (score.precision, score.recall, score.perfect) == (2 / 3, 2 / 3, False)


def test_every_plant_has_an_expectation_and_a_wrong_one_is_noticed() -> None:
    for plant in PLANTS:
        holds, fails = trial.expected(plant, 0.0)
        assert not holds & fails
    truths = respond("ReLU").truths()
    trial.check_plants("hand", {1: "below", 2: "above"}, truths, [0.0] * 6, "only")
    with pytest.raises(trial.PlantError, match=r"only\[0\] was planted 'below' and must be dead"):
        trial.check_plants("hand", {0: "below"}, truths, [0.0] * 6, "only")


def test_there_are_at_least_sixty_networks_and_the_quick_part_has_every_family_and_kind() -> None:
    assert len({(family, kind.name) for family, kind, _ in command.cases(quick=False)}) >= 60
    quick = command.cases(quick=True)
    assert {family for family, _, _ in quick} == set(FAMILIES)
    assert {kind.name for _, kind, _ in quick} == set(KIND)


@pytest.mark.parametrize(("family", "kind"), FAST, ids=lambda value: str(value))
def test_no_verdict_of_ours_is_wrong(family: str, kind: str) -> None:
    seed = next(seed for f, k, seed in command.cases(quick=False) if (f, k.name) == (family, kind))
    outcome = trial.run(family, KIND[kind], seed)
    assert outcome.wrong == []
    assert outcome.units == sum(s.hits + s.false_alarms + s.misses + s.others for s in [outcome.ours["dead"]])
    assert outcome.truths["dead"] + outcome.truths["locked_negative"] > 0


def test_failures_name_every_wrong_call_on_what_must_be_perfect() -> None:
    outcome = trial.Outcome("made up")
    for verdict in MUST_BE_PERFECT:
        outcome.ours[verdict].add([True, False], [True, False])
    assert failures(total([outcome]), None) == []
    outcome.judged("dead", np.array([False, True]), np.array([True, False]), "here")
    outcome.judged("locked_positive" + trial.EARLY, np.array([True]), np.array([False]), "here")
    found = failures(total([outcome, outcome]), bursty.Bursty(seeds=1, units=2, called_dead=1))
    assert [text.split(" ")[0] for text in found] == ["dead", "2", "1"]
    assert outcome.wrong[0] == "made up: here[0] is dead"


def test_bursty_units_are_not_called_dead() -> None:
    result = bursty.measure(4)
    assert result.called_dead == 0
    assert result.units == 8
    assert 0 < result.fewest <= result.most < 0.03 * result.samples[1]


def test_the_command_prints_keeps_and_exits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "cases", lambda quick: [("MLP", KIND["ReLU"], 0), ("MLP", KIND["leaky .2"], 2)])
    path = tmp_path / "deep" / "faults.json"
    assert command.main(["--quick", "--seeds", "2", "--json", str(path)]) == 0
    data = json.loads(path.read_text())
    assert data["networks"] == 2
    assert data["leaky"]["dead"]["precision"] == data["leaky"]["locked_negative"]["recall"] == 1.0
    assert data["bursty"]["called_dead"] == 0
    assert [rule["name"] for rule in data["others"]] == [r.name for r in RIVALS]
    assert data["failures"] == data["wrong_verdicts"] == []
    assert {"processor", "torch"} <= set(data["machine"])
    assert "against finite differences" in capsys.readouterr().out
