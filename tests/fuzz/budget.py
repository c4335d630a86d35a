"""How much every fuzz target tries: a little in each run of the tests, always the same; `make fuzz` goes on for hours.

What failed stays in `corpus/`, where the next long run begins.
"""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

CORPUS = Path(__file__).parent / "corpus"
EXAMPLES = int(os.environ.get("LEAKY_FUZZ_EXAMPLES", "60"))
fuzz = settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES <= 60,
    deadline=None,
    database=None if EXAMPLES <= 60 else DirectoryBasedExampleDatabase(CORPUS),
    suppress_health_check=list(HealthCheck),
)
