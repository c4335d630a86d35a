"""How far apart two means must be before a study may call them different, at every number of seeds.

The probability that any arm is ever called worse than another while all are equal must stay at 5%, over all pairs of
arms and over every moment at which a user may look and stop. No textbook distribution is used: the statistic itself is
simulated, so that its variance rule and the correlation between pairs and between looks are in the figure. What studies
usually need is kept in boundaries.json; `python -m leaky.tuning.statistics.boundaries` writes it.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

TABLE = Path(__file__).parent / "boundaries.json"
KEPT_ARMS, KEPT_BLOCKS, KEPT_SEEDS = range(2, 11), 6, 40
"""What boundaries.json holds: these numbers of arms, so many blocks of looks, single looks up to so many seeds."""

FloatArray = NDArray[np.float64]

ERROR = 0.05
"""Probability of a wrong "detectably worse", over all pairs and all looks of a study."""
FIRST_LOOK = 3
"""Seeds below which nothing is called different: a variance of two numbers says next to nothing."""
NOISY_ARM = 10.0
"""The boundary also holds where one arm's noise is this many times that of the others."""
_STUDIES = 20_000
_CHUNK = 2_000


BLOCKS = (
    (FIRST_LOOK, 5, 0.35 * ERROR),
    (6, 10, 0.25 * ERROR),
    (11, 20, 0.2 * ERROR),
    (21, 40, 0.1 * ERROR),
    (41, 80, 0.05 * ERROR),
    (81, 160, 0.025 * ERROR),
)
"""(first look, last look, error spent on them): together less than `ERROR`, however far a study is extended."""


def sequential_boundary(arms: int, seeds: int) -> float:
    """The |t| above which two arms differ detectably after `seeds` seeds, whenever the user looks and stops.

    Args:
        arms: of the study, at least 2.
        seeds: that both arms have in common.

    Returns:
        The boundary; infinite outside `BLOCKS`.
    """
    for first, last, error in BLOCKS:
        if first <= seeds <= last:
            kept = kept_boundaries("sequential", arms)
            if seeds - FIRST_LOOK < len(kept):
                return kept[seeds - FIRST_LOOK]
            return float(block_boundary(arms, first, last, error)[seeds - first])
    return float("inf")


def fixed_boundary(arms: int, seeds: int) -> float:
    """The |t| above which two arms differ detectably in a study that looks once, after exactly `seeds` seeds."""
    if seeds < FIRST_LOOK:
        return float("inf")
    kept = kept_boundaries("fixed", arms)
    if seeds - FIRST_LOOK < len(kept):
        return kept[seeds - FIRST_LOOK]
    return float(block_boundary(arms, seeds, seeds, ERROR)[0])


def largest_statistics(scores: FloatArray, looks: list[int]) -> FloatArray:
    """The largest |t| over all pairs of arms at each look.

    Args:
        scores: of many studies, shape (studies, arms, seeds).
        looks: numbers of seeds, at most the last axis.

    Returns:
        shape (studies, looks).
    """
    studies, arms, _ = scores.shape
    left, right = np.triu_indices(arms, 1)
    largest = np.empty((studies, len(looks)))
    for place, seeds in enumerate(looks):
        seen = scores[:, :, :seeds]
        mean = seen.mean(axis=2)
        centred = seen - mean[:, :, None]
        products = centred @ centred.transpose(0, 2, 1)
        own = np.diagonal(products, axis1=1, axis2=2)
        variance = (own[:, left] + own[:, right] - 2 * products[:, left, right]) / (seeds - 1)
        error = np.sqrt(held_up(variance) / seeds)
        largest[:, place] = np.abs(studentised(mean[:, left] - mean[:, right], error)).max(axis=1)
    return largest


def studentised(difference: FloatArray, error: FloatArray) -> FloatArray:
    """Student's t, d̄ / its standard error; infinite where a difference has no spread, and 0 for no difference."""
    safe = np.where(error > 0, error, 1.0)
    return np.where(error > 0, difference / safe, np.where(difference == 0, 0.0, np.copysign(np.inf, difference)))


def held_up(variance: FloatArray) -> FloatArray:
    """Each pair's variance of its differences, at least that of the median pair; shape (…, pairs).

    With few seeds a pair's own variance is often far too small by chance; the typical pair's is steadier and holds it
    up, while a pair that is noisier than the others keeps its own.
    """
    return np.asarray(np.maximum(variance, np.median(variance, axis=-1, keepdims=True)))


@lru_cache
def _table() -> dict[str, dict[str, list[float]]]:
    return cast("dict[str, dict[str, list[float]]]", json.loads(TABLE.read_text("utf-8")) if TABLE.exists() else {})


def kept_boundaries(kind: str, arms: int) -> list[float]:
    """The boundaries that are kept, from `FIRST_LOOK` seeds on."""
    return _table().get(kind, {}).get(str(arms), [])


@lru_cache(maxsize=256)
def block_boundary(arms: int, first: int, last: int, error: float) -> FloatArray:
    """One boundary a look, all with the same tail probability, crossed by `error` of the studies without a difference.

    The larger of two cases: all arms equally noisy, and one much noisier than the others.
    """
    looks = list(range(first, last + 1))
    even, uneven = (_simulated(arms, looks, scale) for scale in (1.0, NOISY_ARM))
    return np.maximum(_crossed_by(error, even), _crossed_by(error, uneven))


def _simulated(arms: int, looks: list[int], scale: float) -> FloatArray:
    random = np.random.default_rng([arms, looks[0], looks[-1]])
    parts = []
    for _ in range(_STUDIES // _CHUNK):
        scores = random.standard_normal((_CHUNK, arms, looks[-1]))
        scores[:, 0] *= scale
        parts.append(largest_statistics(scores, looks))
    return np.concatenate(parts)


def _crossed_by(error: float, largest: FloatArray) -> FloatArray:
    studies = len(largest)
    ranks = np.argsort(np.argsort(-largest, axis=0), axis=0)
    # A study's smallest tail probability over its looks; `error` of the studies lie below the level.
    level = np.quantile(ranks.min(axis=1) + 1, error) / studies
    return np.asarray(np.quantile(largest, 1.0 - level, axis=0))


def _write_table() -> None:
    """Simulate what is kept, and keep it."""
    from leaky.files import write_whole

    def rounded(values: list[float]) -> list[float]:
        return [round(float(value), 3) for value in values]

    table: dict[str, dict[str, list[float]]] = {"sequential": {}, "fixed": {}}
    for arms in KEPT_ARMS:
        looks = [value for block in BLOCKS[:KEPT_BLOCKS] for value in block_boundary(arms, *block)]
        single = [block_boundary(arms, seeds, seeds, ERROR)[0] for seeds in range(FIRST_LOOK, KEPT_SEEDS + 1)]
        table["sequential"][str(arms)], table["fixed"][str(arms)] = rounded(looks), rounded(single)
    write_whole(TABLE, (json.dumps(table) + "\n").encode())


if __name__ == "__main__":
    _write_table()
