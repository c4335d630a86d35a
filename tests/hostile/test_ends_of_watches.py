"""The end of a `with` statement around a watch cannot be cut short: not before its first line, nor anywhere in it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from types import FrameType
from typing import Any

import pytest
import torch
from tests.watching.test_watch import hooks_on
from torch import nn

import leaky
from leaky.errors import InputError
from leaky.watching.watch import Watch

END = vars(Watch)["__exit__"].waits.__code__


class Interrupter:
    """Raises KeyboardInterrupt at one of the events in the end of a watch: its waking up, its lines, its opcodes."""

    def __init__(self, at: int) -> None:
        self.at, self.events, self.raised = at, 0, False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code is not END or frame.f_locals["self"].state == "stopped":
            return None
        frame.f_trace_opcodes = True
        self.events += event in ("call", "line", "opcode")  # Python looks for signals at none of the others
        if self.events == self.at and not self.raised:
            self.raised = True
            raise KeyboardInterrupt
        return self


@pytest.fixture
def untraced() -> Iterator[None]:
    before = sys.gettrace()
    yield
    sys.settrace(before)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("raises", [False, True])
def test_a_watch_is_over_wherever_its_end_is_interrupted(raises: bool) -> None:
    model, data = nn.Sequential(nn.Linear(4, 8), nn.ReLU()), torch.ones(9, 4)

    def train(interrupter: Interrupter) -> None:
        with leaky.watch(model, report_every=1):
            model(data).sum().backward()
            sys.settrace(interrupter)
            if raises:
                raise ValueError

    at = 0
    while True:
        interrupter, came = Interrupter(at := at + 1), None
        try:
            train(interrupter)
        except (KeyboardInterrupt, ValueError) as error:
            came = type(error)
        sys.settrace(None)
        assert hooks_on(model) == 0, at
        if not interrupter.raised:
            break
        assert came is KeyboardInterrupt
    assert came is (ValueError if raises else None)
    assert at > 12


def test_what_the_block_raises_is_told_and_not_swallowed() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    with pytest.raises(ValueError, match="the user's own"), leaky.watch(model):
        raise ValueError("the user's own")
    assert hooks_on(model) == 0


def test_a_watch_can_be_left_by_hand_and_by_a_stack() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    watch = leaky.watch(model).start()
    assert hasattr(watch, "__exit__")  # looking is not leaving
    assert hooks_on(model) > 0
    watch.__exit__(None, None, None)
    assert hooks_on(model) == 0
    with ExitStack() as stack:
        stack.enter_context(leaky.watch(model))
        assert hooks_on(model) > 0
    assert hooks_on(model) == 0


def test_a_watch_that_is_entered_twice_goes_on() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    with leaky.watch(model) as watch:
        with pytest.raises(InputError, match="begins once"), watch:
            pass
        assert hooks_on(model) > 0
    assert hooks_on(model) == 0
