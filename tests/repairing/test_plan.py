"""Plans and transactions: what is planned, what is kept, and that what is rolled back is as it was to the last bit."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.observation import networks
from torch import nn

import leaky
from leaky.errors import InputError
from leaky.repairing.recipe import Recipe, Rectifier, read_recipe

DATA = torch.randn(1500, 6, generator=torch.Generator().manual_seed(1))


def healthy() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    leaky.initialize(model, seed=0)
    return model


def sick() -> nn.Sequential:
    model = healthy()
    with torch.no_grad():
        model[0].bias[:6] = -50.0
    return model


def bits(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> list[Any]:
    state = [] if optimizer is None else [v for s in optimizer.state.values() for v in s.values()]
    return copy.deepcopy([*model.state_dict().values(), *state])


def same(before: list[Any], now: list[Any]) -> bool:
    return len(before) == len(now) and all(torch.equal(a, b) for a, b in zip(before, now, strict=True))


def plan_of(model: nn.Module, data: Any = DATA, **options: Any) -> Any:
    return leaky.repair(model, leaky.check(model, data), data, **options)


def test_a_healthy_model_gives_an_empty_plan_that_says_so() -> None:
    model = healthy()
    before = bits(model)
    plan = plan_of(model)
    assert not plan
    words = "Nothing to repair. 32 units at 2 sites were examined."
    assert str(plan.without("moments forgotten")) == words
    optimizer = torch.optim.Adam(model.parameters())
    assert str(plan_of(model, optimizer=optimizer)) == words
    done = plan.apply(validate=lambda _: 1.0)
    assert (done.kept, done.output_change, done.reason) == (True, 0.0, "there was nothing to repair")
    assert same(before, bits(model))


def test_planning_changes_nothing_and_names_each_unit_with_the_reason() -> None:
    model = sick()
    before = bits(model)
    plan = plan_of(model)
    assert [(a.kind, a.site, a.units) for a in plan.actions] == [("revive", "1", (0, 1, 2, 3, 4, 5))]
    assert [t.name for t in plan.treatments] == ["shifted", "revived", "begun anew"]
    assert "revive 1 units 0–5: they are dead or constant on the evidence" in str(plan)
    assert same(before, bits(model))


def test_a_repair_keeps_the_function_the_keys_of_the_state_dict_and_revives_the_units() -> None:
    model = sick()
    outputs = model(DATA).detach()
    done = plan_of(model).apply()
    assert done.kept
    assert str(done).startswith("Done, not judged: ")  # nothing said that it is better
    assert done.output_change <= 1e-6
    assert done.lost_share == (6 / 32, 0.0)
    torch.testing.assert_close(model(DATA).detach(), outputs)
    assert not done.recipe
    healthy().load_state_dict(model.state_dict())
    assert leaky.observe(model, DATA).sites[0].firing_rate[:6].min() > 0.2


def test_a_leak_that_is_asked_for_and_the_keys_that_it_adds_are_in_the_plan() -> None:
    model = sick()
    outputs = model(DATA).detach()
    plan = plan_of(model, negative_slope=0.1)
    assert "1: ReLU becomes LeakyReLU(0.1) for these units; the state dict gets the key 1.negative_slope" in str(plan)
    done = plan.apply()
    slope = float(torch.tensor(0.1))  # as the buffer holds it
    assert done.recipe.rectifiers == (Rectifier("1", (slope,) * 6 + (0.0,) * 10, -1),)
    assert set(model.state_dict()) - set(healthy().state_dict()) == {"1.negative_slope"}
    torch.testing.assert_close(model(DATA).detach(), outputs)


def test_the_users_metric_decides_and_what_is_not_kept_is_bit_exact() -> None:
    model = sick()
    optimizer = torch.optim.Adam(model.parameters())
    model(DATA[:64]).square().sum().backward()
    optimizer.step()
    before, modules = bits(model, optimizer), list(model.modules())
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    plan = plan_of(model)
    scores = iter([0.9, *[0.1] * 15, 0.7, 0.8])  # before; new networks, more where they score alike; shifted, revived
    done = plan.apply(validate=lambda _: next(scores), optimizer=optimizer, tolerance=0.05)
    assert not done.kept
    assert str(done).startswith("Left as it was: none of the treatments is better")
    assert [(result.name, result.after) for result in done.results] == [("shifted", 0.7), ("revived", 0.8)]
    assert done.recipe == Recipe()
    assert same(before, bits(model, optimizer))
    assert [id(m) for m in model.modules()] == [id(m) for m in modules]
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))  # type: ignore[arg-type]
    better = iter([0.9, *[0.1] * 15, 0.7, 0.96])
    kept = plan.apply(validate=lambda _: next(better), tolerance=0.05)
    assert (kept.verdict, [a.kind for a in kept.actions]) == ("kept", ["revive"])


def test_lower_may_be_better() -> None:
    losses = iter(
        [0.1, *[5.0] * 15, 0.6, 0.5]
    )  # new ones that score alike do not say how far luck reaches: more follow
    done = plan_of(sick()).apply(validate=lambda _: next(losses), higher_is_better=False)
    assert not done.kept


def test_units_behind_a_shortcut_in_a_functional_call_get_the_edit_to_make() -> None:
    model = networks.ResNet(norm=False).eval()
    data = torch.randn(1500, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.stem.bias[:4] = -50.0
    plan = plan_of(model, data)
    assert not plan.actions  # a shortcut forbids reviving; shifting moves the outputs, which asks for evidence
    assert "it is a call of relu at networks.py" in str(plan)
    assert [t.name for t in plan.treatments] == ["shifted", "begun anew"]


def shortcut() -> nn.Module:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.act, self.b, self.c = nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.Linear(16, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.act(self.a(x))
            return self.c(h + self.b(h))

    torch.manual_seed(0)
    model = Net()
    with torch.no_grad():
        model.a.bias[:4] = -5.0
    return model


def test_units_behind_a_shortcut_are_not_touched_without_evidence_and_shifted_with_it() -> None:
    model = shortcut()
    healthy_outputs = shortcut_outputs()
    plan = plan_of(model)
    assert [t.name for t in plan.treatments] == ["shifted", "begun anew"]
    before = bits(model)
    refused = plan.apply()
    assert not refused.kept
    assert "nothing was done without evidence" in str(refused)
    assert same(before, bits(model))
    done = plan.apply(
        validate=lambda m: float((m(DATA) - healthy_outputs).detach().square().mean()), higher_is_better=False
    )
    assert done.verdict == "kept"
    assert [a.kind for a in done.actions] == ["recentre"]
    assert done.lost_share[1] == 0.0


def shortcut_outputs() -> torch.Tensor:
    """Of the network before its units were held down."""
    model = shortcut()
    with torch.no_grad():
        model.a.bias[:4] += 5.0  # type: ignore[union-attr,operator]
        return model(DATA)  # type: ignore[no-any-return]


def dumb() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(*(part for _ in range(6) for part in (nn.Linear(6, 6), nn.ReLU())), nn.Linear(6, 3))
    leaky.initialize(model, seed=1)
    with torch.no_grad():
        model[4].bias.fill_(-50.0)
    return model


@pytest.mark.parametrize("validate", [None, lambda _: 0.0])
def test_a_network_that_tells_no_inputs_apart_gets_the_gentlest_treatment_that_changes_it(validate: Any) -> None:
    model = dumb()
    weights = copy.deepcopy([layer.weight for layer in model if isinstance(layer, nn.Linear)])
    plan = plan_of(model)
    assert plan.plan.nothing_to_lose == "its outputs are the same for all inputs"
    assert [t.name for t in plan.treatments] == ["shifted", "revived", "layers anew", "begun anew"]
    ids = [id(p) for p in model.parameters()]
    done = plan.apply(validate=validate)
    assert done.kept
    assert done.verdict == "not judged"  # a constant metric approves nothing
    assert done.actions[0].kind == "recentre"
    assert all(torch.equal(a, b.weight) for a, b in zip(weights, list(model)[::2], strict=True))  # type: ignore[arg-type]
    assert float(model(DATA).detach().std(0).min()) > 0.001
    assert [id(p) for p in model.parameters()] == ids


def test_where_nothing_gentler_brings_it_back_it_begins_anew_with_a_leak() -> None:
    model = dumb()
    done = plan_of(model).without("shifted", "revived", "layers anew").apply()
    assert done.kept
    assert float(model(DATA).detach().std(0).min()) > 0.001
    assert [r.negative_slope for r in done.recipe.rectifiers] == [0.1] * 6


def test_a_network_at_chance_is_never_thrown_away_for_a_lucky_new_one() -> None:
    model = sick()
    before = copy.deepcopy(model.state_dict())
    scores = iter([0.3, 0.5, 0.3, 0.5, 0.3, 0.2])  # before; three new networks; shifted, revived
    done = plan_of(model).apply(validate=lambda _: next(scores))
    assert [a.kind for a in done.actions] == ["recentre"]
    assert done.verdict == "not judged"
    assert "that of a network that has learned nothing, so it judges nothing" in done.reason
    assert torch.equal(before["0.weight"], model[0].weight)


@pytest.mark.parametrize(
    ("after", "lucky", "verdict"),
    [(0.5, 0.3, "not judged"), (0.59, 0.3, "not judged"), (0.7, 0.3, "kept"), (0.7, 0.65, "not judged")],
)
def test_a_lift_that_new_networks_differ_by_is_no_approval(after: float, lucky: float, verdict: str) -> None:
    # before; three new networks, up to .4 + .2; shifted, revived; before it is approved of, twelve new networks more
    scores = iter([0.3, 0.2, 0.3, 0.4, after, 0.3, *[0.3] * 11, lucky])
    done = plan_of(sick()).apply(validate=lambda _: next(scores))
    assert [a.kind for a in done.actions][:1] == ["recentre"]
    assert done.verdict == verdict


def test_what_leaves_a_constant_output_is_not_better_for_the_score_of_the_constant() -> None:
    model = dumb()

    def prefers_constants(subject: nn.Module) -> float:
        with torch.no_grad():
            return float(subject(DATA).std(0).max() < 1e-6)

    done = plan_of(model).apply(validate=prefers_constants)
    assert [(result.name, result.after) for result in done.results][:2] == [("shifted", 0.0), ("revived", 1.0)]
    assert (done.verdict, done.actions[0].kind) == ("not judged", "recentre")
    assert prefers_constants(model) == 0.0


@pytest.mark.parametrize("metric", [float("nan"), float("inf"), 0.5])
def test_a_metric_that_does_not_move_neither_approves_nor_throws_away(metric: float) -> None:
    model = sick()
    before = copy.deepcopy(model.state_dict())
    done = plan_of(model).apply(validate=lambda _: metric)
    assert [a.kind for a in done.actions] == ["recentre"]
    assert done.verdict == "not judged"
    assert torch.equal(before["0.weight"], model[0].weight)
    assert torch.equal(before["4.weight"], model[4].weight)


def test_outputs_that_vary_by_little_or_a_last_layer_of_zeros_are_no_trouble() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1))
    with torch.no_grad():
        model[2].bias.fill_(2000.0)
    assert not plan_of(model)  # years, or kelvin: right to vary by little
    with torch.no_grad():
        model[2].weight.zero_()
    assert not plan_of(model)  # its gradient is not blocked: it learns by itself


def test_a_constant_output_is_not_kept_because_an_untrained_network_scores_worse() -> None:
    torch.manual_seed(0)
    model, target = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1)), DATA[:, :1] ** 2
    with torch.no_grad():
        model[0].bias.fill_(-50.0)
        model[2].bias.fill_(float(target.mean()))
        model[2].weight.mul_(20)

    def error(subject: nn.Module) -> float:
        with torch.no_grad():
            return float((subject(DATA) - target).square().mean())

    best_constant = error(model)
    done = plan_of(model).apply(validate=error, higher_is_better=False)
    assert done.kept
    assert error(model) > best_constant  # worse by the metric, and able to learn
    assert leaky.observe(model, DATA).sites[0].firing_rate.min() > 0.05


@pytest.mark.parametrize("name", ["train", "validate", "max_change"])
def test_what_belongs_to_the_plan_is_told_when_it_is_given_to_repair(name: str) -> None:
    options: Any = {name: healthy}
    with pytest.raises(InputError, match=rf"^{name} belongs to the plan .*\.apply\({name}=…\)"):
        leaky.repair(sick(), DATA, **options)


@pytest.mark.parametrize("value", [None, "good", (0.5, 0.6), torch.zeros(2)], ids=["None", "text", "pair", "tensor"])
def test_a_metric_that_is_no_number_is_named(value: Any) -> None:
    model = sick()
    before = bits(model)
    with pytest.raises(InputError, match="validate must return one number"):
        plan_of(model).apply(validate=lambda _: value)
    assert same(before, bits(model))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": float("nan")}, "tolerance must be a number of at least 0"),
        ({"max_change": -1.0}, "max_change must be a number of at least 0"),
    ],
)
def test_limits_that_are_none_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_of(sick()).apply(**options)


@pytest.mark.parametrize("slope", [-0.1, 1.5, float("nan")])
def test_a_slope_that_repairs_nothing_is_refused(slope: float) -> None:
    with pytest.raises(InputError, match=r"negative_slope must be (a finite number )?from 0 to 1"):
        plan_of(sick(), negative_slope=slope)


def test_the_same_input_over_and_over_is_no_evidence_against_the_network() -> None:
    same_input = DATA[:1].expand(1500, -1).contiguous()
    assert not any(a.kind == "begin anew" for a in plan_of(healthy(), same_input).actions)


def test_a_checkup_of_a_model_of_another_size_is_refused() -> None:
    small = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    with pytest.raises(InputError, match="16 units at '1', and the model 8"):
        leaky.repair(small, leaky.check(sick(), DATA), DATA)


def test_slopes_of_units_fit_inputs_with_more_axes_and_without_a_batch() -> None:
    model = sick()
    plan_of(model).apply()
    one, several = model(DATA[0]), model(DATA[:32].reshape(2, 16, 6))
    torch.testing.assert_close(one, model(DATA[:1])[0])
    torch.testing.assert_close(several.reshape(32, 3), model(DATA[:32]))


def test_a_second_repair_has_a_recipe_of_everything() -> None:
    wide = DATA * 1000
    model = sick()
    with torch.no_grad():
        model[0].weight.div_(1000)
    plan_of(model, wide, negative_slope=0.1).apply()
    with torch.no_grad():
        model[2].bias[:8] = -50.0
    second = plan_of(model, wide, negative_slope=0.1).apply()
    assert second.kept
    again = leaky.apply_recipe(healthy(), second.recipe.to_dict())
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(wide), model(wide))
    assert [r.module for r in second.recipe.rectifiers] == ["1", "3"]
    assert second.recipe.standardised == ("0",)


def test_shared_and_frozen_weights_are_left_alone_with_the_reason() -> None:
    tied, frozen = sick(), sick()
    tied[2].bias = tied[0].bias
    frozen[0].requires_grad_(False)
    for model, reason in ((tied, "is the same parameter"), (frozen, "is frozen")):
        plan = plan_of(model)
        assert not any(a.kind in ("revive", "recentre") and a.site == "1" for t in plan.treatments for a in t.actions)
        assert reason in str(plan)


def test_a_few_lost_units_are_left_to_be() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 3))
    with torch.no_grad():
        model[0].weight[5], model[0].bias[5] = 0.0, -50.0
    plan = plan_of(model)
    assert not plan
    assert "1.6% of the site" in str(plan)


@pytest.mark.parametrize("at", [1, 2, 5])
def test_an_exception_of_the_users_metric_restores_everything(at: int) -> None:
    model = sick()
    before, calls = bits(model), 0

    def validate(_: nn.Module) -> float:
        nonlocal calls
        calls += 1
        if calls == at:
            raise RuntimeError("the user's own")
        return float(calls == 1)

    with pytest.raises(RuntimeError, match="the user's own"):
        plan_of(model).apply(validate=validate)
    assert same(before, bits(model))
    assert isinstance(model[1], nn.ReLU)


def test_in_the_users_loop_the_optimizer_and_the_scheduler_go_on() -> None:
    model = sick()
    optimizer = torch.optim.AdamW([{"params": model[0].parameters(), "lr": 1e-2}, {"params": model[2:].parameters()}])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5)
    labels = (DATA[:, 0] > 0).long()
    for step in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(DATA), labels).backward()
        optimizer.step()
        scheduler.step()
        if step == 10:
            assert plan_of(model).apply(optimizer=optimizer).kept
    assert len(optimizer.param_groups) == 2
    assert leaky.observe(model, DATA).sites[0].firing_rate[:6].min() > 0


def test_a_recipe_rebuilds_what_weights_cannot_hold(tmp_path: Path) -> None:
    model = sick()
    done = plan_of(model, negative_slope=0.1).apply()
    done.recipe.save(tmp_path / "recipe.json")
    again = leaky.apply_recipe(healthy(), tmp_path / "recipe.json")
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(DATA), model(DATA))
    data = json.loads((tmp_path / "recipe.json").read_text())
    assert leaky.apply_recipe(healthy(), data)[1].negative_slope.tolist()[:1] == pytest.approx([0.1])
    assert read_recipe(data) == done.recipe


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, "reads up to 2"),
        ({"kind": "other"}, "is of the kind 'other'"),
        ({"kind": "checkup"}, "must be a recipe, .* it is a checkup"),
        ({"rectifiers": 3}, "rectifiers must be a list, not 3"),
        ({"rectifiers": [{"module": "1"}]}, r"rectifiers\[0\].negative_slope must be .*, not missing"),
        (
            {"rectifiers": [{"module": "1", "negative_slope": "x"}]},
            'negative_slope must be a number or a list, not "x"',
        ),
        ({"rectifiers": [{"module": "nowhere", "negative_slope": 0.1}]}, "has no 'nowhere'"),
        ({"rectifiers": [{"module": "1", "negative_slope": 0.1}, {"module": "", "negative_slope": 0.1}]}, "has no ''"),
        ({"rectifiers": [{"module": "0", "negative_slope": 0.1}]}, "must be a ReLU or a LeakyReLU, not a Linear"),
        ({"rectifiers": [{"module": "1", "negative_slope": 10**400}]}, "negative_slope must be a number"),
        ({"rectifiers": [{"module": "1", "negative_slope": 0.1, "channel_dim": True}]}, "channel_dim must be a whole"),
        ({"rectifiers": [{"module": "1", "negative_slope": 0.1, "gain": 0}]}, r"rectifiers\[0\]: gain must be"),
        ({"standardised": ["0", "1"]}, "must be a Linear or a convolution, not a ReLU"),
        ({"standardised": [3]}, r"standardised\[0\] must be a string, not 3"),
        ({"schema_version": True}, "with a schema_version"),
        ({"schema_version": -3}, "schema_version of 1 or more, not -3"),
    ],
)
def test_a_bad_recipe_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    data = {"schema_version": 1, "kind": "leaky-recipe", "rectifiers": [], **change}
    model = healthy()
    modules = list(model.modules())
    with pytest.raises(InputError, match=message):
        leaky.apply_recipe(model, data)
    assert list(model.modules()) == modules


def test_wrong_arguments_are_named() -> None:
    model = sick()
    with pytest.raises(InputError, match="repair must have the data"):
        leaky.repair(model, leaky.check(model, DATA))
    other = nn.Sequential(nn.Sequential(nn.Linear(6, 4), nn.ReLU()), nn.Linear(4, 2))
    with pytest.raises(InputError, match="checkup must be of this model"):
        leaky.repair(other, leaky.check(model, DATA), DATA)


def test_a_networks_outputs_with_nan_begin_anew() -> None:
    model = healthy()
    with torch.no_grad():
        model[2].weight[0, 0] = float("nan")
    done = plan_of(model).apply(validate=lambda m: float(torch.isfinite(m(DATA)).all()))
    assert done.kept
    assert done.metric == (0.0, 1.0)


def test_a_shuffling_loader_is_run_through_once() -> None:
    model = sick()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(DATA), batch_size=100, shuffle=True)
    done = leaky.repair(model, leaky.check(model, loader), loader).apply()
    assert done.kept
    assert done.output_change <= 1e-6


def test_the_share_afterwards_is_told_by_the_checkups_own_thresholds() -> None:
    model, few = sick(), DATA[:150]  # enough for a rate of 5%, too few for 1%
    assert not leaky.repair(model, leaky.check(model, few), few).actions
    plan = leaky.repair(model, leaky.check(model, few, thresholds={"rate": 0.05}), few)
    plan = leaky.repair(model, plan.plan, few)  # what was seen of the model is not taken over
    with torch.no_grad():
        model[2].bias[:4] = -50.0  # after the plan was made
    assert plan.apply().lost_share == (6 / 32, 4 / 32)


def test_samples_along_another_axis() -> None:
    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.a, self.act, self.b = nn.RNN(4, 8), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.act(self.a(self.rnn(x)[0])))

    torch.manual_seed(0)
    model, data = Sequence(), torch.randn(5, 1200, 4)
    with torch.no_grad():
        model.a.bias[:6] = -50.0
    done = leaky.repair(model, leaky.check(model, data), data).apply()
    assert done.actions[0].units == (0, 1, 2, 3, 4, 5)
    assert (done.kept, done.output_change <= 1e-6) == (True, True)
