"""What `leaky.watch` asks of its arguments, checked once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

import torch
from torch import nn

from leaky.errors import InputError
from leaky.watching.alarm import Alarm
from leaky.watching.alarms import ALARMS
from leaky.watching.controlling.table import CONTROLS, Choice, Table, table_of
from leaky.watching.measures import MEASURES
from leaky.watching.ranks import must_decide_together

Every = int | Callable[[int], bool]
Reaction = Literal["warn", "stop"] | Callable[[Alarm], Any]
OnAlarm = Reaction | Literal["control"] | Mapping[str, Choice | list[Choice]]


def check(model: Any, optimizer: Any, every: Any, report_every: Any, measures: Any) -> None:
    """Refuse what cannot be watched.

    Raises:
        InputError: if an argument is not what it must be.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise InputError(f"optimizer must be a torch.optim.Optimizer, not {type(optimizer).__name__}")
    if not callable(every) and (not isinstance(every, int) or isinstance(every, bool) or every < 1):
        raise InputError(f"every must be a number of steps of at least 1 or a function of the step, not {every!r}")
    if not isinstance(report_every, int) or isinstance(report_every, bool) or report_every < 1:
        raise InputError(f"report_every must be a number of steps of at least 1, not {report_every!r}")
    if isinstance(measures, str) or not set(measures) <= set(MEASURES):
        raise InputError(f"measures must be a collection of {' and '.join(map(repr, MEASURES))}, not {measures!r}")


def chosen_alarms(alarms: Collection[str] | None) -> tuple[str, ...]:
    """The names of the alarms that may be raised.

    Raises:
        InputError: if there is no such alarm.
    """
    chosen = tuple(ALARMS) if alarms is None else tuple(alarms)
    if not set(chosen) <= set(ALARMS):
        raise InputError(f"alarms must be among {', '.join(ALARMS)}, not {sorted(set(chosen) - set(ALARMS))}")
    return chosen


def reaction_of(on_alarm: OnAlarm, group: Any) -> tuple[Reaction, Table]:
    """What an alarm leads to, and the table of controls, empty where nothing is controlled.

    Raises:
        InputError: if it is none of what it may be, or the ranks would decide each by itself.
    """
    controls = CONTROLS if on_alarm == "control" else on_alarm
    if isinstance(controls, Mapping):
        must_decide_together(group)
        return "warn", table_of(controls)
    if not callable(on_alarm) and on_alarm not in ("warn", "stop"):
        raise InputError(
            f"on_alarm must be 'warn', 'stop', 'control', a function of the alarm, or a control for each of some "
            f"alarms, not {on_alarm!r}"
        )
    return on_alarm, {}
