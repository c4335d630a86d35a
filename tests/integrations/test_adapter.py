"""What every callback rests on: which modules a trainer calls, and which scalars are new."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from leaky.errors import InputError
from leaky.integrations.adapter import Adapter


class Parts(nn.Module):
    """A model that trainers call by its parts, never as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(8, 8), nn.LeakyReLU(0.1), nn.Linear(8, 2))
        self.unused = nn.Sequential(nn.Linear(6, 8), nn.ReLU())


def trained(adapter: Adapter, model: Any, call: Any, steps: int = 12) -> list[dict[str, float]]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(0)
    sent = []
    adapter.start(model)
    for _ in range(steps):
        x = torch.randn(16, 6, generator=generator)
        optimizer.zero_grad()
        call(x).square().mean().backward()
        optimizer.step()
        adapter.step()
        sent.append(adapter.take())
    adapter.stop()
    return sent


def test_the_parts_that_are_called_are_watched_under_their_names() -> None:
    torch.manual_seed(0)
    model, adapter = Parts(), Adapter(sites=True, report_every=5)
    sent = trained(adapter, model, lambda x: model.head(model.body(x)))
    assert set(adapter.watches) == {"body", "head"}
    last = next(each for each in reversed(sent) if each)
    assert "leaky/silent" in last
    assert "leaky/body.1/gradient" in last
    assert not any("unused" in name for name in last)
    assert sum(bool(each) for each in sent) == 2, "twelve steps, five a report"


class Wrapped(torch.optim.Optimizer):
    """As accelerate's: an optimizer around the one that steps."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer


@pytest.mark.parametrize("closure", [False, True])
def test_a_part_is_watched_with_the_optimizer_that_trains_it_and_its_steps_are_counted_once(closure: bool) -> None:
    torch.manual_seed(0)
    model, adapter = Parts(), Adapter(report_every=5)
    first, second = (torch.optim.Adam(part.parameters(), 1e-3) for part in (model.body, model.head))
    generator = torch.Generator().manual_seed(0)
    adapter.start(model, [first, Wrapped(second), None])
    for step in range(21):

        def computed() -> torch.Tensor:
            model.zero_grad()
            loss = model.head(model.body(torch.randn(16, 6, generator=generator))).square().mean()
            loss.backward()
            return loss

        if not closure:
            computed()
        for optimizer in (first, second)[: 2 - step % 2]:
            optimizer.step(computed if closure else None)
        adapter.step()
    adapter.stop()
    assert {name: each.step_number for name, each in adapter.watches.items()} == {"body": 21, "head": 11}
    for each in adapter.watches.values():
        updates = each.history["1"]["update"][: each.step_number // 5]
        assert ((updates > 0) & (updates < 0.1)).all()


@pytest.mark.parametrize("closure", [False, True])
def test_the_first_step_is_watched_where_a_rate_does_its_harm(closure: bool) -> None:
    torch.manual_seed(0)
    model, adapter = Parts(), Adapter(report_every=5, on_alarm=lambda alarm: None)
    optimizer = torch.optim.SGD(model.parameters(), 1e5)
    adapter.start(model, [optimizer])
    for _ in range(12):
        x = torch.randn(16, 6)

        def computed(x: torch.Tensor = x) -> torch.Tensor:
            optimizer.zero_grad()
            loss = model.head(model.body(x)).square().mean()
            loss.backward()
            adapter.begin_step()  # as Lightning's on_before_optimizer_step
            return loss

        if not closure:
            computed()
        optimizer.step(computed if closure else None)
        optimizer.param_groups[0]["lr"] = 1e-9
        adapter.step()
    adapter.stop()
    for name, each in adapter.watches.items():
        assert [alarm.step for alarm in each.alarms if alarm.finding.rule == "update-size"] == [0], name
        assert each.record().sites[0].samples == 12 * 16


@pytest.mark.parametrize("reentrant", [True, False])
def test_what_a_checkpoint_computes_again_is_no_module_that_is_called(reentrant: bool) -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Linear(8, 2))

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = model

        def forward(self, x: torch.Tensor) -> Any:
            return model[2](checkpoint(model[1], model[0](x), use_reentrant=reentrant))

    whole, adapter = Checkpointed(), Adapter(report_every=4)
    trained(adapter, whole, whole)
    assert set(adapter.watches) == {""}
    assert adapter.watches[""].record().sites[0].samples == 12 * 16


def test_what_the_loss_does_is_told_once_however_many_parts_are_watched() -> None:
    torch.manual_seed(0)
    model, adapter = Parts(), Adapter(report_every=5, on_alarm=lambda alarm: None)
    optimizer = torch.optim.SGD(model.parameters(), 0.02)
    generator = torch.Generator().manual_seed(0)
    adapter.start(model, [optimizer])
    for _ in range(60):
        optimizer.zero_grad()
        wrong = -model.head(model.body(torch.randn(64, 6, generator=generator))).square().mean()
        (wrong.detach() * -2 + wrong).backward()
        optimizer.step()
        adapter.step()
    adapter.stop()
    told = [alarm.finding.rule for each in adapter.watches.values() for alarm in each.alarms]
    assert told.count("rising-loss") == 1
    assert len(adapter.watches) == 2


def test_a_model_that_is_called_as_a_whole_is_watched_as_a_whole() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].bias[3] = -100.0
    adapter = Adapter(report_every=4)
    sent = trained(adapter, model, model, steps=60)
    assert set(adapter.watches) == {""}
    last = next(each for each in reversed(sent) if each)
    assert set(last) <= {f"leaky/{name}" for name in ("dead", "locked", "dormant", "nearly_dead", "silent", "alarms")}
    assert last["leaky/silent"] == last["leaky/dead"] == pytest.approx(1 / 8)


def test_no_hook_is_left_behind() -> None:
    model = Parts()
    adapter = Adapter()
    trained(adapter, model, lambda x: model.head(model.body(x)))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    adapter.start(model)
    adapter.stop()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_misspelt_option_is_told_before_the_training() -> None:
    with pytest.raises(InputError, match="watch has no option 'evry'; did you mean 'every'"):
        Adapter(evry=3)
    with pytest.raises(InputError, match="every must be"):
        Adapter(every=0)


def test_a_model_that_is_never_called_is_told_of() -> None:
    adapter = Adapter()
    adapter.start(nn.Linear(2, 2))
    for _ in range(19):
        adapter.step()
    with pytest.warns(RuntimeWarning, match="nothing to watch"):
        adapter.step()
    adapter.stop()


def test_the_figure_has_a_bar_a_layer_and_share() -> None:
    pytest.importorskip("matplotlib")
    model, adapter = Parts(), Adapter(report_every=3)
    trained(adapter, model, lambda x: model.head(model.body(x)))
    axes = adapter.figure().axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["body.1", "head.1"]
    drawn = {bars.get_label(): [bar.get_width() for bar in bars] for bars in axes.containers}
    for state, widths in drawn.items():
        known = [adapter.watches[name].history.last("1", state) for name in ("body", "head")]
        assert widths == pytest.approx(np.nan_to_num([100 * share for share in known]))
    assert set(drawn) == {"silent", "dead"}
