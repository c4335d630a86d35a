"""Replays every situation and prints tried and failed by kind."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

from benchmarks.hostile import arrays, commands, documents, interruptions, mistakes, models, places, programs
from benchmarks.hostile.situation import Situation
from leaky.files import write_whole

RESULT = Path(__file__).parents[1] / "results" / "hostile.json"


ROOMS = (arrays, commands, documents, mistakes, models, places, interruptions, programs)


def main() -> int:
    """Try those of the kinds that the command names, or all; 1 if one failed."""
    warnings.simplefilter("ignore")
    everything = [situation for room in ROOMS for situation in room.situations()]
    known = sorted({situation.kind for situation in everything})
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="kind", help=f"of {', '.join(known)}; by default all")
    kinds = parser.parse_args().kinds
    if unknown := set(kinds) - set(known):
        parser.error(f"a kind must be one of {', '.join(known)}, not {', '.join(sorted(unknown))}")
    everything = [situation for situation in everything if not kinds or situation.kind in kinds]
    began, tried = time.monotonic(), Counter[str]()
    failed: dict[str, dict[str, str]] = {}
    for situation in everything:
        tried[situation.kind] += 1
        wrong = attempt(situation)
        if wrong:
            failed.setdefault(situation.kind, {})[situation.name] = wrong
            print(f"FAILED {situation.kind}: {situation.name}: {wrong}", flush=True)
    print(f"\n{'kind':<16} tried  failed")
    for kind, count in tried.items():
        print(f"{kind:<16} {count:>5}  {len(failed.get(kind, {})):>6}")
    total = sum(map(len, failed.values()))
    print(f"{'all':<16} {sum(tried.values()):>5}  {total:>6}   in {time.monotonic() - began:.0f} s")
    if not kinds:
        result = {"tried": dict(tried), "failed": failed, "seconds": round(time.monotonic() - began)}
        write_whole(RESULT, (json.dumps(result, indent=1) + "\n").encode())
    return int(total > 0)


def attempt(situation: Situation) -> str:
    """Try it in an empty folder; what went wrong, "" where nothing did."""
    here, path = Path.cwd(), sys.path[:]
    with tempfile.TemporaryDirectory(prefix="leaky-hostile-") as folder:
        os.chdir(folder)
        try:
            situation.run(Path(folder))
        except AssertionError as error:
            return str(error)[:300] or traceback.format_exc(limit=-1)[-300:]
        except BaseException as error:
            return f"{type(error).__name__}: {error}"[:300]
        finally:
            os.chdir(here)
            sys.path[:] = path
            sys.modules.pop("user", None)
    return ""


if __name__ == "__main__":
    sys.exit(main())
