"""What watching costs: a training step with every unit's statistics ÷ the plain step, beside what others do in hooks.

    python -m benchmarks.watch
    python -m benchmarks.watch --compiled

All contenders take turns in one process, step by step, each with its own copy of model and optimizer. Two ratios of
each to the plain step are told: that of the medians of single steps, which no report falls into, and that of a stretch
of ten steps with the report that `leaky.watch` makes once in it: the mean over the ten places in the stretch of the
median step there. The first hundred steps, which a watch looks at more closely, are a contender of their own. Results
go to benchmarks/results/watch.json, case by case; what is not run stays as it was.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException

import leaky
from benchmarks.timing import machine
from leaky.files import write_whole
from leaky.watching.course import CLOSE

RESULTS = Path(__file__).parent / "results" / "watch.json"
STRETCH = 10
"""Steps of a stretch: as many as `leaky.watch` draws together in a report."""
COMPILED_TARGET = 1.05


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


def cnn(in_place: bool = False) -> nn.Module:
    """Four convolutions of 3×32² images."""
    channels = (3, 32, 32, 64, 64)
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(channels)):
        layers += [nn.Conv2d(a, b, 3, padding=1, stride=2 if i % 2 else 1), nn.ReLU(in_place)]
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
    "CNN of 4 convolutions, its rectifiers in place": Case(lambda: cnn(True), (64, 3, 32, 32), 1.03),
}


Prepare = Callable[[nn.Module, torch.optim.Optimizer], Any]


def step_of(case: Case, prepare: Prepare, compiled: bool = False) -> Callable[[], None]:
    """One training step of a fresh copy."""
    torch.manual_seed(0)
    model, x, y = case.make(), torch.randn(*case.shape), torch.randint(10, case.shape[:1])
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    kept = prepare(model, optimizer)
    call = torch.compile(model, fullgraph=True) if compiled else model

    def step() -> None:
        assert kept is not None
        optimizer.zero_grad()
        nn.functional.cross_entropy(call(x), y).backward()
        optimizer.step()

    def early() -> None:
        step()
        kept.renew()

    chosen = early if isinstance(kept, First) else step
    for _ in range(CLOSE + STRETCH):  # the first are traced, and watched more closely
        chosen()
    return chosen


class First:
    """leaky.watch, begun anew each time that its first steps are over, which it watches more closely."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._begin = lambda: watched()(model, optimizer)
        self._watch, self._steps = self._begin(), 0

    def renew(self) -> None:
        """A step is over."""
        self._steps += 1
        if self._steps % CLOSE == 0:
            self._watch.stop()
            self._watch = self._begin()


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


