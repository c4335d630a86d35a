"""The halves of the suite and what came after: which kinds and seeds are in each, what is trained, where it is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.trainings.building import Kind
from benchmarks.trainings.frozen_healthy import FROZEN_HEALTHY
from benchmarks.trainings.frozen_issue_kinds import FROZEN_ISSUE_KINDS
from benchmarks.trainings.frozen_other_kinds import FROZEN_OTHER_KINDS
from benchmarks.trainings.healthy import HEALTHY_LOOKED_AT, HEALTHY_ONCE_HELD_OUT
from benchmarks.trainings.healthy_families import HEALTHY_FAMILIES
from benchmarks.trainings.healthy_held_out import HEALTHY_HELD_OUT
from benchmarks.trainings.held_out import HELD_OUT
from benchmarks.trainings.held_out_since import HEALTHY_HELD_OUT_SINCE, HELD_OUT_SINCE
from benchmarks.trainings.latecomers import LATECOMERS, LATECOMERS_HEALTHY
from benchmarks.trainings.looked_at import LOOKED_AT
from benchmarks.trainings.mechanisms import MECHANISMS
from benchmarks.trainings.mechanisms_since import MECHANISMS_SINCE
from benchmarks.trainings.neighbours_healthy import NEIGHBOURS_HEALTHY
from benchmarks.trainings.newcomers import NEWCOMERS
from benchmarks.trainings.newcomers_healthy import NEWCOMERS_HEALTHY
from benchmarks.trainings.once_held_out import ONCE_HELD_OUT
from benchmarks.trainings.sojourners import SOJOURNERS
from benchmarks.trainings.sojourners_healthy import SOJOURNERS_HEALTHY
from benchmarks.trainings.strangers import STRANGERS
from benchmarks.trainings.strangers_healthy import STRANGERS_HEALTHY
from benchmarks.trainings.wayfarers import WAYFARERS

FOLDER = Path(__file__).parents[1] / "results"
Group = tuple[tuple[Kind, ...], tuple[Kind, ...], tuple[int, ...]]
HALVES: dict[str, tuple[Group, ...]] = {
    "looked-at": ((LOOKED_AT, HEALTHY_LOOKED_AT, (0, 1)), (ONCE_HELD_OUT, HEALTHY_ONCE_HELD_OUT, (2, 3))),
    "mechanisms": (((*MECHANISMS, *MECHANISMS_SINCE), HEALTHY_FAMILIES, (8, 9)),),
    "held-out": ((HELD_OUT, HEALTHY_HELD_OUT, (4, 5)),),
    "held-out-since": ((HELD_OUT_SINCE, HEALTHY_HELD_OUT_SINCE, (6, 7)),),
    "frozen": (((*FROZEN_ISSUE_KINDS, *FROZEN_OTHER_KINDS), FROZEN_HEALTHY, (10, 11)),),
    "newcomers": ((NEWCOMERS, NEWCOMERS_HEALTHY, (12, 13)),),
    "latecomers": ((LATECOMERS, LATECOMERS_HEALTHY, (14, 15)),),
    "strangers": ((STRANGERS, STRANGERS_HEALTHY, (16, 17)),),
    "wayfarers": ((WAYFARERS, (), (20, 21)),),
    "neighbours": (((), NEIGHBOURS_HEALTHY, (18, 19)),),
    "sojourners": ((SOJOURNERS, SOJOURNERS_HEALTHY, (22, 23)),),
}
"""Failing kinds, healthy ones and seeds of each half: on the first two the rules and thresholds were set; the others
were written when those stood, one after another, and run once. What each of them showed was mended since."""

Row = Callable[[Kind, int], dict[str, Any]]
"""Trains a kind with a seed and says what came of it."""


def trained(
    half: str, row: Row, healthy_row: Row, kinds: Sequence[str] | None = None, seeds: Sequence[int] | None = None
) -> dict[str, list[dict[str, Any]]]:
    """What came of the failing and of the healthy trainings of a half, each printed as it comes.

    Args:
        half: of `HALVES`.
        row: of a failing kind.
        healthy_row: of a healthy one.
        kinds: names of those that are wanted; all of them if none are given.
        seeds: likewise.
    """
    found: dict[str, list[dict[str, Any]]] = {"failing": [], "healthy": []}
    groups = [(sick, well, seed) for sick, well, own in HALVES[half] for seed in own if not seeds or seed in seeds]
    for name, place, of in (("failing", 0, row), ("healthy", 1, healthy_row)):
        for group in groups:
            for kind in group[place]:
                if not kinds or kind.__name__ in kinds:
                    found[name].append(_told(of(kind, group[2])))
    return found


def keep(result: dict[str, Any], name: str) -> None:
    """Write a result whole into results/."""
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    (FOLDER / name).write_text(text, encoding="utf-8")


def _told(found: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(found, ensure_ascii=False), flush=True)
    return found
