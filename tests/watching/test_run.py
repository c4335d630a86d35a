"""What a run says in words."""

from __future__ import annotations

import numpy as np

from leaky.diagnosis import Finding, Level
from leaky.report.page.columns import Columns
from leaky.report.page.run import run_content
from leaky.watching.alarm import Alarm
from leaky.watching.run import MOST_SITES, Run


def alarm(step: int, rule: str, level: Level, site: str | None, advice: str = "Lower the rate.") -> Alarm:
    return Alarm(step, Finding(rule, level, site, (), f"seen at {site}", {}, advice))


def run(*alarms: Alarm) -> Run:
    return Run("net", {"a": 4}, {"a": "ReLU"}, np.array([10, 20]), np.array([5, 5]), {}, alarms)


def said(watched: Run) -> list[str]:
    """The lines from the first alarm on."""
    found = str(watched).splitlines()
    return found[next(i for i, line in enumerate(found) if line.startswith(("step 1", "No alarm"))) :]


def test_alarms_of_one_rule_at_one_step_stand_together_the_worst_first() -> None:
    watched = run(
        alarm(10, "drift", "warning", "a"),
        alarm(10, "depth", "warning", "a"),
        alarm(10, "drift", "error", "b"),
        alarm(10, "drift", "info", "c"),
        alarm(12, "drift", "error", "a"),
    )
    assert said(watched) == [
        "step 10: error: b: seen at b [drift]",
        "    warning: a: seen at a",
        "    → Lower the rate.",
        "step 10: warning: a: seen at a [depth]",
        "    → Lower the rate.",
        "step 12: error: a: seen at a [drift]",
        "    → Lower the rate.",
    ]


def test_each_piece_of_advice_is_said_once_and_many_sites_are_counted() -> None:
    many = [alarm(10, "dead", "warning", f"site{i}", "Repair." if i % 2 else "Wait.") for i in range(MOST_SITES + 4)]
    found = said(run(*many))
    assert found[0] == "step 10: warning: site0: seen at site0 [dead]"
    assert found[-3:] == ["    (3 sites more)", "    → Wait.", "    → Repair."]
    assert len(found) == 1 + MOST_SITES + 3


def test_steps_are_counted_from_0_in_the_terminal_and_on_the_page() -> None:
    assert str(run()).startswith("net · 4 units at 1 site · 21 steps")
    assert run_content(run(), Columns())["verdict"] == "No alarm in 21 steps."


def test_no_alarm_is_said() -> None:
    assert said(run(alarm(10, "dead", "info", "a"))) == ["No alarm above info."]


def test_what_is_said_of_alarms_parts_those_of_level_info_from_the_others() -> None:
    told, aside = alarm(10, "drift", "warning", "a"), alarm(10, "dead", "info", "a")
    watched = run(aside, told)
    assert watched.alarms_together() == [(told,)]
    assert watched.remarks == (aside,)
