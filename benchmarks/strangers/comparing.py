"""One stranger seen by leaky and by the independent count."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import leaky
from benchmarks.strangers.counter import SMOOTH, Call, counted
from benchmarks.strangers.stranger import Stranger, run
from leaky.record import Record

RECTIFIERS = ("ReLU", "LeakyReLU", "ReLU6", "PReLU", "Threshold")
Seen = tuple[str, int, tuple[int, ...] | None]
"""An activation, its units, and those that were silent; None where smoothness makes that a convention."""


def compared(stranger: Stranger) -> dict[str, Any]:
    """What leaky and the count say of one model, what it costs to observe, and whether anything was changed."""
    model, batches = stranger.make()
    before = {name: value.clone() for name, value in _tensors(model)}
    count = counted(model, lambda batch: run(model, batch), batches, stranger.axis)
    record = leaky.observe(model, batches)
    after = dict(_tensors(model))
    missing, extra = difference([seen_by_count(call) for call in count.calls], seen_by_leaky(record))
    result: dict[str, Any] = {
        "sites": len(count.calls),
        "units": sum(call.units for call in count.calls),
        "silent": sum(int((~call.fired).sum()) for call in count.calls if call.fired is not None),
        "equal": not missing and not extra and not count.uneven,
        "listed": len(record.not_examined),
        "unchanged": before.keys() == after.keys() and all(_same(before[name], after[name]) for name in before),
        **cost(model, batches),
    }
    if missing or extra:
        result |= {"only the count": _named(missing), "only leaky": _named(extra)}
        result["reasons"] = sorted({skipped.reason for skipped in record.not_examined})[:3]
    if stranger.trained:
        result["above info"] = [str(f)[:120] for f in leaky.diagnose(record).at_least("warning")]
    return result


def seen_by_count(call: Call) -> Seen:
    silent = None if call.fired is None else tuple((~call.fired).nonzero().flatten().tolist())
    return call.activation, call.units, silent


def seen_by_leaky(record: Record) -> list[tuple[Seen, int]]:
    """Every site whose activation the count knows, and how often it ran a pass."""
    found: list[tuple[Seen, int]] = []
    for site in record.sites:
        if site.activation in RECTIFIERS:
            silent = tuple(int(unit) for unit in (site.statistics.fired == 0).nonzero()[0])
            found.append(((site.activation, site.units, silent), site.calls))
        elif site.activation in SMOOTH.values():
            found.append(((site.activation, site.units, None), site.calls))
    return found


def difference(truth: list[Seen], sites: list[tuple[Seen, int]]) -> tuple[list[Seen], list[Seen]]:
    """What only the count saw, and what only leaky did.

    A site that ran several times a pass stands for as many calls: of its units those were silent that were in each.
    """
    left, extra = list(truth), []
    for seen, calls in sorted(sites, key=lambda item: item[1]):
        taken = [seen] if calls == 1 and seen in left else _calls_of(seen, calls, left) if calls > 1 else None
        if taken is None:
            extra.append(seen)
            continue
        for one in taken:
            left.remove(one)
    return left, extra


def _calls_of(seen: Seen, calls: int, left: list[Seen]) -> list[Seen] | None:
    """As many calls of the count as the site had, silent together where it is."""
    activation, units, silent = seen
    alike = [one for one in left if one[:2] == (activation, units)]
    if silent is not None:
        alike = [one for one in alike if one[2] is not None and set(silent) <= set(one[2])]
    if len(alike) < calls:
        return None
    chosen = alike[:calls]
    together = None if silent is None else set.intersection(*(set(one[2] or ()) for one in chosen))
    return chosen if together is None or together == set(silent or ()) else None


def _named(seen: list[Seen]) -> list[str]:
    counts = ["" if silent is None else f", {len(silent)} silent" for _, _, silent in seen]
    return [f"{one[0]} of {one[1]}{silent}" for one, silent in zip(seen, counts, strict=True)]


def cost(model: nn.Module, batches: list[Any]) -> dict[str, float]:
    """What observing costs: the seconds that a first pass takes, and time ÷ plain pass of every further one."""
    few, many = batches, batches * 6
    plain = _seconds(lambda: [run(model, batch) for batch in many])
    first = _seconds(lambda: leaky.observe(model, few))
    further = _seconds(lambda: leaky.observe(model, many)) - first
    share = (len(many) - len(few)) / len(many)
    return {"first_seconds": round(first, 3), "time_ratio": round(max(further, 0.0) / (plain * share), 2)}


def _seconds(call: Callable[[], Any]) -> float:
    """The shorter of two runs."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        with torch.no_grad():
            call()
        times.append(time.perf_counter() - start)
    return min(times)


def _tensors(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [(name, value) for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)]


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)) if a.is_floating_point() else torch.equal(a, b)
