"""Whole training times of variants: plain torch one after another, two processes of it, and leaky's engine."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from benchmarks.tune_tasks import SLOPES, digits_task
from leaky.tuning.arms import Arm, arms_of
from leaky.tuning.engines.batched import BatchedEngine
from leaky.tuning.engines.stacked_training import WHOLE, train_stacked
from leaky.tuning.engines.torch_engine import TorchEngine
from leaky.tuning.engines.training import outputs, train
from leaky.tuning.task import Task
from leaky.tuning.trial import Cell

STEPS = 50
"""After which weights are compared: later, at high rates, rounding grows chaotically."""


@dataclass(frozen=True)
class Row:
    """What is timed, and the least it must be over one after another and over two processes."""

    model: str
    variants: int
    epochs: int
    over_one: float
    over_two: float | None = None


ROWS = (
    Row("mlp", 16, 20, 4.0, 2.0),
    Row("mlp", 64, 10, 4.0, 2.0),
    Row("deep", 16, 8, 1.8),
    Row("cnn", 16, 8, 1.8),
    Row("wide", 16, 2, 1.0),
    Row("normalised", 16, 8, 1.0),
    Row("recurrent", 16, 2, 1.0),
    Row("mlp", 8, 1, 1.0),
)
"""The last four have no target but to be never slower than one after another; the recurrent one cannot be stacked."""


def cells_of(seeds: int) -> tuple[dict[str, Arm], list[Cell]]:
    """Eight slopes and their cells."""
    arms = {arm.label: arm for arm in arms_of(SLOPES)}
    return arms, [Cell(label, seed) for seed in range(seeds) for label in arms]


def one_after_another(task: Task, arms: dict[str, Arm], cells: list[Cell]) -> list[float]:
    """Plain eager torch: the validation score of each."""
    scores = []
    for cell in cells:
        model = train(task, arms[cell.arm], cell.seed, lambda step, value: None)
        valid = task.split(cell.seed)[1]
        scores.append(task.score_of(outputs(model, valid), valid.targets))
    return scores


def by_engine(task: Task, arms: dict[str, Arm], cells: list[Cell], kind: str = "auto") -> tuple[list[float], str]:
    """The engine of `leaky.tune` with all that it does, choosing its way and observing each network included."""
    engine = TorchEngine(task, arms, kind)
    scores: dict[Cell, float] = {}
    left = list(cells)
    while left:
        now, left = left[: engine.at_once], left[engine.at_once :]
        scores |= {Cell(t.arm, t.seed): t.score for t in engine.run(now) if t.score is not None}
    description = engine.description
    engine.close()
    return [scores[cell] for cell in cells], description


def _half(connection: Any) -> None:
    """A process that trains what it is told, over and over."""
    torch.set_num_threads(1)
    connection.send("ready")
    while (order := connection.recv()) is not None:
        model, epochs, cells = order
        one_after_another(digits_task(model, epochs), cells_of(1)[0], cells)
        connection.send("done")


class TwoProcesses:
    """Two single-thread processes that are already running and have imported everything."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._ends = []
        for _ in range(2):
            mine, theirs = context.Pipe()
            context.Process(target=_half, args=(theirs,), daemon=True).start()
            self._ends.append(mine)
        for end in self._ends:
            end.recv()

    def run(self, model: str, epochs: int, cells: list[Cell]) -> None:
        """Half of the cells each."""
        for place, end in enumerate(self._ends):
            end.send((model, epochs, cells[place::2]))
        for end in self._ends:
            end.recv()

    def stop(self) -> None:
        """End them."""
        for end in self._ends:
            end.send(None)


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def engines(rounds: int, most: int = len(ROWS)) -> list[dict[str, Any]]:
    """Every row, medians over rounds in which the contenders take turns."""
    two = TwoProcesses()
    try:
        return [_row(row, rounds, two) for row in ROWS[:most]]
    finally:
        two.stop()


def _row(row: Row, rounds: int, two: TwoProcesses) -> dict[str, Any]:
    task = digits_task(row.model, row.epochs)
    arms, cells = cells_of(row.variants // len(SLOPES))
    ways: list[str] = []
    contenders: dict[str, Callable[[], Any]] = {
        "one_after_another": lambda: one_after_another(task, arms, cells),
        "two_processes": lambda: two.run(row.model, row.epochs, cells),
        "leaky": lambda: ways.append(by_engine(task, arms, cells)[1]),
    }
    one_after_another(task, arms, cells[:1])  # what torch imports at first use is nobody's time
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, work in contenders.items():
            times[name].append(seconds(work))
    median = {name: statistics.median(taken) for name, taken in times.items()}
    return {
        "model": row.model,
        "variants": row.variants,
        "epochs": row.epochs,
        "batch_size": task.batch_size,
        "ways": ways,
        "seconds": {name: [round(taken, 3) for taken in all_] for name, all_ in times.items()},
        "over_one_after_another": median["one_after_another"] / median["leaky"],
        "target": row.over_one,
        "over_two_processes": median["two_processes"] / median["leaky"],
        "target_over_two": row.over_two,
    }


EQUAL = [(model, rule) for model in ("mlp", "deep", "cnn", "normalised") for rule in ("SGD", "Adam")]


def equality() -> list[dict[str, Any]]:
    """The largest ‖Δw‖/‖w‖ of any variant of a stack after 50 steps, both ways in one thread, as the engine trains."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [_equal(model, rule) for model, rule in EQUAL]
    finally:
        torch.set_num_threads(threads)


def _equal(model: str, rule: str) -> dict[str, Any]:
    task = digits_task(model, 3, rule)
    arms, cells = cells_of(2)
    (group,) = BatchedEngine(task, arms, width=WHOLE).variants.groups(cells).values()
    _, models, _ = train_stacked(task, group, steps=STEPS)
    apart = []
    for variant, stacked in zip(group, models, strict=True):
        alone = _after(task, variant.arm, variant.cell.seed)
        mine, theirs = (torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (stacked, alone))
        apart.append(float((mine - theirs).norm() / theirs.norm()))
    plain, stacked_scores = one_after_another(task, arms, cells), by_engine(task, arms, cells, "batched")[0]
    return {
        "model": model,
        "optimizer": rule,
        "batch_size": task.batch_size,
        "steps": STEPS,
        "variants": len(apart),
        "identical_to_the_bit": sum(each == 0 for each in apart),
        "largest_relative_distance": max(apart),
        "target": 1e-6,
        "mean_score_difference": statistics.mean(stacked_scores) - statistics.mean(plain),
        "score_deviation_over_seeds_and_slopes": statistics.stdev(plain),
    }


def _after(task: Task, arm: Arm, seed: int) -> nn.Module:
    model = task.model(arm, seed).train()
    optimizer = task.optimizer(model.parameters())
    batches = [batch for epoch in task.order(seed) for batch in epoch][:STEPS]
    for batch in batches:
        optimizer.zero_grad()
        task.loss_of(model(task.data.inputs[batch]), task.data.targets[batch]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model
