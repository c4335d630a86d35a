"""Whether trainings that fail are told of before their loss has stalled, and those that go well left in peace.

    python -m benchmarks.trainings [--half held-out]

trains each failing kind with its healthy twin (the same training without the trouble), and the healthy ones, on two
seeds, under `leaky.watch` as it comes. The halves differ in kinds and seeds. Rules and thresholds were set on
"looked-at", which a half that was held out before has joined, and on "mechanisms". The others, "held-out",
"held-out-since", "frozen", "newcomers", "latecomers", "strangers", "wayfarers" and "sojourners", were written when the
rules stood, one after another, and run once; what most of them missed was mended since. "neighbours" holds healthy
ones alone, of other ways to train, run once likewise. Results stay in results/.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch

from benchmarks.trainings.halves import HALVES, keep, trained
from benchmarks.trainings.running import healthy_row, row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=tuple(HALVES), default="looked-at")
    parser.add_argument("--again", action="store_true", help="keep the result as one of a half that was mended since")
    parser.add_argument("--kinds", nargs="*", help="only these; nothing is kept")
    parser.add_argument("--seeds", nargs="*", type=int, help="only these; nothing is kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    half = options.half
    result = trained(half, row, healthy_row, options.kinds, options.seeds)
    if not options.kinds and not options.seeds:
        keep(result, f"trainings-{half}{'-mended' * options.again}.json")
    print(summary(result))


def summary(result: dict[str, Any]) -> str:
    """The counts, in a line."""
    failing, healthy = result["failing"], result["healthy"]
    in_time, first, fail = (sum(each[key] for each in failing) for key in ("in time", "first is right", "fails"))
    loud = sum(bool(each["said"]) for each in healthy), sum(bool(each["twin"]) for each in failing)
    return (
        f"{len(failing)} trainings, of which {fail} failed: {in_time} told in time, of {first} the first alarm is "
        f"right; above info: {loud[0]} of {len(healthy)} healthy ones, {loud[1]} of {len(failing)} twins"
    )


if __name__ == "__main__":
    main()
