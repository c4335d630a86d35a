"""What a watched training showed, report by report: plain arrays by site, without torch.

Memory must not grow with the steps: beyond `MOST` reports every second one is dropped; the log keeps all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
)
"""What is known of a site at a report.

dead, locked, nearly_dead, dormant: shares of its units, of the last stretch of steps with enough samples; NaN before.
silent: share of its units that have not fired for as many samples. rate: mean share of samples on which a unit fires.
second_moment, output_moment: E z², E h². gradient: √E(∂L/∂h)² of one element of the batch's loss. nonfinite: elements
that were NaN or infinite. update: ‖ΔW‖ ÷ ‖W‖ of one optimizer step on the weights behind the site; weight: √E w².
"""

Row = dict[str, dict[str, float]]
"""The figures of each site at one report, by the site's name."""


@dataclass(eq=False)
class History(Mapping[str, dict[str, FloatArray]]):
    """The reports so far: `history["layer1.relu"]["dead"]` is an array over `history.steps`.

    Attributes:
        units: of each site, by name.
    """

    units: dict[str, int] = field(default_factory=dict)
    _steps: list[int] = field(default_factory=list)
    _samples: list[int] = field(default_factory=list)
    _rows: list[Row] = field(default_factory=list)

    def add(self, step: int, samples: int, row: Row) -> None:
        """Keep a report: the step at which it was made, the samples since the last one, the figures."""
        self._steps.append(step)
        self._samples.append(samples)
        self._rows.append(row)
        if len(self._rows) > MOST:
            for kept in (self._steps, self._samples, self._rows):
                del kept[-2::-2]

    @property
    def steps(self) -> IntArray:
        """The step of each report, shape (reports,)."""
        return np.array(self._steps, np.int64)

    @property
    def samples(self) -> IntArray:
        """The samples since the report before, shape (reports,)."""
        return np.array(self._samples, np.int64)

    def reports(self) -> Iterator[tuple[int, int, Row]]:
        """Each report: its step, its samples, its figures."""
        return zip(self._steps, self._samples, self._rows, strict=True)

    def last(self, site: str, figure: str) -> float:
        """A figure at the last report; NaN where it is not known."""
        return self._rows[-1].get(site, {}).get(figure, np.nan) if self._rows else np.nan

    def __iter__(self) -> Iterator[str]:
        return iter(self.units)

    def __len__(self) -> int:
        return len(self.units)

    def __getitem__(self, site: str) -> dict[str, FloatArray]:
        """Arrays over `steps` of one site, by the names in `FIGURES`."""
        if site not in self.units:
            raise KeyError(site)
        found = [row.get(site, {}) for row in self._rows]
        return {name: np.array([each.get(name, np.nan) for each in found], np.float64) for name in FIGURES}

    def network(self, figure: str) -> FloatArray:
        """A share over all units of all sites, over `steps`: of the sites that have it at a report."""
        return np.array([total(row, self.units, figure) for row in self._rows])

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
            for step, row in zip(self._steps, self._rows, strict=True)
            for name, figures in row.items()
        ]
        return pandas.DataFrame.from_records(rows)


def total(row: Row, units: Mapping[str, int], figure: str) -> float:
    """A share over the units of all sites that have it; NaN where none has."""
    known = [(units[name], figures[figure]) for name, figures in row.items() if not np.isnan(figures[figure])]
    count = sum(number for number, _ in known)
    return sum(number * share for number, share in known) / count if count else float("nan")
