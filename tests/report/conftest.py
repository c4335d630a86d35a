"""A diagnosis with everything that a report can show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.records import normal, planted, record_from, site_from

from leaky.diagnosis import Diagnosis, diagnose
from leaky.record import NotExamined

NASTY = "layer[bold red]<script>alert(1)</script>\x1b[31m\r\nnext\u202e\ud800&amp;"


@pytest.fixture
def diagnosis() -> Diagnosis:
    """Four sites: a healthy one, one with 9 dead, 2 locked and 3 dormant units, one seen too little, a nasty name."""
    z = normal(1797, 32, seed=1)
    sick = planted(z, range(9), -np.abs(z[:, :9]) - 0.1)
    sick = planted(sick, (20, 21), np.abs(sick[:, 20:22]) + 0.1)
    sick = planted(sick, (25, 26, 27), 0.001 * sick[:, 25:28])
    record = record_from(
        site_from(z, 0.01, name="body.0", gradient=normal(1797, 32, seed=2)),
        site_from(sick, 0.0, name="body.1", gradient=normal(1797, 32, seed=3)),
        site_from(sick[:50], 0.0, name="body.2"),
        site_from(z, [0.25] * 31 + [-0.5], name=NASTY, is_output=True),
        model="train.py:net",
        data="digits.npy",
        not_examined=(NotExamined(f"head{NASTY}", "it is a compiled graph"),),
        notes=(f"a note {NASTY}",),
    )
    return diagnose(record)


@pytest.fixture
def nasty(diagnosis: Diagnosis) -> Diagnosis:
    """The same, with untrusted words in every place that can hold some."""
    finding = replace(diagnosis.findings[0], rule=NASTY, site=NASTY, message=NASTY, advice=NASTY)
    record = replace(diagnosis.record, model=NASTY, data=NASTY)
    return replace(diagnosis, record=record, findings=(finding, *diagnosis.findings))
