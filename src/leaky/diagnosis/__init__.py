"""Record → findings: which units have stopped learning, why, how sure that is, and what to do.

Must never import torch: a diagnosis is made from a saved record anywhere.
"""

from __future__ import annotations

from leaky.diagnosis.examination import Diagnosis
from leaky.diagnosis.finding import LEVELS, Evidence, Finding, Level, level_rank
from leaky.diagnosis.thresholds import Thresholds
from leaky.diagnosis.verdicts import VERDICTS, UnitVerdicts

__all__ = [
    "LEVELS",
    "VERDICTS",
    "Diagnosis",
    "Evidence",
    "Finding",
    "Level",
    "Thresholds",
    "UnitVerdicts",
    "level_rank",
]
