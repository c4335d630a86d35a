"""A study of any objective: its answers, its storage, its failures, and what a killed process leaves behind."""

from __future__ import annotations

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from optuna.storages.journal._storage import JournalStorageReplayResult
from tests.tuning import objectives

from leaky.errors import InputError, LeakyError
from leaky.tuning import Result, Study, Trial, load_study, tune
from leaky.tuning.arms import Arm
from leaky.tuning.engines.objective import Report
from leaky.tuning.statistics.answering import BETTER, EQUAL, UNDECIDED
from leaky.tuning.storage.journal import journal_storage
from leaky.tuning.storage.ownership import OrphanWatch, this_process
from leaky.tuning.storage.store import Store
from leaky.tuning.trial import Cell

SLOPES = (0.0, 0.01, 0.1)


def trained(study: Study) -> dict[tuple[str, int], tuple[str, float | None]]:
    return {(t.arm, t.seed): (t.outcome, t.score) for t in study.trials}


def test_the_better_slope_is_found_reported_on_fresh_seeds_and_said_in_a_sentence() -> None:
    study = tune(objectives.noisy, slopes=SLOPES, seeds=4)
    assert study.best_slope == study.recommended == 0.1
    assert study.best_set == (Arm(0.1),)
    assert study.reported is not None
    assert study.reported.source == "fresh seeds"
    used = {trial.seed for trial in study.trials if not trial.confirms}
    assert used.isdisjoint(trial.seed for trial in study.trials_of(Arm(0.1), confirms=True))
    assert study.answer.kind == BETTER
    assert 0.9 < study.answer.at_least < 1.0
    assert str(study).startswith(f"0.1 is better than 0, by at least {study.answer.at_least:.2g}")
    assert "0.01 is detectably worse than the best as well." in str(study)


def test_equal_within_what_matters_is_an_answer_and_recommends_the_simplest() -> None:
    study = tune(objectives.noisy, slopes=(0.3, 0.01, 0.0), seeds=4, worth=0.2)
    assert study.answer.kind == EQUAL
    assert study.best_slope is None
    assert study.recommended == 0.0
    assert "No slope is better than 0 by more than 0.2" in str(study)
    assert "equal to it within 0.2" in str(study)


def test_undecided_recommends_nothing_and_says_what_would_tell() -> None:
    study = tune(objectives.noisy, slopes=(0.3, 0.01), seeds=3, worth=0.001, patience=0)
    assert study.answer.kind == UNDECIDED
    assert study.recommended is study.best_slope is study.reported is None
    assert not [trial for trial in study.trials if trial.confirms]
    assert re.search(r"Undecided: whether .* more trainings, .*, would tell. Nothing is recommended", str(study))


def test_an_undecided_study_goes_on_beyond_its_seeds_while_it_is_cheap() -> None:
    def objective(slope: float, seed: int, report: Report) -> float:
        return 0.5 + 0.004 * slope + 0.5 * objectives.noisy(0.0 if slope == 0 else 0.3, seed, report)

    short = tune(objective, slopes=(0.0, 1.0), seeds=3, worth=0.01, patience=0, confirm=0)
    long = tune(objective, slopes=(0.0, 1.0), seeds=3, worth=0.01, patience=60, confirm=0)
    assert len(short.trials) == 6 < len(long.trials)
    assert long.answer.kind != UNDECIDED


def test_where_slopes_matter_the_best_is_recommended_and_the_simplest_named() -> None:
    def objective(slope: float, seed: int, report: Report) -> float:
        return objectives.noisy(0.1 if slope > 0 else 0.0, seed, report) + 0.001 * slope

    study = tune(objective, slopes=(0.0, 0.01, 0.3), seeds=4, confirm=0)
    assert study.best_slope == study.recommended == 0.3
    assert study.reference == Arm(0.0)
    assert "0.01 cannot be told apart from it" in str(study)


def test_a_loss_is_better_the_lower() -> None:
    study = tune(lambda a, s, r: -objectives.noisy(a, s, r), slopes=SLOPES, seeds=4, higher_is_better=False)
    assert study.best_slope == 0.1
    assert study.difference(Arm(0.1), Arm(0.0)).high < 0


