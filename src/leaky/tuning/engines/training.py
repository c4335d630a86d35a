"""One model of a task, trained alone: the plain loop that everything faster is held against."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from leaky.diagnosis import diagnose
from leaky.observation import observe
from leaky.tuning.arms import Arm, Slope
from leaky.tuning.engines.engine import never
from leaky.tuning.engines.objective import Report, Result, attempt
from leaky.tuning.task import EVALUATION_BATCH, Task, TaskData
from leaky.tuning.trial import Cell, Trial

MEASURED_SAMPLES = 1000
"""Training samples that a trained network is observed on: of so many, a unit that fires on 1% is never silent."""


def train(task: Task, arm: Arm, seed: int, report: Report) -> nn.Module:
    """The trained model of an arm and a seed.

    Raises:
        DivergedError: if the loss of an epoch is not finite.
    """
    model = task.model(arm, seed)
    optimizer = task.optimizer(model.parameters())
    data = task.data
    model.train()
    for epoch, batches in enumerate(task.order(seed), 1):
        total = torch.zeros(())
        for batch in batches:
            optimizer.zero_grad()
            loss = task.loss_of(model(data.inputs[batch]), data.targets[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.detach()
        report(epoch, float(total) / len(batches))
    return model


def result(task: Task, arm: Arm, seed: int, model: nn.Module, measured: bool = True) -> Result:
    """The scores of a trained model and, if `measured`, what became of its units."""
    kept, valid = task.split(seed)
    test = task.test_data
    score = task.score_of(outputs(model, valid), valid.targets)
    return Result(
        score=score,
        test=None if test is None else task.score_of(outputs(model, test), test.targets),
        slope=task.slope_of(arm),
        measurements=measure(model, task.data.inputs[kept[:MEASURED_SAMPLES]]) if measured else {},
    )


def outputs(model: nn.Module, data: TaskData) -> Tensor:
    """The model's outputs on all of some data, in eval mode."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model(part) for part in torch.split(data.inputs, EVALUATION_BATCH)])


def measure(model: nn.Module, inputs: Tensor) -> Mapping[str, float]:
    """Figures of the trained network, from the same record and verdicts as `leaky.check`.

    Returns:
        dead_share, locked_share and dormant_share of the hidden units; second_moment, the mean E[h²] of the last site;
        range_growth, the mean E[h²] of the last site over that of the first. Empty where nothing could be observed.
    """
    record = observe(model, inputs, batch_size=EVALUATION_BATCH)
    verdicts = diagnose(record).verdicts.values()
    if not record.units:
        return {}
    dead = sum(len(units.dead) for units in verdicts)
    locked = sum(len(units.locked_negative) + len(units.locked_positive) for units in verdicts)
    dormant = sum(len(units.dormant) for units in verdicts)
    with np.errstate(all="ignore"):  # a network that exploded has infinite sums
        first, last = (float(np.mean(record.sites[at].output_moments().second_moment)) for at in (0, -1))
    figures = {
        "dead_share": dead / record.units,
        "locked_share": locked / record.units,
        "dormant_share": dormant / record.units,
        "second_moment": last,
        "range_growth": last / first if first > 0 else float("nan"),
    }
    return {name: value for name, value in figures.items() if np.isfinite(value)}


@dataclass(frozen=True)
class LocalEngine:
    """One model of a task after another, in this process; `measured` as in `result`."""

    task: Task
    arms: Mapping[str, Arm]
    measured: bool = True
    at_once: int = 1
    description: str = "one training at a time"

    def run(self, cells: list[Cell], stop: Callable[[], bool] = never) -> Generator[Trial, None, None]:
        """The trainings of these cells, as they end."""
        return (self._one(cell) for cell in cells if not stop())

    def close(self) -> None:
        """Nothing is held."""

    def _one(self, cell: Cell) -> Trial:
        arm = self.arms[cell.arm]

        def objective(value: Slope, seed: int, report: Report) -> Result:
            with torch.random.fork_rng(devices=[]):
                return result(self.task, arm, seed, train(self.task, arm, seed, report), self.measured)

        return attempt(objective, arm, cell)
