"""What a repair did as what its page shows: kept or not and why, before and after, each treatment, each action.

Takes any object with what `leaky.repairing.outcome.RepairRecord` has: report and repairing do not import each other.
"""

from __future__ import annotations

from typing import Any

from leaky.report.page.wording import told
from leaky.text import counted, printable, share

LEVELS = {"kept": "none", "not judged": "info", "rolled back": "warning", "left": "info", "nothing to do": "none"}


def repair_content(record: Any) -> dict[str, Any]:
    """What the page of a repair shows."""
    return {
        "kind": "repair",
        "title": "repair",
        "verdict": told(str(record).splitlines()[0]),
        "level": LEVELS.get(record.verdict, "info"),
        "subtitle": _subtitle(record),
        "before_after": _before_after(record),
        "output_change": record.output_change,
        "results": [
            {"name": told(result.name), "before": result.before, "after": result.after, "trainings": result.trainings}
            for result in record.results
        ],
        "drift": [
            {
                "name": printable(site.site),
                "mean": list(site.mean),
                "second_moment": list(site.second_moment),
                "change": site.change,
            }
            for site in record.drift
        ],
        "actions": [
            {
                "kind": told(action.kind),
                "site": None if action.site is None else printable(action.site),
                "units": action.units,
                "reason": told(action.reason),
                "negative_slope": action.negative_slope,
                "changes": [told(change) for change in action.changes],
            }
            for action in record.actions
        ],
        "left": [[printable(each.site), list(each.units), told(each.reason)] for each in record.left],
        "notes": [told(note) for note in record.notes],
    }


def _subtitle(record: Any) -> str:
    before, after = record.lost_share
    trained = "" if record.trainings is None else f" · {counted(record.trainings[0], 'short training')}"
    return f"dead or constant units: {share(before)} before, {share(after)} after{trained}"


def _before_after(record: Any) -> list[list[Any]]:
    rows: list[list[Any]] = [["Dead or constant units", *record.lost_share, "share"]]
    if record.metric is not None:
        rows.insert(0, ["Validation metric", *record.metric, "number"])
    return rows
