"""Random numbers go on from where they were, and no other thread draws the same ones again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests.observation.test_leaves_everything import bits
from torch import Tensor, nn

import leaky
from leaky.observation.random_state import same_random_numbers


class Drawing(nn.Module):
    """Draws from every generator in its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 8), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        drawn()
        return self.inner(x)


def drawn() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def states() -> tuple[object, ...]:
    return random.getstate(), str(np.random.get_state()), bits(torch.get_rng_state())


def test_a_block_has_the_numbers_of_its_seed_and_the_caller_s_go_on() -> None:
    before = states()
    found = []
    for seed in (3, 3, 4):
        with same_random_numbers(seed):
            found.append([drawn(), drawn()])
        assert states() == before
    assert found[0] == found[1]
    assert len({*found[0], *found[2]}) == 4


def test_a_block_in_a_block_leaves_the_outer_one_s_numbers() -> None:
    with same_random_numbers(1):
        expected = [drawn(), drawn()]
    with same_random_numbers(1):
        first = drawn()
        with same_random_numbers(2):
            drawn()
        assert [first, drawn()] == expected


def test_the_caller_s_numbers_go_on_where_a_block_raises() -> None:
    before = states()
    with pytest.raises(ZeroDivisionError), same_random_numbers(3):
        drawn()[0] / 0
    assert states() == before


DRAWS: dict[str, Callable[[], float]] = {
    "torch": lambda: float(torch.rand((), dtype=torch.float64)),
    "numpy": np.random.random_sample,
    "python": random.random,
}


@pytest.mark.parametrize("idle", [0, 12], ids=["alone", "beside idle ones"])
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_another_thread_never_draws_the_same_numbers_again(draw: Callable[[], float], idle: int) -> None:
    model, data = nn.Sequential(nn.Linear(4, 8), nn.ReLU()), torch.randn(400, 4)
    over, seen = threading.Event(), list[float]()
    waiting = [threading.Thread(target=over.wait) for _ in range(idle)]

    def draws() -> None:
        while not over.is_set():
            seen.extend(draw() for _ in range(200))
            time.sleep(0.0005)  # a thread that never gives way makes every operation of torch wait for a turn

    threads = [*waiting, threading.Thread(target=draws)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            leaky.observe(model, data, batch_size=40)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert len(seen) > 100
    assert len(set(seen)) == len(seen)


def test_beside_an_idle_thread_what_was_drawn_is_put_back() -> None:
    model, data = Drawing(), torch.randn(20, 4)
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    before = states()
    try:
        leaky.observe(model, data)
        with same_random_numbers(3):
            drawn()
    finally:
        over.set()
        thread.join()
    assert states() == before
