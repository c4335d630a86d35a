"""What every callback rests on: which modules a trainer calls, and which scalars are new."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

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
    assert sum(bool(each) for each in sent) == 2, "twelve steps, the first of them spent on looking, five a report"


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
