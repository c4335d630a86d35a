"""Whether `on_alarm="control"` saves trainings that fail, and leaves those that go well alone.

    python -m benchmarks.trainings.control [--held-out] [--seeds 4]

trains each failing kind of `benchmarks.trainings` as it is and under control, beside its healthy twin, and the healthy
kinds as they are and under control, with the default table. A training has failed where its loss ends nearer to where
the twin's began than to where the twin's ended; it is saved where under control it ends within a tenth of that way from
the twin's end. The table of controls was set on the first half; of the second, one seed was run once, when it stood.
Results stay in results/.
"""

from __future__ import annotations

import argparse
import math
import warnings
from typing import Any

import torch

from benchmarks.trainings.building import Kind
from benchmarks.trainings.halves import keep, trained
from benchmarks.trainings.running import Course, run


def course(kind: Kind, seed: int, sick: bool, controlled: bool) -> tuple[Course, list[str]]:
    """A training, and what was done to it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        training = kind(seed, sick)
        if not controlled:
            return run(training, seed), []
        found = run(training, seed, on_alarm="control")
    return found, found.controls


def row(kind: Kind, seed: int) -> dict[str, Any]:
    """A failing training as it is and under control, beside its twin."""
    plain, _ = course(kind, seed, True, False)
    controlled, controls = course(kind, seed, True, True)
    twin, _ = course(kind, seed, False, False)
    began = float(twin.losses[:5].mean())
    way = began - twin.end

    def missing(each: Course) -> float:
        return (each.end - twin.end) / way if math.isfinite(each.end) and way > 0 else math.inf

    return {
        "kind": kind.__name__,
        "seed": seed,
        "began": shown(began),
        "plain": shown(plain.end),
        "controlled": shown(controlled.end),
        "twin": shown(twin.end),
        "failed": missing(plain) > 0.5,
        "saved": missing(plain) > 0.5 and missing(controlled) <= 0.1,
        "worse": missing(controlled) > max(missing(plain), 0.0) + 0.1,
        "controls": controls,
    }


def healthy_row(kind: Kind, seed: int) -> dict[str, Any]:
    """A healthy training as it is and under control."""
    plain, _ = course(kind, seed, False, False)
    controlled, controls = course(kind, seed, False, True)
    same = bool((plain.losses == controlled.losses).all())
    ends = {"plain": shown(plain.end), "controlled": shown(controlled.end)}
    return {"kind": kind.__name__, "seed": seed, **ends, "the same": same, "controls": controls}


def shown(loss: float) -> float | str:
    return round(loss, 4) if math.isfinite(loss) else "not finite"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--seeds", nargs="*", type=int, help="only these of the half's")
    parser.add_argument("--kinds", nargs="*", help="only these; nothing is kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    half = "held-out" if options.held_out else "looked-at"
    result = trained(half, row, healthy_row, options.kinds, options.seeds)
    if not options.kinds:
        keep(result, f"control-{half}.json")
    failed, saved, worse = (sum(each[key] for each in result["failing"]) for key in ("failed", "saved", "worse"))
    same = sum(each["the same"] for each in result["healthy"])
    print(
        f"{len(result['failing'])} trainings, {failed} failed as they were: {saved} of them saved; {worse} worse; "
        f"{same} of {len(result['healthy'])} healthy ones the same, step by step"
    )


if __name__ == "__main__":
    main()
