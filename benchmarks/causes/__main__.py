"""Whether the first thing said is the cause.

    python -m benchmarks.causes [--held-out | --last | --reported | --forums | --posted | --asked | --wondered]

checks rebuilt troubles whose cause is known, and the healthy twin of each. Right: the first finding is the cause.
Wrong: it is another one, above a note. Missed: nothing but notes. Of the twins nothing above a note may be said. The
held-out half, other kinds, seeds and sizes, was run once, at the end; `--last` are kinds that were written when both
halves had been looked at, with healthy networks that look suspicious beside them, `--reported` further ones in the
style of public bug reports, `--forums` what users of forums build, `--posted` what they post, `--asked` what they
ask about, and `--wondered` further kinds since. Results
stay in results/; `--again` keeps them apart from those of the first run.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import leaky
from benchmarks.causes import asked, forums, last, posted, quiet, reported, suspects, wondered
from benchmarks.causes.building import Side, Trouble
from benchmarks.causes.troubles import HELD_OUT, LOOKED_AT

FOLDER = Path(__file__).parents[1] / "results"
LAST_SEEDS = (4, 5)
FURTHER: dict[str, tuple[tuple[Callable[[int], Trouble], ...], tuple[Callable[[int], Side], ...]]] = {
    "last": (last.TROUBLES, suspects.SUSPECTS),
    "reported": (reported.TROUBLES, quiet.QUIET),
    "forums": (forums.TROUBLES, ()),
    "posted": (posted.TROUBLES, ()),
    "asked": (asked.TROUBLES, ()),
    "wondered": (wondered.TROUBLES, ()),
}
"""Kinds that were written when both halves had been looked at: troubles, and healthy networks beside them."""


def cases(held_out: bool) -> list[tuple[Callable[[int], Trouble], int]]:
    """Every trouble of a half, with its seed."""
    if not held_out:
        return [(kind, seed) for kind in LOOKED_AT for seed in (0, 1)]
    return [(kind, 2) for kind in LOOKED_AT] + [(kind, seed) for kind in HELD_OUT for seed in (2, 3)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--last", action="store_true")
    parser.add_argument("--reported", action="store_true")
    parser.add_argument("--forums", action="store_true")
    parser.add_argument("--posted", action="store_true")
    parser.add_argument("--asked", action="store_true")
    parser.add_argument("--wondered", action="store_true")
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    name = next((name for name in FURTHER if getattr(options, name)), None)
    if name is not None:
        troubles, healthy = FURTHER[name]
        rows = [row(kind, seed) for kind in troubles for seed in LAST_SEEDS]
        fine = [suspect(kind, seed) for kind in healthy for seed in LAST_SEEDS]
        keep(f"causes-{name}{'-again' if options.again else ''}.json", {"troubles": rows, "suspects": fine})
        loud = sum(bool(found["above info"]) for found in fine)
        print(f"{summary(rows)}; of {len(fine)} healthy suspects {loud} got more than notes")
        return
    rows = [row(kind, seed) for kind, seed in cases(options.held_out)]
    keep(f"causes-{'held-out' if options.held_out else 'looked-at'}.json", rows)
    print(summary(rows))


def keep(name: str, results: Any) -> None:
    (FOLDER / name).write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def summary(rows: list[dict[str, Any]]) -> str:
    """The counts, in a line."""
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in ("right", "missed", "wrong")}
    loud = sum(bool(row["twin"]) for row in rows)
    words = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return f"{len(rows)} troubles: {words}; of {len(rows)} healthy twins {loud} got more than notes"


def row(kind: Callable[[int], Trouble], seed: int) -> dict[str, Any]:
    """One trouble and its twin."""
    trouble = kind(seed)
    found = check(trouble.sick).findings
    first = found[0] if found else None
    result = {
        "kind": kind.__name__,
        "seed": seed,
        "verdict": verdict(first, trouble.causes),
        "first": None if first is None else f"{first.level} {first.name}",
        "twin": [f"{f.level} {f.name}" for f in check(trouble.twin).diagnosis.at_least("warning")],
    }
    print(json.dumps(result, ensure_ascii=False), flush=True)
    return result


def suspect(kind: Callable[[int], Side], seed: int) -> dict[str, Any]:
    """A healthy network that looks suspicious, and what was said of it above a note, with its loss and without."""
    side = kind(seed)
    found = [*check(side).diagnosis.at_least("warning"), *check(replace(side, loss=None)).diagnosis.at_least("warning")]
    result = {"kind": kind.__name__, "seed": seed, "above info": [f"{f.level} {f.name}" for f in found]}
    print(json.dumps(result, ensure_ascii=False), flush=True)
    return result


def verdict(first: leaky.diagnosis.Finding | None, causes: tuple[str, ...]) -> str:
    if first is not None and first.rule in causes:
        return "right"
    if "elsewhere" in causes and (first is None or first.level == "info"):
        return "right"
    return "missed" if first is None or first.level == "info" else "wrong"


def check(side: Side) -> leaky.Checkup:
    batches = list(zip(*(tensor.split(256) for tensor in side.tensors), strict=True))
    return leaky.check(side.model, batches, loss=side.loss)


if __name__ == "__main__":
    main()
