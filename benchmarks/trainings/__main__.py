"""Whether trainings that fail are told of before their loss has stalled, and those that go well left in peace.

    python -m benchmarks.trainings [--held-out]

trains each failing kind with its healthy twin (the same training without the trouble), and the healthy ones, on two
seeds, under `leaky.watch` as it comes. The halves differ in kinds and seeds. Rules and thresholds were set on the
first, which a half that was held out before has joined; the second was written before and run once, when they stood.
Results stay in results/.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.trainings.building import Kind
from benchmarks.trainings.healthy import HEALTHY_LOOKED_AT, HEALTHY_ONCE_HELD_OUT
from benchmarks.trainings.healthy_held_out import HEALTHY_HELD_OUT
from benchmarks.trainings.held_out import HELD_OUT
from benchmarks.trainings.looked_at import LOOKED_AT
from benchmarks.trainings.once_held_out import ONCE_HELD_OUT
from benchmarks.trainings.running import healthy_row, row

FOLDER = Path(__file__).parents[1] / "results"
Group = tuple[tuple[Kind, ...], tuple[Kind, ...], tuple[int, ...]]
HALVES: dict[str, tuple[Group, ...]] = {
    "looked-at": ((LOOKED_AT, HEALTHY_LOOKED_AT, (0, 1)), (ONCE_HELD_OUT, HEALTHY_ONCE_HELD_OUT, (2, 3))),
    "held-out": ((HELD_OUT, HEALTHY_HELD_OUT, (4, 5)),),
}
"""Failing kinds, healthy ones and seeds of each half."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--kinds", nargs="*", help="only these; nothing is kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    half = "held-out" if options.held_out else "looked-at"
    chosen = options.kinds
    groups = [(sick, well, seed) for sick, well, seeds in HALVES[half] for seed in seeds]
    failing = [(kind, seed) for kinds, _, seed in groups for kind in kinds if not chosen or kind.__name__ in chosen]
    healthy = [(kind, seed) for _, kinds, seed in groups for kind in kinds if not chosen or kind.__name__ in chosen]
    result: dict[str, Any] = {
        "failing": [told(row(*each)) for each in failing],
        "healthy": [told(healthy_row(*each)) for each in healthy],
    }
    if not chosen:
        text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
        (FOLDER / f"trainings-{half}.json").write_text(text, encoding="utf-8")
    print(summary(result))


def told(found: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(found, ensure_ascii=False), flush=True)
    return found


def summary(result: dict[str, Any]) -> str:
    """The counts, in a line."""
    failing, healthy = result["failing"], result["healthy"]
    in_time, first = (sum(each[key] for each in failing) for key in ("in time", "first is right"))
    loud = sum(bool(each["said"]) for each in healthy), sum(bool(each["twin"]) for each in failing)
    return (
        f"{len(failing)} failing trainings: {in_time} told in time, of {first} the first alarm is right; above info: "
        f"{loud[0]} of {len(healthy)} healthy ones, {loud[1]} of {len(failing)} twins"
    )


if __name__ == "__main__":
    main()
