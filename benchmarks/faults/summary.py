"""All networks together: totals, and the same as plain data for a JSON file."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

import leaky
from benchmarks.faults.bursty import Bursty
from benchmarks.faults.rivals import RIVALS, Rival
from benchmarks.faults.trial import EARLY, Outcome

MUST_BE_PERFECT = ("dead", "locked_negative", "locked_positive")


def total(outcomes: Sequence[Outcome]) -> Outcome:
    """Everything summed."""
    result = Outcome(f"{len(outcomes)} networks")
    for outcome in outcomes:
        result.units += outcome.units
        result.samples += outcome.samples
        result.truths += outcome.truths
        result.wrong += outcome.wrong
        for verdict, score in outcome.ours.items():
            result.ours[verdict] += score
        for key, score in outcome.rivals.items():
            result.rivals[key] += score
        for key, called in outcome.blamed.items():
            result.blamed[key] += called
        for rule, pairs in outcome.shares.items():
            result.shares[rule] += pairs
    return result


def failures(whole: Outcome, bursty: Bursty | None) -> list[str]:
    """What must hold and does not."""
    found = [f"{v} is not perfect: {whole.ours[v].as_dict()}" for v in MUST_BE_PERFECT if not whole.ours[v].perfect]
    for verdict in MUST_BE_PERFECT:
        early = whole.ours[verdict + EARLY]
        if early.false_alarms:
            found.append(f"{early.false_alarms} units were called {verdict} on too few samples")
    if bursty is not None and bursty.called_dead:
        found.append(f"{bursty.called_dead} of {bursty.units} bursty units were called dead or locked")
    return found


def as_data(outcomes: Sequence[Outcome], bursty: Bursty | None, seconds: float) -> dict[str, Any]:
    """Everything, for a JSON file."""
    whole = total(outcomes)
    return {
        "machine": machine(),
        "seconds": round(seconds, 1),
        "networks": len(outcomes),
        "units": whole.units,
        "truths": dict(sorted(whole.truths.items())),
        "leaky": {verdict: whole.ours[verdict].as_dict() for verdict in sorted(whole.ours)},
        "others": [_rival(whole, rival) for rival in RIVALS],
        "called_dead_by_plant": _blamed(whole),
        "bursty": None if bursty is None else bursty.as_dict(),
        "failures": failures(whole, bursty),
        "wrong_verdicts": whole.wrong,
        "each_network": [
            {"name": o.name, "units": o.units, "samples": o.samples, "truths": dict(sorted(o.truths.items()))}
            for o in outcomes
        ],
    }


def _rival(whole: Outcome, rival: Rival) -> dict[str, Any]:
    shares = whole.shares.get(rival.name)
    return {
        "name": rival.name,
        "rule": rival.rule,
        "against_dead": whole.rivals[rival.name, "dead"].as_dict(),
        "against_dead_or_locked_negative": whole.rivals[rival.name, "never fires"].as_dict(),
        "mean_share_reported": fmean(s for s, _ in shares) if shares else None,
        "mean_share_dead": fmean(t for _, t in shares) if shares else None,
    }


def _blamed(whole: Outcome) -> dict[str, dict[str, dict[str, float]]]:
    result: dict[str, dict[str, dict[str, float]]] = {}
    for (rule, plant), called in sorted(whole.blamed.items()):
        result.setdefault(rule, {})[plant] = {"planted": len(called), "share_called_dead": round(fmean(called), 6)}
    return result


def machine() -> dict[str, str]:
    """What it ran on, briefly."""
    return {
        "processor": _processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "leaky": leaky.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0]}, {len(models)} cores" if models else platform.processor() or platform.machine()
