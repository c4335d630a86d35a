"""What `leaky.watch` takes: one class, checked once and handed on as one thing."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import nn

from leaky.diagnosis import Thresholds
from leaky.errors import InputError
from leaky.structure.modules import is_scripted
from leaky.watching.alarm import Alarm
from leaky.watching.alarms import ALARMS
from leaky.watching.controlling.table import CONTROLS, Choice, Table, table_of
from leaky.watching.log import Log
from leaky.watching.measures import MEASURES
from leaky.watching.optimizers import unwrapped
from leaky.watching.process_groups import is_first, must_decide_together, without_replicas

Every = int | Callable[[int], bool]
Reaction = Literal["warn", "stop"] | Callable[[Alarm], Any]
OnAlarm = Reaction | Literal["control"] | Mapping[str, Choice | list[Choice]]


@dataclass(frozen=True)
class WatchArguments:
    """What is watched, how, and what an alarm leads to: the arguments of `leaky.watch`.

    Attributes:
        model: a torch module.
        optimizer: that trains it.
        every: a number n, every nth step is observed; or a function of the step's number. On the others nothing is
            attached to the model.
        report_every: observed steps that a report draws together; a non-finite value is reported at once.
        log: a file that every report and alarm is appended to as it is made, a JSON object a line.
        alarms: names of the alarms that may be raised, of `leaky.watching.alarms.ALARMS`; all by default.
        on_alarm: "warn" warns of each from level warning on; "stop" raises `TrainingStoppedError` out of the
            optimizer's step at the first error; a function is called with each `Alarm`, those of level info included;
            "control" does something about it, by the table `leaky.watching.controlling.table.CONTROLS`, or by one of
            yours: {"dead": "slope", "update-size": ["rate", ("clamp", 10.0)], …}. Without it weights stay as they are.
        scaler: the GradScaler of mixed precision, so that gradients are judged unscaled.
        thresholds: by name, in place of the defaults of `leaky.diagnosis.Thresholds`.
        sample_dim: axis of the model's inputs that holds the samples, where no layer says otherwise.
        unit_dim: axis of the units in every pre-activation that has it, where the structure does not tell.
        measures: what is measured beyond the sums, because it costs: names in `leaky.watching.measures.MEASURES`.
        latents: names of modules whose output is a sparse code, of which what is not 0 is counted.
        group: a process group of torch.distributed all of whose ranks watch: reports and alarms are of all of them.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer | None = None
    _: KW_ONLY
    every: Every = 1
    report_every: int = 10
    log: str | os.PathLike[str] | None = None
    alarms: Collection[str] | None = None
    on_alarm: OnAlarm = "warn"
    scaler: Any = None
    thresholds: Mapping[str, float] | None = None
    sample_dim: int | None = 0
    unit_dim: int | None = None
    measures: Collection[str] = ()
    latents: Collection[str] = ()
    group: Any = None

    def __post_init__(self) -> None:
        every, report_every = self.every, self.report_every
        if not isinstance(self.model, nn.Module):
            raise InputError(f"model must be a torch.nn.Module, not {type(self.model).__name__}")
        if is_scripted(self.model):
            raise InputError("model must be a module that runs in Python, not TorchScript: watch what it was made from")
        _ = self.stepping
        if not callable(every) and (not isinstance(every, int) or isinstance(every, bool) or every < 1):
            raise InputError(f"every must be a number of steps of at least 1 or a function of the step, not {every!r}")
        if not isinstance(report_every, int) or isinstance(report_every, bool) or report_every < 1:
            raise InputError(f"report_every must be a number of steps of at least 1, not {report_every!r}")
        if isinstance(self.measures, str) or not set(self.measures) <= set(MEASURES):
            raise InputError(
                f"measures must be a collection of {' and '.join(map(repr, MEASURES))}, not {self.measures!r}"
            )
        if not set(self.chosen_alarms) <= set(ALARMS):
            wrong = sorted(set(self.chosen_alarms) - set(ALARMS))
            raise InputError(f"alarms must be among {', '.join(ALARMS)}, not {wrong}")
        known = isinstance(self.on_alarm, Mapping) or self.on_alarm in ("warn", "stop", "control")
        if not known and not callable(self.on_alarm):
            raise InputError(
                f"on_alarm must be 'warn', 'stop', 'control', a function of the alarm, or a control for each of some "
                f"alarms, not {self.on_alarm!r}"
            )
        _ = self.limits, self.table  # what is misspelt in them is told now

    @property
    def network(self) -> nn.Module:
        """The module itself: of a compiled one or a replica, what it holds."""
        inner = without_replicas(getattr(self.model, "_orig_mod", self.model))
        network: nn.Module = getattr(inner, "_orig_mod", inner)
        return network

    @cached_property
    def stepping(self) -> torch.optim.Optimizer | None:
        """The optimizer itself: of a trainer's wrapper, what it holds.

        Raises:
            InputError: if there is none in it.
        """
        if self.optimizer is None:
            return None
        found = unwrapped(self.optimizer)
        if found is None:
            raise InputError(
                f"optimizer must be one torch.optim.Optimizer, not {type(self.optimizer).__name__}; of several, give "
                "each part of the model a watch with its own, or give none and call watch.step() after each step"
            )
        return found

    def opened_log(self) -> Log | None:
        """The log, begun; None where none is asked for, or another process writes it.

        Raises:
            InputError: if it cannot be written, or `group` is no group of this process.
        """
        writes = is_first(self.group)  # refuses what is no group, where nothing is written too
        if self.log is None or not writes:
            return None
        return Log(self.log, type(self.network).__name__, self.limits.as_dict())

    @cached_property
    def limits(self) -> Thresholds:
        """Every threshold.

        Raises:
            InputError: if a name is that of none.
        """
        return Thresholds.of(self.thresholds)

    @property
    def chosen_alarms(self) -> frozenset[str]:
        """The names of the alarms that may be raised."""
        return frozenset(ALARMS if self.alarms is None else self.alarms)

    @cached_property
    def table(self) -> Table:
        """What is done about which alarm; empty where nothing is.

        Raises:
            InputError: if there is no such alarm or control, or the ranks would decide each by itself.
        """
        controls = CONTROLS if self.on_alarm == "control" else self.on_alarm
        if not isinstance(controls, Mapping):
            return {}
        must_decide_together(self.group)
        return table_of(controls)

    @property
    def reaction(self) -> Reaction:
        """What an alarm leads to where nothing is done about it."""
        if self.on_alarm == "stop" or callable(self.on_alarm):
            return self.on_alarm
        return "warn"
