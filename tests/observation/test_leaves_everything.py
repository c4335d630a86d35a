"""Observing leaves everything as it was, bit for bit, also when the user's code raises in the middle."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.observation import networks
from torch import Tensor, nn
from torch.nn.modules import module as module_globals
from torch.utils import _python_dispatch

import leaky


def bits(value: Tensor) -> bytes:
    return value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""


def everything(model: nn.Module) -> dict[str, Any]:
    """All that an observer could have touched."""
    state: dict[str, Any] = {"python": random.getstate(), "torch": torch.get_rng_state().tolist()}
    state["numpy"] = str(np.random.get_state())
    state["grad mode"] = torch.is_grad_enabled()
    state["modes"] = {name: value for name, value in vars(_python_dispatch).items() if name.startswith("_is_in_")}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        gradient = None if tensor.grad is None else bits(tensor.grad)
        state[name] = (
            id(tensor),
            tensor.data_ptr(),
            bits(tensor),
            gradient,
            tensor.requires_grad,
            sorted(vars(tensor)),
        )
    for name, module in model.named_modules():
        hooks = {key: dict(value) for key, value in vars(module).items() if key.endswith("hooks")}
        state[f"module {name}"] = (module.training, hooks, sorted(vars(module)))
    state["global hooks"] = [
        dict(value) for key, value in vars(module_globals).items() if key.startswith("_global") and "hooks" in key
    ]
    return state


class Fragile(nn.Module):
    """Updates a BatchNorm, draws random numbers, and raises on the second batch."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(6, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Dropout(0.5))
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.calls = self.calls.clone()  # another tensor object under the buffer's name
        random.random()
        np.random.rand()
        y = self.inner(x)
        if self.calls > 1:
            raise RuntimeError("the user's own")
        return y


def trained(build: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    model = build()
    model.train()
    next(iter(model.modules())).training = True
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    return model


def normalised() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 7), nn.RReLU(), nn.utils.parametrizations.spectral_norm(nn.Linear(7, 3)))


LOSS = {"without a loss": None, "with a loss": lambda y, _: (y[0] if isinstance(y, tuple) else y).square().mean()}


@pytest.mark.parametrize("loss", LOSS)
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (networks.ResNet, (8, 3, 6, 6)),
        (networks.Folded, (8, 4, 6)),
        (networks.Scripted, (8, 6)),
        (lambda: nn.RNN(6, 7, nonlinearity="relu", dropout=0.3, num_layers=2), (4, 8, 6)),
        (normalised, (8, 6)),
    ],
    ids=["resnet", "folded", "scripted", "rnn", "spectral norm"],
)
def test_a_model_is_left_as_it_was(
    build: Callable[[], nn.Module], shape: tuple[int, ...], mode: str, loss: str
) -> None:
    model, data = trained(build), torch.randn(*shape)
    model.eval() if mode == "train" else model.train()
    before, untouched = everything(model), bits(data)
    assert leaky.observe(model, [data, data], mode=mode, loss=LOSS[loss], seed=3).sites
    after = everything(model)
    assert {key for key in before if before[key] != after[key]} == set()
    assert bits(data) == untouched
    assert vars(data) == {}


@pytest.mark.parametrize("loss", LOSS)
def test_an_exception_in_the_middle_leaves_no_trace(loss: str) -> None:
    model, data = trained(Fragile), torch.randn(8, 6)
    before = everything(model)
    with pytest.raises(RuntimeError, match="the user's own"):
        leaky.observe(model, [data, data], mode="train", loss=LOSS[loss], seed=1)
    after = everything(model)
    assert {key for key in before if before[key] != after[key]} == set()


def test_the_comparison_can_fail() -> None:
    model, data = trained(Fragile), torch.randn(8, 6)
    before = everything(model)
    model(data)
    after = everything(model)
    assert {"python", "numpy", "torch", "calls", "inner.1.running_mean"} <= {k for k in before if before[k] != after[k]}


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_outputs_are_the_user_s_own(mode: str) -> None:
    """The observed pass returns, bit for bit, what the plain pass returns."""
    torch.manual_seed(0)
    model = networks.ResNet().train(mode == "train")
    data = torch.randn(8, 3, 6, 6)
    outputs: list[Tensor] = []

    class Keeping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            outputs.append(self.inner(x))
            return outputs[-1]

    plain = copy.deepcopy(model)(data)
    leaky.observe(Keeping(), data, mode=mode)
    assert bits(outputs[0]) == bits(plain)


def test_training_goes_on_as_if_nobody_had_looked() -> None:
    """Bit-identical weights with and without an observation in the middle of training."""

    def train(look: bool) -> bytes:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 3))
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        data, targets = torch.randn(64, 6), torch.randint(3, (64,))
        for step in range(20):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(data), targets).backward()
            if look and step % 5 == 0:
                leaky.observe(model, data, mode="train", loss=lambda y, _: nn.functional.cross_entropy(y, targets))
            optimizer.step()
        return b"".join(bits(tensor) for tensor in model.state_dict().values())

    assert train(look=True) == train(look=False)


def test_intermediate_tensors_are_released() -> None:
    """No tensor of the pass outlives the observation."""
    alive: list[Any] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.act = nn.Linear(6, 7), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            import weakref

            z = self.inner(x)
            alive.append(weakref.ref(z))
            return self.act(z).sum(1)

    leaky.observe(Watched(), torch.randn(20, 6), batch_size=5, loss=lambda y, _: y.mean())
    assert [reference() for reference in alive] == [None] * 4


@pytest.mark.parametrize("moment", range(4))
def test_an_interruption_at_the_fused_path_leaves_it_as_it_was(moment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C just before or behind each time that it is switched."""
    switch, calls = torch.backends.mha.set_fastpath_enabled, []

    def interrupted(enabled: bool) -> None:
        calls.append(enabled)
        if len(calls) == moment // 2 + 1 and moment % 2 == 0:
            raise KeyboardInterrupt
        switch(enabled)
        if len(calls) == moment // 2 + 1 and moment % 2 == 1:
            raise KeyboardInterrupt

    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU()), torch.randn(5, 3)
    before = everything(model)
    monkeypatch.setattr(torch.backends.mha, "set_fastpath_enabled", interrupted)
    with pytest.raises(KeyboardInterrupt):
        leaky.observe(model, x)
    assert len(calls) > moment // 2
    assert torch.backends.mha.get_fastpath_enabled()
    assert everything(model) == before
