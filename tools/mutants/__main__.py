"""python -m tools.mutants [ROOM …]: how many mutants of each room its tests notice.

Takes mutants in an order drawn by a seed, so that those of a run that is cut off, by --sample, --minutes or Ctrl-C, are
a fair sample of the room; benchmarks/results/mutants.json keeps after each what came of it, with the survivors, and
what is known of those that compute the same (tools/mutants/equivalent.json).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.mutants.mutations import Mutant, mutants_of
from tools.mutants.rooms import ROOMS, ROOT, Room
from tools.mutants.trying import Bench

RESULTS = ROOT / "benchmarks" / "results" / "mutants.json"
EQUIVALENT = Path(__file__).parent / "equivalent.json"
GOAL = 0.85
"""The share of mutants that the tests of a room must notice."""


def main(arguments: list[str]) -> int:
    """Status 1 where a room is below the goal."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("rooms", nargs="*", default=[], metavar="ROOM", help=", ".join(room.name for room in ROOMS))
    parser.add_argument("--sample", type=int, default=250, help="mutants of a room at most; 0 for all")
    parser.add_argument("--minutes", type=float, default=math.inf, help="a room, after which no mutant is begun")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="mutants whose file and function contain this")
    parser.add_argument("--again", action="store_true", help="those alone that the kept results say survived")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(arguments)
    sys.path.insert(0, str(ROOT / "src"))
    os.chdir(ROOT)
    import hypothesis  # noqa: F401
    import torch  # noqa: F401

    kept: dict[str, Any] = json.loads(asked.out.read_text("utf-8")) if asked.out.exists() else {}
    for room in ROOMS:
        if not asked.rooms or room.name in asked.rooms:
            before = kept.get(room.name) if asked.again else None
            for result in tried(room, asked.sample, asked.seed, asked.only, before, asked.minutes):
                kept[room.name] = result
                asked.out.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")
            result = kept[room.name]
            print(f"{room.name}: {result['killed']} of {result['tried']} noticed, {result['rate']:.1%}", flush=True)
    return int(any(result["rate"] < GOAL for result in kept.values()))


def tried(
    room: Room,
    sample: int,
    seed: int,
    only: str = "",
    before: dict[str, Any] | None = None,
    minutes: float = math.inf,
) -> Iterator[dict[str, Any]]:
    """What came of the mutants of one room, after each of them.

    Args:
        room: what to change, and its tests.
        sample: mutants at most; 0 for all.
        seed: of the sample.
        only: what their names contain.
        before: an earlier result, of which the survivors are tried again; tests were added since, sources were not
            changed.
        minutes: after which no mutant is begun.
    """
    begin = time.monotonic()
    mutants = [m for file in room.files() for m in mutants_of(file) if only in named(m)]
    chosen = random.Random(seed).sample(mutants, min(sample or len(mutants), len(mutants)))
    sure = 0
    if before is not None:
        lived = {(each["mutant"], each.get("number")) for each in before["survivors"]}
        chosen = [mutant for mutant in mutants if (named(mutant), mutant.number) in lived]
        sure = before["tried"] - len(chosen)
    bench = Bench(room)
    equivalent = json.loads(EQUIVALENT.read_text("utf-8")) if EQUIVALENT.exists() else {}
    survivors: list[dict[str, Any]] = []
    print(f"{room.name}: {len(chosen)} of {len(mutants)} mutants, {len(bench.seconds)} tests", flush=True)
    for failed in bench.failed:
        print(f"  fails without a mutant: {failed}", flush=True)
    for count, mutant in enumerate(chosen, sure + 1):
        if time.monotonic() - begin > 60 * minutes:
            return
        if not bench.notices(mutant):
            run = bool(bench.order(mutant))
            survivors.append({"mutant": named(mutant), "number": mutant.number, "line": mutant.line, "run": run})
            why = equivalent.get(named(mutant))
            survivors[-1] |= {"equivalent": why} if why else {}
            print(f"  {'lives' if run else 'not run'}: {named(mutant)} (line {mutant.line})", flush=True)
        yield {
            "mutants": len(mutants),
            "tried": count,
            "seed": seed,
            "tests": len(bench.seconds),
            "killed": count - len(survivors),
            "rate": round(1 - len(survivors) / count, 4),
            "equivalent": sum("equivalent" in each for each in survivors),
            "seconds": round(time.monotonic() - begin),
            "survivors": sorted(survivors, key=lambda each: each["mutant"]),
        }


def named(mutant: Mutant) -> str:
    """What a mutant is called, whatever its line."""
    return f"{mutant.file.relative_to(ROOT / 'src' / 'leaky')} {mutant.where}: {mutant.change}".replace(" :", ":")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
