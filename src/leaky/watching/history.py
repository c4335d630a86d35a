"""What a watched training showed, report by report: plain arrays by site, without torch.

Memory must not grow with the steps: beyond `MOST` reports every second one is dropped; the log keeps all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

_PLACES = {figure: place for place, figure in enumerate(FIGURES)}

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
        self._columns: dict[str, int] = {}
        self._table: FloatArray = np.zeros((len(FIGURES), 0, 0))  # by figure, report and site
        self._shown: dict[str, dict[str, FloatArray]] = {}  # until the next report

    def __repr__(self) -> str:
        return f"<History: {self._reports} reports on {len(self.units)} sites>"

    def add(self, step: int, samples: int, row: SiteFigures) -> None:
        """Keep a report: the step at which it was made, the samples since the last one, the figures."""
        if self._reports > MOST:
            self._thin_out()
        self._shown = {}
        n, self._reports = self._reports, self._reports + 1
        for site in row:
            self._columns.setdefault(site, len(self._columns))
        self._make_room(n)
        self._when[n] = step, samples
        if row:
            found = np.array([[*map(each.get, FIGURES)] for each in row.values()], np.float64)  # None becomes NaN
            self._table[:, n, [self._columns[site] for site in row]] = found.T

    def _make_room(self, row: int) -> None:
        """For such a row, and for all columns; in arrays of their own, for others are in users' hands."""
        figures, rows, columns = self._table.shape
        wanted = rows if row < rows else max(16, 2 * rows)
        if (wanted, len(self._columns)) == (rows, columns):
            return
        table, self._table = self._table, np.full((figures, wanted, len(self._columns)), np.nan)
        self._table[:, :rows, :columns] = table
        when, self._when = self._when, np.zeros((wanted, 2), np.int64)
        self._when[:rows] = when

    def _thin_out(self) -> None:
        """Drop every second report; in arrays of their own, for others are in users' hands."""
        kept = np.arange(self._reports - 1, -1, -2)[::-1]
        self._reports = len(kept)
        self._when = self._when[kept]
        self._table = self._table[:, kept]

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
            figures = self._table[:, n].T
            unknown = np.asarray(np.isnan(figures).all(axis=1)).tolist()
            row = {
                site: dict(zip(FIGURES, figures[column].tolist(), strict=True))
                for site, column in self._columns.items()
                if not unknown[column]
            }
            yield int(self._when[n, 0]), int(self._when[n, 1]), row

    def last(self, site: str, figure: str) -> float:
        """A figure at the last report; NaN where it is not known."""
        known = self._reports and site in self._columns
        return float(self._table[_PLACES[figure], self._reports - 1, self._columns[site]]) if known else np.nan

    def of(self, figure: str, sites: Sequence[str]) -> FloatArray:
        """A figure of several sites over `steps`, shape (reports, sites)."""
        table = self._table[_PLACES[figure], : self._reports]
        columns = [self._columns.get(site, -1) for site in sites]
        if columns == list(range(len(columns))):
            return np.asarray(_to_read(table[:, : len(columns)]))
        return (
            np.where(np.array(columns) < 0, np.nan, table[:, columns])
            if table.size
            else np.full((len(table), len(sites)), np.nan)
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.units)

    def __len__(self) -> int:
        return len(self.units)

    def __getitem__(self, site: str) -> dict[str, FloatArray]:
        """Arrays over `steps` of one site, by the names in `FIGURES`, for reading."""
        if site not in self.units:
            raise KeyError(site)
        if site not in self._columns:
            return {figure: np.full(self._reports, np.nan) for figure in FIGURES}
        if site not in self._shown:
            figures = _to_read(self._table[:, : self._reports, self._columns[site]])
            self._shown[site] = dict(zip(FIGURES, figures, strict=True))
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


def _to_read(array: Any) -> Any:
    array.flags.writeable = False
    return array


def total(row: SiteFigures, units: Mapping[str, int], figure: str) -> float:
    """A share over the units of all sites that have it; NaN where none has."""
    known = [(units[name], figures[figure]) for name, figures in row.items() if not np.isnan(figures[figure])]
    count = sum(number for number, _ in known)
    return sum(number * share for number, share in known) / count if count else float("nan")
