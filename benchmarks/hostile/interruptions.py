"""KeyboardInterrupt at the lines of leaky that a piece of work runs; nothing may be left of it.

`python -m benchmarks.hostile.interruptions` interrupts at every line, in about half an hour, and keeps what came of it
in benchmarks/results/interruptions.json. The replay takes some lines of each work.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tests.hostile.interrupting import interrupted_at, lines_of
from tests.observation.test_leaves_everything import everything, trained
from torch import Tensor, nn

import leaky
from benchmarks.hostile.situation import Situation
from leaky.files import write_whole
from leaky.interruptions import undone_unless_done
from leaky.repairing.snapshot import Snapshot

RESULT = Path(__file__).parents[1] / "results" / "interruptions.json"


@dataclass
class Work:
    """Something that may be interrupted.

    Attributes:
        model: that it is done to, and left as it was.
        run: does it.
        begin: puts the model back to where an uninterrupted run begins, which may change it.
        also: what has changed beside the model.
    """

    model: nn.Module
    run: Callable[[], Any]
    begin: Callable[[], None] = lambda: None
    also: Callable[[], set[str]] = set

    def spoilt_at(self, lines: list[int]) -> Iterator[tuple[str, set[str]]]:
        """(place, what had changed) of each interruption."""
        for line in lines:
            self.begin()
            before = everything(self.model)
            place = interrupted_at(self.run, line)
            after = everything(self.model)
            changed = {key for key in {*before, *after} if before.get(key) != after.get(key)} | self.also()
            changed |= {"open modes"} if torch._C._len_torch_dispatch_stack() else set()
            yield place, changed

    def lines(self) -> int:
        """That one run takes, after what is imported or cached at first use."""
        self.begin()
        self.run()
        self.begin()
        found = lines_of(self.run)
        self.begin()
        return found


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5))


def observation() -> Work:
    """In the other mode and with a seed: buffers and generators move."""
    model, data = trained(network).eval(), torch.randn(20, 4)
    return Work(model, lambda: leaky.observe(model, data, mode="train", seed=3))


def observation_with_a_loss() -> Work:
    """Gradients are computed, beside those that the model has."""
    model, data = trained(network).train(), torch.randn(20, 4)
    return Work(model, lambda: leaky.observe(model, [data, data], mode="eval", loss=_loss))


def watching() -> Work:
    """A watched step of training, which is undone: what is looked for is what the watch leaves."""
    model, data = trained(network).train(), torch.randn(20, 4)
    kept = copy.deepcopy(model.state_dict())
    state, gradients = torch.get_rng_state(), [p.grad.clone() for p in model.parameters() if p.grad is not None]

    def begin() -> None:
        torch.set_rng_state(state)
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                tensor.copy_(kept[name])
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                assert parameter.grad is not None
                parameter.grad.copy_(gradient)

    def run() -> None:
        try:
            with leaky.watch(model, report_every=1):
                model(data).square().mean().backward()
        finally:
            begin()

    return Work(model, run, begin=begin)


def patient() -> tuple[nn.Module, Tensor, Tensor]:
    """A network whose rectifiers are all silent, its data and what it should give."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].bias.fill_(-9.0)
    data = torch.randn(64, 4)
    return model, data, data[:, :2].sign()


def repair() -> Work:
    """A repair that is kept, because nothing can be lost."""
    model, data, _ = patient()
    return _repaired(model, torch.optim.Adam(model.parameters()), lambda: leaky.repair(model, data).apply)


def repair_that_is_raced() -> Work:
    """A repair whose treatments are trained in turn; what learns best is kept with what it learned."""
    model, data, wanted = patient()
    optimizer = torch.optim.Adam(model.parameters())

    def loss(model: nn.Module) -> Tensor:
        return (model(data) - wanted).square().mean()

    def train(model: nn.Module) -> None:
        for _ in range(2):
            optimizer.zero_grad()
            loss(model).backward()
            optimizer.step()

    def validate(model: nn.Module) -> float:
        with torch.no_grad():
            return -float(loss(model))

    def proposed() -> Callable[[], Any]:
        return partial(leaky.repair(model, data).apply, train=train, validate=validate, most_trainings=4)

    return _repaired(model, optimizer, proposed)


