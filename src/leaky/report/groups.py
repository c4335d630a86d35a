"""Shortens a long table: sites with findings keep their row, the others are summed up by block.

Names are broken at their own joints (dots, underscores, spaces), never inside a word; a word that is too long loses its
middle.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leaky.diagnosis import Diagnosis
from leaky.record import FloatArray
from leaky.report.rows import SiteRow
from leaky.text import number

MANY = 24
"""Sites up to which each has a row of its own."""
TOLD = 16
"""Sites with something to tell that have a row in a longer table, the worst first."""
FEW = 0.05
"""Share of idle units above which a site has something to tell though nothing above a note is said of it."""
BLOCKS = 14
"""Lines that the other sites are drawn together in, at most."""


@dataclass(frozen=True)
class Group:
    """Several sites of one part of the network in one line; the figures are those of `SiteRow`, summed."""

    name: str
    activation: str
    units: int
    firing_rate: FloatArray
    dead: int
    locked: int
    unproven: int
    dormant: int
    z_range: str
    is_output: bool = False
    bound: float | None = None
    gradient: float | None = None


def shortened(rows: Sequence[SiteRow], diagnosis: Diagnosis) -> list[SiteRow | Group]:
    """All rows of a short table; of a long one those with something to tell, then a line for each block of the rest."""
    if len(rows) <= MANY:
        return list(rows)
    rank = {"info": 0, "warning": 1, "error": 2}
    worst: dict[str, int] = {}
    for finding in diagnosis.findings:
        if finding.site is not None:
            worst[finding.site] = max(worst.get(finding.site, 0), rank[finding.level])
    first = sorted(rows, key=lambda row: (-worst.get(row.name, 0), -_idle(row)))[:TOLD]
    told = {row.name for row in first if worst.get(row.name, 0) or _idle(row) > FEW}
    rest = [row for row in rows if row.name not in told]
    return [*(row for row in rows if row.name in told), *_blocks(rest)]


def _idle(row: SiteRow) -> float:
    """Share of the units that are dead, locked or silent so far."""
    return (row.dead + row.locked + row.unproven) / max(row.units, 1)


def _blocks(rows: Sequence[SiteRow]) -> list[SiteRow | Group]:
    """The rows by the longest prefixes of their names that make few enough blocks."""
    parts = [re.split(r"[. #(]", row.name) for row in rows]
    depth = 1
    while len({tuple(part[: depth + 1]) for part in parts}) <= BLOCKS and depth < max(map(len, parts), default=1):
        depth += 1
    grouped: dict[tuple[str, ...], list[SiteRow]] = {}
    for part, row in zip(parts, rows, strict=True):
        grouped.setdefault(tuple(part[:depth]), []).append(row)
    if len(grouped) > BLOCKS:
        grouped = _runs(list(rows))
    return [group[0] if len(group) == 1 else _block(".".join(key), group) for key, group in grouped.items()]


def _runs(rows: list[SiteRow]) -> dict[tuple[str, ...], list[SiteRow]]:
    """Where names have no blocks: as many runs along the flow as there may be lines, named by their ends."""
    size = -(-len(rows) // BLOCKS)
    runs = [rows[start : start + size] for start in range(0, len(rows), size)]
    return {(f"{run[0].name} … {run[-1].name}",): run for run in runs}


def _block(name: str, rows: Sequence[SiteRow]) -> Group:
    seen = [row.site.statistics for row in rows if (row.site.statistics.elements > 0).any()]
    low = min((float(s.minimum[s.elements > 0].min()) for s in seen), default=np.nan)
    high = max((float(s.maximum[s.elements > 0].max()) for s in seen), default=np.nan)
    kinds = list(dict.fromkeys(row.activation for row in rows))
    return Group(
        name=f"{name}: {len(rows)} sites",
        activation=kinds[0] if len(kinds) == 1 else f"{kinds[0]} …",
        units=sum(row.units for row in rows),
        firing_rate=np.concatenate([row.firing_rate for row in rows]),
        dead=sum(row.dead for row in rows),
        locked=sum(row.locked for row in rows),
        unproven=sum(row.unproven for row in rows),
        dormant=sum(row.dormant for row in rows),
        z_range=f"{number(low)}…{number(high)}",
    )


def folded(name: str, width: int, ellipsis: str = "…") -> list[str]:
    """A name in lines of at most `width` characters, broken at its joints; too long a word loses its middle."""
    lines = [""]
    for piece in re.findall(r"[^._ (:#/]*[._ (:#/]?", name):
        if len(piece) > width:
            keep = max(width - len(ellipsis), 2)
            piece = f"{piece[: (keep + 1) // 2]}{ellipsis}{piece[len(piece) - keep // 2 :]}"
        if len(lines[-1] + piece.rstrip()) > width and lines[-1]:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines if line.strip()]
