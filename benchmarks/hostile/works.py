"""Pieces of leaky's work that may be interrupted anywhere, each with what nothing of may be left."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from tests.hostile.interrupting import Point, interrupted_at, interrupted_in_children, lines_of, points_of
from tests.observation.test_leaves_everything import everything, trained
from torch import Tensor, nn

import leaky
from leaky.interruptions import undone_unless_done
from leaky.repairing.recipe import Recipe, Rectifier
from leaky.repairing.snapshot import Snapshot


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
        """(place, what had changed) of each interruption, each of a run of its own."""
        for line in lines:
            self.begin()
            look = self.looking()
            yield interrupted_at(self.run, line), look()

    def spoilt_in_children(self, lines: list[int]) -> list[tuple[str, set[str]]]:
        """The same with one run, of which a child is interrupted at each of the lines."""
        self.begin()
        found = interrupted_in_children(self.run, lines, self.looking())
        self.begin()
        return found

    def looking(self) -> Callable[[], set[str]]:
        """Looks for what has changed from now on."""
        before = everything(self.model)

        def look() -> set[str]:
            after = everything(self.model)
            changed = {key for key in {*before, *after} if before.get(key) != after.get(key)} | self.also()
            return changed | ({"open modes"} if torch._C._len_torch_dispatch_stack() else set())

        return look

    def lines(self) -> int:
        """That one run takes, after what is imported or cached at first use: the fewest of three.

        One that waits to see whether another thread draws random numbers takes many more: pytest-xdist has a thread.
        """
        return min(self._after_a_first_run(lines_of) for _ in range(3))

    def points(self) -> list[Point]:
        """Each line that one run takes, after what is imported or cached at first use."""
        return self._after_a_first_run(points_of)

    def _after_a_first_run(self, count: Callable[[Callable[[], Any]], Any]) -> Any:
        self.begin()
        with contextlib.suppress(KeyboardInterrupt):
            self.run()
        self.begin()
        found = count(self.run)
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

    return Work(model, run)


def cured(change: Callable[[nn.Module, Tensor], Any]) -> Work:
    """A change of a model in place; what came to its end is undone."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.LeakyReLU(0.2))
    model.append(nn.Linear(8, 2))
    data, parts, snapshot = torch.randn(64, 4), list(model), Snapshot(model)
    state = torch.get_rng_state()

    def begin() -> None:
        snapshot.restore()
        torch.set_rng_state(state)

    return Work(
        model,
        lambda: change(model, data),
        begin=begin,
        also=lambda: {"the layers"} if list(model) != parts else set(),
    )


def initialization() -> Work:
    """Weights drawn anew."""
    return cured(lambda model, data: leaky.initialize(model, data, seed=0))


def calibration() -> Work:
    """Weights brought to the data's size."""
    return cured(lambda model, data: leaky.calibrate(model, data))


def recipe() -> Work:
    """Two leaky rectifiers, one of them with a slope a unit, and two layers that standardise."""
    slopes = tuple(i / 8 for i in range(8))
    wanted = Recipe((Rectifier("2", 0.1), Rectifier("4", slopes)), ("0", "3"))
    return cured(lambda model, data: leaky.apply_recipe(model, wanted))


def pruning() -> Work:
    """A smaller network, of which the old one knows nothing."""
    model, data, _ = patient()
    with torch.no_grad():
        model[0].bias[3:] = 0.5
    return Work(model, lambda: leaky.prune(model, data))


WORKS: dict[str, Callable[[], Work]] = {
    "an observation": observation,
    "an observation with a loss": observation_with_a_loss,
    "a watched step": watching,
    "a repair": repair,
    "a repair that is raced": repair_that_is_raced,
    "a rollback": rollback,
    "an initialisation": initialization,
    "a calibration": calibration,
    "a recipe applied": recipe,
    "a pruning": pruning,
}


def _loss(outputs: Tensor, _: Any) -> Tensor:
    return outputs.square().mean()
