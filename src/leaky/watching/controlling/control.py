"""A control that holds, and can be undone in one call; what every kind of control offers for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import nn

from leaky.diagnosis import Finding, Thresholds
from leaky.errors import LeakyError
from leaky.structure.modules import without_wrappers
from leaky.watching.control_record import ControlRecord
from leaky.watching.history import FigureHistory
from leaky.watching.observer import Observer


class RefusedError(LeakyError):
    """A control cannot be made; the message says why, in a sentence."""


class Done(Protocol):
    """What one control changed.

    Attributes:
        places: names of what it changed.
        amount: as `ControlRecord` has it.
        stays: whether it stays in the model when the watch has ended.
    """

    places: tuple[str, ...]
    amount: float
    stays: bool

    def undo(self) -> None:
        """Take it back; the weights that the training has moved meanwhile stay where they are."""


@dataclass(eq=False)
class Wanted:
    """What is asked of a control.

    Attributes:
        finding: of the alarm.
        amount: that the user gave; None for one that follows from the evidence.
        model: that trains.
        optimizer: that trains it; None where it was not given.
        observer: of its sites.
        history: of the reports, the one that raised the alarm included.
        thresholds: that decide.
        modules: the sites that each module computes.
    """

    finding: Finding
    amount: float | None
    model: nn.Module
    optimizer: torch.optim.Optimizer | None
    observer: Observer
    history: FigureHistory
    thresholds: Thresholds
    modules: Mapping[nn.Module, set[str]]
    paths: dict[nn.Module, str] = field(init=False)

    def __post_init__(self) -> None:
        self.paths = {module: without_wrappers(name) for name, module in self.model.named_modules()}

    @property
    def site(self) -> str:
        """The site's name.

        Raises:
            RefusedError: if the alarm is of no site.
        """
        if self.finding.site is None or self.finding.site not in self.observer.sites:
            raise RefusedError("the alarm is of no single site")
        return self.finding.site

    def module(self) -> nn.Module:
        """The module that computes the site and no other site.

        Raises:
            RefusedError: if there is none.
        """
        if self.observer.compiled.met:
            raise RefusedError("the model is compiled, and its graph is fixed")
        site = self.site
        module = next((module for module, sites in self.modules.items() if site in sites), None)
        if module is None:
            raise RefusedError("it is a call of a function, which only its own source can change")
        others = self.modules[module] - {site}
        if others:
            raise RefusedError(f"its module also computes {', '.join(sorted(others))}: give each place its own")
        return module


class Control:
    """A control that holds.

    Args:
        record: what it is.
        done: what it changed.
        step_now: the step at which the training is.
        told: told of the record when it has changed.

    Attributes:
        record: what it is, as plain data.
    """

    def __init__(
        self,
        record: ControlRecord,
        done: Done | None,
        step_now: Callable[[], int],
        told: Callable[[Control], None],
    ) -> None:
        self.record = record
        self.done: Any = done
        self._step_now, self._told = step_now, told
        self.kept = False

    def __repr__(self) -> str:
        return f"<Control: {self.record}>"

    @property
    def holds(self) -> bool:
        """Whether it was made and has not been undone."""
        return self.done is not None and self.record.ended is None

    def undo(self, why: str = "undone by the user") -> None:
        """Take it back; again does nothing. Weights stay where the training has moved them meanwhile.

        Args:
            why: for the record.
        """
        if not self.holds:
            return
        self.done.undo()
        self.record = replace(self.record, ended=self._step_now(), why_ended=why)
        self._told(self)

    def keep(self) -> None:
        """Let a clamp stay on the model when the watch ends."""
        self.kept = True

    def refuse(self, why: str) -> None:
        """It was made and should not have been."""
        self.done.undo()
        self.done = None
        self.record = replace(self.record, places=(), amount=float("nan"), refused=why)
