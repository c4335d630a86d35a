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
    assert str(plan) == "Nothing to repair: no unit is dead or constant. 32 units at 2 sites were examined."
    done = plan.apply(validate=lambda _: 1.0)
    assert (done.kept, done.output_change, done.reason) == (True, 0.0, "there was nothing to repair")
    assert same(before, bits(model))


def test_planning_changes_nothing_and_names_each_unit_with_the_reason() -> None:
    model = sick()
    before = bits(model)
    plan = plan_of(model)
    assert [(a.kind, a.site, a.units) for a in plan.actions] == [("revive", "1", (0, 1, 2, 3, 4, 5))]
    assert "revive 1 units 0, 1, 2, 3, 4, 5: they are dead or constant on the evidence" in str(plan)
    assert same(before, bits(model))


def test_a_repair_keeps_the_function_revives_the_units_and_gives_them_a_leak() -> None:
    model = sick()
    outputs = model(DATA).detach()
    done = plan_of(model).apply()
    assert done.kept
    assert done.output_change <= 1e-6
    assert done.lost_share == (6 / 32, 0.0)
    torch.testing.assert_close(model(DATA).detach(), outputs)
    assert done.recipe.rectifiers == (Rectifier("1", (0.1,) * 6 + (0.0,) * 10, -1),)
    assert leaky.observe(model, DATA).sites[0].firing_rate[:6].min() > 0.2


def test_the_users_metric_decides_and_a_rollback_is_bit_exact() -> None:
    model = sick()
    optimizer = torch.optim.Adam(model.parameters())
    model(DATA[:64]).square().sum().backward()
    optimizer.step()
    before, modules = bits(model, optimizer), list(model.modules())
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    plan = plan_of(model)
    scores = iter([0.9, 0.1, 0.1, 0.1, 0.7, 0.8])  # before, three new networks, units shifted back, after
    done = plan.apply(validate=lambda _: next(scores), optimizer=optimizer, tolerance=0.05)
    assert not done.kept
    assert done.metric == (0.9, 0.8)
    assert done.recipe == Recipe()
    assert same(before, bits(model, optimizer))
    assert [id(m) for m in model.modules()] == [id(m) for m in modules]
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))  # type: ignore[arg-type]
    worse = iter([0.9, 0.1, 0.1, 0.1, 0.7, 0.86])
    assert plan.apply(validate=lambda _: next(worse), tolerance=0.05).kept


def test_lower_may_be_better() -> None:
    losses = iter([0.1, 5.0, 5.0, 5.0, 0.6, 0.5])
    done = plan_of(sick()).apply(validate=lambda _: next(losses), higher_is_better=False)
    assert not done.kept


def test_without_a_metric_the_output_change_bounds_it() -> None:
    model = networks.ResNet(norm=False).eval()
    data = torch.randn(1500, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.stem.bias[:4] = -50.0
    plan = plan_of(model, data)
    assert not plan.actions  # a shortcut forbids reviving, a functional call the swap: the edit is told
    assert "adds other data to it; for a leak: it is a call of relu at networks.py" in plan.left[0].reason


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


def test_units_behind_a_shortcut_get_a_leak_with_the_drift_told() -> None:
    model = shortcut()
    plan = plan_of(model)
    assert [(a.kind, a.site, a.units) for a in plan.actions] == [("swap", "act", (0, 1, 2, 3))]
    before = bits(model)
    refused = plan.apply(max_change=1e-4)
    assert not refused.kept
    assert same(before, bits(model))
    assert isinstance(model.act, nn.ReLU)
    done = plan.apply(max_change=10.0)
    assert done.kept
    assert done.output_change > 1e-4
    assert done.lost_share[1] == 0.0


def test_a_network_that_tells_no_inputs_apart_begins_anew() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(part for _ in range(6) for part in (nn.Linear(6, 6), nn.ReLU())), nn.Linear(6, 3))
    with torch.no_grad():
        model[4].bias.fill_(-50.0)
    plan = plan_of(model)
    assert [(a.kind, a.reason) for a in plan.actions] == [("begin anew", "its outputs are the same for all inputs")]
    ids = [id(p) for p in model.parameters()]
    done = plan.apply(validate=lambda _: 0.0)
    assert done.kept
    assert float(model(DATA).detach().std(0).min()) > 0.01
    assert [id(p) for p in model.parameters()] == ids
    assert [r.negative_slope for r in done.recipe.rectifiers] == [0.1] * 6


def test_a_network_that_is_worse_than_new_ones_begins_anew_where_it_is_in_trouble() -> None:
    scores = iter([0.3, 0.5, 0.4, 0.5, 0.45])  # before, three new networks, after
    done = plan_of(sick()).apply(validate=lambda _: next(scores))
    assert [a.kind for a in done.actions] == ["begin anew"]
    assert "validation 0.3 is worse than that of a new network of its kind (0.5)" in done.actions[0].reason
    assert done.kept


