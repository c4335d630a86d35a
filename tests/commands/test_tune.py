"""`leaky tune` from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leaky.commands import run
from leaky.tuning import load_study

TASK = """
from tests.tuning.objectives import task as made, noisy
task = made(build=lambda slope: __import__("tests.tuning.objectives", fromlist=["mlp"]).mlp(slope), epochs=1)
def objective(negative_slope, seed, report):
    print("training", negative_slope)
    return noisy(negative_slope, seed, report)
nothing = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "task.py"
    path.write_text(TASK)
    return str(path)


def test_a_study_is_run_printed_stored_and_resumed(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["tune", f"{file}:objective", "--slopes", "0", ".01", "1e-1", "--seeds", "3"]
    command += ["--storage", str(tmp_path / "tune.journal"), "--json", str(tmp_path / "study.json")]
    assert run(command) == 0
    first = capsys.readouterr().out
    assert "0.1 is better than 0, by at least" in first
    assert run(command) == 0
    assert "training" not in capsys.readouterr().out.split("0.1 is better")[0]
    assert load_study(tmp_path / "study.json").best_slope == 0.1


def test_a_range_is_searched(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["tune", f"{file}:task", "--search", "0", ".5", "--per-layer", "--candidates", "3", "--seeds", "3"]
    assert run([*command, "--slopes", "0", "gelu", "0.1/0.2", "--confirm", "0"]) == 0
    seen = capsys.readouterr().out
    assert "TPESampler tried 3 slopes for each layer from 0 to 0.5" in seen
    assert all(f"\n{label} " in seen for label in ("0", "gelu", "0.1/0.2"))


def test_json_alone_goes_to_stdout(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tune", f"{file}:objective", "--slopes", "0", "0.1", "--seeds", "3", "--json", "-"]) == 0
    seen = capsys.readouterr()
    assert json.loads(seen.out)["conclusion"]["best_slope"] == 0.1
    assert "training" in seen.err


def test_which_way_the_score_goes_is_asked_or_the_tasks_own(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    for flag, rises in ([], True), (["--lower-is-better"], False):
        assert run(["tune", f"{file}:objective", "--slopes", "0", "0.1", "--seeds", "3", "--json", "-", *flag]) == 0
        study = json.loads(capsys.readouterr().out)
        assert (study["higher_is_better"], study["conclusion"]["best_slope"]) == (rises, 0.1 if rises else None)


def test_a_task_in_a_file_goes_to_several_processes(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["tune", f"{file}:task", "--slopes", "0", "0.1", "prelu", "--seeds", "3", "--confirm", "0"]
    assert run([*command, "--engine", "local", "--workers", "2", "--budget", "fixed"]) == 0
    assert "9 trainings" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.py:task"], "TASK"),
        ([":nothing"], "task must be an objective"),
        ([":objective", "--slopes", "0", "relu7"], "unexpected extra argument"),
        ([":objective", "--slopes", "0"], "at least two"),
        ([":objective", "--engine", "batched"], "needs a torch task"),
        ([":objective", "--json", "/nowhere/x.json"], "--json must be"),
        ([":objective", "--engine", "steam"], "steam"),
        ([":objective", "--per-layer"], "belong to --search"),
    ],
)
def test_a_mistake_ends_in_one_line(
    file: str, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    task, *rest = arguments
    assert run(["tune", f"{file}{task}" if task.startswith(":") else task, *rest]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
