"""How findings speak: every message says on which data it rests, and never more than those data show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leaky.diagnosis.finding import Evidence, Level
from leaky.record import Record, Site
from leaky.text import percentage


def seen_on(record: Record, site: Site | None = None) -> str:
    """On which data: "on these 1,797 samples", "on 512 samples of noise"."""
    samples = record.samples if site is None else site.samples
    by_batch = site is not None and site.sample_dim is None
    kind = ("batch" if samples == 1 else "batches") if by_batch else ("sample" if samples == 1 else "samples")
    if record.on_noise:
        words = f"on {samples:,} {kind} of noise"
    else:
        words = f"on {'this' if samples == 1 else 'these'} {samples:,} {kind}"
    return words + (", each counted as one sample" if by_batch else "")


def all_of(record: Record) -> str:
    """All the data, a fact at any number: "all 7 samples", "all 512 samples of noise", "the one sample"."""
    samples = "the one sample" if record.samples == 1 else f"all {record.samples:,} samples"
    return samples + (" of noise" if record.on_noise else "")


def subject(site: Site, units: Sequence[int]) -> str:
    """How many, of how many, which: "3 of 64 units (4.7%; 5, 17, 40)"."""
    kind = ("unit" if site.units == 1 else "units") + (" of the model's output" if site.is_output else "")
    if site.units == 1:
        return f"the only {kind}"
    if len(units) == site.units:
        return f"all {site.units:,} {kind}"
    names = ", ".join(map(str, units[:6])) + (" …" if len(units) > 6 else "")
    return f"{len(units):,} of {site.units:,} {kind} ({percentage(len(units) / site.units)}; {names})"


def verb(units: Sequence[int], one: str, several: str) -> str:
    """The form of the verb that fits the number of units."""
    return one if len(units) == 1 else several


def span(values: NDArray[Any]) -> str:
    """The range of some numbers: "0.2", "3 … 17"."""
    low, high = f"{values.min():.3g}", f"{values.max():.3g}"
    return low if low == high else f"{low} … {high}"


def level_by_share(share: float, warning: float, error: float | None = None) -> Level:
    """The level of a finding that concerns this share of a site."""
    if error is not None and share >= error:
        return "error"
    return "warning" if share >= warning else "info"


def evidence(**values: Any) -> dict[str, Evidence]:
    """The numbers behind a message, as strict JSON holds them: plain numbers, None for what is not finite."""
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
