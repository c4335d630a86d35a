"""Whether watching leaves a training what it is: two trainings, one of them watched, compared bit by bit.

    python -m benchmarks.identity

Five networks × SGD and AdamW × eager and compiled × float32 and autocast bfloat16, 200 steps each. The loss of every
step, the gradients, weights and buffers at the end, what the optimizer keeps, and the state of the random numbers must
be the same bits. Results go to benchmarks/results/identity.json as they come, each with the time that it took; what is
there already is left as it is, unless --anew asks for all of them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

import leaky
from benchmarks.timing import machine
from leaky.files import write_whole

RESULTS = Path(__file__).parent / "results" / "identity.json"
STEPS = 200
BATCH = 8
CLASSES = 4


class Residual(nn.Module):
    """A block with BatchNorm and dropout, its rectifiers in place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)])
        self.act, self.drop = nn.ReLU(inplace=True), nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.drop(self.act(self.norms[0](self.first(x))))
        return self.act(self.norms[1](self.second(h)) + x)


class Recurrent(nn.Module):
    """A GRU, and a rectified cell that runs over its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.mix = nn.GRU(5, 12, batch_first=True), nn.Linear(12, 12)
        self.act, self.head = nn.LeakyReLU(0.1), nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        outputs, _ = self.gru(x)
        state = torch.zeros_like(outputs[:, 0])
        for step in range(outputs.shape[1]):
            state = self.act(self.mix(state + outputs[:, step]))
        return nn.functional.relu(self.head(state)) + self.head(state)


def mlp() -> nn.Module:
    """Linear layers with three kinds of activations."""
    return nn.Sequential(
        nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.LeakyReLU(0.1), nn.Linear(32, 32), nn.GELU(), _head(32)
    )


def cnn() -> nn.Module:
    """Two convolutions."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3), nn.SiLU(), nn.Flatten(), _head(128)
    )


def resnet() -> nn.Module:
    """Two residual blocks with BatchNorm and dropout."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), Residual(8), Residual(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), _head(8)
    )


def transformer() -> nn.Module:
    """One encoder layer, with dropout."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
    return nn.Sequential(nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Flatten(), _head(96))


