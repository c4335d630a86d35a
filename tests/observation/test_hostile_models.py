"""Models that change themselves, their inputs or the process when they run: put back, or told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.observation.test_leaves_everything import bits, everything
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import leaky
from leaky.errors import InputError
from leaky.observation import model_state


class Acting(nn.Module):
    """Does something of its own in its forward pass."""

    def __init__(self, act: Callable[[Acting, Tensor], Any]) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        self.register_buffer("calls", torch.zeros(()))
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        self.act(self, x)
        return self.inner(x)


def writes_weight(model: Acting, x: Tensor) -> None:
    with torch.no_grad():
        model.inner[0].weight.mul_(0.5)


def writes_weight_data(model: Acting, x: Tensor) -> None:
    model.inner[0].weight.data.mul_(0.5)


def replaces_weight(model: Acting, x: Tensor) -> None:
    model.inner[0].weight = nn.Parameter(torch.ones(8, 4))


def calls_backward(model: Acting, x: Tensor) -> None:
    with torch.enable_grad():
        model.inner(x.detach()).sum().backward()


def sets_gradient(model: Acting, x: Tensor) -> None:
    model.inner[0].weight.grad = torch.ones(8, 4)


def scales_gradient(model: Acting, x: Tensor) -> None:
    model.inner[2].bias.grad.mul_(2)


def freezes(model: Acting, x: Tensor) -> None:
    model.inner[0].requires_grad_(False)


def registers_hook(model: Acting, x: Tensor) -> None:
    model.inner[0].register_forward_hook(lambda *_: None)


def registers_buffer(model: Acting, x: Tensor) -> None:
    model.register_buffer("late", torch.ones(3))


def adds_module(model: Acting, x: Tensor) -> None:
    model.inner.add_module("late", nn.Identity())


def replaces_buffer(model: Acting, x: Tensor) -> None:
    model.calls = model.calls + 1


def sets_dtype(model: Acting, x: Tensor) -> None:
    torch.set_default_dtype(torch.float64)


def sets_threads(model: Acting, x: Tensor) -> None:
    torch.set_num_threads(torch.get_num_threads() + 1)


def ends_gradients(model: Acting, x: Tensor) -> None:
    torch._C._set_grad_enabled(not torch.is_grad_enabled())


def registers_global_hook(model: Acting, x: Tensor) -> None:
    nn.modules.module.register_module_forward_hook(lambda *_: None)


def opens_mode(model: Acting, x: Tensor) -> None:
    torch.device("cpu").__enter__()


ACTS = {
    writes_weight: "writes to its parameters inner.0.weight when it runs; it was put back",
    writes_weight_data: "writes to its parameters inner.0.weight when it runs; it was put back",
    replaces_weight: None,
    calls_backward: "changes gradients",
    sets_gradient: "changes gradients (inner.0.weight) when it runs; they were put back",
    scales_gradient: "changes gradients (inner.2.bias) when it runs; they were put back",
    freezes: "changes whether inner.0.weight, inner.0.bias learn",
    registers_hook: None,
    registers_buffer: None,
    adds_module: None,
    replaces_buffer: None,
    sets_dtype: "changes the default dtype when it runs; it was put back",
    sets_threads: "changes the number of torch's threads when it runs; it was put back",
    ends_gradients: None,
    registers_global_hook: None,
    opens_mode: None,
}


def surroundings() -> tuple[Any, ...]:
    return torch.get_default_dtype(), torch.get_num_threads(), torch._C._len_torch_function_stack()


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_what_a_forward_pass_changes_is_put_back_and_told(act: Callable[[Acting, Tensor], Any]) -> None:
    torch.manual_seed(0)
    model, data = Acting(act), torch.randn(300, 4)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    before, around = everything(model), surroundings()
    try:
        record = leaky.observe(model, data)
        after = everything(model)
        assert {key for key in before if before[key] != after.get(key)} == set()
        assert before.keys() == after.keys()
        assert surroundings() == around
        said = ACTS[act]
        assert said is None or any(said in note for note in record.notes), record.notes
    finally:
        torch.set_default_dtype(torch.float32)


def test_parameters_too_large_to_copy_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_state, "COPIED_AT_MOST", 0)
    for act in (writes_weight, writes_weight_data):
        record = leaky.observe(Acting(act), torch.randn(300, 4))
        assert any("inner.0.weight when it runs, which was not put back" in note for note in record.notes)
    assert not leaky.observe(Acting(lambda *_: None), torch.randn(300, 4)).notes


class Merging(nn.Linear):
    """LoRA as loralib has it: eval mode folds the low-rank part into the weight."""

    def __init__(self) -> None:
        super().__init__(4, 8)
        self.low, self.high = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.randn(8, 2))
        self.weight.requires_grad_(False)
        self.merged = False

    def train(self, mode: bool = True) -> Merging:
        super().train(mode)
        if mode == self.merged:
            self.weight.data += (self.high @ self.low) * (-1 if mode else 1)
            self.merged = not mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if self.merged else y + x @ self.low.T @ self.high.T


def test_weights_that_eval_mode_folds_are_unfolded() -> None:
    torch.manual_seed(0)
    model, data = nn.Sequential(Merging(), nn.ReLU(), nn.Linear(8, 2)).train(), torch.randn(300, 4)
    before = everything(model)
    assert leaky.observe(model, data).sites
    assert everything(model) == before
    assert model[0].merged is False
    model(data).sum().backward()
    assert model[0].low.grad is not None


@pytest.mark.parametrize("again", [False, True], ids=["once", "with initial weights"])
@pytest.mark.parametrize("form", [lambda x: x, lambda x: [x], lambda x: [{"input": x}], lambda x: [(x, x)]])
def test_a_first_layer_in_place_leaves_the_data(form: Callable[[Tensor], Any], again: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 8), nn.ReLU())
    data = torch.randn(300, 4)
    untouched = bits(data)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    found = leaky.check(model, form(data), initial=state if again else None)
    assert bits(data) == untouched
    fired = found.record.sites[0].statistics.fired
    assert fired.tolist() == (data > 0).sum(0).tolist()
    if again:
        assert found.initial is not None
        assert found.initial.sites[0].statistics.fired.tolist() == fired.tolist()


def test_a_model_that_writes_to_its_input_and_raises_leaves_the_data() -> None:
    def act(model: Acting, x: Tensor) -> None:
        x.zero_()
        raise RuntimeError("the user's own")

    data = torch.randn(20, 4)
    untouched = bits(data)
    with pytest.raises(RuntimeError, match="the user's own"):
        leaky.observe(Acting(act), data)
    assert bits(data) == untouched


def test_masked_data_are_refused() -> None:
    data = np.ma.masked_array(np.ones((8, 4)), np.eye(8, 4) > 0)
    with pytest.raises(InputError, match=r"no masked elements; fill them first: array.filled"):
        leaky.observe(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), data)


def test_fake_and_meta_models_are_refused_before_anything_is_touched() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).train()
    before = everything(model)
    with FakeTensorMode(allow_non_fake_inputs=True), pytest.raises(InputError, match="meta device, or fake"):
        leaky.observe(model, torch.randn(3, 4))
    assert everything(model) == before
    with pytest.raises(InputError, match="meta device, or fake"):
        leaky.observe(nn.Sequential(nn.Linear(4, 4, device="meta"), nn.ReLU()), torch.randn(3, 4))


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_models_and_data_of_inference_mode_are_examined(mode: str) -> None:
    with torch.inference_mode():
        model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU()).train()
        data = torch.randn(300, 4)
    before = [bits(t) for t in (*model.parameters(), *model.buffers())]
    assert leaky.observe(model, data, mode="eval").sites
    assert model.training
    with torch.inference_mode():
        assert leaky.observe(model, data, mode=mode).sites
    assert model[0].training
    assert [bits(t) for t in (*model.parameters(), *model.buffers())] == before


def test_sparse_parameters_are_examined_or_refused_and_the_mode_stays() -> None:
    class Sparse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.eye(4).to_sparse())

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(torch.sparse.mm(self.weight, x.T).T)

    model = Sparse().train()
    assert leaky.observe(model, torch.randn(20, 4)).sites
    assert model.training


def test_one_model_in_several_threads_is_observed_in_turn() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)).train()
    data = torch.randn(500, 4)
    before = everything(model)
    alone = {
        mode: leaky.observe(model, data, mode=mode, batch_size=50).sites[0].statistics for mode in ("eval", "train")
    }
    found: list[tuple[str, Any]] = []

    def observe(part: nn.Module, mode: str) -> None:
        sites = leaky.observe(part, data, mode=mode, batch_size=50).sites
        found.append((mode, sites[0].statistics))

    threads = [
        threading.Thread(target=observe, args=(part, mode)) for mode in alone for part in (model, model[:3], model)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == len(threads)
    for mode, statistics in found:
        assert statistics.fired.tolist() == alone[mode].fired.tolist()
    after = everything(model)
    assert {key for key in before if before[key] != after[key]} == set()


def test_a_branch_in_a_thread_of_the_model_is_listed() -> None:
    class Threaded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
            self.side = nn.Sequential(nn.Linear(4, 8), nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            found: list[Tensor] = []
            thread = threading.Thread(target=lambda: found.append(self.side(x)))
            thread.start()
            thread.join()
            return self.main(x) + found[0]

    record = leaky.observe(Threaded(), [torch.randn(50, 4)] * 2)
    assert [site.name for site in record.sites] == ["main.1"]
    assert "side" in {item.name for item in record.not_examined}
    assert all("another thread" in item.reason for item in record.not_examined)
