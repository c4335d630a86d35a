"""What a site's sign-split sums say for any slope: the coefficients of polynomials in α that the page evaluates.

Held against `Site.output_moments` by the tests. The input of the site is held as it is; all its units get the same α.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from leaky.record import BELOW, BEYOND_HIGH, BEYOND_LOW, LINEAR, FloatArray, Site
from leaky.report.page.columns import Columns


def slope_terms(site: Site) -> dict[str, list[float]]:
    """Coefficients of 1, α, α² of a piecewise linear site's figures.

    Returns:
        "mean" and "second_moment" of h, means over the units of which something finite was seen; "energy", Σz² by
        region ÷ elements, as [what stays at any slope, what is below the threshold]; "derivative", E(dh/dz)², and
        "gradient", the same weighted by (∂L/∂h)², each [at α = 0, factor of α²]; "gradient" only with a loss.
    """
    s = site.statistics
    n = np.where(s.elements > 0, s.elements, np.nan)
    high, low = held(s.counts[BEYOND_HIGH], site.cap), held(s.counts[BEYOND_LOW], site.floor)
    fixed = s.sums[LINEAR] + high * s.counts[BEYOND_HIGH] + site.value * s.counts[BELOW]
    sloped = s.sums[BELOW] + low * s.counts[BEYOND_LOW]
    squares = (
        s.squares[LINEAR] + high**2 * s.counts[BEYOND_HIGH] + site.value**2 * s.counts[BELOW],
        2 * site.value * s.sums[BELOW],
        s.squares[BELOW] + low**2 * s.counts[BEYOND_LOW],
    )
    terms = {
        "mean": [_average(site.gain * part / n) for part in (fixed, sloped)],
        "second_moment": [_average(site.gain**2 * part / n) for part in squares],
        "energy": [_total(s.squares[[LINEAR, BEYOND_HIGH]], n), _total(s.squares[[BELOW, BEYOND_LOW]], n)],
        "derivative": [_share(s.counts, region, site.gain) for region in (LINEAR, BELOW)],
    }
    if s.gradient is not None:
        terms["gradient"] = [_share(s.gradient.squares, region, site.gain) for region in (LINEAR, BELOW)]
    return terms


def unit_sums(sites: tuple[Site, ...], columns: Columns, bits: int) -> dict[str, Any]:
    """Σz and Σz² ÷ elements, above and below the threshold, over all units of all sites."""

    def over_all(attribute: str, region: int) -> FloatArray:
        return joined([getattr(site.statistics, attribute)[region] / _elements(site) for site in sites])

    return {
        "linear": columns.add_figures(over_all("sums", LINEAR), bits),
        "below": columns.add_figures(over_all("sums", BELOW), bits),
        "linear_squares": columns.add_figures(over_all("squares", LINEAR), bits),
        "below_squares": columns.add_figures(over_all("squares", BELOW), bits),
    }


def bounded_parts(site: Site, columns: Columns, bits: int) -> dict[str, Any] | None:
    """What a site with bounds or a `Threshold`'s value needs beside `unit_sums`; None for the others.

    Returns:
        "held": E of what is held above, of what is held below, and of the units at `value`; shares of the elements in
        "beyond_high", "beyond_low" and "share_below"; "beyond", Σz beyond the bounds ÷ elements; each an array.
    """
    s, n = site.statistics, _elements(site)
    if site.value == 0 and not s.counts[[BEYOND_LOW, BEYOND_HIGH]].any():
        return None
    arrays = {
        "high": held(s.counts[BEYOND_HIGH], site.cap),
        "low": held(s.counts[BEYOND_LOW], site.floor),
        "share_high": s.counts[BEYOND_HIGH] / n,
        "share_low": s.counts[BEYOND_LOW] / n,
        "share_below": s.counts[BELOW] / n,
        "beyond": s.sums[[BEYOND_LOW, BEYOND_HIGH]].sum(axis=0) / n,
    }
    return {name: columns.add_figures(array, bits) for name, array in arrays.items()}


def held(count: np.ndarray[Any, Any], bound: FloatArray | None) -> FloatArray:
    """The bound where an element was held at it, 0 elsewhere, so that an infinite one enters no sum."""
    return np.zeros(len(count)) if bound is None else np.where(count > 0, bound, 0.0)


def joined(parts: list[Any]) -> FloatArray:
    """The arrays of all sites, one behind the other."""
    return np.concatenate(parts) if parts else np.zeros(0)


def _elements(site: Site) -> FloatArray:
    elements = site.statistics.elements
    return np.where(elements > 0, elements, np.nan)


def _average(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else 0.0


def _total(squares: FloatArray, elements: FloatArray) -> float:
    return _average(squares.sum(axis=0) / elements)


def _share(amounts: np.ndarray[Any, Any], region: int, gain: float) -> float:
    """gain² × the region's share of the finite amounts."""
    finite = np.where(np.isfinite(amounts), amounts, 0.0)
    total = finite.sum()
    return float(gain**2 * finite[region].sum() / total) if total > 0 else 0.0