def test_failures_are_results_of_their_training(capsys: pytest.CaptureFixture[str]) -> None:
    def objective(slope: float, seed: int, report: Report) -> float:
        report(1, 0.5)
        if slope == 0.0:
            report(2, math.nan)
        if slope == 0.01 and seed == 1:
            raise ValueError("\x1b[31mboom")
        if slope == 0.3 and seed == 2:
            raise MemoryError
        return math.inf if slope == 0.2 and seed == 0 else objectives.noisy(slope, seed, report)

    study = tune(objective, slopes=(0.0, 0.01, 0.2, 0.3), seeds=3, budget="fixed", confirm=0)
    outcomes = {key: outcome for key, (outcome, _) in trained(study).items()}
    assert len(outcomes) == 12
    assert [outcomes["0", seed] for seed in range(3)] == ["diverged"] * 3
    assert outcomes["0.01", 1] == "raised"
    assert outcomes["0.2", 0] == "diverged"
    assert outcomes["0.3", 2] == "out_of_memory"
    assert next(t for t in study.trials if t.arm == "0").curve == ((1, 0.5),)
    assert "0 failed in 3 of 3" in str(study)
    assert "\x1b" not in str(study)


def test_a_study_in_which_everything_fails_ends_with_a_report() -> None:
    def objective(slope: float, seed: int, report: Report) -> float:
        raise ValueError("nothing works")

    study = tune(objective, slopes=SLOPES, seeds=3, confirm=0)
    assert study.best_slope is None
    assert "nothing works" in str(study)


def test_test_scores_take_no_part_in_the_choice() -> None:
    def objective(slope: float, seed: int, report: Report) -> Result:
        return Result(objectives.noisy(slope, seed, report), test=-slope, measurements={"dead_share": slope})

    study = tune(objective, slopes=SLOPES, seeds=3, confirm=0)
    assert study.best_slope == 0.1
    assert study.reported is not None
    assert (study.reported.source, study.reported.score) == ("test data", pytest.approx(-0.1))
    assert study.measurement(Arm(0.1), "dead_share") == pytest.approx(0.1)
    assert "10.0%" in str(study)


