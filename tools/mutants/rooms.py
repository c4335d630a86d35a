"""What is mutated, and the tests that must notice: those that are about it, without the slow ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Room:
    """Sources, by patterns under src/leaky, and files of tests."""

    name: str
    sources: tuple[str, ...]
    tests: tuple[str, ...]

    def files(self) -> list[Path]:
        """The sources that there are."""
        return sorted(file for pattern in self.sources for file in (ROOT / "src" / "leaky").glob(pattern))


ROOMS = (
    Room(
        "record",
        ("record/*.py",),
        ("tests/record", "tests/test_records.py", "tests/documents", "tests/diagnosis"),
    ),
    Room(
        "diagnosis/verdicts",
        ("diagnosis/verdicts*.py",),
        (
            "tests/diagnosis/test_verdicts.py",
            "tests/diagnosis/test_verdict_limits.py",
            "tests/diagnosis/test_bounds.py",
        ),
    ),
    Room("structure/operators", ("structure/operators/*.py",), ("tests/structure", "tests/repairing/test_design.py")),
    Room(
        "repairing/operations",
        ("repairing/operations/*.py",),
        ("tests/repairing",),
    ),
)
