"""What watching costs: a training step with every unit's statistics ÷ the plain step, beside what others do in hooks.

    python -m benchmarks.watch

All contenders take turns in one process, each with its own copy of model and optimizer; ratios are of medians. Results
go to benchmarks/results/watch.json.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

import leaky
from benchmarks.timing import Times, interleaved, machine, ratio

RESULTS = Path(__file__).parent / "results" / "watch.json"


@dataclass(frozen=True)
class Case:
    """A model, one batch for it, and the most that watching every step may cost."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    target: float


def mlp(*widths: int) -> nn.Module:
    """Linear layers with ReLUs in between."""
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def cnn() -> nn.Module:
    """Four convolutions of 3×32² images."""
    channels = (3, 32, 32, 64, 64)
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(channels)):
        layers += [nn.Conv2d(a, b, 3, padding=1, stride=2 if i % 2 else 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def transformer() -> nn.Module:
    """Six encoder layers of width 128."""
    layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True)
    return nn.Sequential(nn.TransformerEncoder(layer, 6, enable_nested_tensor=False), nn.Flatten(), nn.Linear(4096, 10))


CASES = {
    "CNN of 4 convolutions, 64×3×32²": Case(cnn, (64, 3, 32, 32), 1.03),
    "MLP 784-512³-10, batch 256": Case(lambda: mlp(784, 512, 512, 512, 10), (256, 784), 1.03),
    "MLP 64-64³-10, batch 64": Case(lambda: mlp(64, 64, 64, 64, 10), (64, 64), 1.10),
    "transformer of 6 layers, 16×32×128": Case(transformer, (16, 32, 128), 1.05),
}


def step_of(case: Case, prepare: Callable[[nn.Module, torch.optim.Optimizer], Any]) -> Callable[[], None]:
    """One training step of a fresh copy."""
    torch.manual_seed(0)
    model, x, y = case.make(), torch.randn(*case.shape), torch.randint(10, case.shape[:1])
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    kept = prepare(model, optimizer)

    def step() -> None:
        assert kept is not None
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    step()
    step()
    return step


def five_reductions(model: nn.Module, _: Any) -> Any:
    """Count, sum, sum of squares, minimum and maximum a unit, and the gradient's squares, in hooks."""
    store: dict[str, torch.Tensor] = {}

    def hook(module: nn.Module, args: Any, h: torch.Tensor) -> None:
        z = h.detach().flatten(2) if h.ndim == 4 else h.detach().reshape(-1, h.shape[-1]).T[None]
        dims = (0, 2)
        store["sums"] = torch.stack([(z > 0).sum(dims), z.sum(dims), z.square().sum(dims), z.amin(dims), z.amax(dims)])
        h.register_hook(lambda g: store.update(gradient=g.square().sum()))

    for module in _activations(model):
        module.register_forward_hook(hook)
    return store


def activation_stats(model: nn.Module, _: Any) -> Any:
    """Mean, standard deviation and share near zero of each output, as numbers, after fastai's hook."""
    store: list[float] = []

    def hook(module: nn.Module, args: Any, h: torch.Tensor) -> None:
        store[:] = [h.mean().item(), h.std().item(), (h <= 0.05).float().mean().item()]

    for module in _activations(model):
        module.register_forward_hook(hook)
    return store


def histograms(model: nn.Module, _: Any) -> Any:
    """A histogram of 64 bins of each output."""
    store: list[torch.Tensor] = []

    def hook(module: nn.Module, args: Any, h: torch.Tensor) -> None:
        store[:] = [torch.histc(h.detach(), 64)]

    for module in _activations(model):
        module.register_forward_hook(hook)
    return store


def _activations(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, (nn.ReLU, nn.TransformerEncoderLayer))]


def watched(**options: Any) -> Callable[[nn.Module, torch.optim.Optimizer], Any]:
    """leaky.watch with these options."""
    return lambda model, optimizer: leaky.watch(model, optimizer, on_alarm=lambda alarm: None, **options).start()


CONTENDERS = {
    "plain": lambda model, optimizer: True,
    "leaky.watch": watched(),
    "leaky.watch, every=10": watched(every=10),
    "leaky.watch, off steps": watched(every=lambda step: step == 0),
    "five reductions in a hook": five_reductions,
    "mean, deviation, near zero in a hook": activation_stats,
    "histograms in a hook": histograms,
}


def measure(budget: float, cases: dict[str, Case]) -> dict[str, Any]:
    """The ratios of every contender to the plain step, by case."""
    found: dict[str, Any] = {}
    for name, case in cases.items():
        times: dict[str, Times] = interleaved({c: step_of(case, make) for c, make in CONTENDERS.items()}, budget, 20)
        ratios = {contender: round(ratio(times, contender, "plain"), 3) for contender in CONTENDERS}
        found[name] = {"target": case.target, "plain_seconds": times["plain"].median, "ratios": ratios}
    return found


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="a case")
    budget = parser.parse_args().seconds
    found = measure(budget, CASES)
    for name, case in found.items():
        print(f"{name}: plain step {case['plain_seconds'] * 1e3:.2f} ms, target {case['target']}")
        for contender, value in case["ratios"].items():
            print(f"    {value:6.3f}  {contender}")
    kept = {"machine": machine(), "load": os.getloadavg()[0], "threads": torch.get_num_threads(), "cases": found}
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
