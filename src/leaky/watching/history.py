"""What a watched training showed, report by report: plain arrays by site, without torch.

Memory must not grow with the steps: beyond `MOST` reports every second one is dropped; the log keeps all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from leaky.errors import MissingExtraError
from leaky.record import FloatArray, IntArray

MOST = 1024
"""Reports that are kept."""

FIGURES = (
    "dead",
    "locked",
    "nearly_dead",
    "dormant",
    "silent",
    "rate",
    "second_moment",
    "output_moment",
    "gradient",
    "nonfinite",
    "update",
    "weight",
    "asleep",
    "srank",
    "idle_gates",
    "alike",
    "even",
    "proportional",
)
"""What is known of a site at a report.

dead, locked, nearly_dead, dormant: shares of its units, of the last stretch of steps with enough samples; NaN before.
silent: share of its units that have not fired for as many samples. rate: mean share of samples on which a unit fires.
second_moment, output_moment: E z², E h². gradient: √E(∂L/∂h)² of one element of the batch's loss. nonfinite: elements
that were NaN or infinite. update: ‖ΔW‖ ÷ ‖W‖ of one optimizer step on the weights behind the site; weight: √E w².
alike: (E z)² ÷ E z², the median over units, 1 where all samples look the same. even: (E|g|)² ÷ E g² of the
gradient g = ∂L/∂h, 1 where it is of one size everywhere; proportional: the correlation over units of ln E g² with
ln E h², 1 where the gradient is proportional to the output. asleep: share of its units that have not fired for
`asleep_samples` samples; NaN before so many were seen. Where it was asked for: srank, the effective rank of its output;
idle_gates, the share of a gated site's units that give and learn next to nothing.
"""

SiteFigures = dict[str, dict[str, float]]
"""The figures of each site at one report, by the site's name."""


class FigureHistory(Mapping[str, dict[str, FloatArray]]):
    """The reports so far: `history["layer1.relu"]["dead"]` is an array over `history.steps`.

    Attributes:
        units: of each site, by name.
    """

    def __init__(self) -> None:
        self.units: dict[str, int] = {}
        self._reports = 0
        self._when = np.zeros((0, 2), np.int64)
        self._tables: dict[str, FloatArray] = {}
        self._shown: dict[str, dict[str, FloatArray]] = {}  # until the next report

    def __repr__(self) -> str:
        return f"<History: {self._reports} reports on {len(self.units)} sites>"

    def add(self, step: int, samples: int, row: SiteFigures) -> None:
        """Keep a report: the step at which it was made, the samples since the last one, the figures."""
        if self._reports > MOST:
            self._thin_out()
        self._shown = {}
        n, self._reports = self._reports, self._reports + 1
        self._when = _with_room(self._when, n)
        self._when[n] = step, samples
        for site in row.keys() - self._tables.keys():
            self._tables[site] = np.full((len(self._when), len(FIGURES)), np.nan)
        for site, table in self._tables.items():
            self._tables[site] = table = _with_room(table, n)
            found = row.get(site)
            table[n] = np.nan if found is None else [found.get(figure, np.nan) for figure in FIGURES]

    def _thin_out(self) -> None:
        """Drop every second report; in arrays of their own, for others are in users' hands."""
        kept = np.arange(self._reports - 1, -1, -2)[::-1]
        self._reports = len(kept)
        self._when = self._when[kept]
        self._tables = {site: table[kept] for site, table in self._tables.items()}

    @property
    def steps(self) -> IntArray:
        """The step of each report, shape (reports,)."""
        steps: IntArray = _to_read(self._when[: self._reports, 0])
        return steps

    @property
    def samples(self) -> IntArray:
        """The samples since the report before, shape (reports,)."""
        samples: IntArray = _to_read(self._when[: self._reports, 1])
        return samples

    def reports(self) -> Iterator[tuple[int, int, SiteFigures]]:
        """Each report: its step, its samples, its figures."""
        for n in range(self._reports):
            row = {
                site: dict(zip(FIGURES, table[n].tolist(), strict=True))
                for site, table in self._tables.items()
                if not np.isnan(table[n]).all()
            }
            yield int(self._when[n, 0]), int(self._when[n, 1]), row

    def last(self, site: str, figure: str) -> float:
        """A figure at the last report; NaN where it is not known."""
        known = self._reports and site in self._tables
        return float(self._tables[site][self._reports - 1, FIGURES.index(figure)]) if known else np.nan

    def __iter__(self) -> Iterator[str]:
        return iter(self.units)

    def __len__(self) -> int:
        return len(self.units)

    def __getitem__(self, site: str) -> dict[str, FloatArray]:
        """Arrays over `steps` of one site, by the names in `FIGURES`, for reading."""
        if site not in self.units:
            raise KeyError(site)
        if site not in self._tables:
            return {figure: np.full(self._reports, np.nan) for figure in FIGURES}
        if site not in self._shown:
            columns = _to_read(self._tables[site][: self._reports]).T
            self._shown[site] = dict(zip(FIGURES, columns, strict=True))
        return dict(self._shown[site])

    def network(self, figure: str) -> FloatArray:
        """A share over all units of all sites, over `steps`: of the sites that have it at a report."""
        return np.array([total(row, self.units, figure) for _, _, row in self.reports()])

    def to_pandas(self) -> Any:
        """A pandas DataFrame, a row a report and site.

        Raises:
            MissingExtraError: if pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise MissingExtraError("history.to_pandas() needs pandas: pip install pandas") from None
        rows = [
            {"step": step, "site": name, "units": self.units[name], **figures}
            for step, _, row in self.reports()
            for name, figures in row.items()
        ]
        return pandas.DataFrame.from_records(rows)


def _with_room(array: Any, row: int) -> Any:
    """The array, or a longer one with what it held, so that it has such a row."""
    if row < len(array):
        return array
    longer = np.full((max(16, 2 * len(array)), *array.shape[1:]), 0 if array.dtype.kind == "i" else np.nan, array.dtype)
    longer[: len(array)] = array
    return longer


def _to_read(array: Any) -> Any:
    array.flags.writeable = False
    return array


def total(row: SiteFigures, units: Mapping[str, int], figure: str) -> float:
    """A share over the units of all sites that have it; NaN where none has."""
    known = [(units[name], figures[figure]) for name, figures in row.items() if not np.isnan(figures[figure])]
    count = sum(number for number, _ in known)
    return sum(number * share for number, share in known) / count if count else float("nan")