def test_a_saved_study_says_the_same_when_loaded(tmp_path: Path) -> None:
    study = tune(objectives.noisy, slopes=(*SLOPES, "prelu"), seeds=3)
    study.save(tmp_path / "study.json")
    loaded = load_study(tmp_path / "study.json")
    assert str(loaded) == str(study)
    assert loaded.trials == study.trials
    data = json.loads((tmp_path / "study.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert data["conclusion"]["best_slope"] == 0.1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 99}, "schema_version 99"),
        ({"kind": "record"}, "must be a study, .*; it is a record"),
        ({"higher_is_better": "up"}, "higher_is_better must be true or false"),
        ({"schema_version": 1}, "direction must be one of 'minimize', 'maximize', not missing"),
        ({"schema_version": 1, "direction": "sideways"}, "direction must be one of"),
        ({"trials": [{"slope": 3}]}, "slope must be a string"),
        ({"slopes": [0.0]}, "at least two"),
    ],
)
def test_a_file_that_is_no_study_is_refused_by_name(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = tmp_path / "study.json"
    tune(objectives.noisy, slopes=SLOPES, seeds=3).save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=words):
        load_study(path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"slopes": (0.1,)}, "at least two"),
        ({"slopes": (0.1, 0.1)}, "given more than once: 0.1"),
        ({"slopes": (0.1, "relu7")}, "one of prelu, tailored"),
        ({"slopes": (0.1, math.nan)}, "finite"),
        ({"seeds": 0}, "from 1 to 100,000, not 0"),
        ({"seeds": (1, 1)}, "different numbers"),
        ({"higher_is_better": "up"}, "True or False"),
        ({"engine": "steam"}, "engine must be one of"),
        ({"engine": "batched"}, "needs a torch task"),
        ({"worth": 0}, "worth must be a finite difference of more than 0"),
        ({"patience": math.inf}, "patience must be a finite number of seconds"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"time_limit": 0}, "time_limit must be more than 0"),
        ({"epochs": 3}, "epochs need train="),
        ({"storage": "/nowhere/at/all/x.journal"}, "must exist"),
        ({"storage": "odd://x"}, "URL that Optuna can open"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_trains(arguments: dict[str, Any], words: str) -> None:
    settings = {"slopes": SLOPES, "seeds": 3, **arguments}
    with pytest.raises(InputError, match=words):
        tune(lambda *a: pytest.fail("trained"), **settings)


def test_a_study_resumes_with_all_that_had_ended_and_can_be_extended(tmp_path: Path) -> None:
    calls: list[tuple[Any, int]] = []

    def objective(slope: float, seed: int, report: Report) -> float:
        calls.append((slope, seed))
        if len(calls) == 5:
            raise KeyboardInterrupt
        return objectives.noisy(slope, seed, report)

    path = tmp_path / "tune.journal"
    stopped = tune(objective, slopes=SLOPES, seeds=3, budget="adaptive", storage=path)
    assert len(stopped.trials) == 4
    assert "stopped before its end" in str(stopped)
    resumed = tune(objective, slopes=SLOPES, seeds=3, storage=path)
    assert trained(resumed) == trained(tune(objectives.noisy, slopes=SLOPES, seeds=3))
    assert len(calls) == len(resumed.trials) + 1
    longer = tune(objective, slopes=SLOPES, seeds=9, storage=path)
    assert trained(resumed).items() <= trained(longer).items()


def test_an_interrupt_while_a_result_is_read_back_from_the_journal_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, apply = [], JournalStorageReplayResult._apply_set_trial_user_attr

    def interrupted_once(replayed: JournalStorageReplayResult, log: dict[str, Any]) -> None:
        if "leaky:result" in log["user_attr"]:
            seen.append(log)
            if len(seen) == 2:
                raise KeyboardInterrupt
        apply(replayed, log)

    monkeypatch.setattr(JournalStorageReplayResult, "_apply_set_trial_user_attr", interrupted_once)
    settings: dict[str, Any] = {"slopes": SLOPES, "seeds": 3, "budget": "fixed", "confirm": 0}
    stopped = tune(objectives.noisy, storage=tmp_path / "tune.journal", **settings)
    assert len(stopped.trials) == 2
    assert "stopped before its end" in str(stopped)
    resumed = tune(objectives.noisy, storage=tmp_path / "tune.journal", **settings)
    assert trained(resumed) == trained(tune(objectives.noisy, **settings))


def test_another_study_in_the_same_storage_is_not_mixed_up(tmp_path: Path) -> None:
    path = f"sqlite:///{tmp_path / 'tune.db'}"
    first = tune(objectives.noisy, slopes=SLOPES, seeds=3, storage=path, confirm=0)
    with pytest.raises(InputError, match=r"with slopes \[0.0, 0.01, 0.1\], not \[0.0, 0.2\]"):
        tune(objectives.noisy, slopes=(0.0, 0.2), seeds=3, storage=path)
    second = tune(objectives.noisy, slopes=(0.0, 0.2), seeds=3, storage=path, study_name="other", confirm=0)
    assert {t.arm for t in second.trials} == {"0", "0.2"}
    assert trained(tune(objectives.noisy, slopes=SLOPES, seeds=3, storage=path, confirm=0)) == trained(first)


def test_a_time_limit_ends_a_study_with_what_is_known() -> None:
    study = tune(objectives.slow, slopes=SLOPES, seeds=50, budget="fixed", time_limit=0.2)
    assert 0 < len(study.trials) < 150
    assert "fixed budget is judged once, at its end" in str(study)


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    tune(
        objectives.noisy, slopes=SLOPES, seeds=3, confirm=0, progress=lambda s, left: told.append((len(s.trials), left))
    )
    assert [done for done, _ in told] == list(range(10))
    assert told[-1][1] == 0


@pytest.mark.parametrize("rises", [True, False])
def test_a_study_of_version_1_said_direction_and_is_read_still(tmp_path: Path, rises: bool) -> None:
    path = tmp_path / "study.json"
    study = tune(objectives.noisy, slopes=SLOPES, seeds=3, higher_is_better=rises)
    study.save(path)
    data = json.loads(path.read_text())
    assert data.pop("higher_is_better") is rises
    path.write_text(json.dumps({**data, "schema_version": 1, "direction": "maximize" if rises else "minimize"}))
    assert str(load_study(path)) == str(study)


def test_a_storage_holds_its_study_to_the_way_in_which_it_began(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    Store(str(path), "study", {"slopes": [0.1], "direction": "maximize"}, True, ["0.1"])  # as earlier versions wrote
    assert Store(str(path), "study", {"slopes": [0.1]}, True, ["0.1"]).trials() == []
    with pytest.raises(InputError, match="holds a study 'study' with higher_is_better True, not False"):
        Store(str(path), "study", {"slopes": [0.1]}, False, ["0.1"])


def store(path: Path) -> Store:
    return Store(str(path), "study", {"slopes": [0.1, 0.2]}, True, ["0.1", "0.2"])


def test_one_cell_has_one_owner(tmp_path: Path) -> None:
    first, second = store(tmp_path / "a.journal"), store(tmp_path / "a.journal")
    cell = Cell("0.1", 0)
    attempt = first.claim(cell)
    assert attempt is not None
    assert second.claim(cell) is None
    assert second.running() == {cell}
    first.release(attempt)
    again = second.claim(cell)
    assert again is not None
    second.finish(again, Trial("0.1", 0, "finished", 0.5))
    assert first.claim(cell) is None
    assert [trial.score for trial in first.trials()] == [0.5]


def test_a_half_written_line_is_cut_off_and_the_rest_stands(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    one = store(path)
    attempt = one.claim(Cell("0.1", 0))
    assert attempt is not None
    one.finish(attempt, Trial("0.1", 0, "finished", 0.5))
    with path.open("ab") as stream:
        stream.write(b'{"op_code": 4, "worker_id": "x", "tri')
    assert store(path).claim(Cell("0.2", 0)) is not None
    assert [trial.score for trial in store(path).trials()] == [0.5]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_something_else_is_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    path.write_text("hello\nworld\n")
    with pytest.raises(InputError, match="must be a journal file"):
        journal_storage(str(path))


def test_silence_of_another_machine_is_measured_by_our_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    watch, other = OrphanWatch(), "elsewhere 0000 17 3"
    assert watch.orphans([(1, other, 1), (2, this_process(), None)]) == []
    now[0] += 80
    assert watch.orphans([(1, other, 2)]) == []
    now[0] += 80
    assert watch.orphans([(1, other, 2)]) == []
    now[0] += 80
    assert watch.orphans([(1, other, 2)]) == [1]


SCRIPT = """
import sys
from tests.tuning.objectives import slow
from leaky.tuning import tune
tune(slow, slopes=(0.0, 0.01, 0.1), seeds=5, budget="fixed", confirm=0, storage=sys.argv[1])
"""


def run_script(path: Path) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "src")])}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(path)], env=environment, cwd=root)


