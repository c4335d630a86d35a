"""The training of a stack, and how long a step of it takes beside a step of one model alone.

Equal to training each variant alone: the same batches, the same losses, the same optimizer.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from leaky.tuning.engines.flat import FlatOptimizer
from leaky.tuning.engines.stacking import Stack
from leaky.tuning.engines.variants import Variant
from leaky.tuning.task import Task, put_seed

PROBE_STEPS, PROBE_SECONDS = 5, 0.1
"""Steps of a short probe, the first of which does not count; it ends sooner when so much time has gone."""

WHOLE = 1_000
"""A width that no stack has: all variants side by side."""

Curve = list[tuple[int, float]]


class StackedTraining:
    """Trains variants side by side, all in each optimizer step.

    Args:
        task: how they train.
        variants: that share a signature.
        width: of them in a stack. Stacks run one after another: where a model's maps are large, a narrow stack stays
            in the processor's cache, and shares the optimizer's step all the same.
    """

    def __init__(self, task: Task, variants: Sequence[Variant], width: int) -> None:
        self._task = task
        self._begins = range(0, len(variants), width)
        self._width = width
        parts = [variants[begin : begin + width] for begin in self._begins]
        self._stacks = [Stack([v.model for v in part], [v.nodes for v in part]) for part in parts]
        self._optimizer = FlatOptimizer(task.optimizer, [list(stack.parameters.values()) for stack in self._stacks])
        for stack in self._stacks:
            stack.train(True)

    def step(self, batch: Tensor) -> Tensor:
        """One step on each variant's own samples, shape (variants, samples) of places; returns the loss of each."""
        seen: list[Tensor] = []
        self._optimizer.step(self._losses(batch, seen))
        return torch.cat(seen)

    def _losses(self, batch: Tensor, seen: list[Tensor]) -> Iterator[Tensor]:
        data = self._task.data
        for begin, stack in zip(self._begins, self._stacks, strict=True):
            places = batch[begin : begin + self._width]
            losses = _losses(self._task, stack(data.inputs[places]), data.targets[places])
            seen.append(losses.detach())
            yield losses.sum()

    def unstack(self) -> list[nn.Module]:
        """The models, with the weights that they have now."""
        return [model for stack in self._stacks for model in stack.unstack()]


def train_stacked(
    task: Task, variants: Sequence[Variant], steps: int | None = None, width: int = WHOLE
) -> tuple[list[Curve], list[nn.Module], list[str]]:
    """Train variants as one stack.

    Args:
        task: how.
        variants: that share a signature, those of one slope side by side.
        steps: to stop after; by default all.
        width: as in `StackedTraining`; by default one stack.

    Returns:
        Each variant's losses by epoch, its trained model, and why it diverged ("" if it did not).
    """
    put_seed(variants[0].cell.seed)  # for dropout
    training = StackedTraining(task, variants, width)
    curves: list[Curve] = [[] for _ in variants]
    reasons = [""] * len(variants)
    seeds = [v.cell.seed for v in variants]
    orders = {seed: task.order(seed) for seed in dict.fromkeys(seeds)}
    left = task.epochs * task.steps_per_epoch if steps is None else steps
    for epoch in range(task.epochs):
        places = torch.stack([orders[seed][epoch] for seed in seeds], 1)  # (steps, variants, batch_size)
        total = torch.zeros(len(variants))
        for batch in places[:left]:
            total += training.step(batch)
        left -= len(places)
        if left < 0:
            break
        _note(curves, reasons, total / len(places), epoch + 1)
        if left == 0 or all(reasons):
            break
    return curves, training.unstack(), reasons


def _note(curves: list[Curve], reasons: list[str], losses: Tensor, epoch: int) -> None:
    """Append the losses of an epoch to the curves; a variant whose loss is not finite has diverged."""
    for place, value in enumerate(losses.tolist()):
        if not reasons[place] and not -float("inf") < value < float("inf"):
            reasons[place] = f"reported {value} at step {epoch}"
        elif not reasons[place]:
            curves[place].append((epoch, value))


def _losses(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean loss of each variant, shape (variants,)."""
    variants, samples = targets.shape[:2]
    if task.loss is None and task.classifies and outputs.ndim == 3:
        each = functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")
        return each.view(variants, samples).mean(1)
    return torch.stack([task.loss_of(*each) for each in zip(outputs.unbind(), targets.unbind(), strict=True)])


def seconds_stacked(task: Task, variants: Sequence[Variant], width: int) -> float:
    """The duration of one step of all variants together; the models are left unchanged."""
    batches = torch.stack([task.order(v.cell.seed)[0][:PROBE_STEPS] for v in variants], 1)
    return _fastest(StackedTraining(task, variants, width).step, batches)


def seconds_alone(task: Task, model: nn.Module, seed: int) -> float:
    """The duration of one step of the plain training loop; the model is left unchanged."""
    model = copy.deepcopy(model).train()
    optimizer = task.optimizer(model.parameters())
    data = task.data

    def step(batch: Tensor) -> None:
        optimizer.zero_grad()
        task.loss_of(model(data.inputs[batch]), data.targets[batch]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return _fastest(step, task.order(seed)[0][:PROBE_STEPS])


def _fastest(step: Callable[[Tensor], object], batches: Tensor) -> float:
    seconds: list[float] = []
    for batch in batches:
        began = time.perf_counter()
        step(batch)
        seconds.append(time.perf_counter() - began)
        if len(seconds) > 1 and sum(seconds) > PROBE_SECONDS:
            break
    return min(seconds[1:] or seconds)
