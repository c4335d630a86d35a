"""What a watch raises: a finding, and the step at which it was made. Plain data, without torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from leaky.diagnosis import Finding, level_rank
from leaky.errors import LeakyError
from leaky.text import counted


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


NAMED = 3
"""Sites that are named beside the one whose alarm is told."""


def in_words(alarms: Iterable[Alarm]) -> list[str]:
    """Each rule's alarms of one step above info in one text: the worst, the other sites by name, and what to do."""
    groups: dict[tuple[int, str], list[Alarm]] = {}
    for alarm in alarms:
        if alarm.finding.level != "info":
            groups.setdefault((alarm.step, alarm.finding.rule), []).append(alarm)
    return [_in_a_text(group) for group in groups.values()]


def _in_a_text(group: list[Alarm]) -> str:
    worst = max(group, key=lambda alarm: level_rank(alarm.finding.level))
    others = [str(alarm.finding.site) for alarm in group if alarm is not worst]
    more = f" and {counted(len(others) - NAMED, 'more site')}" if len(others) > NAMED else ""
    also = f" The same at {', '.join(others[:NAMED])}{more}." if others else ""
    return f"{worst}.{also} {worst.finding.advice}"


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
