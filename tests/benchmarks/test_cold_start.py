"""That what is kept of cold starts is what docs/support.md claims, and that a process that fails is no time."""

from __future__ import annotations

import json
import subprocess

import pytest
from benchmarks.cold_start import COMMANDS, LIMITS, RESULTS, measured, seconds


def test_what_is_kept_is_within_the_limits() -> None:
    rows = json.loads(RESULTS.read_text("utf-8"))["rows"]
    limited = [row for row in rows if row["command"] in LIMITS]
    assert {row["command"] for row in limited} == set(LIMITS)
    assert all(row["seconds"] < row["limit"] == LIMITS[row["command"]] for row in limited), limited


def test_processes_take_turns() -> None:
    turns = 0

    def count() -> None:
        nonlocal turns
        turns += 1

    assert set(measured(1, count)) == set(COMMANDS)
    assert turns == len(COMMANDS)


def test_a_process_that_fails_is_no_time() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        seconds(["-c", "raise SystemExit(3)"])
