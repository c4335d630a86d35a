"""Every alarm that a watch can give has a row in its guide, in words of its own, and every figure is explained."""

from __future__ import annotations

import re
from pathlib import Path

from leaky.watching.alarms import ALARMS
from leaky.watching.history import FIGURES

GUIDE = (Path(__file__).parents[2] / "docs" / "watch.md").read_text(encoding="utf-8")


def rows() -> dict[str, str]:
    """What the table of alarms says of each."""
    table = GUIDE.split("\n## Alarms\n")[1].split("\n\n")[0].strip()
    cells = [re.split(r"(?<!\\)\|", line)[1:3] for line in table.splitlines()[2:]]
    return {name: words.strip() for names, words in cells for name in re.findall(r"`([a-z-]+)`", names)}


def test_the_guide_has_a_row_for_each_alarm_and_for_no_other() -> None:
    assert set(rows()) == set(ALARMS)
    assert all(len(words.split()) >= 5 for words in rows().values())


def test_alarms_stand_in_the_guide_in_the_order_in_which_they_are_looked_for() -> None:
    order = [name for name in rows() if name not in ("dead", "locked", "depth", "gradient-by-depth")]
    assert [name for name in ALARMS if name in order] == order


def test_the_guide_explains_each_figure_of_a_site() -> None:
    named = set(re.findall(r"`([a-z_]+)`", GUIDE))
    assert set(FIGURES) <= named
