"""Two checkups side by side: the verdict first, then what changed."""

from __future__ import annotations

import re

import numpy as np
from tests.records import normal, planted, record_from, site_from

from leaky.diagnosis import Diagnosis, compare, diagnose

Z = normal(2000, 16, seed=5)


def diagnosis_with(dead: int) -> Diagnosis:
    z = planted(Z, range(dead), -np.abs(Z[:, :dead]) - 0.1)
    return diagnose(record_from(site_from(z, 0.0, name="body[red].0")))


def test_worse_is_said_first_with_the_reason() -> None:
    shown = str(compare(diagnosis_with(1), diagnosis_with(4)))
    assert shown.startswith("It got worse, for")
    assert "  · body[red].0: 3 units (1–3) newly dead" in shown
    assert re.search(r"^dead +1 +4 +\+3$", shown, re.MULTILINE)
    assert "· body[red].0: dead: appeared: 3 units (1–3)" in shown


def test_better_and_the_same_are_not_worse() -> None:
    better = str(compare(diagnosis_with(4), diagnosis_with(1)))
    assert better.startswith("It did not get worse.")
    assert "· body[red].0: dead: gone: 3 units (1–3)" in better
    same = str(compare(diagnosis_with(4), diagnosis_with(4)))
    assert same.startswith("It did not get worse.")
    assert "What changed" not in same
