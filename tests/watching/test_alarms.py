"""Alarms of real trainings that fail, and none of one that goes well; what an alarm does."""

from __future__ import annotations

import math
import warnings
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

import leaky
from leaky.diagnosis import Finding
from leaky.watching import alarms
from leaky.watching.alarm import Alarm, AlarmWarning, TrainingStoppedError
from leaky.watching.alarm_rules.now import Now, beyond_chance

torch.set_num_threads(1)


def data(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Ten blobs in 32 dimensions."""
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(10, 32, generator=draw)
    labels = torch.randint(10, (1500,), generator=draw)
    return centres[labels] + 0.6 * torch.randn(1500, 32, generator=draw), labels


def network(depth: int = 3, scale: float = 1.0, make: Any = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(32 if i == 0 else 48, 48), make()]
    model = nn.Sequential(*layers, nn.Linear(48, 10))
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(scale if p.ndim == 2 else 1.0)
    return model


def raised(
    model: nn.Module,
    rate: float,
    x: torch.Tensor,
    y: torch.Tensor,
    steps: int = 90,
    make: Any = torch.optim.SGD,
    **options: Any,
) -> Any:
    optimizer = make(model.parameters(), rate)
    draw = torch.Generator().manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AlarmWarning)
        with leaky.watch(model, optimizer, **options) as watch:
            for _ in range(steps):
                batch = torch.randint(len(x), (64,), generator=draw)
                loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return watch


def kinds(watch: Any, level: str = "warning") -> set[str]:
    worse = ("error",) if level == "error" else ("warning", "error")
    return {alarm.finding.rule for alarm in watch.alarms if alarm.finding.level in worse}


def test_a_training_that_goes_well_raises_nothing_above_info() -> None:
    x, y = data()
    for make in (nn.ReLU, lambda: nn.LeakyReLU(0.1), nn.GELU):
        assert kinds(raised(network(make=make), 0.1, x, y)) == set()


def test_a_rate_far_too_high_is_told_within_ten_steps() -> None:
    x, y = data()
    watch = raised(network(), 0.5, x, y, make=torch.optim.Adam)
    first = next(alarm for alarm in watch.alarms if alarm.finding.rule == "update-size")
    assert first.step < 10
    assert "stopped-firing" in kinds(watch)
    assert "dead" not in kinds(watch)  # the same units, told once


def test_the_checkup_of_a_training_says_what_is_dead_at_its_end_though_it_fired_before() -> None:
    x, y = data()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with warnings.catch_warnings(), leaky.watch(model, optimizer) as watch:
        warnings.simplefilter("ignore", AlarmWarning)
        for step in range(60):
            if step == 20:
                with torch.no_grad():
                    model[0].bias[:40] = -100.0
            nn.functional.cross_entropy(model(x[step : step + 64]), y[step : step + 64]).backward()
            optimizer.step()
    checkup = watch.checkup()
    assert len(checkup.verdicts["1"].dead) == 0  # of the whole training
    [gone] = [finding for finding in checkup.findings if finding.rule == "stopped-firing" and finding.site == "1"]
    assert gone.level == "error"
    assert gone.units == tuple(range(40))
    assert "Nothing is wrong" not in str(checkup)
    watch.reset()
    assert not [finding for finding in watch.checkup().findings if finding.rule == "stopped-firing"]


def test_the_checkup_begins_with_what_happened_before_what_stands() -> None:
    x, y = data()
    watch = raised(network(), 0.5, x, y, make=torch.optim.Adam)
    happened = next(alarm for alarm in watch.alarms if alarm.finding.rule == "update-size")
    first = watch.checkup().findings[0]
    assert (first.rule, first.level, first.site) == ("update-size", "error", happened.finding.site)
    assert first.message == f"at step {happened.step}: {happened.finding.message}"
    watch.reset()
    assert not [finding for finding in watch.checkup().findings if finding.rule == "update-size"]


def test_what_happened_is_not_told_of_a_training_in_which_nothing_stands() -> None:
    x, y = data()
    well, ill = raised(network(), 0.05, x, y), raised(network(), 0.5, x, y, make=torch.optim.Adam)
    event = next(alarm for alarm in ill.alarms if alarm.finding.rule == "update-size")
    diagnosis = leaky.diagnose(well.record())
    assert alarms.StandingAlarms(happened={"update-size": event}).joined(diagnosis) == diagnosis
    assert all(finding.level == "info" for finding in diagnosis.findings)


@pytest.mark.parametrize(
    ("rule", "levels", "told"),
    [
        ("dead", ["warning", None, "warning", "error", "warning", "error"], [0, 3]),
        ("dead", ["warning", *[None] * 10, "warning"], [0, 11]),
        ("dead", ["warning", *[None] * 9, "warning"], [0]),
        ("update-size", ["error", None, "error"], [0, 2]),
    ],
)
def test_what_comes_and_goes_at_a_threshold_is_told_once_and_each_event_anew(
    monkeypatch: pytest.MonkeyPatch, rule: str, levels: list[Any], told: list[int]
) -> None:
    def found(now: Any) -> list[Finding]:
        level = levels[now.step]
        return [Finding(rule, level, "1", (), "", {}, "")] if level else []

    monkeypatch.setattr(alarms, "ALARMS", {rule: found})
    stands = alarms.StandingAlarms()
    assert [step for step in range(len(levels)) if stands.look(cast(Now, SimpleNamespace(step=step)))] == told


def test_units_that_are_pushed_out_of_reach_are_named_with_their_last_step() -> None:
    x, y = data()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with warnings.catch_warnings(), leaky.watch(model, optimizer, report_every=5) as watch:
        warnings.simplefilter("ignore", AlarmWarning)
        for step in range(60):
            if step == 20:
                with torch.no_grad():
                    model[0].bias[:20] = -100.0
            batch = slice(step * 20 % 1400, step * 20 % 1400 + 64)
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    found = [a.finding for a in watch.alarms if a.finding.rule == "stopped-firing" and a.finding.site == "1"]
    worst = found[-1]
    assert worst.level == "warning"
    assert set(range(20)) <= set(worst.units)
    assert "since step 19 or earlier" in worst.message


def test_the_first_non_finite_value_is_told_with_the_site_that_produced_it() -> None:
    x, y = data()

    class Divides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.act, self.last = nn.Linear(32, 8), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 10)
            self.second, self.count = nn.ReLU(), 0

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            self.count += 1
            z = self.act(self.a(z))
            return self.last(self.second(self.b(z) / (0.0 if self.count == 14 else 1.0)))

    watch = raised(Divides(), 0.01, x, y, steps=20)
    first = next(alarm for alarm in watch.alarms if alarm.finding.rule == "non-finite")
    assert (first.step, first.finding.site) == (13, "second")
    assert "behind 'act', which is finite, in batch 14, whose input is finite" in first.finding.message
    assert 13 in watch.history.steps


def test_an_input_with_nan_is_told_as_such() -> None:
    x, y = data()
    x[700] = float("nan")
    watch = raised(network(), 0.01, x, y, steps=60)
    first = next(alarm for alarm in watch.alarms if alarm.finding.rule == "non-finite")
    assert first.finding.site == "1"
    assert "whose input has NaN or infinity already" in first.finding.message


@pytest.mark.parametrize(("scale", "rule"), [(20.0, "depth"), (0.02, "gradient-by-depth")])
def test_wrong_initialisations_are_told_at_the_first_report(scale: float, rule: str) -> None:
    x, y = data()
    watch = raised(network(6, scale), 1e-6, x, y, steps=10)
    assert rule in kinds(watch, "error")
    assert watch.alarms[0].step == 9


def test_one_batch_with_a_gradient_far_above_the_others_is_told() -> None:
    x, y = data()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 1e-6)
    with warnings.catch_warnings(), leaky.watch(model, optimizer, report_every=2) as watch:
        warnings.simplefilter("ignore", AlarmWarning)
        for step in range(30):
            loss = nn.functional.cross_entropy(model(x[:64]), y[:64]) * (1e3 if step == 21 else 1.0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    spikes = [alarm.step for alarm in watch.alarms if alarm.finding.rule == "gradient-spike"]
    assert set(spikes) == {21}


def test_a_gradient_far_above_the_others_is_told_with_the_input_that_came_with_it() -> None:
    x, _ = data()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 1e-6)
    with warnings.catch_warnings(), leaky.watch(model, optimizer, report_every=2) as watch:
        warnings.simplefilter("ignore", AlarmWarning)
        for step in range(30):
            optimizer.zero_grad()
            model(x[:64] * (16 if step == 21 else 1)).pow(4).sum().backward()  # its gradient grows with the cube
            optimizer.step()
    spikes = [alarm.finding.message for alarm in watch.alarms if alarm.finding.rule == "gradient-spike"]
    assert spikes
    assert all("and a batch's input was 16 times as large as those before" in message for message in spikes)


def test_an_alarm_is_raised_once() -> None:
    x, y = data()
    watch = raised(network(), 0.5, x, y, make=torch.optim.Adam, steps=120)
    told = [(a.finding.rule, a.finding.site, a.finding.level) for a in watch.alarms]
    told = [each for each in told if each[0] == "stopped-firing"]
    assert len(told) == len(set(told)) > 0


def test_stop_ends_the_training_out_of_the_optimizers_step() -> None:
    x, y = data()
    with pytest.raises(TrainingStoppedError, match=r"leaky\.watch stopped the training at step"):
        raised(network(), 0.5, x, y, make=torch.optim.Adam, on_alarm="stop")


def test_a_function_is_given_each_alarm_and_chosen_alarms_alone_are_raised() -> None:
    x, y = data()
    got: list[Alarm] = []
    watch = raised(network(), 0.5, x, y, make=torch.optim.Adam, on_alarm=got.append, alarms=["dead"])
    assert got == watch.alarms
    assert {alarm.finding.rule for alarm in got} == {"dead"}


def test_a_warning_names_site_and_step() -> None:
    x, y = data()
    model = network(6, 20.0)
    with leaky.watch(model, report_every=1, alarms=["depth"]) as watch:
        nn.functional.cross_entropy(model(x[:64]), y[:64]).backward()
        with pytest.warns(AlarmWarning, match=r"step 0: error: 11: E h² grows"):
            watch.step()


def test_a_rule_that_finds_several_sites_warns_once_at_the_users_line() -> None:
    x, y = data()
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 0.5)
    with warnings.catch_warnings(record=True) as told, leaky.watch(model, optimizer, alarms=["update-size"]) as watch:
        warnings.simplefilter("always", AlarmWarning)
        for i in range(10):
            nn.functional.cross_entropy(model(x[i : i + 64]), y[i : i + 64]).backward()
            optimizer.step()
    assert len(watch.alarms) == 3
    [warning] = told
    assert warning.filename == __file__
    assert all(f"{site}" in str(warning.message) for site in ("1", "3", "5"))
    assert "The same at" in str(warning.message)


def test_units_that_never_had_a_gradient_are_known_from_the_optimizer_alone() -> None:
    x, y = data()
    model = network()
    with torch.no_grad():
        model[2].bias[[3, 7]] = -1000.0
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with leaky.watch(model, optimizer) as watch:
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert {3, 7} <= set(watch.untouched_units()["2.weight"].tolist())
    assert len(watch.untouched_units()["2.weight"]) < 12


def test_one_batch_in_other_units_is_told_as_the_inputs_and_no_weights_are_blamed() -> None:
    x, y = data()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)
    with warnings.catch_warnings(), leaky.watch(model, optimizer) as watch:
        warnings.simplefilter("ignore", AlarmWarning)
        for step in range(80):
            batch = torch.arange(step * 16, step * 16 + 64) % len(x)
            loss = nn.functional.cross_entropy(model(x[batch] * (200.0 if step == 43 else 1.0)), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    first = next(alarm for alarm in watch.alarms if alarm.finding.level != "info")
    assert (first.step, first.finding.rule) == (43, "input")
    assert 150 < first.finding.evidence["ratio"] < 250
    assert "drift" not in kinds(watch)


def test_experts_that_are_given_nothing_are_told_with_the_shares() -> None:
    from benchmarks.trainings.building import Mixture

    x, y = data()
    torch.manual_seed(0)
    model = Mixture()
    with torch.no_grad():
        model.router.weight[:2] = 0.0
        model.router.bias.copy_(torch.tensor([-50.0, -50.0, 0.0, 0.0]))
    watch = raised(model, 1e-3, x, y)
    finding = next(alarm.finding for alarm in watch.alarms if alarm.finding.rule == "experts")
    assert finding.level == "warning"
    assert finding.evidence["experts"] == [0, 1]
    shares = finding.evidence["shares"]
    chosen = model.router(x).argmax(-1)
    assert shares[2] == pytest.approx(float((chosen == 2).float().mean()), abs=0.1)
    assert sum(shares) == pytest.approx(1.0)


def test_modules_side_by_side_that_all_see_the_same_are_no_experts() -> None:
    from benchmarks.trainings.healthy import Residual

    x, y = data()
    torch.manual_seed(0)
    watch = raised(Residual(4), 0.01, x, y)
    assert not any(alarm.finding.rule == "experts" for alarm in watch.alarms)


def test_a_rate_that_rises_between_two_reports_is_told_at_its_step() -> None:
    x, y = data()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    draw = torch.Generator().manual_seed(1)
    with warnings.catch_warnings(), leaky.watch(model, optimizer) as watch:
        warnings.simplefilter("ignore", AlarmWarning)
        for step in range(60):
            optimizer.param_groups[0]["lr"] = 50.0 if step == 33 else 0.01
            batch = torch.randint(len(x), (64,), generator=draw)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    assert next(alarm.step for alarm in watch.alarms if alarm.finding.rule == "update-size") == 33


def test_a_share_of_few_units_is_beyond_chance_only_where_a_layer_of_so_few_seldom_shows_it() -> None:
    for units in (1, 3, 10, 40):
        for count in range(units + 1):
            for limit in (0.3, 0.4, 0.6, 1.0):
                p = limit / 2
                tail = sum(math.comb(units, k) * p**k * (1 - p) ** (units - k) for k in range(count, units + 1))
                assert beyond_chance(count, units, limit, 0.02) == (count >= limit * units and tail <= 0.02)
    assert beyond_chance(40_000, 100_000, 0.4, 1e-9)
    assert not beyond_chance(39_999, 100_000, 0.4, 0.5)
    assert beyond_chance(0, 5, 0.0, 0.01)


def shut(units: int, dead: int) -> nn.Sequential:
    """A layer of so many units, some of which are out of reach from the start, between two that are well."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, units), nn.ReLU(), nn.Linear(units, 10))
    with torch.no_grad():
        model[2].bias += 1.0
        model[2].bias[:dead] = -100.0
    return model


@pytest.mark.parametrize(
    ("units", "dead", "level"), [(6, 3, "info"), (48, 24, "info"), (48, 40, "error"), (6, 6, "error")]
)
def test_what_was_dead_from_the_start_is_told_above_info_only_beyond_what_initialisations_leave(
    units: int, dead: int, level: str
) -> None:
    x, y = data()
    watch = raised(shut(units, dead), 1e-3, x, y, steps=30, alarms=["dead"])
    assert [alarm.finding.level for alarm in watch.alarms if alarm.finding.site == "3"] == [level]


@pytest.mark.parametrize(("units", "dead", "levels"), [(6, 3, ["info"]), (48, 24, ["warning"]), (6, 6, ["error"])])
def test_half_a_layer_that_dies_is_told_above_info_only_where_it_has_many_units_and_a_whole_one_always(
    units: int, dead: int, levels: list[str]
) -> None:
    x, y = data()
    model = shut(units, 0)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    with warnings.catch_warnings(), leaky.watch(model, optimizer, alarms=["dead"]) as watch:
        warnings.simplefilter("ignore", AlarmWarning)
        for step in range(100):
            if step == 40:
                with torch.no_grad():
                    model[2].bias[:dead] = -100.0
            batch = torch.arange(step * 64, step * 64 + 64) % len(x)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    assert [alarm.finding.level for alarm in watch.alarms if alarm.finding.site == "3"] == levels


def test_units_that_were_silent_from_the_start_are_no_rise() -> None:
    x, y = data()
    watch = raised(shut(100, 45), 1e-3, x, y, steps=120, report_every=2, alarms=["collapsing"])
    assert watch.history["3"]["silent"][[0, -1]].tolist() == [0.0, 0.45]
    assert watch.alarms == []


@pytest.mark.parametrize(("each_step", "most", "sites"), [(3, 100, {"3"}), (39, 39, set())])
def test_units_that_fall_silent_one_after_another_are_a_rise_and_at_one_stroke_none(
    each_step: int, most: int, sites: set[str]
) -> None:
    x, y = data()
    model = shut(100, 0)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    with warnings.catch_warnings(), leaky.watch(model, optimizer, report_every=2, alarms=["collapsing"]) as watch:
        warnings.simplefilter("ignore", AlarmWarning)
        for step in range(60):
            with torch.no_grad():
                model[2].bias[: min(most, each_step * max(0, step - 20))] = -100.0
            batch = torch.arange(step * 64, step * 64 + 64) % len(x)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    assert watch.history["3"]["silent"].max() >= 0.39
    assert {alarm.finding.site for alarm in watch.alarms if alarm.finding.level == "warning"} == sites


def test_units_that_fall_silent_as_the_samples_draw_together_are_a_hint_for_others_fire_in_their_place() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 128, bias=False), nn.ReLU(), nn.Linear(128, 1))
    optimizer = torch.optim.SGD(model.parameters(), 1e-9)
    with leaky.watch(model, optimizer, report_every=4, alarms=["collapsing"]) as watch:
        for step in range(80):
            angle = torch.rand(256) * torch.pi * (1.8 - step / 50)
            optimizer.zero_grad()
            model(torch.stack([angle.cos(), angle.sin()], 1)).square().mean().backward()
            optimizer.step()
    assert watch.history["1"]["silent"].max() >= 0.3
    assert watch.history["1"]["rate"][-1] == pytest.approx(0.5, abs=0.1)
    assert {alarm.finding.level for alarm in watch.alarms} == {"info"}


