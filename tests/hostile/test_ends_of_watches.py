"""Where an interruption comes before any of leaky's code can end a watch, `stop` ends it afterwards."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest
import torch
from tests.watching.test_watch import hooks_on
from torch import nn

import leaky
from leaky.watching.watch import Watch


def test_a_watch_whose_end_was_interrupted_at_its_first_line_is_stopped_by_stop() -> None:
    def interrupt(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code is not Watch.__exit__.__code__:
            return None
        if event == "line":
            sys.settrace(None)
            raise KeyboardInterrupt
        return interrupt

    model, before = nn.Sequential(nn.Linear(4, 8), nn.ReLU()), sys.gettrace()
    watch = leaky.watch(model, report_every=1)

    def train() -> None:
        with watch:
            model(torch.randn(9, 4)).sum().backward()
            sys.settrace(interrupt)

    try:
        with pytest.raises(KeyboardInterrupt):
            train()
    finally:
        sys.settrace(before)
    assert hooks_on(model) > 0
    watch.stop()
    assert hooks_on(model) == 0
