"""What the kept outcomes say: who repaired what, who was harmed."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.repair.methods import METHODS
from benchmarks.repair.setups import Setup


def repaired(outcomes: dict[str, list[dict[str, Any]]], method: str) -> bool:
    """Whether a method ended no worse than the twin."""
    difference = np.array([o["score"] for o in outcomes["twin"]]) - np.array([o["score"] for o in outcomes[method]])
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    return bool(difference.mean() <= max(1.0, 2 * error))


def by_chance(results: list[dict[str, Any]]) -> float:
    """What share of set-ups a second healthy network would pass, were it the twin's equal: of t with n − 1 degrees.

    Where the 1 point is the wider limit, it counts as passed.
    """
    shares = []
    for r in results:
        scores = [np.array([o["score"] for o in r["outcomes"][name]]) for name in ("twin", "leaky.repair")]
        difference = scores[0] - scores[1]
        wide = 2 * float(difference.std(ddof=1)) / math.sqrt(len(difference)) <= 1.0
        shares.append(1.0 if wide else float(stats.t.cdf(2, len(difference) - 1)))
    return float(np.mean(shares))


def table(results: list[dict[str, Any]]) -> str:
    """What share of the set-ups each method repaired, by family, and what happened to revived units and to twins."""
    families = list(dict.fromkeys(r["family"] for r in results))
    lines = [f"{'repaired set-ups':24}" + "".join(f"{name:>14}" for name in METHODS)]
    for family in (*families, "all"):
        chosen = [r for r in results if family in (r["family"], "all")]
        counts = [sum(repaired(r["outcomes"], name) for r in chosen) for name in METHODS]
        lines.append(f"{family:24}" + "".join(f"{f'{count}/{len(chosen)}':>14}" for count in counts))
    means = [np.mean([o["score"] for r in results for o in r["outcomes"][name]]) for name in METHODS]
    lines.append(f"{'mean test accuracy':24}" + "".join(f"{mean:>14.1f}" for mean in means))
    ours = [o for r in results for o in r["outcomes"]["leaky.repair"]]
    revived, alive = sum(o["revived"] for o in ours), sum(o["alive"] for o in ours)
    twins = [o for r in results for o in r["outcomes"]["twin"]]
    touched = [o for r in results for o in r["outcomes"]["twin, leaky.repair"]]
    harmed = [name_of(r) for r in results if not repaired(r["outcomes"], "twin, leaky.repair")]
    lines.append(f"healthy twins: mean test accuracy {np.mean([o['score'] for o in twins]):.1f}")
    lines.append(f"an equal of the twin would pass {100 * by_chance(results):.1f}% of the set-ups")
    lines.append(f"revived units alive at the end: {alive} of {revived} ({100 * alive / max(1, revived):.1f}%)")
    lines.append(f"healthy twins changed: {sum(o['acted'] for o in touched)} of {len(touched)}")
    lines.append(f"healthy twins harmed: {len(harmed)} of {len(results)} {harmed or ''}")
    failed = [name_of(r) for r in results if not repaired(r["outcomes"], "leaky.repair")]
    lines.append(f"not repaired by leaky.repair: {failed or 'none'}")
    return "\n".join(lines)


def name_of(result: dict[str, Any]) -> str:
    return Setup(**{f.name: result[f.name] for f in fields(Setup)}).name
