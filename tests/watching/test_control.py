"""What `on_alarm="control"` does to a training at an alarm: that it helps, is logged, and can be undone."""

from __future__ import annotations

import copy
import os
import pickle
import sys
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.watching.networks import made, train
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

import leaky
from leaky.report.page.columns import Columns
from leaky.report.page.run import run_content
from leaky.watching.alarm import AlarmWarning
from leaky.watching.watch import Watch

torch.set_num_threads(1)
ALWAYS = {"update_warning": 1e-9}
"""Thresholds with which every step is too long, so that a control comes at the first."""


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AlarmWarning)
        yield


def blobs(seed: int) -> Callable[[], tuple[Tensor, Tensor]]:
    """Ten classes around centres in 32 dimensions."""
    draw = torch.Generator().manual_seed(100 + seed)
    centres = torch.randn(10, 32, generator=draw)

    def batch() -> tuple[Tensor, Tensor]:
        y = torch.randint(10, (64,), generator=draw)
        return centres[y] + 0.6 * torch.randn(64, 32, generator=draw), y

    return batch


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 10))


def run(
    model: nn.Module, optimizer: Any, batch: Any, steps: int, before: Any = None, **options: Any
) -> tuple[float, Watch]:
    """The mean loss of the last ten steps, infinite where one is not finite, and the watch."""
    losses = []
    with leaky.watch(model, optimizer, **options) as watch:
        for step in range(steps):
            if before is not None:
                before(step)
            x, y = batch()
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    last = np.mean(losses[-10:])
    return float(last) if np.isfinite(last) else float("inf"), watch


