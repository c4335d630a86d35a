"""What a report shows, as plain data: the headline, and one row a site. Terminal and page draw the same rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leaky import theory
from leaky.diagnosis import Diagnosis, UnitVerdicts
from leaky.record import FloatArray, Site
from leaky.text import counted, number, share


@dataclass(frozen=True)
class SiteRow:
    """One site, in numbers and in words.

    Attributes:
        site, verdicts: what the row is about.
        activation: with its slope: "LeakyReLU(0.01)".
        dead, locked, unproven, dormant: counts; a unit counts once, as the first of these that it is. Unproven are
            those silent so far on too few samples to be called dead or locked.
        bound: highest firing rate that the silent units of the whole network may have, None where none is silent.
        z_range: smallest to largest pre-activation.
        gradient: root mean square of ∂L/∂h an element, None where no loss was given.
    """

    site: Site
    verdicts: UnitVerdicts
    activation: str
    dead: int
    locked: int
    unproven: int
    dormant: int
    bound: float | None
    z_range: str
    gradient: float | None

    @property
    def name(self) -> str:
        return self.site.name

    @property
    def units(self) -> int:
        return self.site.units

    @property
    def firing_rate(self) -> FloatArray:
        return self.site.firing_rate

    @property
    def is_output(self) -> bool:
        return self.site.is_output


@dataclass(frozen=True)
class Shares:
    """How many units of the network are in which state; each unit in one state only."""

    dead: int
    locked: int
    unproven: int
    dormant: int
    others: int

    @property
    def units(self) -> int:
        return self.dead + self.locked + self.unproven + self.dormant + self.others


def site_rows(diagnosis: Diagnosis) -> list[SiteRow]:
    """One row a site, in the order of the record."""
    return [_row(site, diagnosis) for site in diagnosis.record.sites]


def shares(table: list[SiteRow]) -> Shares:
    """The states of all units of all rows."""
    dead, locked, dormant, unproven = (
        sum(getattr(row, name) for row in table) for name in ("dead", "locked", "dormant", "unproven")
    )
    units = sum(row.site.units for row in table)
    return Shares(dead, locked, unproven, dormant, units - dead - locked - unproven - dormant)


def lead(diagnosis: Diagnosis) -> tuple[str, str] | None:
    """The level and the words of the first thing to say, the cause; None where there is nothing but notes."""
    first = diagnosis.findings[0] if diagnosis.findings else None
    if first is None or first.level == "info":
        return None
    where = "" if first.site is None else f"{first.site}: "
    return first.level, f"{first.level.upper()} {where}{first.message.split('. ')[0].rstrip('.')}."


def headline(diagnosis: Diagnosis) -> str:
    """The verdict in one line, with the place to start at."""
    table = site_rows(diagnosis)
    if not table:
        return "Nothing could be examined: no rectifier and no smooth activation of the model ran where it can be seen."
    total = shares(table)
    parts = [
        f"{total.dead:,} dead ({share(total.dead / total.units)})" if total.dead else "",
        f"{total.locked:,} locked" if total.locked else "",
        f"{total.unproven:,} silent so far (too few samples to call them dead)" if total.unproven else "",
        f"{ill:,} with NaN or infinite values" if (ill := sum(map(_nonfinite_units, table))) else "",
    ]
    found = [part for part in parts if part]
    noise = " on noise" if diagnosis.record.on_noise else ""
    units = f"{counted(total.units, 'unit')} at {counted(len(table), 'site')}"
    if not found:
        proven = all(row.site.samples >= diagnosis.samples_needed for row in table)
        return f"No dead {'and no locked ' if proven else ''}unit{noise} among {units}."
    worst = max(table, key=lambda row: (row.dead, row.locked, row.unproven, _nonfinite_units(row)))
    return f"Of {units}{noise}: {', '.join(found)}. Most at {worst.site.name}."


def _nonfinite_units(row: SiteRow) -> int:
    return int((row.site.statistics.nonfinite > 0).sum())


def subtitle(diagnosis: Diagnosis) -> str:
    """What was observed, on what, how."""
    record = diagnosis.record
    samples = counted(record.samples, "sample")
    data = record.data if record.data.startswith(samples) else f"{samples} of {record.data}"
    return f"{record.model} · {data} · {record.mode} mode"


def _row(site: Site, diagnosis: Diagnosis) -> SiteRow:
    v = diagnosis.verdicts.get(site.name, UnitVerdicts())
    dead, locked, unproven = set(v.dead), {*v.locked_negative, *v.locked_positive}, set(v.unproven)
    silent = len(v.silent) > 0 and site.samples > 0
    delta, units = diagnosis.thresholds.delta, diagnosis.units_examined
    return SiteRow(
        site=site,
        verdicts=v,
        activation=_activation(site),
        dead=len(dead),
        locked=len(locked - dead),
        unproven=len(unproven - dead - locked),
        dormant=len(set(v.dormant) - dead - locked - unproven),
        bound=theory.rate_bound(site.samples, delta, units) if silent else None,
        z_range=_range(site),
        gradient=_gradient(site),
    )


def _activation(site: Site) -> str:
    slope = site.negative_slope
    if site.smooth or slope.size == 0 or not slope.any():
        return site.activation
    low, high = float(slope.min()), float(slope.max())
    return f"{site.activation}({number(low)})" if low == high else f"{site.activation}({number(low)}…{number(high)})"


def _range(site: Site) -> str:
    s = site.statistics
    seen = s.elements > 0
    if not seen.any():
        return "–"
    return f"{number(float(s.minimum[seen].min()))}…{number(float(s.maximum[seen].max()))}"


def _gradient(site: Site) -> float | None:
    gradient = site.statistics.gradient
    elements = site.statistics.counts.sum()
    if gradient is None or not elements:
        return None
    # A unit's squares may have overflowed; its site's figure is then not finite and shown as missing.
    return float(np.sqrt(gradient.squares.sum() / elements))