@pytest.mark.parametrize("metric", [float("nan"), float("inf"), 0.5])
def test_a_metric_that_tells_nothing_never_throws_the_network_away(metric: float) -> None:
    model = sick()
    outputs = model(DATA).detach()
    done = plan_of(model).apply(validate=lambda _: metric)
    assert [a.kind for a in done.actions] == ["revive"]
    assert done.kept == (metric == 0.5)
    torch.testing.assert_close(model(DATA).detach(), outputs)


def test_the_metric_has_the_last_word_also_where_the_outputs_hardly_vary() -> None:
    torch.manual_seed(0)
    model, target = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1)), 2000 + 0.25 * DATA[:, :1]
    with torch.no_grad():
        model[2].bias.fill_(2000.0)
    assert not plan_of(model)  # years, or kelvin: right to vary by little
    with torch.no_grad():
        model[2].weight.zero_()
    before = copy.deepcopy(model.state_dict())

    def error(subject: nn.Module) -> float:
        with torch.no_grad():
            return float((subject(DATA) - target).square().mean())

    plan = plan_of(model)
    assert [a.kind for a in plan.actions] == ["begin anew"]
    assert not plan.apply(validate=error, higher_is_better=False).kept
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


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
    with pytest.raises(InputError, match="negative_slope must be from 0 to 1"):
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
    plan_of(model, wide).apply()
    with torch.no_grad():
        model[2].bias[:8] = -50.0
    second = plan_of(model, wide).apply()
    assert second.kept
    again = leaky.repair(healthy(), second.recipe.to_dict())
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(wide), model(wide))
    assert [r.module for r in second.recipe.rectifiers] == ["3", "1"]
    assert second.recipe.standardised == ("0",)


def test_shared_and_frozen_weights_are_left_alone_with_the_reason() -> None:
    tied, frozen = sick(), sick()
    tied[2].bias = tied[0].bias
    frozen[0].requires_grad_(False)
    for model, reason in ((tied, "is the same parameter"), (frozen, "is frozen")):
        plan = plan_of(model)
        assert not any(a.kind in ("revive", "recentre") for a in (*plan.actions, *plan.recentred))
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
    done = plan_of(model).apply()
    done.recipe.save(tmp_path / "recipe.json")
    again = leaky.repair(healthy(), tmp_path / "recipe.json")
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(DATA), model(DATA))
    data = json.loads((tmp_path / "recipe.json").read_text())
    assert leaky.repair(healthy(), data)[1].negative_slope.tolist()[:1] == pytest.approx([0.1])
    assert read_recipe(data) == done.recipe


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, "reads up to 2"),
        ({"kind": "other"}, "must be a recipe"),
        ({"rectifiers": 3}, "list of rectifiers"),
        ({"rectifiers": [{"module": "1", "negative_slope": "x"}]}, "must have module, negative_slope"),
        ({"rectifiers": [{"module": "nowhere", "negative_slope": 0.1}]}, "has no 'nowhere'"),
        ({"rectifiers": [{"module": "1", "negative_slope": 0.1}, {"module": "", "negative_slope": 0.1}]}, "has no ''"),
        ({"rectifiers": [{"module": "0", "negative_slope": 0.1}]}, "must be a ReLU or a LeakyReLU, not a Linear"),
        ({"rectifiers": [{"module": "1", "negative_slope": 10**400}]}, "must have module, negative_slope"),
        ({"rectifiers": [{"module": "1", "negative_slope": 0.1, "channel_dim": True}]}, "must have module"),
        ({"rectifiers": [{"module": "1", "negative_slope": 0.1, "gain": 0}]}, "must have module"),
        ({"standardised": ["0", "1"]}, "must be a Linear or a convolution, not a ReLU"),
        ({"standardised": [3]}, "must have names of layers"),
        ({"schema_version": True}, "reads up to 2"),
        ({"schema_version": -3}, "reads up to 2"),
    ],
)
def test_a_bad_recipe_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    data = {"schema_version": 1, "kind": "leaky-recipe", "rectifiers": [], **change}
    model = healthy()
    modules = list(model.modules())
    with pytest.raises(InputError, match=message):
        leaky.repair(model, data)
    assert list(model.modules()) == modules


def test_wrong_arguments_are_named() -> None:
    model = sick()
    with pytest.raises(InputError, match="repair must have batches"):
        leaky.repair(model, leaky.check(model, DATA))  # type: ignore[call-overload]
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
    assert not leaky.repair(model, leaky.check(model, few), few)
    plan = leaky.repair(model, leaky.check(model, few, thresholds={"rate": 0.05}), few)
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
