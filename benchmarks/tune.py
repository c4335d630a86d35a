"""What a study costs: stacks against one model after another, and a whole answer against the full grid.

`python -m benchmarks.tune` measures, in one run and on one machine, with contenders taking turns:
  engines   every variant trained from first batch to last, building, initialising and choosing the way included, and
            observing each network for leaky: in plain eager torch one after another, in two single-thread processes
            that wait with everything imported, and by the engine that `leaky.tune` uses;
  equality  how far the weights of a stack are from those of training alone after 50 steps;
  price     a whole adaptive study against the full grid one after another, and against Optuna alone;
  kills     a study killed 20 times at random instants, against an undisturbed one.
Each figure is printed beside its target; all go to benchmarks/results/tune.json. `--quick` takes the first network, one
round, ten seeds and four kills, and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import machine
from benchmarks.tune_price import kills, price
from benchmarks.tune_speed import engines, equality
from leaky.files import write_whole

RESULTS = Path(__file__).parent / "results" / "tune.json"


def lines_of(part: str, rows: list[dict[str, Any]]) -> list[str]:
    """Each figure of a part beside its target."""
    return [line for row in rows for line in _SAID[part](row)]


def _engine_lines(row: dict[str, Any]) -> list[str]:
    name = f"{row['model']}, {row['variants']} variants, {row['epochs']} epochs"
    found = [_line(f"{name}: over one after another", row["over_one_after_another"], row["target"])]
    found.append(_line(f"{name}: over two processes", row["over_two_processes"], row["target_over_two"]))
    return [*found, f"       {row['seconds']}; {row['ways'][-1]}"]


def _equality_lines(row: dict[str, Any]) -> list[str]:
    distance, met = row["largest_relative_distance"], row["largest_relative_distance"] <= row["target"]
    return [
        f"{_mark(met)} {row['model']}, {row['optimizer']}, batches of {row['batch_size']}: distance {distance:.1e} "
        f"after {row['steps']} steps (at most {row['target']:.0e}), {row['identical_to_the_bit']} of "
        f"{row['variants']} to the bit",
        f"       scores differ by {row['mean_score_difference']:+.4f}; over seeds and slopes they deviate by "
        f"{row['score_deviation_over_seeds_and_slopes']:.4f}",
    ]


def _price_lines(row: dict[str, Any]) -> list[str]:
    return [
        _line("a whole answer: less time than the full grid", row["times_less_than_the_grid"], row["target"]),
        _line("a whole answer: less time than Optuna alone", row["times_less_than_optuna_alone"], None),
        f"       {row['leaky_trainings']} of {row['grid_trainings']} trainings in {row['leaky_seconds']:.1f} s; "
        f"grid {row['grid_seconds']:.1f} s, Optuna {row['optuna_alone_seconds']:.1f} s; {row['ended']}",
    ]


def _kill_lines(row: dict[str, Any]) -> list[str]:
    return [f"{_mark(row['same'])} killed {row['kills']} times: the same {row['trials']} trials: {row['same']}"]


def _line(name: str, value: float, target: float | None) -> str:
    wanted = "no target" if target is None else f"at least {target:g}×"
    return f"{_mark(target is None or value >= target)} {name}: {value:.2f}× ({wanted})"


def _mark(met: bool) -> str:
    return "met   " if met else "MISSED"


_SAID: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "engines": _engine_lines,
    "equality": _equality_lines,
    "price": _price_lines,
    "kills": _kill_lines,
}


def main() -> None:
    """Measure everything, say it and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=tuple(_SAID))
    parser.add_argument("--out", default=str(RESULTS))
    parser.add_argument("--quick", action="store_true", help="a few minutes; nothing is written")
    arguments = parser.parse_args()
    quick = arguments.quick
    began = time.perf_counter()
    parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "engines": lambda: engines(1, 1) if quick else engines(arguments.rounds),
        "equality": equality,
        "price": lambda: [price(10) if quick else price()],
        "kills": lambda: [kills(4) if quick else kills()],
    }
    result: dict[str, Any] = {"machine": {**machine(), "torch": torch.__version__, "threads": torch.get_num_threads()}}
    for part in [arguments.only] if arguments.only else parts:
        result[part] = parts[part]()
        print("\n".join(lines_of(part, result[part])), flush=True)
    result["seconds"] = time.perf_counter() - began
    if not quick:
        write_whole(arguments.out, (json.dumps(result, indent=1, allow_nan=False) + "\n").encode())


if __name__ == "__main__":
    main()
