"""Processes and stacks together: the same results as one model after another, whatever dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tuning import objectives
from torch import nn

from leaky.tuning.arms import Arm, arms_of
from leaky.tuning.engines import torch_engine as engines
from leaky.tuning.engines.batched import ALONE, NARROW, BatchedEngine
from leaky.tuning.engines.flat import FlatOptimizer
from leaky.tuning.engines.stacked_training import WHOLE
from leaky.tuning.engines.torch_engine import Parallelism, TorchEngine, shares
from leaky.tuning.engines.training import LocalEngine
from leaky.tuning.engines.variants import ELEMENTWISE
from leaky.tuning.engines.worker_pool import WorkerDied, WorkerPool
from leaky.tuning.task import Task
from leaky.tuning.trial import Cell, Trial

ARMS = {arm.label: arm for arm in arms_of((0.0, 0.1, 0.2))}
CELLS = [Cell(label, seed) for label in ARMS for seed in (0, 1)]


@pytest.fixture(autouse=True)
def two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "most_processes", lambda: 2)


def run(task: Task, kind: str, cells: list[Cell] = CELLS) -> dict[Cell, Trial]:
    engine = TorchEngine(task, ARMS, kind)
    try:
        return {Cell(trial.arm, trial.seed): trial for trial in engine.run(cells)}
    finally:
        engine.close()


@pytest.mark.parametrize("kind", ["batched", "local", "auto"])
def test_processes_give_what_one_model_after_another_gives(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "LEAST_POOL_SECONDS", 0.0)
    task = objectives.task()
    found = run(task, kind)
    alone = {Cell(trial.arm, trial.seed): trial for trial in LocalEngine(task, ARMS).run(CELLS)}
    assert found.keys() == alone.keys()
    for cell, trial in alone.items():
        assert (found[cell].score, found[cell].measurements) == (trial.score, trial.measurements)
        for mine, theirs in zip(found[cell].curve, trial.curve, strict=True):
            assert mine == pytest.approx(theirs, rel=1e-6)  # a mean of losses is summed in another order


@pytest.mark.parametrize(
    ("alone", "tried", "parallelism"),
    [
        (1.0, {0: 3.0, NARROW: 2.5, WHOLE: 2.2}, Parallelism(ALONE, 1)),
        (1.0, {0: 1.5, NARROW: 1.6, WHOLE: 1.7}, Parallelism(ALONE, 2)),
        (1.0, {0: 1.5, NARROW: 1.6, WHOLE: 0.2}, Parallelism(WHOLE, 2)),
        (1.0, {0: 1.5, NARROW: 1.4, WHOLE: 1.7}, Parallelism(NARROW, 2)),
        (1.0, {0: 1.5}, Parallelism(ALONE, 2)),
        (1.0, {}, Parallelism(ALONE, 1)),
    ],
)
def test_the_way_is_the_fastest_of_a_trial(
    alone: float, tried: dict[int, float], parallelism: Parallelism, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TorchEngine, "seconds_alone", lambda self, cells: alone)
    monkeypatch.setattr(BatchedEngine, "probe", lambda self, cells: tried)
    engine = TorchEngine(objectives.task(), ARMS)
    assert engine.choose(CELLS) == parallelism
    engine.close()


def test_too_little_work_is_not_sent_to_processes() -> None:
    engine = TorchEngine(objectives.task(epochs=1), ARMS)
    assert len(list(engine.run(CELLS[:2]))) == 2
    assert engine.pool is None


def deadly(status: int) -> Any:
    parent = os.getpid()

    def build(slope: float) -> nn.Module:
        if slope == 0.2 and os.getpid() != parent:
            os.kill(os.getpid(), -status) if status < 0 else os._exit(status)
        return objectives.mlp(slope)

    return build


@pytest.mark.parametrize("kind", ["batched", "local"])
@pytest.mark.parametrize(
    ("status", "outcome", "words"),
    [(9, "raised", "ended by itself, with status 9"), (-signal.SIGKILL, "out_of_memory", "ended by SIGKILL")],
)
def test_what_kills_its_process_is_a_result_and_the_others_train(
    kind: str, status: int, outcome: str, words: str
) -> None:
    found = run(objectives.task(build=deadly(status)), kind)
    assert {cell.arm for cell, trial in found.items() if trial.outcome == outcome} == {"0.2"}
    assert {trial.outcome for cell, trial in found.items() if cell.arm != "0.2"} == {"finished"}
    assert words in found[Cell("0.2", 1)].reason
    assert len(found) == len(CELLS)


def doubled(job: Any) -> Any:
    if job == "sleep":
        time.sleep(60)
    return os.getpid() if job == "who" else 2 * job


def test_a_pool_answers_each_job_begins_none_after_stop_and_lives_no_longer_than_it_is_needed() -> None:
    pool = WorkerPool(2, doubled)
    assert sorted(pool.run([1, 2, 3])) == [(1, 2), (2, 4), (3, 6)]
    answered: list[Any] = []
    for each in pool.run([1, 2, 3, 4], lambda: bool(answered)):
        answered.append(each)
    assert len(answered) == 2
    pids = {answer for _, answer in pool.run(["who"] * 2)}
    running = pool.run([5, "sleep"])
    assert next(running) == (5, 10)
    running.close()
    assert pool.closed
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_member_that_is_killed_once_loses_nothing() -> None:
    pool = WorkerPool(1, doubled)
    victim = pool.workers[0].process
    os.kill(victim.pid or 0, signal.SIGKILL)
    victim.join()
    assert list(pool.run([4])) == [(4, 8)]
    assert WorkerDied(-9).killed
    pool.close()


INTERRUPTED = """
import sys
from tests.tuning import objectives
from leaky.tuning import tune
from leaky.tuning.engines import torch_engine as engine
engine.most_processes = lambda: 2
task = objectives.task(epochs=4)
settings = {"slopes": (0.0, 0.1), "seeds": 400, "budget": "fixed", "confirm": 0, "storage": sys.argv[1]}
print(tune(task, engine="local", **settings))
"""


def test_ctrl_c_ends_the_processes_and_gives_the_verdict_so_far(tmp_path: Path) -> None:
    root, path = Path(__file__).parents[3], tmp_path / "tune.journal"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "src")])}
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(path)],
        env=environment,
        cwd=root,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    while process.poll() is None and not (path.exists() and '"leaky:result"' in path.read_text()):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    assert "A study of fixed budget is judged once, at its end" in said
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.parametrize("count", [1, 2, 5, 16, 33, 64])
def test_shares_are_equal_parts_that_fit_a_stack(count: int) -> None:
    cells = [Cell("0.1", seed) for seed in range(count)]
    parts = shares(cells, 2)
    assert sorted(cell.seed for part in parts for cell in part) == list(range(count))
    assert len(parts) % 2 == 0 or count == 1
    assert max(map(len, parts)) <= engines.CHUNK
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_one_long_vector_is_stepped_to_the_bits_of_each_tensor(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in ((3, 5), (7,), (2, 4, 3), (6,))]
    target = torch.randn(24, generator=generator)
    mine, second, theirs = ([nn.Parameter(part.clone()) for part in start] for _ in range(3))

    def make(parameters: Any) -> torch.optim.Optimizer:
        listed = list(parameters)
        groups = [{"params": listed[:2], "weight_decay": 0.1}, {"params": listed[2:], "lr": 0.02}]
        return getattr(torch.optim, name)(groups, lr=0.05)  # type: ignore[no-any-return]

    def loss(parameters: list[nn.Parameter]) -> torch.Tensor:  # the last has no part in it
        vector = torch.cat([p.reshape(-1) for p in parameters[:3]])
        return ((vector - target.repeat(2)[: len(vector)]) ** 2).mean()

    flat, own = FlatOptimizer(make, [mine, second]), make(theirs)
    for _ in range(20):
        flat.step(loss(each) for each in (mine, second))
        own.zero_grad()
        loss(theirs).backward()  # type: ignore[no-untyped-call]
        own.step()
    assert all(torch.equal(one, other) for one, other in zip(mine, theirs, strict=True))
    assert all(torch.equal(one, other) for one, other in zip(second, theirs, strict=True))
    assert torch.equal(mine[3], start[3])


def test_arms_of_a_trial_are_cells_of_their_own() -> None:
    engine = TorchEngine(objectives.task(epochs=1), {"0.1": Arm(0.1)}, "local")
    cells = [Cell("0.1", 0), Cell("0.1", 0, confirms=True)]
    assert sorted(trial.confirms for trial in engine.run(cells)) == [False, True]
    engine.close()
