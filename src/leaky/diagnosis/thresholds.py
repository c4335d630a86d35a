"""Every number that a rule decides by, in one table.

The table must be the only home of these numbers: rules read them from here, keywords and the command line override
them here, and the documentation shows the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from leaky.checking import shown
from leaky.diagnosis.record_thresholds import RecordThresholds
from leaky.diagnosis.training_thresholds import TrainingThresholds
from leaky.errors import InputError
from leaky.text import did_you_mean, named


@dataclass(frozen=True)
class Row:
    """One row of the table: a threshold's name, default, valid range [low, high], meaning and source."""

    name: str
    default: float
    low: float
    high: float
    meaning: str
    source: str


@dataclass(frozen=True)
class Thresholds(TrainingThresholds, RecordThresholds):
    """The thresholds of one diagnosis; `of` checks the values."""

    @classmethod
    def of(cls, overrides: Mapping[str, float] | None = None) -> Thresholds:
        """The defaults with `overrides` in their place.

        Raises:
            InputError: for a name that is not in the table, or a value outside its range.
        """
        if overrides is not None and not isinstance(overrides, Mapping):
            raise InputError(f"thresholds must be numbers by name, {{'delta': 0.01}}, not {shown(overrides)}")
        rows = {row.name: row for row in table()}
        for name, value in (overrides or {}).items():
            if name not in rows:
                raise InputError(f"there is no threshold {named(name)}{did_you_mean(name, rows)}")
            _check(rows[name], value)
        return cls(**{name: float(value) for name, value in (overrides or {}).items()})

    def as_dict(self) -> dict[str, float]:
        """Every threshold by name; `Thresholds.of` takes it back."""
        return asdict(self)


def table() -> tuple[Row, ...]:
    """The rows, in the order of the documentation."""
    return tuple(Row(name=f.name, default=_default(f.default), **f.metadata) for f in fields(Thresholds))


def _default(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _check(row: Row, value: object) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not row.low <= float(value) <= row.high:  # type: ignore[arg-type]  # NaN fails as well
        raise InputError(f"the threshold {row.name} must be a number in [{row.low:g}, {row.high:g}], not {value!r}")
