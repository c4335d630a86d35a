"""A Record as JSON-safe data: non-finite numbers become null and are counted, everything else is exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from leaky.documents import Json
from leaky.record.ends_document import ends_to_dict
from leaky.record.fields import GRADIENTS, OUTPUTS, REGIONAL
from leaky.record.observation import Record
from leaky.record.site import Site
from leaky.record.statistics import BEYOND_HIGH, BEYOND_LOW, REGIONS

_FIGURES = ("fan_in", "fan_out", "weight_rms")
"""Of a producer."""


def record_to_dict(record: Record, verdicts: Mapping[str, Mapping[str, Sequence[int]]] | None = None) -> Json:
    """The record as JSON-safe data, the body of a document.

    Args:
        record: what was observed.
        verdicts: site name → verdict ("dead", "locked_negative", …) → unit indices, to stand beside each site's
            figures; None leaves the verdicts out.
    """
    return {
        "model": record.model,
        "data": record.data,
        "mode": record.mode,
        "samples": record.samples,
        "batches": record.batches,
        "on_noise": record.on_noise,
        "seed": record.seed,
        "notes": list(record.notes),
        "versions": dict(record.versions),
        "sites": [_site_to_dict(site, verdicts[site.name] if verdicts is not None else {}) for site in record.sites],
        "not_examined": [asdict(item) for item in record.not_examined],
        **ends_to_dict(record),
    }


class _Numbers:
    """Arrays and numbers as JSON has them; counts by field what JSON cannot say."""

    def __init__(self) -> None:
        self.nulls: dict[str, int] = {}

    def __call__(self, key: str, values: ArrayLike) -> Any:
        array = np.asarray(values)
        finite = np.isfinite(array)
        if not finite.all():
            self.nulls[key] = self.nulls.get(key, 0) + int((~finite).sum())
            array = array.astype(object)
            array[~finite] = None
        return array.tolist()


def _site_to_dict(site: Site, verdicts: Mapping[str, Sequence[int]]) -> Json:
    numbers = _Numbers()
    slope = site.negative_slope
    # Compared as bytes: 0.0 and −0.0 are equal and not the same.
    alike = slope.size > 0 and slope.tobytes() == np.full_like(slope, slope[0]).tobytes()
    return {
        "name": site.name,
        "activation": site.activation,
        "negative_slope": numbers("negative_slope", slope[0] if alike else slope),
        "units": site.units,
        "samples": site.samples,
        "firing_rate": numbers("firing_rate", site.firing_rate),
        "silent": np.flatnonzero(site.statistics.fired == 0).tolist(),
        **{name: sorted(map(int, units)) for name, units in verdicts.items()},
        "threshold": numbers("threshold", site.threshold),
        "value": numbers("value", site.value),
        "gain": numbers("gain", site.gain),
        "floor": None if site.floor is None else numbers("floor", site.floor),
        "cap": None if site.cap is None else numbers("cap", site.cap),
        "smooth": site.smooth,
        "calls": site.calls,
        "is_output": site.is_output,
        "bypassed": site.bypassed,
        "unit_dim": site.unit_dim,
        "sample_dim": site.sample_dim,
        "shape": list(site.shape),
        "source": site.source,
        "producers": [
            {
                **asdict(producer),
                **{name: numbers(f"producers.{name}", getattr(producer, name)) for name in _FIGURES},
            }
            for producer in site.producers
        ],
        **_directions_to_dict(site, numbers),
        "statistics": _statistics_to_dict(site, numbers),
        "nulls": numbers.nulls,
    }


def _directions_to_dict(site: Site, numbers: _Numbers) -> Json:
    if site.directions is None:
        return {}
    sums = numbers("directions.sums", site.directions.sums)
    return {"directions": {"samples": site.directions.samples, "sums": sums}}


def _statistics_to_dict(site: Site, numbers: _Numbers) -> Json:
    s = site.statistics
    regions = _regions_written(site)
    data: Json = {"fired": s.fired.tolist()}
    for prefix, attribute in REGIONAL:
        data |= _regional(prefix, getattr(s, attribute), regions, numbers)
    data["minimum"] = numbers("statistics.minimum", s.minimum)
    data["maximum"] = numbers("statistics.maximum", s.maximum)
    data["nonfinite"] = s.nonfinite.tolist()
    data["last_fired"] = s.last_fired.tolist()
    if s.seen is not None:
        data["seen"] = s.seen.tolist()
    for key, attribute in OUTPUTS:
        values = getattr(s, attribute)
        if values is not None:
            data[key] = numbers(f"statistics.{key}", values)
    if s.gradient is not None:
        data["gradient_samples"] = s.gradient.samples
        data |= {"gradient_nonfinite": s.gradient.nonfinite} if s.gradient.nonfinite else {}
        for prefix, attribute in GRADIENTS:
            data |= _regional(prefix, getattr(s.gradient, attribute), regions, numbers)
    return data


def _regions_written(site: Site) -> list[int]:
    """All regions but those beyond a bound that the site does not have and that nothing fell into."""
    s = site.statistics

    def used(region: int, bound: object) -> bool:
        arrays = [s.counts, s.sums, s.squares]
        if s.gradient is not None:
            arrays += [s.gradient.absolute_sums, s.gradient.squares]
        return bound is not None or any(bool(array[region].any()) for array in arrays)

    bounds = {BEYOND_LOW: site.floor, BEYOND_HIGH: site.cap}
    return [region for region in range(len(REGIONS)) if region not in bounds or used(region, bounds[region])]


def _regional(prefix: str, array: ArrayLike, regions: Sequence[int], numbers: _Numbers) -> Json:
    rows = np.asarray(array)
    keys = {region: f"{prefix}_{REGIONS[region]}" for region in regions}
    return {key: numbers(f"statistics.{key}", rows[region]) for region, key in keys.items()}
