"""What a watch raises: a finding, and the step at which it was made. Plain data, without torch."""

from __future__ import annotations

from dataclasses import dataclass

from leaky.diagnosis import Finding
from leaky.errors import LeakyError


@dataclass(frozen=True)
class Alarm:
    """A finding during training.

    Attributes:
        step: optimizer steps that had been made.
        finding: what was found, where, with which evidence and advice.
    """

    step: int
    finding: Finding

    def __str__(self) -> str:
        return f"step {self.step}: {self.finding}"


class AlarmWarning(UserWarning):
    """An alarm of a watch."""


class TrainingStoppedError(LeakyError):
    """An alarm has stopped the training, because `on_alarm="stop"` asked for it.

    Attributes:
        alarm: which.
    """

    def __init__(self, alarm: Alarm) -> None:
        super().__init__(f"leaky.watch stopped the training at {alarm}. {alarm.finding.advice}")
        self.alarm = alarm
