"""Every alarm with the rule behind it, and which of them stand.

An alarm is raised once, and again only when its level rises or after it has been over for some reports; thresholds are
those of the one table.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from leaky.diagnosis import Diagnosis, Finding, Level, level_rank
from leaky.watching.alarm import Alarm
from leaky.watching.alarm_rules.inputs import choices, experts, inputs
from leaky.watching.alarm_rules.learning import cut_off, gradient, never_zeroed, pressed
from leaky.watching.alarm_rules.losses import loss_misfit, rising_loss, unshuffled
from leaky.watching.alarm_rules.now import Check, Now
from leaky.watching.alarm_rules.ranges import depth, drift, fading, non_finite, rising_rate
from leaky.watching.alarm_rules.signals import alike, same_units
from leaky.watching.alarm_rules.units import collapsing, dead, locked, stopped_firing
from leaky.watching.alarm_rules.weights import (
    changed_aside,
    starved,
    steady_updates,
    tiny_updates,
    to_and_fro,
    updates,
    weight_size,
)

ALARMS: dict[str, Check] = {
    "non-finite": non_finite,
    "input": inputs,
    "choices": choices,
    "never-zeroed": never_zeroed,
    "changed-aside": changed_aside,
    "rising-rate": rising_rate,
    "update-size": updates,
    "steady-updates": steady_updates,
    "to-and-fro": to_and_fro,
    "tiny-updates": tiny_updates,
    "weight-size": weight_size,
    "target-shape": loss_misfit,
    "loss-misfit": loss_misfit,
    "rising-loss": rising_loss,
    "unshuffled": unshuffled,
    "no-gradient": gradient,
    "gradient-spike": gradient,
    "starved": starved,
    "pressed": pressed,
    "cut-off": cut_off,
    "same-units": same_units,
    "alike": alike,
    "depth": depth,
    "gradient-by-depth": depth,
    "drift": drift,
    "fading": fading,
    "collapsing": collapsing,
    "stopped-firing": stopped_firing,
    "dead": dead,
    "locked": locked,
    "experts": experts,
}
"""The rule behind each alarm's name, causes before consequences."""

EVENTS = ("non-finite", "input", "rising-rate", "update-size", "gradient-spike")
"""Alarms of what is over with its step, and may have left what stands at the end."""

QUIET_REPORTS = 10
"""Reports in a row without what an alarm tells after which it is over: a share at a threshold comes and goes."""


@dataclass(eq=False)
class StandingAlarms:
    """Which alarms stand.

    Attributes:
        chosen: names of the alarms that may be raised.
        told: the highest level of each that is not over, and the reports since it was found, by `_subject`.
        found: what the rules found at the last report since a reset.
        happened: by rule, the worst event since then, and the first of its level.
    """

    chosen: frozenset[str] = frozenset(ALARMS)
    told: dict[tuple[str, str | None], tuple[Level, int]] = field(default_factory=dict)
    found: list[Finding] = field(default_factory=list)
    happened: dict[str, Alarm] = field(default_factory=dict)

    def look(self, now: Now) -> list[Alarm]:
        """The alarms that are new at this report."""
        found = [finding for check in dict.fromkeys(ALARMS.values()) for finding in check(now)]
        self.found = found = _once([finding for finding in found if finding.rule in self.chosen])
        new = [Alarm(now.step, finding) for finding in found if self._is_new(finding)]
        self._tell(found)
        for alarm in new:
            worst = self.happened.get(alarm.finding.rule)
            if alarm.finding.rule in EVENTS and (worst is None or _worse(alarm, worst)):
                self.happened[alarm.finding.rule] = alarm
        return new

    def _is_new(self, finding: Finding) -> bool:
        level, _ = self.told.get(_subject(finding), (None, 0))
        return level_rank(finding.level) > level_rank(level)

    def _tell(self, found: list[Finding]) -> None:
        """Keep what is found as told, and what is not, for as long as it is not over."""
        went = {key: (level, missing + 1) for key, (level, missing) in self.told.items()}
        self.told = {key: each for key, each in went.items() if key[0] not in EVENTS and each[1] < QUIET_REPORTS}
        for finding in found:
            level, _ = self.told.get(_subject(finding), (finding.level, 0))
            self.told[_subject(finding)] = max(level, finding.level, key=level_rank), 0

    def forget(self) -> None:
        """Nothing was found yet, for the checkup."""
        self.found, self.happened = [], {}

    def joined(self, diagnosis: Diagnosis) -> Diagnosis:
        """A diagnosis of the whole window with what stands at its end: units that fired early and are dead by now.

        Where something stands, what happened before comes first, with its step. What the diagnosis itself says by the
        same rule is left as it is.
        """
        said = {finding.rule for finding in diagnosis.findings}
        stands = [finding for finding in self.found if finding.level != "info" and finding.rule not in said]
        if not stands and all(finding.level == "info" for finding in diagnosis.findings):
            return diagnosis
        over = said.union(finding.rule for finding in stands)
        came = [_with_its_step(alarm) for rule, alarm in self.happened.items() if rule not in over]
        came = [finding for finding in came if finding.level != "info"]
        findings = sorted((*came, *stands, *diagnosis.findings), key=lambda finding: -level_rank(finding.level))
        return replace(diagnosis, findings=tuple(findings))

    def again(self, alarm: Alarm) -> None:
        """Raise it again if it holds at the next report: something was done about it."""
        self.told.pop(_subject(alarm.finding), None)


def _subject(finding: Finding) -> tuple[str, str | None]:
    """What a finding is of: units that have stopped firing are dead, whichever is told."""
    return "dead" if finding.rule == "stopped-firing" else finding.rule, finding.site


def _worse(alarm: Alarm, than: Alarm) -> bool:
    return level_rank(alarm.finding.level) > level_rank(than.finding.level)


def _with_its_step(alarm: Alarm) -> Finding:
    return replace(alarm.finding, message=f"at step {alarm.step}: {alarm.finding.message}")


def _once(found: list[Finding]) -> list[Finding]:
    """Without the units of a site that are dead, where it is told as badly that they have stopped firing."""
    gone = {f.site: level_rank(f.level) for f in found if f.rule == "stopped-firing"}
    return [f for f in found if f.rule != "dead" or level_rank(f.level) > gone.get(f.site, -1)]
