"""The log while it is written, after a kill, and cut off anywhere; the run as a document."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.watching.networks import made, train

import leaky
from leaky.watching.run import Run


def watched(path: Path, steps: int = 12) -> leaky.watching.watch.Watch:
    model, data = made("shared")
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with leaky.watch(model, optimizer, report_every=2, log=path, alarms=["depth"]) as watch:
        train(model, optimizer, data, steps)
    return watch


def same(left: Run, right: Run) -> bool:
    assert (left.model, left.units, left.activations) == (right.model, right.units, right.activations)
    assert left.alarms == right.alarms
    np.testing.assert_array_equal(left.steps, right.steps)
    for site, figures in left.figures.items():
        for name, values in figures.items():
            np.testing.assert_array_equal(values, right.figures[site][name], f"{site} {name}")
    assert left.unit_rates is not None
    assert right.unit_rates is not None
    assert left.unit_rates.cells == right.unit_rates.cells
    np.testing.assert_array_equal(left.unit_rates.steps, right.unit_rates.steps)
    return True


def test_log_and_document_tell_what_the_watch_tells(tmp_path: Path) -> None:
    watch = watched(tmp_path / "run.jsonl")
    watch.save(tmp_path / "run.json")
    logged, saved = leaky.load(tmp_path / "run.jsonl"), leaky.load(tmp_path / "run.json")
    assert logged.ended == "stopped"
    assert same(logged, watch.run())
    assert same(saved, watch.run())
    assert len(saved.steps) == 6
    assert "silent" in str(saved)


def test_a_log_cut_off_anywhere_opens_up_to_where_it_is_whole(tmp_path: Path) -> None:
    watch = watched(tmp_path / "run.jsonl")
    whole, cut = (tmp_path / "run.jsonl").read_bytes(), tmp_path / "cut.jsonl"
    first = whole.index(b"\n") + 1
    counts = []
    for end in [*range(first, len(whole), 97), len(whole)]:
        cut.write_bytes(whole[:end])
        run = leaky.load(cut)
        assert run.steps.tolist() == watch.history.steps.tolist()[: len(run.steps)]
        counts.append(len(run.steps))
    assert counts == sorted(counts)
    assert counts[-1] == 6
    for end in range(0, first, 13):
        cut.write_bytes(whole[:end])
        with pytest.raises(leaky.LeakyError, match="must be a log"):
            leaky.load(cut)


KILLED = """
import sys, torch, leaky
model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), 0.01)
with leaky.watch(model, optimizer, report_every=1, log=sys.argv[1]):
    while True:
        optimizer.zero_grad()
        model(torch.randn(8, 4)).sum().backward()
        optimizer.step()
"""


def test_kill_leaves_a_readable_log(tmp_path: Path) -> None:
    log = tmp_path / "run.jsonl"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(log)], env=environment)
    for _ in range(1200):
        if log.exists() and log.read_bytes().count(b"\n") > 6:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run = leaky.load(log)
    assert len(run.steps) >= 5
    assert run.ended == ""


def interrupted(path: Path) -> None:
    model, data = made("mlp")
    with leaky.watch(model, log=path) as watch:
        model(data).sum().backward()
        watch.step()
        raise KeyboardInterrupt


def test_an_exception_is_told_in_the_log(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "run.jsonl")
    run = leaky.load(tmp_path / "run.jsonl")
    assert run.ended == "KeyboardInterrupt"
    assert len(run.steps) == 1


def test_a_log_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(leaky.LeakyError, match="must be writable"):
        leaky.watch(torch.nn.ReLU(), log=tmp_path / "missing" / "run.jsonl")
