"""Runs one training under a watch as a user would have it, and says when what came.

A training fails whose loss ends no nearer to where its twin's ended than to where it began itself. A loss has stalled
at the first step at which its reader can see it: not finite, a hundred times where it began, or no better over the last
100 steps than the best before by a hundredth of where it began. The watch never sees the loss.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

import leaky
from benchmarks.trainings.building import Kind, Training
from leaky.watching.alarm import Alarm

PATIENCE = 100
SMOOTH = 10


@dataclass
class Course:
    """How a training went: its losses, the alarms above info, and what was done about them."""

    losses: np.ndarray[Any, np.dtype[np.float64]]
    loud: list[Alarm]
    controls: list[str] = field(default_factory=list)

    @property
    def end(self) -> float:
        """The mean of the last losses."""
        tail = self.losses[-20:]
        return float(tail.mean()) if np.isfinite(tail).all() else float("inf")


def run(training: Training, seed: int, **options: Any) -> Course:
    """Train under a watch with its default options, or others."""
    losses = []
    torch.manual_seed(seed)
    options = {"on_alarm": lambda alarm: None, **options}
    with leaky.watch(training.model, training.optimizer, **options) as watch:
        for step in range(training.steps):
            training.before(step)
            x, y = training.batches(step)
            loss = training.loss(training.model(x), y)
            training.optimizer.zero_grad()
            loss.backward()
            if training.clip:
                torch.nn.utils.clip_grad_norm_(training.model.parameters(), training.clip)
            training.optimizer.step()
            losses.append(float(loss.detach()))
    loud = [alarm for alarm in watch.alarms if alarm.finding.level != "info"]
    return Course(np.array(losses), loud, [str(control.record) for control in watch.controls])


def stalled_at(losses: np.ndarray[Any, np.dtype[np.float64]]) -> int:
    """The first step at which the loss is seen to have stalled; one behind the last where it never has."""
    start = abs(losses[:3].mean()) if np.isfinite(losses[:3]).all() else 1.0
    for step in range(len(losses)):
        if not np.isfinite(losses[step]) or losses[step] > 100 * max(start, 1e-3):
            return step
    smooth = np.convolve(losses, np.ones(SMOOTH) / SMOOTH, "valid")
    for end in range(PATIENCE + SMOOTH, len(smooth)):
        before, recent = smooth[: end - PATIENCE].min(), smooth[end - PATIENCE : end].min()
        if recent > before - 0.01 * start:
            return end + SMOOTH - 1
    return len(losses)


def row(kind: Kind, seed: int) -> dict[str, Any]:
    """A failing training and its twin: whether a right alarm came in time, and what was said of the twin."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        sick = kind(seed, True)
        course = run(sick, seed)
        torch.manual_seed(seed)
        twin = run(kind(seed, False), seed)
    stalled, began = stalled_at(course.losses), float(course.losses[:5].mean())
    right = [alarm.step for alarm in course.loud if alarm.finding.rule in sick.alarms]
    first = course.loud[0] if course.loud else None
    return {
        "kind": kind.__name__,
        "seed": seed,
        "in time": bool(right) and right[0] <= stalled,
        "alarm at": right[0] if right else None,
        "stalled at": stalled,
        "first": None if first is None else f"{first.step} {first.finding.level} {first.finding.name}",
        "first is right": first is not None and first.finding.rule in sick.alarms,
        "fails": not abs(course.end - twin.end) < abs(course.end - began),
        "loss": [round(course.end, 4) if np.isfinite(course.end) else "not finite", round(twin.end, 4)],
        "twin": said(twin),
    }


def healthy_row(kind: Kind, seed: int) -> dict[str, Any]:
    """A healthy training: what was said of it above info."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        course = run(kind(seed, False), seed)
    began = float(course.losses[:5].mean())
    return {"kind": kind.__name__, "seed": seed, "loss": [round(began, 4), round(course.end, 4)], "said": said(course)}


def said(course: Course) -> list[str]:
    """The alarms above info, in order."""
    return [f"{alarm.step} {alarm.finding.level} {alarm.finding.name}" for alarm in course.loud]