@pytest.mark.parametrize(("size", "told"), [(1.0, False), (1e3, True)])
def test_late_in_a_training_a_gradient_is_a_spike_only_beyond_what_it_began_with(size: float, told: bool) -> None:
    x, y = data()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 1e-9)
    with warnings.catch_warnings(), leaky.watch(model, optimizer, alarms=["gradient-spike"], report_every=2) as watch:
        warnings.simplefilter("ignore", AlarmWarning)
        for step in range(120):
            scale = 1.0 if step < 14 else 1e-4 if step != 100 else size  # 40 reports of next to nothing, one odd batch
            optimizer.zero_grad()
            (scale * nn.functional.cross_entropy(model(x[:64]), y[:64])).backward()
            optimizer.step()
    assert bool(watch.alarms) == told


class Muffled(nn.Module):
    """A gradient of next to nothing comes through its middle at one step."""

    def __init__(self) -> None:
        super().__init__()
        layers = list(network())
        self.first, self.rest, self.muffled = nn.Sequential(*layers[:4]), nn.Sequential(*layers[4:]), False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x)
        return self.rest(1e-9 * hidden + (1 - 1e-9) * hidden.detach() if self.muffled else hidden)


def test_a_report_in_which_no_sample_asks_anything_of_the_first_site_is_no_vanishing_gradient() -> None:
    x, y = data()
    model = Muffled()
    with warnings.catch_warnings(), leaky.watch(model, report_every=1, alarms=["gradient-by-depth"]) as watch:
        warnings.simplefilter("ignore", AlarmWarning)
        for step in range(20):
            model.muffled = step == 15
            nn.functional.cross_entropy(model(x[8 * step : 8 * step + 8]), y[8 * step : 8 * step + 8]).backward()
            watch.step()
    gradients = [watch.history[site]["gradient"] for site in ("first.1", "rest.1")]
    assert (gradients[0] / gradients[1])[15] < 1e-8
    assert watch.alarms == []


