"""`leaky check` on a saved document instead of a model: prints it and applies --fail-on to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from leaky.commands.ending import Status
from leaky.commands.output import show

if TYPE_CHECKING:
    from leaky.diagnosis import Level

SUFFIXES = frozenset({".json", ".jsonl"})


def is_saved(model: str) -> bool:
    """Whether what stands in the place of MODEL is the name of a document or a log."""
    return Path(model).suffix.lower() in SUFFIXES


def show_saved(path: str, fail_on: str, full: bool, sites: str) -> Status:
    """Print a saved result: a checkup's report, a run's table over time, whatever else its own words.

    Args:
        path: of a document, or of the log of a run.
        fail_on: the level of a finding, or of an alarm, from which on the status is 1; "never" for none.
        full: whether each finding of a checkup is shown in full.
        sites: "auto" or "all", of a checkup.
    """
    from leaky import documents
    from leaky.diagnosis import level_rank
    from leaky.report.shown import Shown
    from leaky.report.terminal import TerminalReport

    kind, thing = documents.opened(path)
    report = thing if isinstance(thing, Shown) else str(thing)
    show(TerminalReport(thing.diagnosis, full=full, sites=sites) if kind == "checkup" else report)
    if fail_on == "never":
        return Status.OK
    worst = max((level_rank(level) for level in _levels(thing)), default=-1)
    return Status.FOUND if worst >= level_rank(cast("Level", fail_on)) else Status.OK


def _levels(thing: Any) -> list[str]:
    alarms = [alarm.finding.level for alarm in getattr(thing, "alarms", ())]
    return alarms + [finding.level for finding in getattr(thing, "findings", ())]
