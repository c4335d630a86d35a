"""An interruption leaves everything as it was: a sample of lines here, every seventh line in benchmarks.hostile."""

from __future__ import annotations

import inspect
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.hostile.works import (
    Work,
    calibration,
    initialization,
    pruning,
    recipe,
    repair,
    repair_that_is_raced,
    watching,
)
from tests.hostile.interrupting import interrupted_at, lines_of
from tests.observation.test_leaves_everything import everything, trained
from torch import nn
from torch._dynamo import convert_frame

import leaky
from leaky.interruptions import surely, surely_twice, undone_unless_done
from leaky.observation.model_lock import ModelLock
from leaky.observation.random_state import same_random_numbers
from leaky.repairing.snapshot import Snapshot
from leaky.watching.compiled.passes import Passes


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))


def observing(model: nn.Module, data: torch.Tensor) -> Callable[[], Any]:
    return lambda: leaky.observe(model, data, mode="train", seed=3)


def with_loss(model: nn.Module, data: torch.Tensor) -> Callable[[], Any]:
    return lambda: leaky.observe(model, [data, data], mode="eval", loss=lambda y, _: y.square().mean())


def free_for_others(model: nn.Module) -> bool:
    """Whether another thread may observe it; this one may at any time."""
    entered = threading.Event()

    def enters() -> None:
        with ModelLock(model):
            entered.set()

    thread = threading.Thread(target=enters, daemon=True)
    thread.start()
    thread.join(30)
    return entered.is_set()


@pytest.mark.parametrize("make", [observing, with_loss])
@pytest.mark.parametrize("offset", range(2))
def test_an_observation_may_be_interrupted_at_any_line(
    make: Callable[[nn.Module, torch.Tensor], Callable[[], Any]], offset: int
) -> None:
    model, data = trained(network), torch.randn(20, 4)
    model.eval() if make is observing else model.train()
    run = make(model, data)
    run()  # whatever is imported or cached at first use
    lines, before = lines_of(run), everything(model)
    places = set()
    step = 29
    for line in [*range(1 + 13 * offset, lines - 600, 16 * step), *range(lines - 600 + offset, lines, step)]:
        places.add(interrupted_at(run, line))
        after = everything(model)
        assert {key for key in before if before[key] != after[key]} == set(), (line, places)
        assert torch._C._len_torch_dispatch_stack() == 0
        assert free_for_others(model), (line, places)
    assert len(places) > 20, "the harness must have interrupted something"


def test_a_rollback_may_be_interrupted_at_any_line() -> None:
    model = trained(network)
    optimizer = torch.optim.Adam(model.parameters())
    optimizer.step()
    before = everything(model)
    kept = {name: value.clone() for name, value in optimizer.state[model[0].weight].items()}
    snapshot = Snapshot(model, optimizer)

    def repair() -> None:
        with torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.add_(1)
        model[2] = nn.LeakyReLU()
        model.eval()
        optimizer.state[model[0].weight]["exp_avg"].add_(1)
        raise KeyboardInterrupt

    def run() -> None:
        undone_unless_done(repair, snapshot.restore)

    lines = lines_of(run)
    random = torch.get_rng_state()
    for line in range(1, lines + 1, 7):
        assert interrupted_at(run, line)
        torch.set_rng_state(random)
        after = everything(model)
        assert {key for key in before if before[key] != after[key]} == set(), line
        state = optimizer.state[model[0].weight]
        assert all(torch.equal(state[name], value) for name, value in kept.items())


def test_steps_run_to_their_end_and_the_first_interruption_is_raised() -> None:
    done: list[str] = []

    def interrupted() -> None:
        done.append("a")
        if len(done) < 3:
            raise KeyboardInterrupt(f"{len(done)}")

    def fails() -> None:
        done.append("b")
        raise ValueError("it fails")

    with pytest.raises(KeyboardInterrupt, match="1"):
        surely([interrupted, fails, lambda: done.append("c")])
    assert done == ["a", "a", "a", "b", "c"]
    done.clear()
    with pytest.raises(ValueError, match="it fails"):
        surely_twice(lambda: [fails])
    assert done == ["b", "b"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda layer: setattr(layer, "weight", nn.Parameter(torch.ones(8, 1).expand(8, 4))), "expanded"),
        (lambda layer: setattr(layer, "weight", nn.Parameter(torch.eye(8, 4).to_sparse())), "it is sparse_coo"),
        (lambda layer: layer.to("meta"), "meta device, or fake"),
    ],
    ids=["expanded", "sparse", "meta"],
)
def test_what_could_not_be_rolled_back_is_refused_first(spoil: Callable[[nn.Linear], Any], words: str) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    spoil(model[0])
    with pytest.raises(leaky.LeakyError, match=words):
        Snapshot(model)


