"""Sites, units and silent sets of strangers' networks against an independent count, and what observing costs.

    python -m benchmarks.strangers [NAME ...]

Equal: every activation that torch was asked for is a site with the same units, of which the same were silent. Listed:
not all are sites, and leaky says which were not examined and why. A package that is not installed
(requirements/strangers.txt) is named as missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

import leaky
from benchmarks.strangers import language, pictures, spelled, tables, written_out
from benchmarks.strangers.comparing import compared
from benchmarks.strangers.stranger import Stranger

RESULTS = Path(__file__).parents[1] / "results" / "strangers.json"


def strangers() -> list[Stranger]:
    """Every one, by family."""
    return [
        *language.strangers(),
        *pictures.strangers(),
        *tables.strangers(),
        *written_out.strangers(),
        *spelled.strangers(),
    ]


def examined(stranger: Stranger) -> dict[str, Any]:
    """The comparison, or why there is none."""
    if importlib.util.find_spec(stranger.package) is None:
        return {"missing": f"{stranger.package} is not installed"}
    try:
        importlib.import_module(stranger.package) if not stranger.trained else None
    except ImportError as error:
        return {"missing": f"{stranger.package} needs more: {error}"[:120]}
    return compared(stranger)


def summary(results: dict[str, dict[str, Any]]) -> str:
    """The counts, in a line."""
    run = [result for result in results.values() if "equal" in result]
    equal = sum(result["equal"] for result in run)
    listed = sum(not result["equal"] and result["listed"] > 0 for result in run)
    changed = sum(not result["unchanged"] for result in run)
    loud = sum(bool(result.get("above info")) for result in run)
    ratios = sorted(result["time_ratio"] for result in run)
    middle = ratios[len(ratios) // 2] if ratios else None
    return (
        f"{len(run)} models: {equal} equal, {listed} with something listed, {len(run) - equal - listed} wrong; "
        f"{changed} changed; {loud} trained ones got more than notes; time ÷ plain pass of a further batch: middle "
        f"{middle}, highest {ratios[-1] if ratios else None}; {len(results) - len(run)} missing"
    )


def main() -> int:
    """Every model; 1 where one is neither equal nor listed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only those whose names hold one of these words; results are not kept")
    wanted = parser.parse_args().names
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    results: dict[str, dict[str, Any]] = {}
    for stranger in strangers():
        if wanted and not any(word in stranger.name for word in wanted):
            continue
        results[stranger.name] = examined(stranger)
        print(stranger.name, json.dumps(results[stranger.name]), flush=True)
    print(summary(results))
    if not wanted:
        versions = {"leaky": leaky.__version__, "torch": torch.__version__}
        text = json.dumps({"versions": versions, "models": results}, indent=1) + "\n"
        RESULTS.write_text(text, encoding="utf-8")
    wrong = [r for r in results.values() if "equal" in r and not (r["equal"] or r["listed"])]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
