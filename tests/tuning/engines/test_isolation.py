"""Trainings that really end, crash, fill or block their processes cost themselves alone."""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from tests.tuning.objectives import task as small_task
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import leaky
from leaky.errors import InputError
from leaky.tuning.arms import Arm
from leaky.tuning.engines import isolation
from leaky.tuning.engines.isolation import IsolatedEngine, TrainingLimits
from leaky.tuning.engines.objective import ObjectiveEngine
from leaky.tuning.engines.training import LocalEngine
from leaky.tuning.trial import DIVERGED, FINISHED, OUT_OF_MEMORY, RAISED, Cell, Trial

NONE = TrainingLimits()
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")


def trials_of(act: Callable[[], Any], limits: TrainingLimits = NONE, cells: int = 3) -> list[Trial]:
    """Of an objective that acts on seed 1 and is fine elsewhere."""

    def objective(slope: float, seed: int, report: Any) -> Any:
        return act() if seed == 1 else slope + seed

    engine = IsolatedEngine(ObjectiveEngine(objective, {"0.1": Arm(0.1)}), limits)
    trials = list(engine.run([Cell("0.1", seed) for seed in range(cells)]))
    assert [trial.seed for trial in trials] == list(range(cells))
    assert all(trial.score == 0.1 + trial.seed for trial in trials if trial.seed != 1)
    return trials


def fills() -> float:
    kept = [bytearray(2**26) for _ in range(64)]
    return float(len(kept))


def fills_by_torch() -> float:
    return float(torch.ones(2**32, dtype=torch.uint8)[0])


def by(number: int) -> Callable[[], Any]:
    return lambda: os.kill(os.getpid(), number)


def crashes(act: Callable[..., Any], *arguments: Any) -> Any:
    """Without the traceback that pytest would write of it: the crash is what is wanted here."""
    faulthandler.disable()
    return act(*arguments)


def blocks_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    time.sleep(1000)


@pytest.mark.parametrize(
    ("act", "limits", "outcome", "words"),
    [
        (lambda: 0.25, TrainingLimits(60, 2), FINISHED, ""),
        (lambda: float("nan"), TrainingLimits(), DIVERGED, "its score is nan"),
        (lambda: 1 / 0, TrainingLimits(), RAISED, "ZeroDivisionError"),
        (lambda: sys.exit(0), TrainingLimits(), RAISED, "it ended the program"),
        (lambda: os._exit(0), TrainingLimits(), RAISED, "it ended its process, with status 0"),
        (lambda: os._exit(7), TrainingLimits(), RAISED, "it ended its process, with status 7"),
        (lambda: crashes(ctypes.string_at, 0), TrainingLimits(), RAISED, "its process was ended by SIGSEGV"),
        (lambda: crashes(os.abort), TrainingLimits(), RAISED, "its process was ended by SIGABRT"),
        (by(signal.SIGKILL), TrainingLimits(), OUT_OF_MEMORY, "its process was ended by SIGKILL, 2 times"),
        (by(signal.SIGTERM), TrainingLimits(), RAISED, "its process was ended by SIGTERM, 2 times"),
        (blocks_signals, TrainingLimits(seconds=0.5), RAISED, "it was ended after 0.5 s, the limit"),
        (fills, TrainingLimits(gibibytes=0.5), OUT_OF_MEMORY, "MemoryError"),
        (fills_by_torch, TrainingLimits(gibibytes=0.5), OUT_OF_MEMORY, "can't allocate memory"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_whatever_a_training_does_to_its_process_is_its_result(
    act: Callable[[], Any], limits: TrainingLimits, outcome: str, words: str
) -> None:
    trial = trials_of(act, limits)[1]
    assert (trial.outcome, words in trial.reason) == (outcome, True), trial


def test_what_is_killed_once_is_tried_again(tmp_path: Path) -> None:
    def act() -> float:
        if not (tmp_path / "mark").exists():
            (tmp_path / "mark").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 0.5

    assert trials_of(act)[1].score == 0.5


def test_nothing_that_a_training_began_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "FAREWELL", 0.2)

    def act() -> float:
        threading.Thread(target=time.sleep, args=(1000,)).start()
        (tmp_path / "pid").write_text(str(subprocess.Popen(["sleep", "1000"]).pid))
        return 0.5

    assert trials_of(act)[1].score == 0.5
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_training_may_have_processes_of_its_own() -> None:
    def act() -> float:
        loader = DataLoader(TensorDataset(torch.arange(8.0)), batch_size=2, num_workers=2)
        return float(sum(batch.sum() for (batch,) in loader))

    assert trials_of(act)[1].score == 28.0


def test_torch_works_after_its_threads_have_run_here() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        large = torch.randn(700, 700)
        expected = float((large @ large).double().sum())  # with threads, which a fork does not have
        limits = TrainingLimits(seconds=120)
        assert trials_of(lambda: float((large @ large).double().sum()), limits)[1].score == pytest.approx(
            expected, 1e-3
        )
    finally:
        torch.set_num_threads(before)


def test_trainings_of_a_task_are_those_without_isolation() -> None:
    task = small_task()
    arms = {arm.label: arm for arm in (Arm(0.0), Arm("tailored"))}
    cells = [Cell(label, seed) for label in arms for seed in range(2)]
    inner = LocalEngine(task, arms)
    isolated = {(trial.arm, trial.seed): trial for trial in IsolatedEngine(inner, several=True).run(cells)}
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for trial in inner.run(cells):
            other = isolated[trial.arm, trial.seed]
            assert (trial.outcome, trial.score, trial.curve) == (other.outcome, other.score, other.curve)
            assert (trial.slope, trial.measurements) == (other.slope, other.measurements)
    finally:
        torch.set_num_threads(before)


def test_a_task_whose_model_crashes_at_a_slope_is_still_answered() -> None:
    def build(slope: float) -> nn.Module:
        if slope == 0.3 and os.getpid() != here:
            crashes(ctypes.string_at, 0)
        return nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(slope), nn.Linear(8, 2))

    here = os.getpid()
    inputs = torch.randn(120, 4, generator=torch.Generator().manual_seed(0))
    data = (inputs, (inputs[:, 0] > 0).long())
    study = leaky.tune(build, train=data, slopes=[0.0, 0.1, 0.3], seeds=3, epochs=1, patience=0, isolate=True)
    assert {trial.reason for trial in study.trials if trial.arm == "0.3"} == {"its process was ended by SIGSEGV"}
    assert all(trial.finished for trial in study.trials if trial.arm != "0.3")
    assert study.engine.startswith("each training in a process of its own")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"isolate": True, "engine": "ray"}, "'ray' has processes of its own"),
        ({"training_seconds": float("nan")}, "training_seconds must be more than 0 seconds, not nan"),
        ({"training_memory": 0}, "training_memory must be more than 0 GiB, not 0"),
    ],
)
def test_what_cannot_be_isolated_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        leaky.tune(lambda *_: 0.5, slopes=[0.0, 0.1], **arguments)


