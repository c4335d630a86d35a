"""`leaky.watch`: the one entry to watching a training, whose arguments are all checked here."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

from leaky.diagnosis import Thresholds
from leaky.watching.arguments import Every, OnAlarm, check, chosen_alarms, reaction_of
from leaky.watching.ranks import without_replicas
from leaky.watching.watch import Watch


def watch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    every: Every = 1,
    report_every: int = 10,
    log: str | os.PathLike[str] | None = None,
    alarms: Collection[str] | None = None,
    on_alarm: OnAlarm = "warn",
    scaler: Any = None,
    thresholds: Mapping[str, float] | None = None,
    sample_dim: int | None = 0,
    unit_dim: int | None = None,
    measures: Collection[str] = (),
    latents: Collection[str] = (),
    group: Any = None,
) -> Watch:
    """Watch every unit of a model while it trains, in the user's own loop, which stays as it is.

    `with leaky.watch(model, optimizer) as watch: …`, or `watch.start()` … `watch.stop()`. A step is over when the
    optimizer has stepped, or at `watch.step()` where no optimizer was given. Weights, gradients, random numbers and
    buffers are bit for bit those of the training without it.

    Args:
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

    Raises:
        InputError: if an argument is not what it must be, or the log cannot be written.
    """
    check(model, optimizer, every, report_every, measures)
    chosen, (reaction, table) = chosen_alarms(alarms), reaction_of(on_alarm, group)
    model = without_replicas(getattr(model, "_orig_mod", model))  # of a compiled module, what it compiles
    model = getattr(model, "_orig_mod", model)
    limits, dims, beyond = Thresholds.of(thresholds), (sample_dim, unit_dim), (frozenset(measures), tuple(latents))
    actions = log, chosen, reaction, scaler
    return Watch(model, optimizer, every, report_every, *actions, limits, dims, beyond, group, table)