def _repaired(model: nn.Module, optimizer: torch.optim.Optimizer, proposed: Callable[[], Callable[[], Any]]) -> Work:
    """What is interrupted is `apply`, of a plan that was made before; a repair that came to its end is undone."""
    parts, kept, random = list(model), copy.deepcopy(model.state_dict()), torch.get_rng_state()
    apply: list[Callable[[], Any]] = []

    def begin() -> None:
        for at, part in enumerate(parts):
            model[at] = part
        model.load_state_dict(kept)
        for parameter in model.parameters():
            parameter.grad = None
        optimizer.state.clear()
        torch.set_rng_state(random)
        apply[:] = [proposed()]

    def also() -> set[str]:
        changed = {"the optimizer"} if optimizer.state else set()
        return changed | ({"the layers"} if list(model) != parts else set())

    return Work(model, lambda: apply[0](), begin=begin, also=also)


def rollback() -> Work:
    """Of what a repair changed: values, a module, the mode, an optimizer's state."""
    model = trained(network).train()
    optimizer = torch.optim.Adam(model.parameters())
    optimizer.step()
    snapshot, state = Snapshot(model, optimizer), torch.get_rng_state()

    def spoil() -> None:
        with torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.add_(1)
        model[2] = nn.LeakyReLU()
        model.eval()
        raise KeyboardInterrupt

    def run() -> None:
        try:
            undone_unless_done(spoil, snapshot.restore)
        finally:
            torch.set_rng_state(state)

    def whole() -> None:
        try:
            run()
        except KeyboardInterrupt:
            if not sys.gettrace():
                return
            raise

    return Work(model, whole)


WORKS: dict[str, Callable[[], Work]] = {
    "an observation": observation,
    "an observation with a loss": observation_with_a_loss,
    "a watched step": watching,
    "a repair": repair,
    "a repair that is raced": repair_that_is_raced,
    "a rollback": rollback,
}


def _loss(outputs: Tensor, _: Any) -> Tensor:
    return outputs.square().mean()


REPLAYED = {
    "an observation": (20, 7),
    "a rollback": (1, 7),
    "a watched step": (2, 97),
    "a repair": (4, 197),
    "a repair that is raced": (2, 9973),
}
"""What the replay interrupts: in how many parts, and at every so manieth line."""


def situations() -> Iterator[Situation]:
    """Each part of each work."""
    for name, (parts, step) in REPLAYED.items():
        for part in range(parts):
            run = _part(WORKS[name], 1 + part * step, parts * step)
            yield Situation("interruptions", f"{name} interrupted, part {part + 1} of {parts}", run)


def _part(make: Callable[[], Work], first: int, step: int) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        work = make()
        for place, changed in work.spoilt_at(list(range(first, work.lines() + 1, step))):
            assert not changed, f"{place}: {changed}"

    return run


def main(arguments: list[str] | None = None) -> int:
    """Interrupt these works, or all; 1 if anything was left of one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile.interruptions", description=__doc__)
    parser.add_argument("works", nargs="*", choices=[[], *WORKS], help="all, if none is named")
    parser.add_argument("--every", type=int, default=1, help="interrupt at every so manieth line only")
    asked = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    return max(_kept(name, asked.every) for name in asked.works or WORKS)


def _kept(name: str, every: int) -> int:
    """Interrupt one work, and keep what came of it at once: all of them take an hour."""
    began, work = time.monotonic(), WORKS[name]()
    lines = work.lines()
    left: dict[str, list[str]] = {}
    tried = 0
    for place, changed in work.spoilt_at(list(range(1, lines + 1, every))):
        tried += bool(place)
        if changed:
            left[place] = sorted(changed)
            print(f"{name}: {place}: {', '.join(sorted(changed))}", flush=True)
    seconds = round(time.monotonic() - began)
    print(f"{name}: {tried} of {lines} lines interrupted, {len(left)} places left something, {seconds} s", flush=True)
    row = {"lines": lines, "interrupted": tried, "left something": left, "seconds": seconds}
    kept = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
    write_whole(RESULT, (json.dumps(kept | {name: row}, indent=1) + "\n").encode())
    return int(bool(left))


if __name__ == "__main__":
    sys.exit(main())