def test_killed_again_and_again_a_study_ends_with_the_same_trials(tmp_path: Path) -> None:
    path, moments = tmp_path / "tune.journal", random.Random(7)
    for _ in range(5):
        process = run_script(path)
        while not path.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
    settings: dict[str, Any] = {"slopes": SLOPES, "seeds": 5, "budget": "fixed", "confirm": 0}
    assert trained(tune(objectives.noisy, storage=path, **settings)) == trained(tune(objectives.noisy, **settings))


def test_two_processes_share_a_study_and_train_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "tune.journal"
    for process in [run_script(path), run_script(path)]:
        assert process.wait(60) == 0
    attempts = [line for line in path.read_text().splitlines() if '"leaky:result"' in line]
    assert len(attempts) == 15


def test_workers_give_the_same_as_one_and_one_that_dies_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAKY_TEST_MARK", str(tmp_path / "mark"))
    settings: dict[str, Any] = {"slopes": SLOPES, "seeds": 3, "budget": "fixed", "confirm": 0}
    study = tune(objectives.fatal, workers=2, **settings)
    assert (tmp_path / "mark").exists()
    assert trained(study) == trained(tune(objectives.noisy, **settings))


def test_a_lambda_cannot_go_to_other_processes() -> None:
    with pytest.raises(LeakyError, match="must be importable"):
        tune(lambda a, seed, report: 0.0, slopes=SLOPES, seeds=3, workers=2)