class ActorAndCritic(nn.Module):
    """Two networks side by side, of which one is asked for next to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.actor, self.critic = network(2), network(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 1e-5 * self.actor(x) + self.critic(x)


def test_a_gradient_that_changes_between_two_networks_side_by_side_is_none_of_depth() -> None:
    x, y = data()
    watch = raised(ActorAndCritic(), 1e-3, x, y, steps=30, alarms=["gradient-by-depth"])
    assert {alarm.finding.level for alarm in watch.alarms} == {"info"}


@pytest.mark.parametrize("cut", [True, False])
def test_a_loss_that_hangs_together_with_nothing_is_told_and_one_that_does_is_not(cut: bool) -> None:
    x, y = data()
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with leaky.watch(model, optimizer, alarms=["no-gradient"], on_alarm=lambda alarm: None) as watch:
        for _ in range(10):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x[:64]), y[:64])
            (torch.tensor(loss.item(), requires_grad=True) if cut else loss).backward()
            optimizer.step()
    assert [(alarm.step, alarm.finding.level) for alarm in watch.alarms] == [(9, "error")] * cut


def test_an_optimizer_of_another_head_is_told_behind_frozen_layers_too() -> None:
    x, y = data()
    model = network()
    model[:-1].requires_grad_(False)
    optimizer = torch.optim.Adam([*nn.Linear(48, 10).parameters(), *network()[-1].parameters()], 1e-3)
    with leaky.watch(model, optimizer, on_alarm=lambda alarm: None) as watch:
        for _ in range(60):
            for parameter in optimizer.param_groups[0]["params"]:
                parameter.grad = torch.zeros_like(parameter)  # it has been used before
            model[-1].zero_grad()
            nn.functional.cross_entropy(model(x[:64]), y[:64]).backward()
            optimizer.step()
    assert kinds(watch) == {"tiny-updates"}