def test_where_processes_begin_anew_the_task_must_be_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "start_method", lambda: isolation.SPAWN)
    with pytest.raises(InputError, match="with isolate the objective or task must be importable"):
        leaky.tune(lambda *_: 0.5, slopes=[0.0, 0.1], isolate=True)
    engine = IsolatedEngine(ObjectiveEngine(at_top_level, {"0.1": Arm(0.1)}), TrainingLimits(seconds=120))
    (trial,) = engine.run([Cell("0.1", 5)])
    assert trial.score == 5.1


def at_top_level(slope: float, seed: int, report: Any) -> float:
    return slope + seed


CODE = """
import ctypes, os, time

def deadly(negative_slope, seed, report):
    if negative_slope == 0.1:
        ctypes.string_at(0)
    if negative_slope == 0.2:
        time.sleep(1000)
    return float(negative_slope) + seed * 7 % 5 * 1e-3

def endless(negative_slope, seed, report):
    open("pid", "w").write(str(os.getpid()))
    os.write(2, b"it runs")
    time.sleep(1000)
"""


def command(folder: Path, name: str, *arguments: str) -> list[str]:
    (folder / "user.py").write_text(CODE)
    return [sys.executable, "-m", "leaky", "tune", f"user.py:{name}", "--slopes", "0", "0.05", "0.1", *arguments]


def test_the_command_line_isolates(tmp_path: Path) -> None:
    arguments = command(tmp_path, "deadly", "0.2", "--seeds", "2", "--patience", "0", "--json", "-")
    arguments += ["--isolate", "--training-seconds", "1", "--budget", "fixed", "--confirm", "0"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    reasons = {trial["slope"]: trial["reason"] for trial in json.loads(done.stdout)["trials"]}
    assert reasons["0.1"] == "its process was ended by SIGSEGV"
    assert reasons["0.2"] == "it was ended after 1 s, the limit"
    assert reasons["0"] == reasons["0.05"] == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_training_outlives_its_study(tmp_path: Path, number: int) -> None:
    with subprocess.Popen(command(tmp_path, "endless", "--isolate"), stderr=subprocess.PIPE, cwd=tmp_path) as running:
        assert running.stderr is not None
        assert running.stderr.read(7) == b"it runs"
        running.send_signal(number)
        running.wait(60)
    pid, deadline = int((tmp_path / "pid").read_text()), time.monotonic() + 30
    while psutil.pid_exists(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