def controlled(model: nn.Module, table: Any, data: Tensor, steps: int = 1, optimizer: Any = None) -> Watch:
    """A watch that goes on, with what its alarms led to in the first steps."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), 0.05)
    watch = leaky.watch(model, optimizer, on_alarm=table, thresholds=ALWAYS, report_every=1).start()
    train(model, optimizer, data, steps)
    return watch


def refusals(watch: Watch) -> dict[str | None, str]:
    return {each.record.site: each.record.refused for each in watch.controls}


# that it helps


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_rate_far_too_high_is_lowered_layer_by_layer_and_the_training_saved(seed: int) -> None:
    ends = {}
    for action in ("warn", "control"):
        model = network(seed)
        ends[action], watch = run(model, torch.optim.Adam(model.parameters(), 0.5), blobs(seed), 150, on_alarm=action)
    assert ends["control"] < 0.3
    assert ends["warn"] > 3 * ends["control"]  # chaos without control: .57 to 53 by seed and processor
    made_ = [each.record for each in watch.controls if not each.record.refused]
    assert {(each.step, each.kind, each.site) for each in made_} == {(0, "rate", s) for s in ("1", "3", None)}
    assert all(each.amount < 0.1 and each.at_most == pytest.approx(0.01) for each in made_)


def test_a_rate_too_high_at_one_layer_is_lowered_there_alone() -> None:
    model = network()
    groups = [{"params": model[0].parameters(), "lr": 0.5}, {"params": model[2:].parameters()}]
    _, watch = run(model, torch.optim.Adam(groups, 2e-3), blobs(0), 30, on_alarm="control")
    (control,) = (each.record for each in watch.controls if not each.record.refused)
    assert (control.step, control.kind, control.site, control.places) == (0, "rate", "1", ("0.weight", "0.bias"))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_layer_whose_units_die_gets_a_leak_and_learns_again(seed: int) -> None:
    ends = {}
    for action in ("warn", "control"):
        model = network(seed)

        def push(step: int, model: nn.Sequential = model) -> None:
            if step == 30:
                with torch.no_grad():
                    model[2].bias.fill_(-10.0)

        optimizer = torch.optim.SGD(model.parameters(), 0.3)
        ends[action], watch = run(model, optimizer, blobs(seed), 150, push, on_alarm=action)
    assert ends["warn"] > 2.0
    assert ends["control"] < 0.3
    slopes = [each.record for each in watch.controls if each.record.kind == "slope"]
    assert [each.site for each in slopes] == ["3"]
    assert type(model[3]) is nn.LeakyReLU
    assert model[3].negative_slope == slopes[0].amount
    assert list(model.state_dict()) == list(network().state_dict())


def test_one_odd_batch_does_not_undo_the_training() -> None:
    ends = {}
    for action in ("warn", "control"):
        model, batch = network(), blobs(0)
        count = iter(range(1000))

        def spiked(batch: Any = batch, count: Any = count) -> tuple[Tensor, Tensor]:
            x, y = batch()
            return x * (1e4 if next(count) == 60 else 1.0), y

        ends[action], _ = run(model, torch.optim.SGD(model.parameters(), 0.05), spiked, 120, on_alarm=action)
    assert ends["warn"] > 1.5
    assert ends["control"] < 0.7


@pytest.mark.parametrize("name", ["mlp", "resnet", "transformer"])
def test_a_training_that_goes_well_is_left_alone_bit_for_bit(name: str) -> None:
    found = []
    for options in (None, {"on_alarm": "control"}):
        model, data = made(name)
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        if options is None:
            train(model, optimizer, data, 40)
        else:
            with leaky.watch(model, optimizer, **options) as watch:  # type: ignore[arg-type]
                train(model, optimizer, data, 40)
            assert watch.controls == []
        found.append(model.state_dict())
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


# what each control does, and its undoing


def test_a_step_is_kept_in_part_the_one_that_raised_the_alarm_too() -> None:
    model, data = made("mlp")
    twin = copy.deepcopy(model)
    watch = controlled(model, {"update-size": ("rate", 0.25)}, data)
    train(twin, torch.optim.SGD(twin.parameters(), 0.05), data, 1)
    start = dict(made("mlp")[0].named_parameters())
    moved, whole = dict(model.named_parameters()), dict(twin.named_parameters())
    for name in ("0.weight", "0.bias"):
        torch.testing.assert_close(moved[name], torch.lerp(start[name], whole[name], 0.25), rtol=0, atol=1e-7)
    assert torch.equal(moved["6.weight"], whole["6.weight"])  # no site follows it, and its step was not asked about
    watch.stop()


def test_steps_are_whole_again_when_the_control_is_undone() -> None:
    model, data = made("mlp")
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with leaky.watch(model, optimizer, on_alarm={"update-size": ("rate", 0.25)}, thresholds=ALWAYS) as watch:
        train(model, optimizer, data, 2)
        watch.undo_controls()
        assert all(not each.holds and each.record.ended == 2 for each in watch.controls)
        twin = copy.deepcopy(model)
        train(model, optimizer, data, 1)
        train(twin, torch.optim.SGD(twin.parameters(), 0.05), data, 1)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), twin.parameters(), strict=True))


def test_steps_are_kept_within_a_share_of_the_weights() -> None:
    model, data = made("mlp")
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)
    with leaky.watch(model, optimizer, on_alarm={"update-size": "rate"}, thresholds={"update_warning": 3e-2}) as watch:
        for step in range(30):
            optimizer.param_groups[0]["lr"] = 50.0 if step == 12 else 1e-4
            before = [p.detach().clone() for p in model[0].parameters()]  # type: ignore[index]
            train(model, optimizer, data, 1)
            change = torch.cat([(p - b).flatten() for p, b in zip(model[0].parameters(), before, strict=True)])  # type: ignore[index]
            size = torch.cat([b.flatten() for b in before]).norm()
            assert change.norm() <= 1.001e-3 * size
    assert watch.controls[0].record.step == 12


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_steps_are_kept_short_in_any_precision(dtype: torch.dtype) -> None:
    model, data = made("mlp")
    model, data = model.to(dtype), data.to(dtype)
    watch = controlled(model, {"update-size": "rate"}, data, steps=2)
    watch.stop()
    records = [each.record for each in watch.controls]
    assert {each.refused for each in records} <= {"", "its steps are kept short already"}
    assert {each.site for each in records if not each.refused} == {"1", "3", "5", None}
    assert all(p.dtype == dtype and p.isfinite().all() for p in model.parameters())


def test_nothing_is_kept_of_a_step_that_is_not_finite() -> None:
    model, data = made("mlp")
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with leaky.watch(model, optimizer, on_alarm={"update-size": "rate"}, thresholds=ALWAYS) as watch:
        train(model, optimizer, data, 3)
        kept = [p.detach().clone() for p in model[0].parameters()]  # type: ignore[index]
        for p in model.parameters():
            p.grad = torch.full_like(p, torch.inf)
        optimizer.step()
        assert all(torch.equal(p, k) for p, k in zip(model[0].parameters(), kept, strict=True))  # type: ignore[index]
        watch.report()
    assert any("not finite" in note for note in watch.notes)


def test_a_step_that_the_scaler_skips_changes_nothing() -> None:
    model, data = made("mlp")
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    with leaky.watch(
        model, optimizer, on_alarm={"update-size": ("rate", 0.5)}, thresholds=ALWAYS, scaler=scaler, report_every=1
    ) as watch:
        for step in range(4):
            kept = [p.detach().clone() for p in model.parameters()]
            optimizer.zero_grad()
            loss = model(data[:8]).square().mean() * (torch.inf if step == 2 else 1.0)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            moved = not all(torch.equal(p, k) for p, k in zip(model.parameters(), kept, strict=True))
            assert moved == (step != 2)
        assert watch.controls


def test_a_clamp_cuts_off_what_a_site_puts_out_until_it_is_undone_or_the_watch_ends() -> None:
    for how in ("undo", "stop", "keep"):
        model, data = made("mlp")
        watch = controlled(model, {"update-size": ("clamp", 0.05)}, data)
        seen: list[Tensor] = []
        probe = model[1].register_forward_hook(lambda module, args, output, seen=seen: seen.append(output.detach()))  # type: ignore[index]
        model(data)
        assert float(seen[-1].max()) == pytest.approx(0.05)
        if how == "undo":
            watch.controls[0].undo()
        if how == "keep":
            watch.controls[0].keep()
        watch.stop()
        model(data)
        assert (float(seen[-1].max()) > 0.06) == (how != "keep")
        probe.remove()
        assert len(model[1]._forward_hooks) == (how == "keep")  # type: ignore[index]
        ended = watch.controls[0].record
        assert (ended.ended is None) == (how == "keep")


def test_a_clamp_follows_from_the_usual_range_and_holds_what_grows() -> None:
    model, data = made("mlp")
    optimizer = torch.optim.SGD(model.parameters(), 1e-12)
    with leaky.watch(model, optimizer, on_alarm={"drift": "clamp"}, report_every=1) as watch:
        train(model, optimizer, data, 4)
        usual = float(np.sqrt(np.median(watch.history["1"]["output_moment"])))
        with torch.no_grad():
            model[0].weight.mul_(1e3)  # type: ignore[index]
        train(model, optimizer, data, 3)
        clamps = {each.record.site: each.record.amount for each in watch.controls if not each.record.refused}
        assert clamps["1"] == pytest.approx(8 * usual, rel=0.5)
        hidden = model[1](model[0](data))  # type: ignore[index]
        assert float(hidden.detach().max()) == pytest.approx(clamps["1"])


def test_a_checkpoint_that_runs_again_sees_the_same_clamp() -> None:
    found = []
    for saved in (False, True):
        model, data = made("mlp")
        watch = controlled(model, {"update-size": ("clamp", 0.2)}, data)
        head = model[:4]  # type: ignore[index]
        hidden = checkpoint(head, data, use_reentrant=False) if saved else head(data)
        model.zero_grad()
        model[4:](hidden).square().sum().backward()  # type: ignore[index]
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        assert float(hidden.detach().max()) == pytest.approx(0.2)
        watch.stop()
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_copy_made_meanwhile_computes_the_same() -> None:
    model, data = made("mlp")
    watch = controlled(model, {"update-size": ("clamp", 0.1)}, data)
    expected = model.eval()(data)
    copies = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    watch.stop()
    for each in copies:
        torch.testing.assert_close(each(data), expected, rtol=0, atol=0)


@pytest.mark.parametrize("compiled_before", [False, True])
def test_a_raised_slope_keeps_module_hooks_and_keys_and_is_undone(compiled_before: bool) -> None:
    if compiled_before:  # then a watch pins each module's forward, so that torch compiles it anew
        torch.compile(torch.neg, backend="eager")(torch.ones(1))
    model, data = made("mlp")
    module, keys = model[1], list(model.state_dict())  # type: ignore[index]
    seen: list[int] = []
    module.register_forward_hook(lambda *_: seen.append(1))
    watch = controlled(model, {"update-size": ("slope", 0.3)}, data, steps=2)
    assert model[1] is module  # type: ignore[index]
    assert type(module) is nn.LeakyReLU
    assert seen
    assert list(model.state_dict()) == keys
    z = torch.tensor([-1.0, 2.0])
    torch.testing.assert_close(module(z), torch.tensor([-0.3, 2.0]))
    assert [s.negative_slope.max() for s in watch.record().sites if s.name == "1"] == [0.3]
    assert {s.activation for s in watch.record().sites if s.name == "1"} == {"LeakyReLU"}
    refused = refusals(watch)
    assert refused["5"] == "it is a GELU, and only the slope of a ReLU or LeakyReLU is raised"
    watch.undo_controls()
    watch.stop()
    assert type(module) is nn.ReLU
    assert "negative_slope" not in vars(module)
    assert "forward" not in vars(module)
    torch.testing.assert_close(module(z), torch.tensor([0.0, 2.0]))


def test_a_module_with_a_forward_of_its_own_is_refused() -> None:
    model, data = made("mlp")
    module = model[1]  # type: ignore[index]
    module.forward = functional.relu
    watch = controlled(model, {"update-size": "slope"}, data)
    assert refusals(watch)["1"] == "its forward is not its class's, and a class with a leak would be without effect"
    watch.stop()
    assert type(module) is nn.ReLU


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adam])
def test_a_layer_is_rescaled_with_the_function_as_it_is(make: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.LeakyReLU(0.1), nn.Linear(16, 4))
    data = torch.randn(24, 8)
    optimizer = make(model.parameters(), 1e-3, **({"momentum": 0.9} if make is torch.optim.SGD else {}))
    train(model, optimizer, data, 3)
    twin, state = copy.deepcopy(model), copy.deepcopy(optimizer.state_dict())
    watch = leaky.watch(model, optimizer, on_alarm={"update-size": ("rescale", 0.25)}, thresholds=ALWAYS).start()
    train(model, optimizer, data, 1)
    other = make(twin.parameters(), 1e-3, **({"momentum": 0.9} if make is torch.optim.SGD else {}))
    other.load_state_dict(state)
    train(twin, other, data, 1)
    assert [each.record.amount for each in watch.controls] == [0.25, 0.25]
    assert torch.equal(model(data), twin(data))
    assert torch.equal(model[0].weight, twin[0].weight / 4)
    assert torch.equal(model[2].weight, twin[2].weight)  # ÷ 4 for its own site, × 4 for the one before
    assert torch.equal(model[4].weight, twin[4].weight * 4)
    assert torch.equal(model[2].bias, twin[2].bias / 4)
    key, power = ("exp_avg_sq", 2) if make is torch.optim.Adam else ("momentum_buffer", 1)
    moments, theirs = optimizer.state[model[0].weight][key], other.state[twin[0].weight][key]
    assert torch.equal(moments, theirs * 4**power)
    watch.undo_controls()
    watch.stop()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), twin.parameters(), strict=True))
    assert torch.equal(optimizer.state[model[4].weight][key], other.state[twin[4].weight][key])


def test_a_range_beyond_half_precision_is_brought_back_with_the_function_as_it_is() -> None:
    first, act, *rest = network()
    model = nn.Sequential(first, act, nn.Linear(48, 48), nn.ReLU(), *rest)
    with torch.no_grad():
        model[4].weight.mul_(2.0**20)
        model[4].bias.zero_()
        model[6].weight.mul_(2.0**-20)
    x, y = blobs(0)()
    expected = model(x)
    assert not copy.deepcopy(model).half()(x.half()).isfinite().all()
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with leaky.watch(model, optimizer, on_alarm={"depth": "rescale"}, report_every=1) as watch:
        for _ in range(3):
            functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        moments = [float(watch.history[site]["output_moment"][-1]) for site in ("1", "5")]
    assert torch.equal(model(x), expected)
    torch.testing.assert_close(copy.deepcopy(model).half()(x.half()).float(), expected, rtol=0.05, atol=5e-3)
    assert moments[1] / moments[0] == pytest.approx(1.0, rel=1.0)
    (control,) = (each.record for each in watch.controls)
    assert (control.kind, control.site, control.places) == ("rescale", "5", ("4.weight", "4.bias", "6.weight"))


# what is refused


class Bounded(nn.Module):
    """A rectifier behind which a sigmoid bends, a shortcut, and a normalisation behind a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(8, 8) for _ in range(4))
        self.bent, self.short, self.last, self.norm = nn.ReLU(), nn.ReLU(), nn.ReLU(), nn.BatchNorm1d(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(torch.sigmoid(self.bent(self.a(x))))
        x = x + self.short(self.c(x))
        return self.last(self.norm(self.d(x)))


class TwoPlaces(nn.Module):
    """One ReLU module behind two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.act = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.act(self.b(self.act(self.a(x)))))


FUNCTION = "it is a call of a function, which only its own source can change"


@pytest.mark.parametrize(
    ("make", "kind", "site", "words"),
    [
        ("functional", ("slope", 0.2), "relu#1 (networks.py:21)", FUNCTION),
        ("functional", ("clamp", 1.0), "relu#1 (networks.py:21)", FUNCTION),
        (TwoPlaces, ("slope", 0.2), "act", "its module also computes act#2: give each place its own"),
        ("mlp", "clamp", "1", "its usual range is not known yet"),
        ("mlp", ("rescale", 0.5), "5", "a GELU does not scale with what comes in"),
        (Bounded, ("rescale", 0.5), "bent", "the outputs would move"),
        (Bounded, ("rescale", 0.5), "short", "adds other data to it"),
        (Bounded, ("rescale", 0.5), "last", "it is part of the model's output"),
        (Bounded, ("slope", 0.2), "last", "its output is the model's"),
    ],
)
def test_what_cannot_be_controlled_is_refused_by_name(make: Any, kind: Any, site: str, words: str) -> None:
    model, data = made(make) if isinstance(make, str) else (make(), torch.randn(24, 8))
    twin = copy.deepcopy(model)
    watch = controlled(model, {"update-size": kind}, data, optimizer=torch.optim.SGD(model.parameters(), 1e-3))
    watch.stop()
    assert words in refusals(watch)[site]
    train(twin, torch.optim.SGD(twin.parameters(), 1e-3), data, 1)
    refused = {each.record.site for each in watch.controls if each.record.refused}
    if len(refused) == len(watch.controls):
        assert all(torch.equal(p, q) for p, q in zip(model.parameters(), twin.parameters(), strict=True))


def test_without_the_optimizer_steps_are_shortened_and_rescaling_is_refused() -> None:
    for kind in (("rate", 0.25), ("rescale", 0.5)):
        model, data = made("mlp")
        optimizer = torch.optim.SGD(model.parameters(), 0.05)
        with leaky.watch(model, on_alarm={"update-size": kind}, thresholds=ALWAYS, report_every=1) as watch:
            train(model, optimizer, data, 1, each=lambda step, watch=watch: watch.step())
            start, twin = model[0].weight.detach().clone(), copy.deepcopy(model)  # type: ignore[index]
            train(model, optimizer, data, 1, each=lambda step, watch=watch: watch.step())
        train(twin, torch.optim.SGD(twin.parameters(), 0.05), data, 1)
        whole = twin[0].weight  # type: ignore[index]
        # The alarm holds at the second step too, and is answered by a second control.
        expected = torch.lerp(start, whole, 0.25**2) if kind[0] == "rate" else whole
        torch.testing.assert_close(model[0].weight, expected, rtol=0, atol=1e-7)  # type: ignore[index]
        assert ("give leaky.watch the optimizer" in refusals(watch)["1"]) == (kind[0] == "rescale")


def test_a_compiled_model_keeps_its_graph_and_its_steps_are_shortened() -> None:
    found = {}
    for kind in ("slope", "rate"):
        model, data = made("mlp")
        compiled: Any = torch.compile(model, backend="eager", fullgraph=True)
        optimizer = torch.optim.SGD(model.parameters(), 0.05)
        table: Any = {"update-size": (kind, 0.25)}
        with leaky.watch(compiled, optimizer, on_alarm=table, thresholds=ALWAYS, report_every=1) as watch:
            train(compiled, optimizer, data, 2)
        found[kind] = refusals(watch)["1"]
    assert found == {"slope": "the model is compiled, and its graph is fixed", "rate": ""}


# that it is logged


def test_the_run_and_the_log_tell_of_every_control(tmp_path: Path) -> None:
    model, data = made("mlp")
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    table: Any = {"update-size": ("slope", 0.3)}
    with leaky.watch(
        model, optimizer, on_alarm=table, thresholds=ALWAYS, report_every=1, log=tmp_path / "run.jsonl"
    ) as watch:
        train(model, optimizer, data, 3)
        watch.controls[0].undo()
        train(model, optimizer, data, 1)
    watch.save(tmp_path / "run.json")
    watch.controls[-1].undo()  # the log is closed by now
    saved, logged = leaky.load(tmp_path / "run.json"), leaky.load(tmp_path / "run.jsonl")
    texts = [str(each) for each in watch.run().controls]
    assert [str(each) for each in saved.controls] == [str(each) for each in logged.controls]
    assert [str(each) for each in logged.controls][:2] == texts[:2]
    first = saved.controls[0]
    assert (first.step, first.kind, first.site, first.alarm, first.places) == (0, "slope", "1", "update-size", ("1",))
    assert first.evidence.startswith("one step changes the weights behind it by")
    assert (first.ended, first.why_ended) == (3, "undone by the user")
    assert "step 0: slope at '1': 1 now has the slope 0.3; undone at step 3: undone by the user" in str(saved)
    shown = run_content(saved, Columns())["controls"][0]
    assert (shown["step"], shown["until"], shown["kind"], shown["site"]) == (0, 3, "slope", "1")
    assert (shown["alarm"], shown["refused"]) == ("update-size", False)
    assert shown["message"] == "1 now has the slope 0.3; undone at step 3: undone by the user"


# on ranks


def work(rank: int, folder: str, differs: bool) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    place = Path(folder)
    distributed.init_process_group("gloo", f"file://{place / 'meet'}", timedelta(seconds=100), 2, rank)
    model, data = made("mlp")
    with pytest.raises(leaky.LeakyError, match="must be controlled by all of them alike"):
        leaky.watch(model, on_alarm="control")
    both: Any = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    table: Any = {"update-size": ("slope", 0.2 + 0.1 * rank * differs)}
    group = distributed.group.WORLD
    with leaky.watch(both, optimizer, on_alarm=table, thresholds=ALWAYS, report_every=2, group=group) as watch:
        train(both, optimizer, data[rank * 12 : rank * 12 + 12], 4)
    weights = [p.detach().numpy() for p in model.parameters()]
    texts = [str(each.record) for each in watch.controls]
    (place / f"{rank}.pickle").write_bytes(pickle.dumps((weights, texts, type(model[1]).__name__)))  # type: ignore[index]
    os._exit(0)  # gloo's threads may abort a process that takes them down


@pytest.mark.skipif(sys.platform == "win32" or not distributed.is_available(), reason="needs gloo")
@pytest.mark.parametrize("differs", [False, True])
def test_ranks_do_the_same_or_nothing(differs: bool, tmp_path: Path) -> None:
    multiprocessing.spawn(work, (str(tmp_path), differs), 2)
    (weights, texts, kind), (other, others, _) = (
        pickle.loads((tmp_path / f"{rank}.pickle").read_bytes()) for rank in range(2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(weights, other, strict=True))
    assert texts == others
    assert texts
    assert not differs or all("refused" in text for text in texts)
    assert kind == ("ReLU" if differs else "LeakyReLU")
    assert ("the ranks decided differently" in texts[0]) == differs


def ends_early(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    place = Path(folder)
    distributed.init_process_group("gloo", f"file://{place / 'meet'}", timedelta(seconds=60), 2, rank)
    model, data = made("mlp")
    table: Any = {"update-size": ("slope", 0.3)}
    optimizer, group = torch.optim.SGD(model.parameters(), 0.05), distributed.group.WORLD
    with leaky.watch(model, optimizer, on_alarm=table, report_every=2, group=group, thresholds=ALWAYS) as watch:
        train(model, optimizer, data, 1 if rank else 6)
    texts = [each.record.refused for each in watch.controls]
    (place / f"{rank}.pickle").write_bytes(pickle.dumps((texts, list(watch.notes))))
    distributed.destroy_process_group()


@pytest.mark.skipif(sys.platform == "win32" or not distributed.is_available(), reason="needs gloo")
def test_a_rank_without_a_further_step_answers_the_others_so_that_nobody_waits(tmp_path: Path) -> None:
    multiprocessing.spawn(ends_early, (str(tmp_path),), 2)
    (going, notes), (ended, ended_notes) = (
        pickle.loads((tmp_path / f"{rank}.pickle").read_bytes()) for rank in range(2)
    )
    assert notes == ended_notes == []
    assert going == ended == []


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"ded": "slope"}, "must name alarms among"),
        ({"dead": "raise"}, "must be one of clamp, slope, rescale, rate"),
        ({"dead": ("slope", 2.0)}, "must be below 1"),
        ({"dead": ("rate", -1.0)}, "must be a number above 0"),
        ({"drift": ("rescale", 0.3)}, "must be a power of two"),
    ],
)
def test_a_table_that_cannot_be_is_refused_beforehand(table: Any, words: str) -> None:
    with pytest.raises(leaky.LeakyError, match=words):
        leaky.watch(made("mlp")[0], on_alarm=table)
