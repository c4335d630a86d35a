"""All variants of a task that can be stacked, trained at once.

Equal to training each alone, up to the order in which a matrix product sums; chosen only where a short trial of both
ways shows it to be faster.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from leaky.tuning.arms import Arm
from leaky.tuning.objective import failure_of, trial_of
from leaky.tuning.stacking import CannotStackError, Stack, Step, steps_of
from leaky.tuning.study import DIVERGED, FINISHED, Cell, Trial
from leaky.tuning.task import Data, Task, put_seed
from leaky.tuning.training import LocalEngine, result

CHUNK = 16
"""Variants in a stack: more make the matrix products slower again."""
PROBE_STEPS = 6
"""Training steps of the short trial, the first of which does not count."""
ELEMENTWISE = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam")
"""torch's optimizers that treat each weight by itself, so that a stack of weights is like each weight alone."""

Signature = tuple[object, ...]


@dataclass
class BatchedEngine:
    """Stacks of variants where that is faster, one model after another elsewhere.

    Attributes:
        task: to train.
        arms: by label.
        always: stack whatever can be, without a trial.
        measured: look at the units of each trained network.
        reasons: why arms were not stacked, by label.
    """

    task: Task
    arms: Mapping[str, Arm]
    always: bool = False
    measured: bool = True
    at_once: int = CHUNK
    reasons: dict[str, str] = field(default_factory=dict)
    _faster: dict[Signature, bool] = field(default_factory=dict)
    _steps: dict[str, tuple[Step, ...]] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """How it trains and why."""
        why = sorted(set(self.reasons.values()))
        return "batched" + (f"; one at a time: {'; '.join(why)}" if why else "")

    def run(self, cells: list[Cell]) -> list[Trial]:
        """The trainings of these cells."""
        found: dict[Cell, Trial] = {}
        with torch.random.fork_rng(devices=[]):
            for signature, group in self._groups(cells).items():
                if len(group) < 2 or not self._worth_it(signature, group):
                    continue
                found.update(zip((v.cell for v in group), self._train(group), strict=True))
        local = LocalEngine(self.task, self.arms, self.measured)
        rest = [cell for cell in cells if cell not in found]
        found.update(zip(rest, local.run(rest), strict=True))
        return [found[cell] for cell in cells]

    def _groups(self, cells: Sequence[Cell]) -> dict[Signature, list[Variant]]:
        """Variants that can share a stack, those of one slope side by side."""
        groups: dict[Signature, list[Variant]] = {}
        for cell in sorted(cells, key=lambda c: list(self.arms).index(c.arm)):
            try:
                variant = self._variant(cell)
            except CannotStackError as error:
                self.reasons[cell.arm] = str(error)
                continue
            except Exception:  # it will be the result of that training
                continue
            groups.setdefault(variant.signature, []).append(variant)
        return groups

    def _variant(self, cell: Cell) -> Variant:
        arm = self.arms[cell.arm]
        model = self.task.model(arm, cell.seed)
        if arm.label not in self._steps:
            _check_optimizer(self.task, list(model.parameters()))
            self._steps[arm.label] = steps_of(model)
        return Variant(cell, arm, model, self._steps[arm.label])

    def _worth_it(self, signature: Signature, group: list[Variant]) -> bool:
        """Whether a stack is faster, by a short trial."""
        if self.always:
            return True
        if signature not in self._faster:
            together = _seconds_a_step(self.task, group)
            alone = _seconds_a_step(self.task, group[:1]) * len(group)
            self._faster[signature] = together < alone
        if not self._faster[signature]:
            for variant in group:
                self.reasons[variant.cell.arm] = "a stack was not faster in a short trial"
        return self._faster[signature]

    def _train(self, group: list[Variant]) -> list[Trial]:
        began = time.perf_counter()
        try:
            curves, models, reasons = train_stacked(self.task, group)
        except Exception as error:
            outcome, reason = failure_of(error)
            share = (time.perf_counter() - began) / len(group)
            return [trial_of(v.cell, outcome, reason, None, share) for v in group]
        share = (time.perf_counter() - began) / len(group)
        return [self._judged(*each, share) for each in zip(group, models, reasons, curves, strict=True)]

    def _judged(
        self, variant: Variant, model: nn.Module, reason: str, curve: list[tuple[int, float]], share: float
    ) -> Trial:
        began = time.perf_counter()
        if reason:
            return trial_of(variant.cell, DIVERGED, reason, None, share, tuple(curve))
        try:
            found = result(self.task, variant.arm, variant.cell.seed, model, self.measured)
        except Exception as error:
            return trial_of(variant.cell, *failure_of(error), None, share, tuple(curve))
        return trial_of(variant.cell, FINISHED, "", found, share + time.perf_counter() - began, tuple(curve))