def test_what_was_made_in_inference_mode_is_refused_first() -> None:
    with torch.inference_mode():
        model = nn.Linear(3, 2)
    with pytest.raises(leaky.LeakyError, match="weight could not be: it was made in inference mode"):
        Snapshot(model)


def test_an_interrupted_wait_leaves_the_turn_to_others() -> None:
    model = nn.Linear(2, 2)
    entered, leave = threading.Event(), threading.Event()

    def holds() -> None:
        with ModelLock(model):
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=holds)
    thread.start()
    entered.wait(30)
    assert interrupted_at(lambda: ModelLock(model).__enter__(), 4)
    leave.set()
    thread.join(30)
    with ModelLock(model):
        pass


def test_a_turn_interrupted_at_any_line_is_over() -> None:
    model = nn.Linear(2, 2)

    def takes() -> None:
        with ModelLock(model):
            pass

    for line in range(1, lines_of(takes) + 1):
        assert interrupted_at(takes, line)
        assert free_for_others(model), line


def test_random_numbers_go_on_from_where_they_were_wherever_a_block_of_their_own_is_interrupted() -> None:
    def block() -> None:
        with same_random_numbers(3):
            random.random(), np.random.random(), torch.rand(1)

    def states() -> tuple[str, str, list[int]]:
        return str(random.getstate()), str(np.random.get_state()), torch.get_rng_state().tolist()

    before = states()
    for line in range(1, min(lines_of(block) for _ in range(3)) + 1):  # the others may have waited for a thread
        assert interrupted_at(block, line)
        assert states() == before, line


def nothing_is_spoilt(work: Work, numbers: list[int]) -> None:
    """An interruption at each of these lines leaves all as it was.

    A run that waits to see whether another thread draws random numbers has more lines than one that need not, so that
    some may not be reached.
    """
    reached = 0
    for place, changed in work.spoilt_at(numbers):
        reached += bool(place)
        assert not (place and changed), f"{place}: {changed}"
    assert reached > len(numbers) / 2


@pytest.mark.parametrize(("make", "step"), [(recipe, 23), (initialization, 211), (calibration, 211), (pruning, 997)])
def test_a_change_in_place_is_whole_or_has_not_been_wherever_it_is_interrupted(
    make: Callable[[], Work], step: int
) -> None:
    work = make()
    lines = work.lines()
    nothing_is_spoilt(work, [*range(3, lines - 40, step), *range(lines - 40, lines + 1, 3)])


HARNESS = """
from tests.hostile.interrupting import distinct, interrupted_in_children, points_of
from leaky.interruptions import surely

left = []

def careless():
    left.append("it")
    surely([int, int])
    left.clear()

def careful():
    try:
        careless()
    finally:
        left.clear()

def swallows():
    try:
        careful()
    except KeyboardInterrupt:
        pass

for run in (careless, careful, swallows):
    points = points_of(run)
    chosen = distinct(points)
    assert len(points) > len(chosen) > 5, (points, chosen)
    found = interrupted_in_children(run, chosen, lambda: set(left))
    assert len(found) == len(chosen) and all(place.startswith("interruptions.py:") for place, _ in found), found
    print(sorted({word for _, words in found for word in words}))
"""


def test_children_that_are_interrupted_tell_what_is_left() -> None:
    ended = subprocess.run([sys.executable, "-c", HARNESS], capture_output=True, text=True, timeout=120)
    assert ended.stdout.splitlines() == ["['it']", "[]", "['the interruption was swallowed']"], ended.stderr[-2000:]


def test_a_watched_step_leaves_nothing_wherever_it_is_interrupted() -> None:
    work = watching()
    for place, changed in work.spoilt_at(list(range(40, work.lines() + 1, 97))):
        assert not changed, f"{place}: {changed}"


def test_a_watch_leaves_no_mark_on_a_module_wherever_it_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert_frame, "FRAME_COUNTER", 1)  # torch has compiled something: every module is marked
    work = watching()
    first, length = Passes.mark.__code__.co_firstlineno, len(inspect.getsource(Passes.mark).splitlines())
    marking = {f"watching/compiled/passes.py:{line}" for line in range(first, first + length)}
    lines = [point.number for point in work.points() if point.place in marking]
    assert len(lines) > 5
    for place, changed in work.spoilt_at(lines):
        assert not changed, f"{place}: {changed}"


@pytest.mark.parametrize(("make", "step"), [(repair, 809), (repair_that_is_raced, 14831)])
def test_a_repair_leaves_the_model_as_it_was_wherever_it_is_interrupted(make: Callable[[], Work], step: int) -> None:
    work = make()
    lines = work.lines()
    nothing_is_spoilt(work, [*range(5, lines - 20, step), *range(lines - 20, lines + 1, 2), lines])
