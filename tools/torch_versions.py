"""Runs the tests beside one version of torch and keeps what came of it; `make test-torch VERSION=2.8.0` calls it.

The result goes to benchmarks/results/torch-versions.json, a row a version; docs/support.md says what is promised.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "torch-versions.json"
LEFT_OUT = ("install", "models")
"""Markers of tests that say nothing of torch's version: they build packages, or need other people's."""


def main(arguments: list[str]) -> int:
    """Run pytest with these arguments; the number of tests that failed decides the status."""
    import numpy
    import torch

    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        marks = " and ".join(f"not {mark}" for mark in LEFT_OUT)
        command = [sys.executable, "-m", "pytest", "-q", "-m", marks, f"--junitxml={report}", *arguments]
        subprocess.run(command, check=False)
        row = _counted(report)
    row |= {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "tests": " ".join(arguments) or "all",
        "code": _commit(),
        "on": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    kept = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else []
    others = [each for each in kept if (each["torch"], each["python"]) != (row["torch"], row["python"])]
    RESULTS.write_text(json.dumps(sorted([*others, row], key=_order), indent=1) + "\n", "utf-8")
    print(json.dumps({key: value for key, value in row.items() if key != "failures"}))
    return int(row["failed"] > 0)


def _commit() -> str:
    """Of the code that was tested; with a + where it was changed since."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    found = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def _counted(report: Path) -> dict[str, Any]:
    suite = ElementTree.parse(report).getroot()[0]
    failures = [
        f"{case.get('classname')}.{case.get('name')}"
        for case in suite.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]
    skipped = int(suite.get("skipped", 0))
    total = int(suite.get("tests", 0))
    return {
        "passed": total - skipped - len(failures),
        "failed": len(failures),
        "skipped": skipped,
        "failures": failures,
    }


def _order(row: dict[str, Any]) -> tuple[list[int], str]:
    return [int(part) for part in row["torch"].partition("+")[0].split(".")], row["python"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