def _check_optimizer(task: Task, parameters: list[nn.Parameter]) -> None:
    """Refuse an optimizer that a stack of weights would mislead.

    Raises:
        CannotStackError: if it may mix weights, or sorts them by their shape.
    """
    alone = task.optimizer(parameters)
    kind = type(alone)
    if kind.__module__.split(".")[:2] != ["torch", "optim"] or kind.__name__ not in ELEMENTWISE:
        raise CannotStackError(f"{kind.__name__} may not treat each weight by itself")
    stacked = task.optimizer([nn.Parameter(p.detach().unsqueeze(0), p.requires_grad) for p in parameters])

    def settings(optimizer: torch.optim.Optimizer) -> list[tuple[object, ...]]:
        return [
            (tuple(p.numel() for p in group["params"]), *(v for key, v in group.items() if key != "params"))
            for group in optimizer.param_groups
        ]

    if settings(alone) != settings(stacked):
        raise CannotStackError("its optimizer treats weights by their number of dimensions")


@dataclass(frozen=True, eq=False)
class Variant:
    """One cell with its untrained model and the steps of that."""

    cell: Cell
    arm: Arm
    model: nn.Module
    steps: tuple[Step, ...]

    @property
    def signature(self) -> Signature:
        """The same for variants that can share a stack."""
        shapes = tuple((name, tuple(p.shape), p.requires_grad) for name, p in self.model.named_parameters())
        return (*(step.signature for step in self.steps), shapes)


def train_stacked(
    task: Task, variants: Sequence[Variant], steps: int | None = None
) -> tuple[list[list[tuple[int, float]]], list[nn.Module], list[str]]:
    """Train variants as one stack.

    Args:
        task: how.
        variants: that share a signature, those of one slope side by side.
        steps: to stop after; by default all.

    Returns:
        Each variant's losses by epoch, its trained model, and why it diverged ("" if it did not).
    """
    put_seed(variants[0].cell.seed)  # for dropout
    stack = Stack([v.model for v in variants], [v.steps for v in variants])
    optimizer = task.optimizer(list(stack.parameters.values()))
    data, count = task.data, len(variants)
    curves: list[list[tuple[int, float]]] = [[] for _ in variants]
    reasons = [""] * count
    seeds = [v.cell.seed for v in variants]
    orders = {seed: task.order(seed) for seed in dict.fromkeys(seeds)}
    stack.train(True)
    done = 0
    for epoch in range(task.epochs):
        places = torch.stack([orders[seed][epoch] for seed in seeds], 2)  # (steps, batch_size, variants)
        total = torch.zeros(count)
        for batch in places:
            total += _step(task, stack, optimizer, data, batch)
            done += 1
            if done == steps:
                return curves, stack.unstack(), reasons
        for place, value in enumerate((total / len(places)).tolist()):
            if not reasons[place] and not -float("inf") < value < float("inf"):
                reasons[place] = f"reported {value} at step {epoch + 1}"
            elif not reasons[place]:
                curves[place].append((epoch + 1, value))
        if all(reasons):
            break
    return curves, stack.unstack(), reasons


def _step(task: Task, stack: Stack, optimizer: torch.optim.Optimizer, data: Data, batch: Tensor) -> Tensor:
    """One optimizer step of all variants; returns the loss of each."""
    optimizer.zero_grad()
    losses = _losses(task, stack(_inputs(data.inputs, batch)), data.targets[batch])
    losses.sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return losses.detach()


def _inputs(inputs: Tensor, batch: Tensor) -> Tensor:
    """Each variant's own samples, (samples, variants, …); for vectors laid out as the matrix products want them."""
    return inputs[batch.T].movedim(0, 1) if inputs.ndim == 2 else inputs[batch]


def _losses(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean loss of each variant, shape (variants,)."""
    samples, variants = targets.shape[:2]
    if task.loss is None and task.classifies and outputs.ndim == 3:
        each = functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")
        return each.view(samples, variants).mean(0)
    return torch.stack([task.loss_of(outputs[:, place], targets[:, place]) for place in range(variants)])


def _seconds_a_step(task: Task, variants: list[Variant]) -> float:
    """Of a stack of several variants, or of one alone in the plain loop; their models are left as they are."""
    data = task.data
    orders = [task.order(v.cell.seed)[0][:PROBE_STEPS] for v in variants]
    if len(variants) > 1:
        stack = Stack([v.model for v in variants], [v.steps for v in variants])
        optimizer = task.optimizer(list(stack.parameters.values()))
        stack.train(True)
        batches = list(torch.stack(orders, 2))
        return _fastest(lambda batch: _step(task, stack, optimizer, data, batch), batches)
    model = copy.deepcopy(variants[0].model).train()
    optimizer = task.optimizer(model.parameters())

    def step(batch: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = task.loss_of(model(data.inputs[batch]), data.targets[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss

    return _fastest(step, list(orders[0]))


def _fastest(step: Callable[[Tensor], Tensor], batches: list[Tensor]) -> float:
    seconds = []
    for batch in batches:
        began = time.perf_counter()
        step(batch)
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:] or seconds)
