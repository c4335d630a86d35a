"""What is told of choices and of layers' ends, however the model comes: compiled, in autocast, exported, as ONNX.

The oracle is the plain model: another route tells the same, or nothing of what it cannot see, and never more.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import leaky

X = torch.randn(96, 6, 8, generator=torch.Generator().manual_seed(1))
RULES = {"shut-gate", "saturated-attention", "softmax-inside", "alike-units", "unregistered", "no-gradient"}


class Gated(nn.Module):
    def __init__(self, sick: bool) -> None:
        super().__init__()
        self.value, self.gate, self.out = nn.Linear(8, 6), nn.Linear(8, 6), nn.Linear(6, 2)
        with torch.no_grad():
            self.gate.bias -= 20 * sick

    def forward(self, x: Tensor) -> Tensor:
        return self.out((torch.relu(self.value(x)) * torch.sigmoid(self.gate(x))).mean(1))  # type: ignore[no-any-return]


class Attending(nn.Module):
    def __init__(self, sick: bool) -> None:
        super().__init__()
        self.qkv, self.out, self.scale = nn.Linear(8, 24), nn.Linear(8, 2), 300.0 if sick else 0.3

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part[:, None] for part in self.qkv(x).chunk(3, -1))
        mixed = functional.scaled_dot_product_attention(q, k, v, scale=self.scale)[:, 0]
        return self.out(torch.relu(mixed).mean(1))  # type: ignore[no-any-return]


def between(sick: bool) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 7), nn.Softmax(1) if sick else nn.ReLU(), nn.Linear(7, 2))


def alike(sick: bool) -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 7), nn.ReLU(), nn.Linear(7, 2))
    if sick:
        nn.init.constant_(model[1].weight, 0.1)  # type: ignore[arg-type]
        nn.init.zeros_(model[1].bias)  # type: ignore[arg-type]
    return model


class Listed(nn.Module):
    def __init__(self, sick: bool) -> None:
        super().__init__()
        layers = [nn.Linear(8, 8), nn.Linear(8, 8)]
        self.layers = layers if sick else nn.ModuleList(layers)
        self.out = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.out(x.mean(1))  # type: ignore[no-any-return]


def flat(sick: bool) -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 7), nn.ReLU(), nn.Linear(7, 1), nn.Sigmoid())
    with torch.no_grad():
        model[3].bias -= 80 * sick  # type: ignore[operator]
    return model


MODELS: dict[str, tuple[Callable[[bool], nn.Module], str]] = {
    "gate": (Gated, "shut-gate"),
    "attention": (Attending, "saturated-attention"),
    "softmax": (between, "softmax-inside"),
    "alike": (alike, "alike-units"),
    "listed": (Listed, "unregistered"),
    "flat": (flat, "no-gradient"),
}


class Autocast(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            out = self.model(x)
        return out.float()  # type: ignore[no-any-return]


def exported(model: nn.Module) -> Any:
    samples = torch.export.Dim("samples", min=2, max=1000)
    return torch.export.export(model, (X,), dynamic_shapes=({0: samples},))


ROUTES: dict[str, Callable[[nn.Module], Any]] = {
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "autocast inside": Autocast,
    "exported": exported,
    "traced": lambda model: torch.jit.trace(model, X),
}


def told(model: Any, loss: bool = False) -> set[str]:
    how = {"loss": lambda out, batch: out.square().mean()}
    checkup = leaky.check(model, [X[:48], X[48:]], **(how if loss else {}))
    return {finding.rule for finding in checkup.findings} & RULES


def build(name: str, sick: bool) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[name][0](sick).eval()


@pytest.mark.parametrize("loss", [False, True])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("route", [*ROUTES, "autocast around"])
@pytest.mark.filterwarnings("ignore")
def test_another_route_tells_the_same_or_nothing(route: str, name: str, loss: bool) -> None:
    for sick in (True, False):
        plain = told(build(name, sick), loss)
        assert (MODELS[name][1] in plain) == (sick and (loss or name != "flat"))
        if name == "listed" and sick and route == "traced":
            continue  # torch itself refuses
        model = build(name, sick)
        around = torch.autocast("cpu", torch.bfloat16) if route == "autocast around" else nullcontext()
        with around:
            seen = told(ROUTES[route](model) if route in ROUTES else model, loss)
        unseen = {MODELS[name][1]} if (name, route) == ("listed", "exported") else set()
        assert seen == plain - unseen


@pytest.mark.parametrize("name", [name for name in MODELS if name != "listed"])
@pytest.mark.filterwarnings("ignore")
def test_onnx_tells_no_more(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    file = str(tmp_path / "model.onnx")
    for sick in (True, False):
        model = build(name, sick)
        torch.onnx.export(model, (X,), file, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}})
        found = {finding.rule for finding in leaky.check(file, X).findings} & RULES
        assert found <= told(model)