def norms(model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    """Norms of each weight, its gradient and its step, as numbers, after Composer's monitor of optimizers."""
    store: dict[str, float] = {}
    named, rate = dict(model.named_parameters()), optimizer.param_groups[0]["lr"]

    def hook(*_: Any) -> None:
        for name, p in named.items():
            if p.grad is not None:
                size = float(torch.linalg.vector_norm(p.grad))
                store[name], store[f"gradient of {name}"] = float(torch.linalg.vector_norm(p.detach())), size
                store[f"step of {name}"] = rate * size

    return optimizer.register_step_post_hook(hook)


def bare_hooks(model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    """Hooks where `leaky.watch` has some, all of which do nothing: what no tool in Python can go below."""

    def nothing(*_: Any) -> None:
        return None

    def hook(module: nn.Module, args: Any, h: torch.Tensor) -> None:
        h.register_hook(nothing)

    for module in _activations(model):
        module.register_forward_hook(hook)
    model.register_forward_pre_hook(nothing, with_kwargs=True)
    model.register_forward_hook(nothing, always_call=True)
    optimizer.register_step_pre_hook(nothing)
    return optimizer.register_step_post_hook(nothing)


def _activations(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, (nn.ReLU, nn.TransformerEncoderLayer))]


def watched(**options: Any) -> Callable[[nn.Module, torch.optim.Optimizer], Any]:
    """leaky.watch with these options."""
    given: dict[str, Any] = {"on_alarm": lambda alarm: None, **options}
    return lambda model, optimizer: leaky.watch(model, optimizer, **given).start()


CONTENDERS: dict[str, Prepare] = {
    "plain": lambda model, optimizer: True,
    "leaky.watch": watched(),
    "leaky.watch, its first hundred steps": First,
    "leaky.watch, every=10": watched(every=10),
    "leaky.watch, off steps": watched(every=lambda step: step == 0),
    'leaky.watch, on_alarm="control"': watched(on_alarm="control"),
    "leaky.watch, measures srank": watched(measures={"srank"}),
    "leaky.watch, measures gates": watched(measures={"gates"}),
    "hooks that do nothing": bare_hooks,
    "five reductions in a hook": five_reductions,
    "mean, deviation, near zero in a hook": activation_stats,
    "histograms in a hook": histograms,
    "norms of weights, gradients and steps": norms,
}
COMPILED: dict[str, Prepare] = {
    "plain": CONTENDERS["plain"],
    "leaky.watch": watched(),
    "leaky.watch, off steps": watched(every=lambda step: step == 0),
    "five reductions in a hook": five_reductions,
    "norms of weights, gradients and steps": norms,
}


def turns(steps: dict[str, Callable[[], None]], budget: float, least: int) -> dict[str, list[list[float]]]:
    """Seconds of every step of each contender, by the step's place in the stretch."""
    times: dict[str, list[list[float]]] = {name: [[] for _ in range(STRETCH)] for name in steps}
    began, turn = time.perf_counter(), 0
    while turn < least * STRETCH or turn % STRETCH or time.perf_counter() - began < budget:
        for name, step in steps.items():
            before = time.perf_counter()
            step()
            times[name][turn % STRETCH].append(time.perf_counter() - before)
        turn += 1
    return times


def measure(case: Case, compiled: bool, budget: float, least: int = 10) -> dict[str, Any]:
    """The two ratios of every contender to the plain step."""
    torch.compiler.reset()  # what earlier cases have compiled counts towards Dynamo's limit
    steps: dict[str, Callable[[], None]] = {}
    refused: dict[str, str] = {}
    for name, prepare in (COMPILED if compiled else CONTENDERS).items():
        try:
            steps[name] = step_of(case, prepare, compiled)
        except TorchDynamoException as error:
            refused[name] = str(error).strip().splitlines()[0]
    times = turns(steps, budget, least)
    single = {name: statistics.median(itertools.chain(*places)) for name, places in times.items()}
    whole = {name: statistics.fmean(map(statistics.median, places)) for name, places in times.items()}
    return {
        "target": COMPILED_TARGET if compiled else case.target,
        "plain_seconds": single["plain"],
        "turns": len(times["plain"][0]) * STRETCH,
        "ratios": {name: round(value / single["plain"], 3) for name, value in single.items()},
        "with_reports": {name: round(value / whole["plain"], 3) for name, value in whole.items()},
        "not_compiled_as_one_graph": refused,
        "load": os.getloadavg()[0],
    }


def _keep(name: str, case: dict[str, Any]) -> None:
    """A run that is cut short keeps what it has."""
    kept = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    cases = {**kept.get("cases", {}), name: case}
    found = {"machine": machine(), "torch": torch.__version__, "threads": torch.get_num_threads(), "cases": cases}
    write_whole(RESULTS, (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="a case")
    parser.add_argument("--only", default="", help="cases whose names contain this")
    parser.add_argument("--compiled", action="store_true", help="under torch.compile, against the compiled plain step")
    parser.add_argument("--dry", action="store_true", help="keep nothing")
    given = parser.parse_args()
    for name, case in CASES.items():
        if given.only not in name:
            continue
        found = measure(case, given.compiled, given.seconds)
        named = f"{name}{', compiled' * given.compiled}"
        print(f"{named}: plain step {found['plain_seconds'] * 1e3:.2f} ms, target {found['target']}")
        print("    a step  with reports")
        for contender, value in found["ratios"].items():
            print(f"    {value:6.3f}  {found['with_reports'][contender]:12.3f}  {contender}", flush=True)
        for contender, why in found["not_compiled_as_one_graph"].items():
            print(f"    {contender}: does not compile as one graph ({why})", flush=True)
        if not given.dry:
            _keep(named, found)


if __name__ == "__main__":
    main()
