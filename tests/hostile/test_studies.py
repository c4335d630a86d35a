"""A study outlives its objectives, and a journal that was damaged is told by its line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import leaky
from leaky.errors import InputError
from leaky.tuning.arms import Arm
from leaky.tuning.engines.objective import Result, attempt
from leaky.tuning.storage.journal import journal_storage
from leaky.tuning.trial import DIVERGED, FINISHED, OUT_OF_MEMORY, RAISED, Cell

CODE = """
import os, time, signal

def fine(negative_slope, seed, report):
    return float(negative_slope) + seed * 7 % 5 * 1e-3

def exits(negative_slope, seed, report):
    if negative_slope == 0.1:
        os._exit(0)
    return fine(negative_slope, seed, report)

def crashes(negative_slope, seed, report):
    if negative_slope == 0.1:
        os.kill(os.getpid(), signal.SIGSEGV)
    return fine(negative_slope, seed, report)

def hangs(negative_slope, seed, report):
    while negative_slope == 0.1:
        time.sleep(1000)
    return fine(negative_slope, seed, report)

def prints(negative_slope, seed, report):
    os.write(1, b"past Python")
    return fine(negative_slope, seed, report)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "deadly.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    yield tmp_path
    sys.modules.pop("deadly", None)


def tune(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "leaky", "tune", f"deadly.py:{name}", "--slopes", "0", ".05", ".1", "--seeds", "3"]
    return subprocess.run([*command, "--json", "-", *arguments], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("name", "workers"), [("exits", "1"), ("crashes", "1")])
def test_a_training_that_ends_its_process_twice_has_a_result_and_the_study_goes_on(
    folder: Path, name: str, workers: str
) -> None:
    done = tune(name, "--workers", workers)
    assert (done.returncode, done.stderr) == (0, "")
    study = json.loads(done.stdout)
    assert study["conclusion"]["best_slope"] == 0.05
    died = {trial["reason"] for trial in study["trials"] if trial["slope"] == "0.1"}
    assert died == {"its process ended 2 times"}


def test_a_training_that_hangs_is_ended_at_the_time_limit(folder: Path) -> None:
    done = tune("hangs", "--time-limit", "3", "--storage", "a.journal")
    assert done.returncode == 0
    study = json.loads(done.stdout)
    assert {trial["slope"] for trial in study["trials"]} == {"0", "0.05"}
    assert study["conclusion"]["best_slope"] is None


def test_stdout_is_the_report_s_alone(folder: Path) -> None:
    done = tune("prints")
    assert json.loads(done.stdout)
    assert "past Python" in done.stderr


class OddError(Exception):
    def __str__(self) -> str:
        raise ValueError


def raises(error: BaseException) -> Callable[..., Any]:
    def objective(*_: Any) -> Any:
        raise error

    return objective


@pytest.mark.parametrize(
    ("objective", "outcome", "words"),
    [
        (lambda *_: 0.5, FINISHED, ""),
        (lambda *_: 1e308, DIVERGED, "its score is 1e+308"),
        (lambda *_: float("nan"), DIVERGED, "its score is nan"),
        (lambda *_: 10**400, RAISED, "what the objective returns must be a number"),
        (lambda *_: "0.5", RAISED, "must be a number, or a leaky.tuning.Result of numbers, not str"),
        (lambda *_: None, RAISED, "not NoneType"),
        (lambda *_: Result(0.5, test="x"), RAISED, "test of a Result must be a number"),  # type: ignore[arg-type]
        (lambda *_: Result(0.5, measurements={"a": "x"}), RAISED, "measurement 'a' must be"),  # type: ignore[dict-item]
        (lambda _, __, report: report(1, "x"), RAISED, "what is reported must be a number"),
        (lambda _, __, report: report(1, 1e300), DIVERGED, "reported 1e+300 at step 1"),
        (raises(OddError()), RAISED, "OddError: (its message could not be made)"),
        (raises(SystemExit(0)), RAISED, "it ended the program"),
        (raises(GeneratorExit()), RAISED, "GeneratorExit"),
        (raises(MemoryError()), OUT_OF_MEMORY, "MemoryError"),
    ],
)
def test_whatever_a_training_gives_is_a_result(objective: Callable[..., Any], outcome: str, words: str) -> None:
    trial = attempt(objective, Arm(0.1), Cell("0.1", 3))
    assert trial.outcome == outcome
    assert words in trial.reason
    json.dumps(trial.score, allow_nan=False)


def test_an_interruption_is_no_result() -> None:
    with pytest.raises(KeyboardInterrupt):
        attempt(raises(KeyboardInterrupt()), Arm(0.1), Cell("0.1", 3))


@pytest.fixture
def journal(folder: Path) -> Path:
    path = folder / "a.journal"
    leaky.tune(lambda slope, seed, report: slope + seed % 3 * 1e-3, slopes=[0.0, 0.1], seeds=3, confirm=0, storage=path)
    return path


def resume(journal: Path) -> Any:
    return leaky.tune(
        lambda slope, seed, report: slope + seed % 3 * 1e-3, slopes=[0.0, 0.1], seeds=3, confirm=0, storage=journal
    )


@pytest.mark.parametrize("line", [0, 3, 7])
def test_a_line_twice_is_told(journal: Path, line: int) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[: line + 1], lines[line], *lines[line + 1 :]]))
    with pytest.raises(InputError, match=rf"a.journal' must be a journal file .*; line {line + 2} stands there twice"):
        resume(journal)


@pytest.mark.parametrize(
    "content", [b"[]\n", b"{}\n", b'{"op_code": 99}\n', b"\x80\x04\n", b'{"op_code": NaN}\n', b"[" * 9999 + b"\n"]
)
@pytest.mark.parametrize("at", [0, 5])
def test_a_line_that_is_none_is_told(journal: Path, content: bytes, at: int) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:at], content, *lines[at:]]))
    with pytest.raises(InputError, match=rf"a.journal' must be a journal file .*; line {at + 1} "):
        resume(journal)


def test_a_result_of_another_seed_is_told(journal: Path) -> None:
    text = journal.read_text()
    assert '\\"seed\\": 1' in text
    journal.write_text(text.replace('\\"seed\\": 1', '\\"seed\\": 77'))
    with pytest.raises(InputError, match=r"a.journal': attempt \d+ must have a result of slope .* and seed 1, not"):
        resume(journal)


def test_wherever_a_journal_is_cut_it_is_resumed(journal: Path) -> None:
    study = resume(journal)
    # as if it were another process's, which is gone
    whole = journal.read_bytes().replace(b" %d " % os.getpid(), b" 4194304 ")
    for cut in range(0, len(whole), max(1, len(whole) // 12)):
        journal.write_bytes(whole[:cut])
        assert resume(journal).answer == study.answer
        journal.unlink()


@pytest.mark.parametrize("name", ["/dev/full", "/dev/null", "."])
def test_a_storage_must_be_a_file(name: str) -> None:
    with pytest.raises(InputError, match="must be a regular file"):
        journal_storage(name)


def test_a_time_limit_must_be_a_time(folder: Path) -> None:
    for limit in (float("nan"), float("inf"), 0.0, -1.0):
        with pytest.raises(InputError, match="time_limit must be"):
            leaky.tune(lambda *_: 0.0, slopes=[0.0, 0.1], time_limit=limit)
    assert os.listdir(folder) == ["deadly.py"]  # noqa: PTH208