def _head(width: int) -> nn.Module:
    return nn.Linear(width, CLASSES)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "MLP": (mlp, (10,)),
    "CNN": (cnn, (3, 8, 8)),
    "ResNet with BatchNorm and dropout": (resnet, (3, 8, 8)),
    "transformer block": (transformer, (6, 16)),
    "GRU": (Recurrent, (4, 5)),
}
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD": lambda weights: torch.optim.SGD(weights, 0.05, momentum=0.9),
    "AdamW": lambda weights: torch.optim.AdamW(weights, 0.01),
}
PRECISIONS = {"float32": torch.float32, "autocast bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Circumstance:
    """How one training is made.

    Attributes:
        network: a name of `NETWORKS`.
        optimizer: a name of `OPTIMIZERS`.
        backend: of torch.compile; "eager" where nothing is compiled.
        precision: a name of `PRECISIONS`.
    """

    network: str
    optimizer: str
    backend: str
    precision: str


def circumstances(backends: tuple[str, ...]) -> Iterator[Circumstance]:
    """All of them."""
    for each in itertools.product(NETWORKS, OPTIMIZERS, backends, PRECISIONS):
        yield Circumstance(*each)


def compiler() -> str:
    """The backend that this machine can run: Inductor needs a compiler of C++."""
    found = any(map(shutil.which, ("g++", "c++", "clang++")))
    return "inductor" if found and sys.platform != "win32" else "aot_eager"


def differences(circumstance: Circumstance, steps: int) -> dict[str, Any]:
    """What differs between the training with and without a watch.

    Returns:
        `differs`: the names of what has other bits, `first step`: of the first loss that has, None for none,
        `samples`: what each site has seen, which shows that it was watched; `graphs`: that torch made of the watched
        one; and `notes` of the watch.
    """
    plain, _ = _trained(circumstance, steps, watched=False)
    counters.clear()
    seen, watch = _trained(circumstance, steps, watched=True)
    assert watch is not None
    differs = [name for name, value in plain.items() if not same_bits(value, seen[name])]
    losses = (plain["losses"], seen["losses"])
    first = next((step for step, (a, b) in enumerate(zip(*losses, strict=True)) if not same_bits(a, b)), None)
    samples = {site.name: site.samples for site in watch.record().sites}
    graphs = counters["stats"]["unique_graphs"]
    return {"differs": differs, "first step": first, "samples": samples, "graphs": graphs, "notes": list(watch.notes)}


def same_bits(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors hold the same bits, −0 and NaN told apart as they lie in memory."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return torch.equal(*(each.detach().contiguous().reshape(-1).view(torch.uint8) for each in (left, right)))


def _trained(
    circumstance: Circumstance, steps: int, watched: bool
) -> tuple[dict[str, Tensor], leaky.watching.Watch | None]:
    torch._dynamo.reset()
    torch.manual_seed(0)
    make, shape = NETWORKS[circumstance.network]
    model = make()
    data, labels = torch.randn(3 * BATCH, *shape), torch.randint(CLASSES, (3 * BATCH,))
    optimizer = OPTIMIZERS[circumstance.optimizer](model.parameters())
    call = model if circumstance.backend == "eager" else torch.compile(model, backend=circumstance.backend)
    watch = leaky.watch(model, optimizer, on_alarm=lambda alarm: None).start() if watched else None
    losses = []
    precision = PRECISIONS[circumstance.precision]
    for step in range(steps):
        part = slice(step % 3 * BATCH, (step % 3 + 1) * BATCH)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
            loss = nn.functional.cross_entropy(call(data[part]).float(), labels[part])
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    if watch is not None:
        watch.stop()
    return _state(model, optimizer, torch.stack(losses)), watch


def _state(model: nn.Module, optimizer: torch.optim.Optimizer, losses: Tensor) -> dict[str, Tensor]:
    found = {"losses": losses, "random numbers": torch.get_rng_state(), **model.state_dict()}
    names = {parameter: name for name, parameter in model.named_parameters()}
    found |= {f"gradient of {name}": p.grad for p, name in names.items() if p.grad is not None}
    for parameter, kept in optimizer.state.items():
        found |= {f"{key} of {names[parameter]}": value for key, value in kept.items() if isinstance(value, Tensor)}
    return found


def told(row: dict[str, Any]) -> str:
    """What came of one training, in a line."""
    how = ", ".join(row[name] for name in ("network", "optimizer", "backend", "precision"))
    found = "the same bits" if not row["differs"] else f"{len(row['differs'])} differ, from {row['first step']}"
    unseen = [name for name, samples in row["samples"].items() if samples != row["steps"] * BATCH]
    seen = f", not seen in every step: {', '.join(unseen)}" if unseen else ""
    return f"{how}: {found}{seen} ({row['seconds']:.0f} s)"


def _kept(anew: bool) -> list[dict[str, Any]]:
    """The rows that an earlier run of the same torch has left."""
    known = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() and not anew else {}
    return list(known["rows"]) if known.get("torch") == torch.__version__ else []


def _keep(rows: list[dict[str, Any]]) -> None:
    """A run that is cut short keeps what it has."""
    same = sum(not row["differs"] for row in rows)
    kept = {"machine": machine(), "torch": torch.__version__, "same": same, "of": len(rows), "rows": rows}
    write_whole(RESULTS, (json.dumps(kept, indent=1, ensure_ascii=False) + "\n").encode())


def main() -> None:
    """Train all, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--anew", action="store_true", help="forget what earlier runs have left")
    arguments = parser.parse_args()
    rows = _kept(arguments.anew)
    for each in circumstances(("eager", compiler())):
        said = {**each.__dict__, "steps": arguments.steps}
        if each.network not in arguments.networks or any(said.items() <= row.items() for row in rows):
            continue
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = differences(each, arguments.steps)
        rows.append({**said, **found, "seconds": round(time.perf_counter() - began, 1)})
        print(told(rows[-1]), flush=True)
        _keep(rows)
    rows = [row for row in rows if row["steps"] == arguments.steps]
    same = sum(not row["differs"] for row in rows)
    print(f"{same} of {len(rows)} trainings of {arguments.steps} steps are the same bits with and without a watch")


if __name__ == "__main__":
    main()
