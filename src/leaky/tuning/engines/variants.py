"""Slope × seed of a torch task as a model that can share a stack with others, or the reason why it cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from leaky.tuning.arms import Arm
from leaky.tuning.engines.stacking import CannotStackError, StackedNode, stacked_nodes
from leaky.tuning.task import Task
from leaky.tuning.trial import Cell

ELEMENTWISE = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam")
"""torch's optimizers that treat each weight by itself, so that a stack of weights is like each weight alone."""

StackKey = tuple[object, ...]


@dataclass(frozen=True, eq=False)
class Variant:
    """One cell with its untrained model and the nodes of that."""

    cell: Cell
    arm: Arm
    model: nn.Module
    nodes: tuple[StackedNode, ...]

    @property
    def signature(self) -> StackKey:
        """The same for variants that can share a stack."""
        shapes = tuple((name, tuple(p.shape), p.requires_grad) for name, p in self.model.named_parameters())
        return (*(node.signature for node in self.nodes), shapes)


@dataclass
class Variants:
    """Makes variants; each kind of model is traced only once.

    Attributes:
        task: whose models they are.
        arms: by label.
        reasons: why arms cannot be stacked, by label.
    """

    task: Task
    arms: Mapping[str, Arm]
    reasons: dict[str, str] = field(default_factory=dict)
    _nodes: dict[str, tuple[StackedNode, ...]] = field(default_factory=dict)
    _made: dict[Cell, Variant] = field(default_factory=dict)

    def groups(self, cells: Sequence[Cell], keep: bool = False) -> dict[StackKey, list[Variant]]:
        """Variants that can share a stack, those of one slope side by side; `keep` those for the next call."""
        groups: dict[StackKey, list[Variant]] = {}
        for cell in sorted(cells, key=lambda c: (self.arms[c.arm].complexity, c.arm)):
            try:
                variant = self._made.pop(cell, None) or self._make(cell)
            except CannotStackError as error:
                self.reasons[cell.arm] = str(error)
                continue
            except Exception:  # it will be the result of that training
                continue
            if keep:
                self._made[cell] = variant
            groups.setdefault(variant.signature, []).append(variant)
        return groups

    def _make(self, cell: Cell) -> Variant:
        arm = self.arms[cell.arm]
        model = self.task.model(arm, cell.seed)
        if arm.label not in self._nodes:
            _check_optimizer(self.task, list(model.parameters()))
            self._nodes[arm.label] = stacked_nodes(model)
        return Variant(cell, arm, model, self._nodes[arm.label])


def _check_optimizer(task: Task, parameters: list[nn.Parameter]) -> None:
    """Raise if an optimizer would treat stacked weights differently from separate ones.

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
